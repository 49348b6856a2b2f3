"""`python -m bytewax.run flows.outbox`: the events of an outbox, through the stores of lines."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import clickhouse_connect
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from connectors.batch import Parsed
from connectors.errors import SettingsError
from connectors.sources.outbox import OutboxSource
from flows import outbox_audit
from flows.events import parse_events
from flows.outbox import open_outbox
from logwax_capture.outbox import (
    Batch,
    Event,
    EventLogService,
    LogEvent,
    Outbox,
    log_event,
)
from settings import Settings
from tests.conftest import Pipeline, find_port, wait_for
from tests.servers.clickhouse_http import Server

pytest_plugins = ["tests.outbox_fixtures"]


class Flow(Pipeline):
    """The flow in a directory of its own."""

    def start(self, *arguments: str, **settings: Any) -> subprocess.Popen[str]:
        return super().start(*arguments, **{"job": "flows.outbox", **settings})


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    with Flow(tmp_path, find_port()) as made:
        yield made


def write(url: str, numbers: range) -> None:
    with psycopg.connect(url) as connection:
        for number in numbers:
            log_event(connection, LogEvent("tick", {"n": number}))


def statuses(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return dict(
            connection.execute(
                "SELECT send_status, count(*) FROM events_log_outbox GROUP BY send_status"
            ).fetchall()
        )


def numbers(clickhouse: Client) -> list[int]:
    found = clickhouse.query("SELECT event_context FROM event_log ORDER BY offset")
    return [json.loads(row[0])["n"] for row in found.result_rows]


def test_what_is_there_is_stored_once_and_a_second_run_finds_nothing(
    url: str, server: Server, flow: Flow
) -> None:
    write(url, range(250))
    settings = {"DATABASE_URL": url, "STORE": "clickhouse", "CLICKHOUSE_URL": server.url}
    done = flow.run(STREAM_MAX_SIZE=100, **settings)
    assert "lines=250 stored=250 dead=0" in done.stdout, done.stderr
    assert statuses(url) == {"DELIVERED": 250}
    assert "lines=0 stored=0 dead=0" in flow.run(**settings).stdout
    with closing(clickhouse_connect.get_client(dsn=server.url)) as clickhouse:
        assert numbers(clickhouse) == list(range(250))
        row = clickhouse.query(
            "SELECT event_type, environment, metadata_version, abs(now() - event_date_time) < 300 "
            "FROM event_log LIMIT 1"
        ).result_rows
    assert row == [("tick", "Local", 1, 1)]


def test_a_store_without_a_table_for_events_has_them_as_lines(tmp_path: Path, flow: Flow) -> None:
    """From an outbox in SQLite, which is in the same file system as its application."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    with closing(Outbox.open(url)) as outbox:
        outbox.create()
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        log_event(connection, LogEvent("user_created", {"email": "a@b.c"}))
    done = flow.run(DATABASE_URL=url, STORE="sqlite")
    assert "lines=1 stored=1 dead=0" in done.stdout, done.stderr
    with closing(sqlite3.connect(tmp_path / "data" / "logwax.sqlite")) as stored:
        ((message, source, attributes),) = stored.execute(
            "SELECT message, source, attributes FROM logs"
        )
    assert (message, source) == ("user_created", "events_log_outbox")
    found = json.loads(attributes)
    assert json.loads(found.pop("event_context")) == {"email": "a@b.c"}
    assert found == {"environment": "Local", "metadata_version": 1}


def test_processes_share_an_outbox_and_one_that_is_killed_strands_nothing(
    url: str, server: Server, flow: Flow, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": url, "STORE": "clickhouse", "CLICKHOUSE_URL": server.url}
    write(url, range(100))
    with closing(Outbox.open(url, lease=0.0)) as dead:
        assert dead.claim(30, 0)  # and it was killed
    flow.start("-w", "2", STREAM_MAX_SIZE=10, **settings)
    other = Flow(tmp_path, find_port())
    other.start(**settings)
    try:
        wait_for(lambda: statuses(url) == {"DELIVERED": 100}, "the first events")
        flow.running.kill()
        flow.running.communicate()
        write(url, range(100, 200))
        wait_for(lambda: statuses(url) == {"DELIVERED": 200}, "the events after the kill")
        assert other.stop() == 0
    finally:
        if other.running and other.running.poll() is None:
            other.running.send_signal(signal.SIGKILL)
            other.running.communicate()
    with closing(clickhouse_connect.get_client(dsn=server.url)) as clickhouse:
        assert sorted(numbers(clickhouse)) == list(range(200))


def test_health_shows_how_much_waits_and_what_was_refused(
    url: str, server: Server, flow: Flow
) -> None:
    settings = {"DATABASE_URL": url, "STORE": "clickhouse", "CLICKHOUSE_URL": server.url}
    assert flow.run(**settings).returncode == 0  # which makes the table
    with closing(clickhouse_connect.get_client(dsn=server.url)) as clickhouse:
        clickhouse.command(
            "ALTER TABLE event_log ADD CONSTRAINT small "
            "CHECK JSONExtractInt(event_context, 'n') < 5"
        )
        write(url, range(6))
        flow.start(STREAM_MAX_WAIT_TIME_IN_SECONDS=0, **settings)
        wait_for(
            lambda: statuses(url) == {"DELIVERED": 5, "DELIVERY_FAILED": 1}, "the isolated event"
        )
        ((raw, reason),) = clickhouse.query("SELECT raw, reason FROM dead_letters").result_rows
        assert json.loads(json.loads(raw)["event_context"]) == {"n": 5}
        assert reason == "rejected"

        def problems() -> list[str]:
            return [one for one in flow.get("/health").json()["problems"] if "outbox" in one]

        wait_for(lambda: flow.is_healthy() and problems(), "the problem")
        assert "has refused 1 events of the outbox" in problems()[0]
        server.forbidden = "INSERT"
        write(url, range(3))
        wait_for(lambda: flow.get("/health").json()["lag_records"] == 3, "what waits")
        assert "logwax_lag_records 3.0" in flow.get("/metrics").text
        server.forbidden = ""
        wait_for(lambda: statuses(url)["DELIVERED"] == 8, "the rest")
    assert flow.stop() == 0


def test_an_audit_names_delivered_events_that_are_missing_or_double(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever has sent them: the flow, the service, or a task."""
    settings = {"DATABASE_URL": url, "STORE": "clickhouse", "CLICKHOUSE_URL": server.url}
    for name, value in {**settings, "API_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOG_EVENTS_PARTITION_QUANTITY", "10")
    monkeypatch.setattr(outbox_audit, "prepare", lambda: None)  # it is about the whole process

    def audit() -> tuple[int, str]:
        code = outbox_audit.main()
        return code, "".join(capfd.readouterr())

    write(url, range(25))
    service = EventLogService()
    assert service.process_log_events() == (2, 0)
    service.close()
    assert audit() == (0, "20 delivered events. Each is stored once.\n")
    with closing(clickhouse_connect.get_client(dsn=server.url)) as clickhouse:
        clickhouse.command("INSERT INTO event_log SELECT * FROM event_log WHERE offset = 7")
        clickhouse.command("DELETE FROM event_log WHERE offset IN (3, 4)")
    assert audit() == (
        1,
        "20 delivered events. Events 3, 4 are not stored. Events 7 are stored more than once.\n",
    )


def test_a_flow_without_an_outbox_says_all_that_is_wrong_and_ends(
    flow: Flow, url: str, tmp_path: Path
) -> None:
    done = flow.run(STORE="null")
    assert done.returncode == 1
    assert done.stderr.startswith("DATABASE_URL is not set")
    assert "Traceback" not in done.stderr
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE events_log_outbox")
    settings = Settings(database_url=url, store="null", data_dir=tmp_path / "file" / "data")
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError) as caught:
        open_outbox(settings)
    in_the_way, missing = caught.value.problems
    assert "cannot write in" in in_the_way
    assert 'relation "events_log_outbox" does not exist' in missing


def test_a_batch_that_the_store_has_is_marked_and_not_handed_out_again(url: str) -> None:
    """As after a crash between storing and marking."""
    write(url, range(10))
    with closing(Outbox.open(url, lease=0.0)) as dead:
        assert dead.claim(10, 0)
    asked: list[tuple[int, int, int]] = []

    def stored(stream: int, first: int, last: int) -> set[int]:
        asked.append((stream, first, last))
        return set(range(first, last))

    with closing(Outbox.open(url)) as outbox:
        source = OutboxSource(outbox, stored, most=10, max_age=0, follow=False)
        assert source.collect() is None
        assert source.exhausted()
        assert asked == [(outbox.name, 1, 11)]
        source.close()
    assert statuses(url) == {"DELIVERED": 10}


@pytest.mark.parametrize("as_lines", [False, True])
def test_events_are_columns_whatever_their_times_and_texts(as_lines: bool) -> None:
    """A time that some store would change is refused alone, and the outbox is told so."""
    moments = [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc),
        datetime(1, 1, 1, tzinfo=timezone.utc),
        datetime(2300, 1, 1, tzinfo=timezone.utc),
        datetime(1900, 1, 1, tzinfo=timezone.utc),
    ]
    text = '{"name": "Zoë \\u0000 \\" \\n"}'
    events = [Event(n, "a\tb", at, "Local", text, n) for n, at in enumerate(moments, 1)]
    marked: list[dict[int, str]] = []

    class OneBatch:
        vendor, name = "sqlite", 5

        def claim(self, quantity: int, max_age: float) -> Batch | None:
            return None if marked else Batch(5, 77, events)

        def delivered(self, batch: Batch, refused: dict[int, str]) -> None:
            marked.append(refused)

        def close(self) -> None:
            pass

    source = OutboxSource(cast("Outbox", OneBatch()), lambda *places: (), most=10, max_age=0)
    taken = source.collect()
    assert taken
    parsed = parse_events(as_lines=as_lines)(taken)
    when = "timestamp" if as_lines else "event_date_time"
    assert parsed.rows[when].to_list() == [moments[0], moments[1], moments[4]]
    assert parsed.rows["offset"].to_list() == [1, 2, 5]
    assert parsed.rows["line"].to_list() == [1, 2, 5]  # by which InfluxDB tells points apart
    assert parsed.rows["message" if as_lines else "event_type"].to_list() == ["a\tb"] * 3
    if as_lines:
        assert json.loads(parsed.rows["attributes"][0])["event_context"] == text
    else:
        assert parsed.rows["event_context"].to_list() == [text] * 3
    assert parsed.rejected["offset"].to_list() == [3, 4]
    parsed.acknowledge()
    assert marked[0].keys() == {3, 4}
    source.close()


def test_a_connection_that_is_lost_is_a_problem_until_it_is_back(
    url: str,
) -> None:
    with closing(Outbox.open(url)) as outbox:
        source = OutboxSource(outbox, lambda *places: (), most=10, max_age=0)
        assert source.collect() is None
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'logwax outbox'"
            )
        wait_for(lambda: source.collect() or source.status().problems, "the problem")
        assert "cannot be used now" in source.status().problems[0]
        write(url, range(3))
        taken = []
        wait_for(lambda: taken.append(source.collect()) or taken[-1], "the events")
        parsed = parse_events(as_lines=False)(taken[-1])
        assert isinstance(parsed, Parsed)
        assert parsed.rows["offset"].to_list() == [1, 2, 3]
        assert source.status().problems == ()
        parsed.acknowledge()
        source.close()
    assert statuses(url) == {"DELIVERED": 3}
