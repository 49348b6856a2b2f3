"""Store `sqlite`: a file in `DATA_DIR`, for a machine without a server.

A batch is one transaction: its rows, its dead letters and its entry in the ledger are there
together, or not at all. So no block is ever in doubt. A commit returns when it is on disk
(sqlite.org/pragma.html, `synchronous = FULL` with a write-ahead log).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import polars as pl

from connectors.batch import Parsed, Span, Stored, Stream
from connectors.errors import StoreError
from connectors.sinks.retry import Retry
from connectors.sinks.sqlite import SQLITE
from connectors.sinks.sqlite.accounts import SqliteAccounts
from connectors.sinks.sqlite.reader import SqliteReader
from connectors.sinks.sqlite.tables import (
    SPAN,
    connect,
    insert,
    record,
    transaction,
    trouble,
    what_fits,
)
from connectors.store import Ledger, Reader
from settings import Settings

_DAY = 86_400 * 10**6  # microseconds
_NO_STREAM = Span(Stream(0, ""), 0, 0, 0, 0)

_THESE = "file_id IN (SELECT value FROM json_each(:files))"

# SQLite takes the other columns from the row that has the maximum (lang_select.html, 2.5).
_POSITIONS = f"""
SELECT {SPAN}, max("end") FROM ingest_blocks
WHERE instance = :instance AND {{these}} GROUP BY file_id
"""
_BEFORE = f"""
SELECT {SPAN} FROM ingest_blocks WHERE instance = :instance AND file_id = :file AND "end" <= :end
ORDER BY "end" DESC LIMIT 1
"""
_OFFSETS = """
SELECT offset FROM {0} WHERE file_id = :file AND offset >= :first AND offset < :last
"""
_FORGET_OLD = """
DELETE FROM ingest_blocks AS old
WHERE instance = :instance AND kind = 'block' AND recorded_at < :before AND "end" < (
    SELECT max("end") FROM ingest_blocks AS one
    WHERE one.instance = old.instance AND one.file_id = old.file_id)
"""


def open_store(settings: Settings, retry: Retry) -> SqliteStore:
    """Open the store, making it where there is none. Raises `StoreError`."""
    return SqliteStore(settings, retry)


def open_reader(settings: Settings, retry: Retry) -> SqliteReader:
    """A reader of the file, which may be made later."""
    return SqliteReader(settings.data_dir / SQLITE.kept_in)


class SqliteStore:
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

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        """What is known of these files of this instance (None: of all); never blocks in doubt."""
        these = "file_id != 0" if file_ids is None else _THESE
        found = self._ask(_POSITIONS.format(these=these), files=json.dumps(list(file_ids or ())))
        is_new = not self._ask("SELECT 1 FROM ingest_blocks WHERE instance = :instance LIMIT 1")
        return Ledger([_span(row) for row in found], {}, is_new)

    def before(self, file_id: int, end: int) -> Span | None:
        """The last recorded span of a file that ends at or before `end`."""
        return next(map(_span, self._ask(_BEFORE, file=file_id, end=end)), None)

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""
        either = " UNION ALL ".join(_OFFSETS.format(table) for table in ("logs", "dead_letters"))
        return {row[0] for row in self._ask(either, file=file_id, first=first, last=last)}

    def writer(self) -> SqliteWriter:
        """A writer with a connection of its own."""
        return SqliteWriter(connect(self._path), self._instance, self._retry)

    def start_at(self, files: Sequence[Span]) -> None:
        """Record chosen positions, and by an entry without a file that there was a first start."""

        def start(db: sqlite3.Connection) -> None:
            record(db, self._instance, "position", files)
            record(db, self._instance, "started", [_NO_STREAM])

        self._retry(partial(self._change, start), trouble)

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        """Note which known files are there and which are gone, and clear the ledger."""
        now = time.time_ns() // 1000
        old: list[int] = []
        values = {"instance": self._instance, "now": now, "before": now - self._keep}

        def change(db: sqlite3.Connection) -> None:
            def run(statement: str, ids: Collection[int]) -> Any:
                return db.execute(statement, {**values, "files": json.dumps(list(ids))})

            ours = "instance = :instance"
            run(f"DELETE FROM gone WHERE {ours} AND {_THESE}", found)
            run(
                "INSERT OR IGNORE INTO gone SELECT :instance, value, :now FROM json_each(:files)",
                gone,
            )
            which = f"SELECT file_id FROM gone WHERE {ours} AND since < :before AND {_THESE}"
            old[:] = [row[0] for row in run(which, gone)]
            for table in ("gone", "ingest_blocks"):
                run(f"DELETE FROM {table} WHERE {ours} AND {_THESE}", old)
            run(_FORGET_OLD, ())

        self._retry(partial(self._change, change), trouble)
        return old

    def accounts(self) -> SqliteAccounts:
        """What commands ask and change, by a connection of its own."""
        return SqliteAccounts(connect(self._path), self._instance)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _ask(self, query: str, **values: object) -> list[Any]:
        values["instance"] = self._instance
        return self._retry(lambda: self._db.execute(query, values).fetchall(), trouble)

    def _change(self, work: Callable[[sqlite3.Connection], None]) -> None:
        with closing(connect(self._path)) as db, transaction(db):
            work(db)


class SqliteWriter:
    """Stores one batch after another, each in one transaction."""

    def __init__(self, db: sqlite3.Connection, instance: str, retry: Retry) -> None:
        self._db = db
        self._instance = instance
        self._retry = retry

    def write(self, batch: Parsed) -> Stored:
        """Store the batch; when this returns it is on disk. Raises `StoreError`."""
        rows, refused = what_fits(batch.rows)
        letters = batch.rejected
        if len(refused):
            letters = pl.concat([letters, batch.reject(refused)])

        def store() -> None:
            with transaction(self._db):
                record(self._db, self._instance, "block", batch.spans)
                insert(self._db, "logs", rows)
                insert(self._db, "dead_letters", letters)

        self._retry(store, trouble)
        return Stored.of(batch, len(refused))

    def close(self) -> None:
        """Nothing is left to say."""
        self._db.close()


def _span(row: Sequence[Any]) -> Span:
    kind, id, name, start, end, first, records, proof = row[:8]
    return Span(Stream(id, name, kind), start, end, first, records, proof)
