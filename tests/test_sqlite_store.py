"""The SQLite store beyond what every store does: transactions, its file, and commands on it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from connectors.batch import Span, Stream
from connectors.errors import StoreError
from connectors.sinks.retry import Retry
from connectors.sinks.sqlite.database import connect
from connectors.sinks.sqlite.store import SqliteStore
from connectors.status import Status
from connectors.store import open_store
from settings import Settings
from tests.conftest import Pipeline, wait_for
from tests.test_audit import line, logwax, write_log
from tests.test_clickhouse_store import batch, span

DAY = 86_400 * 10**6
LINES = 9


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def store(tmp_path: Path, status: Status) -> Iterator[SqliteStore]:
    settings = Settings(_env_file=None, store="sqlite", data_dir=tmp_path, instance="host")
    made = open_store(settings, Retry(status=status))
    assert isinstance(made, SqliteStore)
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path, store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """The file of the store, as anybody can open it."""
    with closing(sqlite3.connect(tmp_path / "logwax.sqlite", isolation_level=None)) as db:
        yield db


def test_rows_dead_letters_and_the_entry_come_together_or_not_at_all(store, file):
    torn = batch(0, 5, bad=(3,))
    twice = replace(torn, rejected=pl.concat([torn.rejected, torn.rejected]))
    writer = store.writer()
    with pytest.raises(StoreError, match="SQLite refuses"):
        writer.write(twice)
    assert store.ledger().files == []
    assert [
        file.execute(f"SELECT count(*) FROM {table}").fetchone()
        for table in ("logs", "dead_letters")
    ] == [(0,), (0,)]
    writer.write(torn)
    assert store.ledger().files == [span(0, 5)]
    assert file.execute("SELECT * FROM dead_letters").fetchone()[:6] == (
        2**63 - 1,
        3,
        "/var/log/a.log",
        b"\xff\x00",
        "bad",
        "why",
    )
    assert file.execute(
        "SELECT method, bytes_sent, attributes, duration FROM logs LIMIT 1"
    ).fetchone() == ("", 0, "{}", None)


def test_a_column_that_is_missing_is_added(store, file, tmp_path):
    file.execute("ALTER TABLE logs DROP COLUMN referer")
    settings = Settings(_env_file=None, store="sqlite", data_dir=tmp_path, instance="host")
    with closing(open_store(settings, Retry())) as again:
        again.writer().write(batch(0, 2))
    assert file.execute("SELECT referer FROM logs").fetchall() == [("",), ("",)]


def test_a_file_of_an_earlier_version_where_none_was_0_goes_on_with_null(store, file):
    for statement in (
        "DROP INDEX requests",
        "ALTER TABLE logs DROP COLUMN duration",
        "ALTER TABLE logs ADD COLUMN duration REAL DEFAULT 0",
        "INSERT INTO logs (customer_id, timestamp, status_code, file_id, offset) "
        "VALUES ('former', 0, 200, 7, 0)",
    ):
        file.execute(statement)
    writer = store.writer()
    writer.write(batch(0, 2))
    timed = batch(2, 4)
    rows = timed.rows.with_columns(duration=pl.Series([float("nan"), 0.0]))
    writer.write(replace(timed, rows=rows))
    found = file.execute("SELECT duration FROM logs ORDER BY rowid").fetchall()
    assert found == [(0.0,), (None,), (None,), (None,), (0.0,)]
    former = asyncio.run(store.reader.statistics("former", date.min, date.max)).overall
    assert (former.total, former.average) == (1, None), "nobody knows whether 0 is none"


def test_several_may_make_a_store_at_once(tmp_path):
    starts = threading.Barrier(4)

    def make(file: Path) -> set[str]:
        starts.wait(30)
        with closing(connect(file, make=True, enrichers=["user_agent"])) as db:
            return {row[1] for row in db.execute("PRAGMA table_info(logs)")}

    with ThreadPoolExecutor(4) as people:
        for number in range(20):
            made = list(people.map(make, [tmp_path / f"{number}.sqlite"] * 4))
            assert all("browser_family" in columns for columns in made)


def test_a_commit_returns_when_it_is_on_disk(store):
    [(synchronous,)] = store.writer()._table.connection.execute("PRAGMA synchronous")
    [(journal,)] = store.writer()._table.connection.execute("PRAGMA journal_mode")
    assert (synchronous, journal) == (2, "wal")  # sqlite.org/pragma.html: FULL


def test_a_number_that_does_not_fit_makes_a_dead_letter_of_its_row(store, file):
    one = batch(0, 3)
    rows = one.rows.with_columns(bytes_sent=pl.Series([1, 2**63, 2**63 - 1], dtype=pl.UInt64))
    stored = store.writer().write(replace(one, rows=rows))
    assert (stored.rows, stored.dead) == (2, {"rejected": 1})
    assert file.execute("SELECT bytes_sent FROM logs").fetchall() == [(1,), (2**63 - 1,)]
    assert file.execute("SELECT offset, detail FROM dead_letters").fetchall() == [
        (1, "a number is larger than 9223372036854775807")
    ]


def test_a_batch_waits_while_somebody_else_writes(store, file, status):
    writer = store.writer()
    file.execute("BEGIN IMMEDIATE")
    writing = threading.Thread(target=writer.write, args=[batch(0, 5)])
    writing.start()
    wait_for(lambda: "locked" in status.last_error, "a sentence in /health")
    assert store.ledger().files == []  # which is read all the same
    file.execute("COMMIT")
    writing.join()
    assert store.ledger().files == [span(0, 5)]
    assert not status.last_error


def test_an_answer_knows_what_was_stored_before_it_was_asked_for_whoever_asks_beside(store):
    others = [Span(Stream(number, "/var/log/b.log"), 0, 9, 0, 1) for number in range(1, 2000)]
    store._append("position", others)  # so that a question takes its time
    writer = store.writer()
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            store.ledger()

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for end in range(5, 255, 5):
            writer.write(batch(end - 5, end))
            assert [span.end for span in store.ledger([2**63 - 1]).files] == [end]
    finally:
        is_over.set()
        for thread in asking:
            thread.join()


def test_a_file_that_has_been_gone_for_long_is_forgotten_and_old_blocks_are(store, file):
    writer = store.writer()
    for start in (0, 5):
        writer.write(batch(start, start + 5))
    writer.write(replace(batch(0, 0), spans=(span(0, 3, file_id=7, path="/b"),)))
    assert not store.keep([], [7])
    file.execute("UPDATE ingest_blocks SET recorded_at = recorded_at - ?", [31 * DAY])
    assert store.keep([], [7]) == {7}
    assert store.ledger().files == [span(5, 10)]
    assert store.before(2**63 - 1, 5) is None
    assert file.execute("SELECT count(*) FROM ingest_blocks").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM logs",
        "PRAGMA query_only = OFF",
        "ATTACH '{0}' AS other",
        "VACUUM INTO '{0}'",
        "SELECT 1; DELETE FROM logs",
        "WITH one AS (SELECT 1) INSERT INTO logs (file_id, offset) SELECT 1, 1 FROM one",
        "BEGIN IMMEDIATE",
    ],
)
def test_a_question_can_change_nothing(store, file, tmp_path, statement):
    store.writer().write(batch(0, 5))
    with pytest.raises(StoreError, match="only one SELECT"):
        store.accounts().select(statement.format(tmp_path / "other"), 10)
    assert not (tmp_path / "other").exists()
    assert file.execute("SELECT count(*) FROM logs").fetchall() == [(5,)]


def test_a_question_is_answered_up_to_so_many_rows(store):
    store.writer().write(batch(0, 5, bad=(3,)))
    accounts = store.accounts()
    answer = accounts.select("SELECT offset AS at FROM logs ORDER BY 1", 2)
    assert (answer.names, answer.rows, answer.is_whole) == (["at"], [[0], [1]], False)
    assert accounts.select("SELECT raw FROM dead_letters", 2).rows == [["\udcff\0"]]
    accounts.delete_dead(batch(0, 5, bad=(3,)).rejected)  # which it may, other than the question
    assert accounts.reasons() == {}


@pytest.fixture
def audited(pipeline: Pipeline) -> Pipeline:
    """Nine lines and a broken one in an SQLite store."""
    write_log(pipeline, "".join(map(line, range(LINES))) + "broken\n")
    done = run(pipeline)
    assert done.startswith(f"lines={LINES + 1} stored={LINES} dead=1 ")
    return pipeline


WHERE = {"STORE": "sqlite", "LOG_PATHS": "data/logs/*.log", "INSTANCE": "host"}


def run(pipeline: Pipeline, **more: object) -> str:
    done = pipeline.run(**WHERE, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(pipeline: Pipeline, *words: str, code: int = 0, **more: object) -> str:
    done = logwax(pipeline, *words, **{**WHERE, **more})
    assert done.returncode == code, done.stderr
    return done.stdout


def in_file(pipeline: Pipeline, statement: str) -> None:
    with closing(sqlite3.connect(pipeline.directory / "data" / "logwax.sqlite")) as db, db:
        db.execute(statement)


def test_an_audit_names_what_is_missing_and_a_backfill_stores_it(audited):
    assert "All is accounted for." in command(audited, "audit")
    in_file(audited, "DELETE FROM logs WHERE request_path = '/orders/000004'")
    size = len(line(0))
    found = command(audited, "audit", code=1)
    assert f"missing {4 * size}-{5 * size}" in found
    said = command(audited, "backfill", "data/logs/api_requests.log")
    assert said == "lines=10 in_span=10 stored=1 dead=0 stored_before=9\n"
    assert "stray=0" in command(audited, "audit")
    in_file(audited, "UPDATE logs SET offset = offset + 1 WHERE request_path = '/orders/000004'")
    assert f"stray {4 * size + 1}-{4 * size + 2}" in command(audited, "audit", code=1)


def test_a_redrive_makes_rows_of_dead_letters_that_fit_now(pipeline):
    good = '{"ts": "2026-11-01T10:00:00Z", "path": "/a", "status": 200}'
    write_log(pipeline, f"{good}\n{{broken\n{good}\n")
    assert run(pipeline).startswith("lines=3 stored=0 dead=3 ")
    dry = command(pipeline, "redrive", "--dry-run", LOG_FORMAT="json")
    assert dry.endswith("dry run, nothing is changed: tried=3 stored=2 dead=1\n")
    assert command(pipeline, "redrive", LOG_FORMAT="json").endswith("tried=3 stored=2 dead=1\n")
    assert command(pipeline, "dead").startswith("bad_json: 1\n")
    assert "total of 1 files: lines=3 stored=2 dead=1" in command(pipeline, "audit")


def test_positions_and_questions_are_answered_beside_a_running_pipeline(audited):
    audited.start(**WHERE)
    audited.wait_until_healthy()
    write_log(audited, line(LINES))
    audited.wait_until_stored(LINES + 2)
    size = (LINES + 1) * len(line(0)) + len("broken\n")
    assert f" {size} {size} 0 " in " ".join(command(audited, "positions").split())
    assert command(audited, "query", "SELECT count(*) n FROM logs") == '{"n": 10}\n'
    stats = audited.get("/customers/cust_0/stats?from_date=2026-11-01&to_date=2026-11-01").json()
    assert stats["total_requests"] == 4
    assert audited.stop() == 0
