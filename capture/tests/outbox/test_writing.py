"""An event is written in the caller's own transaction, by whatever library that is."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import logwax_capture
from logwax_capture.outbox import (
    Event,
    LogEvent,
    Outbox,
    UseCase,
    UseCaseResponse,
    log_event,
    sqlalchemy_tables,
)
from logwax_capture.outbox.connections import atomic

USERS = "CREATE TABLE users (email varchar(200) PRIMARY KEY)"


@dataclass(frozen=True)
class UserCreated:
    email: str
    first_name: str = ""


@contextmanager
def opened(library: str, url: str) -> Iterator[Any]:
    """A connection of an application."""
    is_sqlite = url.startswith("sqlite")
    if library == "plain":
        if is_sqlite:
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
                yield connection
        else:
            with pytest.importorskip("psycopg").connect(url) as connection:
                yield connection
    elif library == "django":
        connection = _django(url)
        try:
            yield connection
        finally:
            connection.close()
    else:
        engine = engine_of(url)
        made = (
            pytest.importorskip("sqlalchemy.orm").Session(engine)
            if library == "session"
            else engine.connect()
        )
        try:
            yield made
        finally:
            made.close()
            engine.dispose()


def engine_of(url: str) -> Any:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    return sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))


def _django(url: str) -> Any:
    django = pytest.importorskip("django")
    from django.db import connections

    if not django.conf.settings.configured:
        django.conf.settings.configure(USE_TZ=True)
        django.setup()
    if url.startswith("sqlite"):
        options = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
    else:
        parts = pytest.importorskip("psycopg.conninfo").conninfo_to_dict(url)
        options = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts["dbname"],
            "USER": parts["user"],
            "HOST": parts["host"],
        }
    connections.settings = connections.configure_settings({"default": options})
    with suppress(AttributeError):
        del connections["default"]
    return connections["default"]


def rows(outbox: Outbox) -> list[Event]:
    batch = outbox.claim(1000, 0)
    return list(batch.events) if batch else []


LIBRARIES = ("plain", "session", "connection", "django")


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_is_rolled_back_with_its_transaction_and_visible_with_it(
    library: str, url: str, outbox: Outbox
) -> None:
    """Also where a part of a transaction is undone and the rest is not."""
    before = datetime.now(timezone.utc)
    with opened(library, url) as connection:
        with pytest.raises(ZeroDivisionError), atomic(connection):
            log_event(connection, UserCreated("undone@x.y"))
            raise ZeroDivisionError
        with atomic(connection):
            log_event(connection, UserCreated("one@x.y", "Zoë"))
            with pytest.raises(ZeroDivisionError), atomic(connection):
                log_event(connection, UserCreated("half@x.y"))
                raise ZeroDivisionError
            assert outbox.depth().waiting == 0
    (event,) = rows(outbox)
    assert event.event_type == "user_created"
    assert json.loads(event.event_context) == {"email": "one@x.y", "first_name": "Zoë"}
    assert "Zoë" in event.event_context
    assert (event.environment, event.metadata_version) == ("Local", 1)
    assert before - timedelta(seconds=1) < event.event_date_time <= datetime.now(timezone.utc)


class CreateUser(UseCase):
    def __init__(self, connection: Any, mark: str) -> None:
        self.connection = connection
        self._mark = mark

    def _execute(self, request: str) -> UseCaseResponse:
        found = self.connection.execute(
            f"SELECT 1 FROM users WHERE email = {self._mark}", (request,)
        ).fetchone()
        if found:
            return UseCaseResponse(error="User with this email already exists")
        self.connection.execute(f"INSERT INTO users VALUES ({self._mark})", (request,))
        return UseCaseResponse(result=request)

    def _get_log_event(self, response: UseCaseResponse) -> UserCreated | None:
        return UserCreated(response.result) if response.result else None


def test_a_use_case_commits_its_change_and_its_event_together(url: str, outbox: Outbox) -> None:
    with opened("plain", url) as connection:
        connection.execute(USERS)
        connection.commit()
        use_case = CreateUser(connection, "?" if "sqlite" in url else "%s")
        assert use_case.execute("a@b.c").error == ""
        assert use_case.execute("a@b.c").error == "User with this email already exists"

        class Fails(CreateUser):
            def _get_log_event(self, response: UseCaseResponse) -> UserCreated | None:
                raise ValueError("no event")

        with pytest.raises(ValueError, match="no event"):
            Fails(connection, use_case._mark).execute("never@b.c")
        assert connection.execute("SELECT email FROM users").fetchall() == [("a@b.c",)]
    assert [json.loads(row.event_context)["email"] for row in rows(outbox)] == ["a@b.c"]


def test_a_use_case_without_the_adapter_writes_no_event(outbox: Outbox, url: str) -> None:
    class Silent(UseCase):
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def _execute(self, request: object) -> object:
            return request

    with opened("plain", url) as connection:
        assert Silent(connection).execute(7) == 7
    assert rows(outbox) == []


def test_what_structlog_writes_during_a_use_case_says_which_one_it_is(
    outbox: Outbox, url: str
) -> None:
    contextvars = pytest.importorskip("structlog").contextvars

    class Plain(UseCase):
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def _execute(self, request: str) -> object:
            return contextvars.get_contextvars()

    class Own(Plain):
        def _get_context_vars(self, request: str) -> dict[str, Any]:
            return {**super()._get_context_vars(request), "email": request}

    with opened("plain", url) as connection, contextvars.bound_contextvars(use_case="outer"):
        assert Plain(connection).execute("a@b.c") == {"use_case": "Plain"}
        assert Own(connection).execute("a@b.c") == {"use_case": "Own", "email": "a@b.c"}
        assert contextvars.get_contextvars() == {"use_case": "outer"}


@pytest.mark.parametrize(
    ("name", "event_type"),
    [
        ("UserCreated", "user_created"),
        ("HTTPRequestDone", "http_request_done"),
        ("OrderV2Paid", "order_v2_paid"),
    ],
)
def test_the_type_of_an_event_is_the_name_of_its_class_in_words(name: str, event_type: str) -> None:
    from logwax_capture.outbox.events import as_log_event

    model = type(name, (), {"model_dump_json": lambda self: '{"a": 1}'})  # as pydantic's have
    assert as_log_event(model()).event_type == event_type
    assert as_log_event(model()).event_context == '{"a": 1}'


def test_no_value_of_an_event_makes_the_callers_transaction_fail(url: str, outbox: Outbox) -> None:
    """Each is JSON in the end: what has no JSON is its text, or null."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2)))
    values = {"nan": math.nan, "inf": -math.inf, "half": "\ud800", "nul": "\0", "at": moment}
    with opened("plain", url) as connection, atomic(connection):
        log_event(connection, LogEvent("odd\0", values, moment, "pro\0d", 7))
        log_event(connection, LogEvent("ready", '{"x": 1}'))
    odd, ready = rows(outbox)
    assert json.loads(odd.event_context) == {
        "nan": None,
        "inf": None,
        "half": "\ud800",
        "nul": "\0",
        "at": str(moment),
    }
    assert odd.event_date_time == moment
    assert (odd.environment, odd.event_type, odd.metadata_version) == ("pro\ufffdd", "odd\ufffd", 7)
    assert ready.event_context == '{"x": 1}'


def test_what_is_no_event_and_no_connection_is_said() -> None:
    with pytest.raises(TypeError, match="dict is no event: give a LogEvent"):
        log_event(sqlite3.connect(":memory:"), {})
    with pytest.raises(TypeError, match="object is no connection"):
        log_event(object(), LogEvent("a", "{}"))


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """In a process without site-packages nothing else could be loaded."""
    code = (
        "import sqlite3\n"
        "from logwax_capture.outbox import LogEvent, Outbox, log_event\n"
        "outbox = Outbox.open('sqlite:///app.db')\n"
        "outbox.create()\n"
        "with sqlite3.connect('app.db') as connection:\n"
        "    log_event(connection, LogEvent('tick', {}))\n"
        "print(outbox.claim(1, 0).events[0].event_type)\n"
        "Outbox.open('postgresql://nowhere').claim(1, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(logwax_capture.__path__[0]).parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "tick\n"
    assert "pip install 'logwax-capture[postgres]'" in done.stderr


def test_the_tables_of_sqlalchemy_are_those_of_the_statements(url: str, outbox: Outbox) -> None:
    """So that Alembic finds nothing to change, and events go through tables made by it."""
    engine = engine_of(url)
    sqlalchemy = pytest.importorskip("sqlalchemy")
    metadata = sqlalchemy.MetaData()
    tables = sqlalchemy_tables(metadata)

    def shapes() -> list[object]:
        inspector = sqlalchemy.inspect(engine)
        options: object = None
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:
                found = "SELECT reloptions FROM pg_class WHERE relname = 'events_log_outbox'"
                options = connection.execute(sqlalchemy.text(found)).scalar_one()
        columns = [
            (
                [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(t.name)],
                inspector.get_pk_constraint(t.name)["constrained_columns"],
                sorted(str(index["name"]) for index in inspector.get_indexes(t.name)),
            )
            for t in tables
        ]
        return [options, columns]

    by_statements = shapes()
    metadata.drop_all(engine)
    metadata.create_all(engine)
    by_sqlalchemy = shapes()
    assert by_sqlalchemy == by_statements
    with opened("session", url) as session, atomic(session):
        log_event(session, UserCreated("a@b.c"))
    assert len(rows(outbox)) == 1
    engine.dispose()
