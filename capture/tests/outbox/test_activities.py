"""Activities that go into the outbox, too, and so arrive in the store."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import logwax_capture
from logwax_capture.activity import ActivityThreadService, create_table
from logwax_capture.activity.table import Insert
from logwax_capture.background import RefusedError
from logwax_capture.errors import CaptureError
from logwax_capture.outbox import Outbox

Connect = Callable[[], Any]


@pytest.fixture
def connect(url: str, outbox: Outbox) -> Connect:
    """Opens a connection of an application with both tables; psycopg commits each statement."""
    if url.startswith("sqlite"):
        opened: Connect = lambda: sqlite3.connect(url.removeprefix("sqlite:///"))  # noqa: E731
    else:
        psycopg = pytest.importorskip("psycopg")
        opened = lambda: psycopg.connect(url, autocommit=True)  # noqa: E731
    with closing(opened()) as connection:
        create_table(connection)
    return opened


@pytest.fixture
def service(connect: Connect, tmp_path: Path) -> Iterator[ActivityThreadService]:
    made = ActivityThreadService(
        connect, LOGS_INTO_OUTBOX=True, LOGS_SPILL_DIR=str(tmp_path / "spill")
    )
    yield made
    made.close()


def entry(number: int, **fields: str) -> dict[str, str]:
    names = ("user", "email", "username", "ip", "message", "action", "vpn", "extras")
    return {
        **{"entry_id": f"{number:032}", "created_at": "2026-11-26T10:00:00.500000+00:00"},
        **{name: fields.get(name, "") for name in names},
    }


def rows(connect: Connect) -> int:
    with closing(connect()) as connection:
        return int(connection.execute("SELECT count(*) FROM activity_log").fetchone()[0])


def test_an_activity_is_an_event_with_all_that_was_given_and_its_own_time(
    service: ActivityThreadService, connect: Connect, outbox: Outbox
) -> None:
    service.put_log_data(7, "a@b.c", "ada", "192.0.2.1", "signed in", "login", True, {"n": [1]})
    assert service.flush()
    batch = outbox.claim(10, 0)
    assert batch
    (event,) = batch.events
    context = json.loads(event.event_context)
    with closing(connect()) as connection:
        ((entry_id, moment),) = connection.execute("SELECT entry_id, created_at FROM activity_log")
    assert event.event_type == "activity"
    assert event.event_date_time.isoformat(timespec="microseconds") == moment
    assert context == {
        **{"entry_id": entry_id, "user": "7", "email": "a@b.c", "username": "ada"},
        **{"ip": "192.0.2.1", "message": "signed in", "action": "login", "vpn": "true"},
        "extras": {"n": [1]},
    }


def test_a_batch_whose_answer_was_lost_is_told_of_once_even_if_it_was_cleaned_away_since(
    connect: Connect, outbox: Outbox
) -> None:
    class Lost:
        """A connection over which the answer to the commit does not come."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner
            Lost.__module__ = type(inner).__module__  # whose it is

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def commit(self) -> None:
            self.inner.commit()
            raise ConnectionError("the answer was lost")

    batch = [entry(number) for number in range(3)]
    with pytest.raises(ConnectionError):
        Insert(lambda: Lost(connect()), into_outbox=True)(batch[:2], False)
    claimed = outbox.claim(10, 0)
    assert claimed and len(claimed.events) == 2
    outbox.delivered(claimed)
    assert outbox.clean() == 2
    Insert(connect, into_outbox=True)(batch, True)
    again = outbox.claim(10, 0)
    assert again and len(again.events) == 1
    assert json.loads(again.events[0].event_context)["entry_id"] == batch[2]["entry_id"]


def test_an_activity_is_in_neither_table_if_it_cannot_be_in_both(
    connect: Connect, outbox: Outbox
) -> None:
    with closing(connect()) as connection:
        connection.execute("ALTER TABLE events_log_outbox RENAME TO elsewhere")
        connection.commit()
    with pytest.raises(Exception, match="events_log_outbox") as caught:
        Insert(connect, into_outbox=True)([entry(1)], False)
    assert not isinstance(caught.value, RefusedError)  # it is kept and tried again
    assert rows(connect) == 0


def test_a_connection_that_no_event_can_be_written_by_is_no_fault_of_the_entries() -> None:
    class Other:
        def cursor(self) -> Any:
            return closing(self)

        def close(self) -> None:
            pass

    with pytest.raises(CaptureError, match="cannot go into the outbox: Other is no connection"):
        Insert(Other, into_outbox=True)([entry(1)], False)

    class MySQL(Other):
        __module__ = "django.db.backends.mysql.base"
        vendor = "mysql"

    with pytest.raises(CaptureError, match="is in PostgreSQL or SQLite, not in mysql"):
        Insert(MySQL, into_outbox=True)([entry(1)], False)


PROJECT = """
import sqlite3
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.sqlite"}},
    INSTALLED_APPS=["logwax_capture.outbox", "logwax_capture.activity"],
    LOGS_INTO_OUTBOX=True,
    LOGS_SPILL_DIR="spill",
)
django.setup()
call_command("migrate", verbosity=0)

from django.db import connection
from logwax_capture.activity import ActivityThreadService
from logwax_capture.activity.models import ActivityLog
from logwax_capture.outbox.models import EventsLogOutBox

service = ActivityThreadService()
insert, kept = service._insert_into_data_base, []
def lost(bulk_item, **options):
    insert(bulk_item, **options)
    if not kept:
        kept.extend(bulk_item)
        raise ConnectionError("the answer was lost")
service._insert_into_data_base = lost
for number in range(3):
    service.put_log_data("", "", "", "", str(number), "", None, None)
assert service.flush()
print(len(kept), ActivityLog.objects.count(), EventsLogOutBox.objects.count())
other = sqlite3.connect("app.sqlite", isolation_level=None)
other.execute("PRAGMA journal_mode = WAL")
other.execute("CREATE TABLE writes (number)")
def meanwhile(execute, sql, *more):
    answer = execute(sql, *more)
    if sql.startswith("SELECT"):
        other.execute("INSERT INTO writes VALUES (1)")
    return answer
with connection.execute_wrapper(meanwhile):
    insert([{**kept[0], "entry_id": "beside somebody else's"}], into_outbox=True)
print(EventsLogOutBox.objects.count(), *other.execute("SELECT count(*) FROM writes"))
with connection.cursor() as cursor:
    cursor.execute("ALTER TABLE events_log_outbox RENAME TO elsewhere")
try:
    insert([{**kept[0], "entry_id": "other"}], into_outbox=True)
except django.db.OperationalError as error:
    print(error, ActivityLog.objects.count())
"""


def test_activities_of_a_django_project_go_into_both_tables_or_none(tmp_path: Path) -> None:
    pytest.importorskip("django")
    done = subprocess.run(
        [sys.executable, "-c", PROJECT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(logwax_capture.__path__[0]).parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 3 3\n4 (1,)\nno such table: events_log_outbox 4\n"
