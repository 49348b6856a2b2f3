"""Store `sqlite`: a file in `DATA_DIR`, for a machine without a server.

A batch is one transaction: its rows, its dead letters and its entry in the ledger are there
together, or not at all. So no block is ever in doubt. A commit returns when it is on disk
(sqlite.org/pragma.html, `synchronous = FULL` with a write-ahead log).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from connectors.batch import BlockId, Span
from connectors.errors import StoreError
from connectors.sinks.retry import Retry
from connectors.sinks.sql import SqlStore
from connectors.sinks.sqlite.accounts import SqliteAccounts
from connectors.sinks.sqlite.database import Database, path_of
from connectors.sinks.sqlite.reader import SqliteReader
from connectors.sinks.writers import TransactionWriter
from connectors.store import Reader
from settings import Settings


def open_store(settings: Settings, retry: Retry) -> SqliteStore:
    """Open the store, making it where there is none. Raises `StoreError`."""
    return SqliteStore(settings, retry)


def open_reader(settings: Settings, retry: Retry) -> SqliteReader:
    """A reader of the file, which may be made later."""
    return SqliteReader(path_of(settings))


class SqliteStore(SqlStore):
    """See the module's docstring."""

    def __init__(self, settings: Settings, retry: Retry) -> None:
        self._settings = settings
        self._retry = retry
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"Cannot use {settings.data_dir}: {error.strerror}") from error
        self._db = Database(settings, make=True)
        self._asking = threading.Lock()
        self._writing = threading.Lock()
        self.reader: Reader | None = SqliteReader(path_of(settings))

    def writer(self) -> TransactionWriter:
        """A writer with a connection of its own."""
        return TransactionWriter(Database(self._settings, self._writing), self._retry)

    def accounts(self) -> SqliteAccounts:
        """What commands ask and change, by a connection of its own."""
        return SqliteAccounts(Database(self._settings))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _append(self, kind: str, spans: Sequence[Span], block: BlockId | None = None) -> None:
        self._in_transaction(lambda db: db.record(kind, spans))

    def _ask(self, statement: str, **values: object) -> Sequence[Sequence[Any]]:
        def ask() -> Sequence[Sequence[Any]]:
            # One at a time: a second one on a connection sees what was there when the first began.
            with self._asking:
                return self._db.run(statement, values).fetchall()

        return self._retry(ask, self._db.trouble)

    def _change(self, statement: str, **values: object) -> None:
        self._in_transaction(lambda db: db.run(statement, values))

    def _in_transaction(self, work: Callable[[Database], object]) -> None:
        def change() -> None:
            with closing(Database(self._settings, self._writing)) as db, db.transaction():
                work(db)

        self._retry(change, self._db.trouble)
