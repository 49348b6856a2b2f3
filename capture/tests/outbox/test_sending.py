"""Batches are claimed, frozen, sent and marked: each event once, whoever dies in between."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres

from logwax_capture.outbox import (
    Batch,
    EventLogService,
    EventLogStatus,
    EventStoreError,
    LogEvent,
    Outbox,
    OutboxError,
    delete_delivered_events,
    log_event,
)
from logwax_capture.outbox.connections import atomic
from logwax_capture.outbox.service import OutboxSettingsError, Variables

N = 10
"""Events in a batch of these tests."""


def connect(url: str, **options: Any) -> Any:
    """A connection of psycopg, which the fixtures of PostgreSQL ask for."""
    return importlib.import_module("psycopg").connect(url, **options)


class App:
    """An application's connection: each statement is committed at once."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self.connection: Any = (
            sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
            if self.is_sqlite
            else connect(url, autocommit=True)
        )

    def write(self, events: int) -> None:
        with atomic(self.connection):
            for number in range(events):
                log_event(self.connection, LogEvent("tick", {"n": number}))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(query).fetchall())

    def statuses(self) -> dict[str, int]:
        return dict(
            self.ask("SELECT send_status, count(*) FROM events_log_outbox GROUP BY send_status")
        )


@pytest.fixture
def app(url: str, outbox: Outbox) -> Iterator[App]:
    made = App(url)
    yield made
    made.connection.close()


@pytest.fixture
def another(url: str) -> Iterator[Outbox]:
    """The same outbox, as another process has it."""
    made = Outbox.open(url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_EVENTS_PARTITION_QUANTITY", str(N))
    monkeypatch.setattr("logwax_capture.outbox.table._FIRST_PAUSE", 0.0)


class Store:
    """A store that keeps batches by their tokens; it fails, or refuses events, as it is told."""

    def __init__(self) -> None:
        self.batches: dict[str, Batch] = {}
        self.sent: list[Batch] = []
        self.failures = iter(())
        self.refused: Mapping[int, str] = {}
        self.on_insert: Callable[[Batch], object] = lambda batch: None

    def insert(self, batch: Batch) -> Mapping[int, str]:
        self.on_insert(batch)
        self.sent.append(batch)
        for failure in self.failures:
            raise failure
        self.batches[batch.token] = batch
        return {id: why for id, why in self.refused.items() if id in {e.id for e in batch.events}}

    @property
    def ids(self) -> list[int]:
        return sorted(event.id for batch in self.batches.values() for event in batch.events)


def always(error: Exception) -> Iterator[Exception]:
    return itertools.repeat(error)


# --- The service, as its document says ----------------------------------------------------------


@pytest.mark.parametrize(("rows", "delivered"), [(N, N), (N - 1, 0), (N + 1, N), (3 * N, 3 * N)])
def test_full_batches_are_sent_and_the_rest_waits(
    rows: int, delivered: int, app: App, outbox: Outbox
) -> None:
    app.write(rows)
    store = Store()
    service = EventLogService(outbox=outbox, client=store)
    sent = service.process_log_events()
    assert sent == (rows // N, 0)
    assert service.success_partitions_send_counter == rows // N
    assert service.failed_partitions_send_counter == 0
    found = app.statuses()
    assert found.get("DELIVERED", 0) == delivered == len(store.ids)
    assert found.get("AWAITING_DELIVERY", 0) == rows - delivered == outbox.depth().waiting


def test_a_rest_is_sent_once_its_oldest_event_has_waited(app: App, outbox: Outbox) -> None:
    app.write(N - 1)
    assert outbox.claim(N, 600) is None
    app.connection.execute(
        "UPDATE events_log_outbox SET created_at = "
        + (
            "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-10 minutes')"
            if app.is_sqlite
            else "now() - interval '10 minutes'"
        )
        + " WHERE id = 1"
    )
    assert outbox.depth().oldest_seconds >= 600
    store = Store()
    EventLogService(outbox=outbox, client=store).process_log_events()
    assert store.ids == list(range(1, N))


def test_a_store_that_fails_always_costs_the_attempts_of_a_run_and_no_event(
    app: App, outbox: Outbox
) -> None:
    """Each attempt is the identical batch; afterwards its events are awaiting delivery again."""
    app.write(2 * N)
    store = Store()
    store.failures = always(EventStoreError("down"))
    service = EventLogService(outbox=outbox, client=store)
    assert service.process_log_events() == (0, 5)
    assert service.retries_number_left == 0
    assert app.statuses() == {"AWAITING_DELIVERY": 2 * N}
    assert {batch.token for batch in store.sent} == {store.sent[0].token}
    assert all(batch.events == store.sent[0].events for batch in store.sent)
    assert [batch.attempts for batch in store.sent] == [1, 2, 3, 4, 5]
    assert app.ask("SELECT failure FROM events_log_outbox_batches WHERE number <> 0") == [("down",)]
    store.failures = iter(())
    app.write(N)  # do not get into the batch that is there
    assert service.process_log_events() == (3, 0)
    assert store.ids == list(range(1, 3 * N + 1))
    assert store.sent[5].events == store.sent[0].events


def test_a_run_ends_after_its_ttl(app: App, outbox: Outbox) -> None:
    app.write(3 * N)
    store = Store()
    service = EventLogService(ttl=60, outbox=outbox, client=store)

    def pass_time(batch: Batch) -> None:
        assert service.service_expiration_time is not None
        service.service_expiration_time -= 3600

    store.on_insert = pass_time
    assert service.process_log_events() == (1, 0)
    assert service.process_log_events() == (1, 0)


def test_no_batch_of_a_run_is_a_level_of_recursion(app: App, outbox: Outbox) -> None:
    app.write(3 * N)
    store, depths = Store(), []
    store.on_insert = lambda batch: depths.append(len(inspect.stack(0)))
    assert EventLogService(outbox=outbox, client=store).process_log_events() == (3, 0)
    assert len(set(depths)) == 1


def test_cleaning_takes_what_is_delivered_in_small_steps_and_nothing_else(
    app: App, outbox: Outbox
) -> None:
    for status in EventLogStatus:
        app.write(10)
        app.connection.execute(
            f"UPDATE events_log_outbox SET send_status = '{status.value}', batch = 1 "
            "WHERE batch IS NULL"
        )
    assert outbox.clean(step=3) == 10
    kept = {status.value: 10 for status in EventLogStatus if status is not EventLogStatus.DELIVERED}
    assert app.statuses() == kept
    assert delete_delivered_events(outbox) == 0


def test_an_id_that_was_cleaned_up_never_comes_again(app: App, outbox: Outbox) -> None:
    app.write(N)
    EventLogService(outbox=outbox, client=Store()).process_log_events()
    assert outbox.clean() == N
    app.write(1)
    assert app.ask("SELECT id FROM events_log_outbox") == [(N + 1,)]


def test_the_variables_are_those_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOG_EVENTS_PARTITION_QUANTITY")
    assert Variables.load() == (1000, 10, 1440, 5)
    monkeypatch.setenv("LOG_EVENTS_PARTITION_QUANTITY", "0")
    monkeypatch.setenv("FAILED_LOG_SENDING_RETRIES", "many")
    with pytest.raises(OutboxSettingsError) as caught:
        Variables.load()
    assert len(str(caught.value).splitlines()) == 2


# --- What goes wrong on the way -------------------------------------------------------------------


def test_what_a_dead_sender_had_claimed_is_sent_again_as_the_same_batch(
    app: App, url: str, another: Outbox, wait_for: Callable[..., None]
) -> None:
    """No row stays in SENDING."""
    dead = Outbox.open(url, lease=0.2)
    app.write(N)
    claimed = dead.claim(N, 0)
    assert claimed
    dead.close()
    app.write(N)
    assert app.statuses() == {"SENDING": N, "AWAITING_DELIVERY": N}
    found: list[Batch | None] = []
    wait_for(lambda: found.append(another.claim(2 * N, 600)) or found[-1], "the lease's end")
    (again,) = (batch for batch in found if batch)
    assert (again.token, again.events) == (claimed.token, claimed.events)
    assert again.is_repeated
    another.delivered(again)
    assert app.statuses() == {"DELIVERED": N, "AWAITING_DELIVERY": N}


def test_a_batch_with_a_lease_is_nobody_elses(app: App, outbox: Outbox, another: Outbox) -> None:
    app.write(N)
    assert outbox.claim(N, 0)
    assert another.claim(1, 0) is None


def test_a_sender_that_has_lost_its_lease_takes_nothing_from_the_next_one(
    app: App, url: str, another: Outbox, wait_for: Callable[..., None]
) -> None:
    late = Outbox.open(url, lease=0.1)
    app.write(N)
    batch = late.claim(N, 0)
    assert batch
    again: list[Batch | None] = []
    wait_for(lambda: again.append(another.claim(N, 0)) or again[-1], "the lease's end")
    late.release(batch, "too late", 0)
    assert app.statuses() == {"SENDING": N}
    assert late.claim(N, 0) is None
    late.delivered(batch)  # which is true all the same
    assert app.statuses() == {"DELIVERED": N}
    late.close()


def test_a_refused_event_is_isolated_with_the_reason_and_the_others_go_on(
    app: App, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    app.write(N)
    store = Store()
    store.refused = {3: "too\0 long"}
    with caplog.at_level(logging.ERROR, "logwax.outbox"):
        assert EventLogService(outbox=outbox, client=store).process_log_events() == (1, 0)
    assert app.statuses() == {"DELIVERED": N - 1, "DELIVERY_FAILED": 1}
    assert app.ask("SELECT id, failure FROM events_log_outbox WHERE failure IS NOT NULL") == [
        (3, "too long")
    ]
    assert "refuses the event 3" in caplog.text
    assert outbox.depth().failed == 1
    assert outbox.clean() == N - 1


def test_senders_at_once_never_send_the_same_event(app: App, url: str) -> None:
    app.write(30 * N)
    store = Store()

    def send() -> None:
        with closing(Outbox.open(url)) as outbox:
            service = EventLogService(outbox=outbox, client=store)
            while outbox.depth().waiting:  # a run ends where others have all that is left
                service.process_log_events()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.sent) == 30
    assert store.ids == list(range(1, 30 * N + 1))


def test_every_change_of_a_row_says_when_it_was(app: App, outbox: Outbox) -> None:
    app.write(1)

    def changed() -> Any:
        ((when,),) = app.ask("SELECT updated_at FROM events_log_outbox")
        time.sleep(0.002)  # a clock of milliseconds
        return when

    times = [changed()]
    batch = outbox.claim(1, 0)
    assert batch
    times.append(changed())
    outbox.release(batch, "down", 0)
    times.append(changed())
    batch = outbox.claim(1, 0)
    assert batch
    times.append(changed())
    outbox.delivered(batch)
    times.append(changed())
    assert times == sorted(set(times))


def test_a_lock_that_somebody_keeps_is_not_waited_for_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logwax_capture.outbox.connections._SQLITE_WAITS", 0.05)
    url = f"sqlite:///{tmp_path / 'app.db'}"
    with closing(Outbox.open(url)) as outbox, closing(App(url).connection) as other:
        outbox.create()
        other.execute("BEGIN IMMEDIATE")
        for use in (lambda: outbox.claim(1, 0), outbox.clean):
            with pytest.raises(OutboxError, match="database is locked"):
                use()
        assert outbox.depth().waiting == 0  # reading waits for nobody
        other.execute("ROLLBACK")
        assert outbox.claim(1, 0) is None


def test_pauses_grow_and_differ_from_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logwax_capture.outbox.table._FIRST_PAUSE", 1.0)
    pauses = [[Batch(1, 1, (), attempts).pause for _ in range(50)] for attempts in (1, 4, 50)]
    assert all(0.5 <= pause <= 1 for pause in pauses[0])
    assert all(4 <= pause <= 8 for pause in pauses[1])
    assert all(150 <= pause <= 300 for pause in pauses[2])
    assert all(len(set(some)) > 1 for some in pauses)


# --- What only PostgreSQL does -----------------------------------------------------------------


@pytest.fixture
def server(postgres: Postgres, request: pytest.FixtureRequest) -> Iterator[tuple[App, Outbox, str]]:
    url = postgres.new_database()
    outbox = Outbox.open(url)
    outbox.create()
    app = App(url)
    yield app, outbox, url
    app.connection.close()
    outbox.close()


Server = tuple[App, Outbox, str]


def test_no_transaction_is_open_while_something_is_sent(server: Server) -> None:
    app, outbox, _ = server
    app.write(N)
    open_ones: list[object] = []
    store = Store()
    store.on_insert = lambda batch: open_ones.extend(
        app.ask("SELECT state FROM pg_stat_activity WHERE application_name = 'logwax outbox'")
    )
    EventLogService(outbox=outbox, client=store).process_log_events()
    assert set(open_ones) == {("idle",)}


def test_ids_that_commit_out_of_order_are_not_passed_over(
    server: Server, wait_for: Callable[..., None]
) -> None:
    """Whatever is behind a low-water mark is found, at the latest when there is nothing else."""
    app, outbox, url = server
    store = Store()
    with connect(url) as slow:
        log_event(slow, LogEvent("early", {}))
        app.write(2 * N)
        assert EventLogService(outbox=outbox, client=store).process_log_events() == (2, 0)
        slow.commit()
    app.write(N - 1)
    assert EventLogService(outbox=outbox, client=store).process_log_events() == (1, 0)
    assert store.ids == list(range(1, 3 * N + 1))


def test_a_rolled_back_event_leaves_a_gap_that_stops_nobody(server: Server) -> None:
    app, outbox, url = server
    with connect(url) as undone:
        log_event(undone, LogEvent("undone", {}))
        undone.rollback()
    app.write(N)
    store = Store()
    EventLogService(outbox=outbox, client=store).process_log_events()
    assert store.ids == list(range(2, N + 2))


def test_a_sender_is_woken_by_a_commit_and_again_after_its_connection_died(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that listens is noticed when it is gone, and polling does not need it."""
    monkeypatch.setattr("logwax_capture.outbox.events._QUIET", 0.0)
    app, outbox, _ = server
    assert outbox.wait(0)  # whatever came before
    assert not outbox.wait(0.05)
    app.write(1)
    assert outbox.wait(30)
    app.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'logwax outbox'"
    )
    with pytest.raises(OutboxError, match="cannot be used now"):
        outbox.wait(30)
    assert outbox.wait(30)
    app.write(1)
    assert outbox.wait(30)
    batch = outbox.claim(2, 0)
    assert batch and len(batch.events) == 2


def test_a_database_that_is_away_costs_an_attempt_and_the_next_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it went away between sending and marking: the same batch is sent again."""
    pytest.importorskip("psycopg")
    monkeypatch.setattr("logwax_capture.outbox.service._LONGEST_WAIT", 0.0)
    with closing(Postgres()) as postgres:
        url = postgres.url()
        outbox = Outbox.open(url, lease=0.0)
        outbox.create()
        app = App(url)
        app.write(N)
        app.connection.close()
        store = Store()
        service = EventLogService(outbox=outbox, client=store)
        store.on_insert = lambda batch: postgres.stop()
        assert service.process_log_events() == (0, 5)
        store.on_insert = lambda batch: None
        postgres.start()
        assert service.process_log_events() == (1, 0)
        assert store.sent[1].token == store.sent[0].token
        assert store.ids == list(range(1, N + 1))
        app = App(url)
        assert app.statuses() == {"DELIVERED": N}
        app.connection.close()
        outbox.close()


def test_a_missing_table_and_a_strange_database_are_said() -> None:
    with pytest.raises(OutboxError, match="no such table"):
        Outbox.open("sqlite:///:memory:").claim(1, 0)
    with pytest.raises(OutboxError, match="cannot be in a database of the kind 'mysql'"):
        Outbox.open("mysql://a/b")
