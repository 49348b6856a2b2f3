"""Store `sqlite`: a file in `DATA_DIR`, for a machine without a server.

A batch is one transaction: its rows, its dead letters and its entry in the ledger are there
together, or not at all. So no block is ever in doubt. A commit returns when it is on disk
(sqlite.org/pragma.html, `synchronous = FULL` with a write-ahead log).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import polars as pl

from connectors.batch import BlockId, Span, Stored
from connectors.errors import StoreError
from connectors.sinks.retry import Retry
from connectors.sinks.sql import SqlStore
from connectors.sinks.sqlite import SQLITE
from connectors.sinks.sqlite.accounts import SqliteAccounts
from connectors.sinks.sqlite.reader import SqliteReader
from connectors.sinks.sqlite.tables import (
    connect,
    insert,
    record,
    run,
    transaction,
    trouble,
    what_fits,
)
from connectors.sinks.writers import TransactionWriter
from connectors.store import Reader
from settings import Settings

_DAY = 86_400 * 10**6  # microseconds


def open_store(settings: Settings, retry: Retry) -> SqliteStore:
    """Open the store, making it where there is none. Raises `StoreError`."""
    return SqliteStore(settings, retry)


def open_reader(settings: Settings, retry: Retry) -> SqliteReader:
    """A reader of the file, which may be made later."""
    return SqliteReader(settings.data_dir / SQLITE.kept_in)


class SqliteStore(SqlStore):
    """See the module's docstring."""

    def __init__(self, settings: Settings, retry: Retry) -> None:
        self._path = settings.data_dir / SQLITE.kept_in
        self._instance = settings.instance
        self._keep = settings.ledger_keep_days * _DAY
        self._retry = retry
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"Cannot use {settings.data_dir}: {error.strerror}") from error
        self._db = connect(self._path, make=True)
        self.reader: Reader | None = SqliteReader(self._path)

    def append(self, kind: str, spans: Sequence[Span], block: BlockId | None = None) -> None:
        """See `LedgerStore`."""
        self._change(lambda db: record(db, self._instance, kind, spans))

    def ask(self, statement: str, **values: object) -> Sequence[Sequence[Any]]:
        """See `SqlStore`."""
        return self._retry(lambda: self._run(self._db, statement, values).fetchall(), trouble)

    def change(self, statement: str, **values: object) -> None:
        """See `SqlStore`."""
        self._change(lambda db: self._run(db, statement, values))

    def writer(self) -> SqliteWriter:
        """A writer with a connection of its own."""
        return SqliteWriter(connect(self._path), self._instance, self._retry)

    def accounts(self) -> SqliteAccounts:
        """What commands ask and change, by a connection of its own."""
        return SqliteAccounts(connect(self._path), self._instance)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _run(
        self, db: sqlite3.Connection, statement: str, values: dict[str, object]
    ) -> sqlite3.Cursor:
        before = time.time_ns() // 1000 - self._keep
        return run(db, statement, {"instance": self._instance, "before": before, **values})

    def _change(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def change() -> None:
            with closing(connect(self._path)) as db, transaction(db):
                work(db)

        self._retry(change, trouble)


class SqliteWriter(TransactionWriter):
    """Stores one batch after another, each in one transaction."""

    def __init__(self, db: sqlite3.Connection, instance: str, retry: Retry) -> None:
        self._db = db
        self._instance = instance
        self._retry = retry

    def transaction(self, work: Callable[[], Stored]) -> Stored:
        """See `TransactionWriter`."""

        def attempt() -> Stored:
            with transaction(self._db):
                return work()

        return self._retry(attempt, trouble)

    def record(self, spans: Sequence[Span]) -> None:
        """See `TransactionWriter`."""
        record(self._db, self._instance, "block", spans)

    def insert(self, rows: pl.DataFrame) -> pl.DataFrame:
        """See `Lines`."""
        fitting, refused = what_fits(rows)
        insert(self._db, "logs", fitting)
        return refused

    def insert_dead(self, letters: pl.DataFrame) -> None:
        """See `Lines`."""
        insert(self._db, "dead_letters", letters)

    def close(self) -> None:
        """Nothing is left to say."""
        self._db.close()
