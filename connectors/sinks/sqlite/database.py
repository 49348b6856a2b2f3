"""A file of SQLite: its tables, and how lines and entries of the ledger get into them."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from polars import selectors

from connectors.batch import PLACE, REFUSED, Span, columns_with, with_nulls
from connectors.errors import StoreError
from connectors.sinks.retry import Trouble
from connectors.sinks.sql import DEAD_LETTERS
from connectors.sinks.sqlite import SQLITE
from connectors.sinks.writers import TransactionTable
from settings import Settings

_DAY = 86_400 * 10**6  # microseconds
_LARGEST = 2**63 - 1  # integers have a sign here

_DEFAULTS = {pl.String(): "TEXT NOT NULL DEFAULT ''", pl.Float64(): "REAL DEFAULT 0"}
_OTHERS = {"attributes": "TEXT NOT NULL DEFAULT '{}'", "duration": "REAL"}


def _columns_of_logs(enrichers: Iterable[str] = ()) -> dict[str, str]:
    """The columns of the table of lines, with their types."""
    return {
        name: _DEFAULTS.get(dtype, "INTEGER NOT NULL DEFAULT 0")
        for name, dtype in columns_with(enrichers).items()
        if name != "line"
    } | _OTHERS


_COLUMNS = ", ".join(f"{name} {type_}" for name, type_ in _columns_of_logs().items())

_LIST = "IN (SELECT value FROM json_each(:{0}))"
_PAIRS = "IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:{0}))"

# Times are microseconds since 1970, UTC. Were a line ever to come twice, its place would refuse it.
# The index is all that the statistics read.
_TABLES = f"""
CREATE TABLE IF NOT EXISTS logs ({_COLUMNS}, UNIQUE (file_id, offset));
CREATE INDEX IF NOT EXISTS requests
    ON logs (customer_id, timestamp, status_code, success, duration);
CREATE TABLE IF NOT EXISTS dead_letters (file_id INTEGER, offset INTEGER, source TEXT, raw BLOB,
    reason TEXT, detail TEXT, seen_at INTEGER DEFAULT (strftime('%s', 'now') * 1000000),
    UNIQUE (file_id, offset));
CREATE INDEX IF NOT EXISTS letters_by_time ON dead_letters (seen_at);
CREATE TABLE IF NOT EXISTS ingest_blocks (instance TEXT, kind TEXT, stream TEXT, file_id INTEGER,
    path TEXT, start INTEGER, "end" INTEGER, first_line INTEGER, lines INTEGER, proof TEXT,
    recorded_at INTEGER, PRIMARY KEY (instance, file_id, "end", kind)) WITHOUT ROWID;
"""


_RECORD = """
INSERT OR REPLACE INTO ingest_blocks (instance, kind, recorded_at, file_id,
    stream, path, start, "end", first_line, lines, proof)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def path_of(settings: Settings) -> Path:
    """Where the file is."""
    return settings.data_dir / SQLITE.kept_in


def connect(path: Path, *, make: bool = False, enrichers: Iterable[str] = ()) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return; for one thread at a time.

    Who may make the tables also adds the columns that they lack, those of `enrichers` among them.
    Raises `StoreError` if there is no such store, unless it shall be made.
    """
    try:
        address = f"{path.absolute().as_uri()}?mode={'rwc' if make else 'rw'}"
        db = sqlite3.connect(
            address,
            uri=True,
            timeout=30 if make else 1,
            isolation_level=None,
            check_same_thread=False,
        )
        if make:
            # In one transaction: another process may find the same columns missing.
            db.executescript(f"PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; {_TABLES}")
            there = {row[1] for row in db.execute("PRAGMA table_info(logs)")}
            for name, type_ in _columns_of_logs(enrichers).items():
                if name not in there:
                    db.execute(f"ALTER TABLE logs ADD COLUMN {name} {type_}")
            db.execute("COMMIT")
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error as error:
        raise StoreError(f"Cannot open {path}: {error}.") from error
    return db


class Database(TransactionTable):
    """One connection to the file of a store, for any thread, but one at a time.

    Those with the same lock, `writing`, wait for each other's transactions without asking again and
    again as SQLite does.
    """

    def __init__(
        self, settings: Settings, writing: threading.Lock | None = None, *, make: bool = False
    ) -> None:
        self._writing = writing or threading.Lock()
        self._instance = settings.instance
        self._keep = settings.ledger_keep_days * _DAY
        self.connection = connect(path_of(settings), make=make, enrichers=settings.enricher_names)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `TransactionTable`. Raises `StoreError` for what does not pass by itself."""
        with self._writing:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                yield
                self.connection.execute("COMMIT")
            except BaseException as error:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                passes = isinstance(error, sqlite3.OperationalError)
                if isinstance(error, sqlite3.Error) and not passes:
                    raise StoreError(f"SQLite refuses: {error}.") from error
                raise

    def trouble(self, error: Exception) -> Trouble | None:
        """Why to try a transaction again: another one is at work, or the disk is full, say."""
        if not isinstance(error, sqlite3.OperationalError):
            return None
        return Trouble(f"SQLite: {error}", needs_help="locked" not in str(error))

    def run(self, statement: str, values: Mapping[str, object]) -> sqlite3.Cursor:
        """Run a statement of `connectors/sinks/sql.py`: lists are JSON here."""
        before = time.time_ns() // 1000 - self._keep
        given: dict[str, Any] = {"instance": self._instance, "before": before, **values}
        for name, value in values.items():
            if isinstance(value, list):
                listed = _PAIRS if name == "places" else _LIST
                statement = statement.replace(f"IN :{name}", listed.format(name))
                given[name] = json.dumps(value)
        return self.connection.execute(statement.replace(":table", "logs"), given)

    def add(self, table: str, lines: pl.DataFrame) -> int:
        """Insert lines, column by column; returns how many."""
        lines = lines.drop("line", strict=False).with_columns(selectors.temporal().to_physical())
        if lines.is_empty():
            return 0
        names, marks = ", ".join(lines.columns), ", ".join("?" * lines.width)
        columns = (column.to_list() for column in lines.iter_columns())
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        return self.connection.executemany(statement, zip(*columns, strict=True)).rowcount

    def insert(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Insert the rows whose numbers fit; returns those that are `REFUSED`."""
        rows, refused = what_fits(with_nulls(rows))
        if "duration" not in rows.columns:  # for which tables of earlier versions would have 0
            rows = rows.with_columns(duration=pl.lit(None))
        self.add("logs", rows)
        return refused

    def insert_dead(self, letters: pl.DataFrame) -> None:
        """Insert dead letters."""
        self.add(DEAD_LETTERS, letters)

    def record(self, kind: str, spans: Sequence[Span]) -> None:
        """Put an entry for each span into the ledger."""
        now = time.time_ns() // 1000
        entries = [(self._instance, kind, now, one.stream.id, *one.entry.values()) for one in spans]
        self.connection.executemany(_RECORD, entries)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def what_fits(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows whose numbers fit, and those that are `REFUSED`."""
    too_large = pl.any_horizontal(pl.lit(False), selectors.by_dtype(pl.UInt64) > _LARGEST)
    refused = rows.filter(too_large)
    if refused.is_empty():
        return rows, pl.DataFrame(schema=REFUSED)
    detail = pl.lit(f"a number is larger than {_LARGEST}")
    return rows.filter(~too_large), refused.select(*PLACE, "line", detail=detail)
