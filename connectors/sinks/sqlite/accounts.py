"""What commands ask of an SQLite store line by line, and change in it: its `Accounts`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

import polars as pl

from connectors.accounts import BUCKET, Answer
from connectors.batch import PLACE, Span
from connectors.errors import StoreError
from connectors.sinks.sql import LINES, SqlAccounts
from connectors.sinks.sqlite.database import Database, what_fits

_SECONDS = 60  # what an answer to a person's question may take
_MAY = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)

# In halves, since sums must not leave 64 bits.
_SUMS = f"""
SELECT file_id, offset / {BUCKET} AS bucket, count(*) AS lines, sum(dead) AS dead_lines,
    sum(offset % {BUCKET}) AS rest,
    sum((offset % {BUCKET}) * (offset % {BUCKET}) / {BUCKET}) AS high,
    sum((offset % {BUCKET}) * (offset % {BUCKET}) % {BUCKET}) AS low
FROM ({LINES}) GROUP BY file_id, bucket ORDER BY file_id, bucket
"""
_PARTS = ("bucket", "lines", "dead_lines", "rest", "high", "low")

_NUMBERS = ("file_id", "offset", "start", "end", "bytes", "letters", "dead")
_TYPES = {**dict.fromkeys((*_NUMBERS, *_PARTS), pl.UInt64()), "raw": pl.Binary()}


class SqliteAccounts(SqlAccounts):
    """The `Accounts` of an SQLite store, by a connection of its own."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._cancelled = False

    def sums(self) -> pl.DataFrame:
        """See `Accounts`."""
        base = pl.col("bucket") * BUCKET
        lines, rest = pl.col("lines"), pl.col("rest")
        squares = lines * base * base + 2 * base * rest + pl.col("high") * BUCKET + pl.col("low")
        return self._ask(_SUMS).select(
            *("file_id", "bucket", "lines", "dead_lines"),
            total=lines * base + rest,
            squares=squares,
        )

    def select(self, sql: str, most: int) -> Answer:
        """The answer to a question of a person's own, which can change nothing: `most` rows."""
        connection, end = self._db.connection, time.monotonic() + _SECONDS
        connection.set_authorizer(lambda what, *_: sqlite3.SQLITE_DENY * (what not in _MAY))
        connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
        try:
            cursor = connection.execute(sql)
            rows = [[_text(value) for value in row] for row in cursor.fetchmany(most + 1)]
            names = [column[0] for column in cursor.description or ()]
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise StoreError(f"SQLite does not answer that, only one SELECT: {error}.") from error
        finally:
            connection.set_authorizer(lambda *_: sqlite3.SQLITE_OK)
            connection.set_progress_handler(None, 0)
        return Answer(names, rows[:most], len(rows) <= most)

    def insert(
        self, rows: pl.DataFrame, held: Callable[[], pl.DataFrame]
    ) -> tuple[int, pl.DataFrame]:
        """Insert those rows whose places `held` does not name, each once."""
        rows, refused = what_fits(rows)
        return self._insert("logs", rows, held), refused

    def insert_dead(self, letters: pl.DataFrame, held: Callable[[], pl.DataFrame]) -> int:
        """Insert dead letters, likewise."""
        return self._insert("dead_letters", letters, held)

    def delete_dead(self, places: pl.DataFrame) -> None:
        """Delete the dead letters of these places; return when they are gone."""
        self._change("DELETE FROM dead_letters WHERE (file_id, offset) = (?, ?)", places, PLACE)

    def update_dead(self, letters: pl.DataFrame) -> None:
        """Give dead letters the `reason` and the `detail` of these; return when they have them."""
        said = "UPDATE dead_letters SET (reason, detail) = (?, ?)"
        self._change(
            f"{said} WHERE (file_id, offset) = (?, ?)", letters, ["reason", "detail", *PLACE]
        )

    def choose_position(self, span: Span) -> None:
        """Record that nothing before the span's end is the tail's to read."""
        self._write(lambda: self._db.record("position", [span]))

    def cancel(self) -> None:
        """Give up the question under way, and do nothing more: the process is about to end."""
        self._cancelled = True
        self._db.connection.interrupt()

    def _ask(self, statement: str, **values: object) -> pl.DataFrame:
        try:
            found = self._db.run(statement, values)
            schema = {name: _TYPES.get(name, pl.String()) for name, *_ in found.description}
            return pl.DataFrame(found.fetchall(), schema, orient="row")
        except sqlite3.Error as error:
            raise StoreError(f"SQLite cannot answer: {error}.") from error

    def _insert(self, table: str, lines: pl.DataFrame, held: Callable[[], pl.DataFrame]) -> int:
        def insert_rest() -> int:  # what is held cannot change in the midst of it
            rest = lines.join(held(), on=PLACE, how="anti") if len(lines) else lines
            return self._db.add(table, rest)

        return int(self._write(insert_rest))

    def _change(self, statement: str, lines: pl.DataFrame, names: list[str]) -> None:
        self._write(lambda: self._db.connection.executemany(statement, lines.select(names).rows()))

    def _write(self, work: Callable[[], Any]) -> Any:
        if self._cancelled:
            raise StoreError("The process is about to end.")
        try:
            with self._db.transaction():
                return work()
        except sqlite3.Error as error:
            raise StoreError(f"SQLite refuses a change: {error}.") from error


def _text(value: object) -> object:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
