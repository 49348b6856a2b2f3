"""What a local logger has written arrives in the store, each row once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import run_main

from connectors.batch import BlockId
from connectors.errors import LogwaxError
from connectors.sinks.sqlite import SQLITE
from connectors.sources.local import LocalSource
from connectors.sources.source import SourceInput
from connectors.status import Status
from connectors.store import Store, open_store
from flows.enrichment.enricher import enricher
from flows.main import build
from flows.parsing.parser import parser
from logwax_capture import local_tables as tables
from logwax_capture.local import MultiThreadedLogger
from settings import Settings

_BLOCK = BlockId(7, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def logger(path: Path) -> Iterator[MultiThreadedLogger]:
    with MultiThreadedLogger(path) as logger:
        yield logger


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", log_format="json", store="sqlite")


def opened(path: Path, store: Store, most: int = 100, **more: Any) -> LocalSource:
    return LocalSource(path, store.ledger(), most=most, max_age=0.0, **more)


@pytest.fixture
def ship(path: Path, settings: Settings) -> Callable[..., list[dict[str, Any]]]:
    """Ships what is there, with this many rows in a batch, and returns all that is stored."""

    def run(most: int = 100) -> list[dict[str, Any]]:
        store = open_store(settings)
        source = opened(path, store, most, follow=False)
        run_main(build(settings, SourceInput(source, follow=False), store, Status()))
        source.close()
        rows, dead = asyncio.run(store.reader.counts())
        store.close()
        database = sqlite3.connect(f"file:{settings.data_dir}/{SQLITE.kept_in}?mode=ro", uri=True)
        database.row_factory = sqlite3.Row
        query = "SELECT * FROM logs ORDER BY file_id, offset"
        found = [dict(row) for row in database.execute(query)]
        database.close()
        assert (rows, dead) == (len(found), 0)
        return found

    return run


def messages(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["message"] for row in rows if row["message"])


def test_logs_and_metrics_arrive_with_typed_columns_and_a_second_run_finds_nothing(
    logger: MultiThreadedLogger, path: Path, ship: Callable[..., list[dict[str, Any]]]
) -> None:
    logger.log("ERROR", "api", "failed", {"status_code": 500, "user_id": 7, "level": "gold"})
    logger.log_metric("response_time", 45.2, "ms")
    logger.flush()
    for _ in range(2):
        rows = {row["message"]: row for row in ship()}
        assert len(rows) == 2
        log, metric = rows["failed"], rows[""]
        assert (log["level"], log["status_code"], log["source"]) == ("ERROR", 500, f"{path}:logs")
        attributes = json.loads(log["attributes"])
        assert (attributes["logger"], attributes["user_id"], attributes["extra_level"]) == (
            "api",
            7,
            "gold",
        )
        assert json.loads(metric["attributes"]) == {
            "metric": "response_time",
            "value": 45.2,
            "unit": "ms",
        }


def test_what_has_arrived_may_go_and_what_has_not_stays(
    logger: MultiThreadedLogger, ship: Callable[..., list[dict[str, Any]]]
) -> None:
    logger.log("INFO", "api", "first")
    logger.flush()
    ship()
    logger.log("INFO", "api", "second")
    assert logger.purge(timedelta(days=-1)) == 1
    assert [log[5] for log in logger.get_logs()] == ["second"]
    assert messages(ship()) == ["first", "second"]
    assert logger.purge(timedelta(days=-1)) == 1


def test_a_process_killed_between_any_two_steps_loses_and_doubles_nothing(
    logger: MultiThreadedLogger,
    path: Path,
    settings: Settings,
    ship: Callable[..., list[dict[str, Any]]],
) -> None:
    """A store that is closed without an acknowledgement is what a kill leaves behind."""
    for number in range(10):
        logger.log("INFO", "api", f"{number:02}")
        logger.log_metric("m", number)
    logger.flush()
    write: Callable[[Any], Any] = parser("json", "UTC")
    for is_stored in (True, False):
        store = open_store(settings)
        source = opened(path, store, most=4)
        taken = source.collect()
        assert taken is not None
        if is_stored:
            store.writer().write(enricher()(write(taken)))
        source.close()
        store.close()
    rows = ship(most=3)
    assert messages(rows) == [f"{number:02}" for number in range(10)]
    assert len(rows) == 20


def test_a_block_in_doubt_is_read_again_as_it_was(
    logger: MultiThreadedLogger, path: Path, settings: Settings
) -> None:
    for number in range(10):
        logger.log("INFO", "api", str(number))
    logger.flush()
    store = open_store(settings)
    source = opened(path, store, most=4)
    first = source.collect()
    assert first is not None
    assert source.collect() is None, "the next rows wait for the acknowledgement"
    source.close()
    ledger = type(store.ledger())([], {_BLOCK: first.spans}, False)
    logger.log("INFO", "api", "later")
    logger.flush()
    source = LocalSource(path, ledger, most=100, max_age=0.0)
    again = source.collect()
    assert again is not None
    assert (again.in_doubt, again.spans) == (_BLOCK, first.spans)
    assert (again.data, again.places.tolist()) == (first.data, first.places.tolist())
    again.acknowledge()
    rest = source.collect()
    assert rest is not None
    assert rest.places.tolist() == [5, 6, 7, 8, 9, 10, 11]
    source.close()
    store.close()


def test_fewer_rows_than_a_batch_wait_until_they_are_old_enough(
    logger: MultiThreadedLogger, path: Path, settings: Settings
) -> None:
    store = open_store(settings)
    source = LocalSource(path, store.ledger(), most=2, max_age=3600.0)
    logger.log("INFO", "api", "first")
    logger.flush()
    assert source.collect() is None
    assert source.due_in()
    assert not source.exhausted()
    assert source.status().lag_records == 1
    logger.log("INFO", "api", "second")
    logger.flush()
    source._look_at = 0.0
    taken = source.collect()
    assert taken is not None
    assert taken.places.tolist() == [1, 2]
    assert source.status().lag_records == 2
    taken.acknowledge()
    assert source.collect() is None
    assert (source.status().lag_records, source.status().lag_seconds) == (0, 0)
    assert source.exhausted()
    source.close()
    store.close()


def test_what_is_no_file_of_a_logger_or_has_a_shipper_or_is_a_backup_is_refused(
    logger: MultiThreadedLogger,
    path: Path,
    settings: Settings,
    tmp_path: Path,
    ship: Callable[..., list[dict[str, Any]]],
) -> None:
    store = open_store(settings)
    with pytest.raises(LogwaxError, match=r"none\.db is no file of a local logger"):
        opened(tmp_path / "none.db", store)
    source = opened(path, store)
    with pytest.raises(LogwaxError, match="is shipped by another process"):
        opened(path, store)
    source.close()
    store.close()
    logger.backup(tmp_path / "backup.db")
    logger.log("INFO", "api", "x")
    logger.flush()
    ship()
    store = open_store(settings)
    with pytest.raises(LogwaxError, match="older than what was shipped"):
        opened(tmp_path / "backup.db", store)
    store.close()


def test_a_file_that_cannot_be_read_for_a_while_is_a_problem_and_no_end(
    logger: MultiThreadedLogger, path: Path, settings: Settings
) -> None:
    logger.log("INFO", "api", "x")
    logger.worker.execute("ALTER TABLE logs RENAME COLUMN level TO severity")
    store = open_store(settings)
    with pytest.raises(LogwaxError, match="no such column: level"):
        opened(path, store)
    logger.worker.execute("ALTER TABLE logs RENAME COLUMN severity TO level")
    source = opened(path, store)
    logger.worker.execute("ALTER TABLE logs RENAME COLUMN level TO severity")
    assert source.collect() is None
    assert "cannot be read" in source.status().problems[0]
    logger.worker.execute("ALTER TABLE logs RENAME COLUMN severity TO level")
    source._look_at = 0.0
    assert source.collect() is not None
    assert source.status().problems == ()
    source.close()
    store.close()


def test_the_statements_of_the_tables_name_their_columns(logger: MultiThreadedLogger) -> None:
    for table, columns in tables.COLUMNS.items():
        logger.worker.execute(tables.NEXT[table], (0, 1))
        assert tables.NEXT[table].startswith(f"SELECT {', '.join(columns)} FROM {table} ")
