"""From PostgreSQL to ClickHouse by whoever sends: each committed event once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import clickhouse_connect
import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from logwax_capture.outbox import (
    EventLogClient,
    EventLogService,
    LogEvent,
    Outbox,
    log_event,
)
from tests import outbox_harness
from tests.servers.clickhouse_http import Answer, Reset, Server

N = 10


pytest_plugins = ["tests.outbox_fixtures"]


@pytest.fixture
def clickhouse(server: Server) -> Iterator[Client]:
    with closing(clickhouse_connect.get_client(dsn=server.url)) as client:
        yield client


def write(url: str, events: int) -> None:
    with psycopg.connect(url) as connection:
        for number in range(events):
            log_event(connection, LogEvent("tick", {"n": number}))


def service(url: str, server: Server, lease: float = 60.0) -> EventLogService:
    made = EventLogService(outbox=Outbox.open(url, lease=lease), client=EventLogClient(server.url))
    made.variables = made.variables._replace(log_events_partition_quantity=N)
    return made


def numbers(clickhouse: Client) -> list[int]:
    found = clickhouse.query("SELECT event_context FROM event_log ORDER BY offset")
    return [json.loads(row[0])["n"] for row in found.result_rows]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logwax_capture.outbox.table._FIRST_PAUSE", 0.0)


def test_events_arrive_in_the_table_of_the_document(
    url: str, server: Server, clickhouse: Client
) -> None:
    """Which is made where it is missing, with the identity of each event beside its columns."""
    write(url, N)
    assert service(url, server).process_log_events() == (1, 0)
    columns = dict(
        clickhouse.query(
            "SELECT name, type FROM system.columns WHERE table = 'event_log'"
        ).result_rows
    )
    assert columns == {
        "event_type": "String",
        "event_date_time": "DateTime64(6, 'UTC')",
        "environment": "String",
        "event_context": "String",
        "metadata_version": "Int32",
        "file_id": "UInt64",
        "offset": "UInt64",
    }
    rows = clickhouse.query(
        "SELECT event_type, environment, event_context, metadata_version, offset FROM event_log "
        "ORDER BY offset LIMIT 1"
    ).result_rows
    assert rows == [("tick", "Local", '{"n": 0}', 1, 1)]
    with psycopg.connect(url) as connection:
        ((written,),) = connection.execute(
            "SELECT event_date_time FROM events_log_outbox WHERE id = 1"
        ).fetchall()
    ((stored,),) = clickhouse.query(
        "SELECT toUnixTimestamp64Micro(event_date_time) FROM event_log WHERE offset = 1"
    ).result_rows
    assert stored == round(written.timestamp() * 1_000_000)


@pytest.mark.parametrize("fault", [Answer(503), Reset(after=False), Reset(after=True)], ids=str)
def test_a_batch_whose_answer_is_lost_is_stored_once(
    fault: object, url: str, server: Server, clickhouse: Client
) -> None:
    write(url, 2 * N)
    server.faults.extend([fault, None, fault])  # the first insert of all makes no table
    sent = service(url, server).process_log_events()
    assert sent.successful == 2
    assert sent.failed >= 1
    assert numbers(clickhouse) == list(range(2 * N))


def test_a_batch_that_the_store_has_is_known_there_when_its_token_is_forgotten(
    url: str, server: Server, clickhouse: Client
) -> None:
    """Two late senders at once, too: whoever claims it again asks which events are there."""
    write(url, N)
    late = Outbox.open(url, lease=0.0)
    batch = late.claim(N, 0)
    assert batch
    EventLogClient(server.url).insert(batch)
    clickhouse.command(
        "ALTER TABLE event_log MODIFY SETTING non_replicated_deduplication_window = 0"
    )
    assert service(url, server).process_log_events() == (1, 0)
    assert numbers(clickhouse) == list(range(N))
    late.close()


def test_a_batch_that_two_senders_send_at_once_is_stored_once(
    url: str, server: Server, clickhouse: Client
) -> None:
    """As where an insert that nobody waited for any more comes through behind the next one."""
    write(url, N)
    with closing(Outbox.open(url)) as outbox:
        batch = outbox.claim(N, 0)
        assert batch
        for _ in range(2):
            assert EventLogClient(server.url).insert(batch) == {}
    assert numbers(clickhouse) == list(range(N))


def test_an_event_that_the_table_refuses_fails_alone(
    url: str, server: Server, clickhouse: Client
) -> None:
    write(url, N)
    assert service(url, server).process_log_events() == (1, 0)
    clickhouse.command(
        "ALTER TABLE event_log ADD CONSTRAINT small CHECK JSONExtractInt(event_context, 'n') != 3"
    )
    write(url, N)
    assert service(url, server).process_log_events() == (1, 0)
    assert sorted(numbers(clickhouse)) == sorted([*range(N), *(n for n in range(N) if n != 3)])
    with psycopg.connect(url) as connection:
        ((status, failure),) = connection.execute(
            "SELECT send_status, failure FROM events_log_outbox WHERE id = 14"
        ).fetchall()
    assert status == "DELIVERY_FAILED"
    assert "small" in failure


def test_a_refusal_of_everything_costs_no_event(
    url: str, server: Server, clickhouse: Client
) -> None:
    write(url, N)
    server.forbidden = "INSERT"
    assert service(url, server).process_log_events() == (0, 5)
    server.forbidden = ""
    assert service(url, server).process_log_events() == (1, 0)
    assert numbers(clickhouse) == list(range(N))


def test_every_committed_event_arrives_once_though_senders_and_the_database_are_killed(
    tmp_path: Path, soak: bool
) -> None:
    """At any step: no row stays in SENDING, and cleaning takes nothing undelivered."""
    plan = (200_000, 60, 5) if soak else (3000, 4, 1)
    events, kills, restarts = plan
    tally = outbox_harness.run(tmp_path, events=events, kills=kills, restarts=restarts, seed=7)
    assert tally.is_good, tally
    assert tally.kills >= kills
