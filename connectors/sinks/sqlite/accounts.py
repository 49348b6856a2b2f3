"""What commands ask of an SQLite store line by line, and change in it: its `Accounts`."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.accounts import BUCKET, FRAGMENTS, Answer, Places
from connectors.batch import PLACE, Span
from connectors.errors import StoreError
from connectors.sinks.sqlite.tables import DEAD, insert, record, transaction, what_fits

_SECONDS = 60  # what an answer to a person's question may take
_MAY = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)

_LINES = """
(SELECT file_id, offset, 0 AS dead FROM logs
UNION ALL SELECT file_id, offset, 1 FROM dead_letters)
"""
# In halves, since sums must not leave 64 bits.
_SUMS = f"""
SELECT file_id, offset / {BUCKET} AS bucket, count(*), sum(dead), sum(offset % {BUCKET}),
    sum((offset % {BUCKET}) * (offset % {BUCKET}) / {BUCKET}),
    sum((offset % {BUCKET}) * (offset % {BUCKET}) % {BUCKET})
FROM {_LINES} GROUP BY file_id, bucket ORDER BY file_id, bucket
"""
_SUMMED = ("file_id", "bucket", "lines", "dead_lines", "total", "squares")
_LETTERS = f"""
SELECT {", ".join(DEAD)} FROM dead_letters
WHERE (file_id, offset) > (:file, :offset) AND reason NOT IN {FRAGMENTS}
    AND :reason IN ('', reason)
    AND (:sources = '[]' OR source IN (SELECT value FROM json_each(:sources)))
ORDER BY file_id, offset LIMIT :lines
"""
_HELD = """
SELECT file_id, offset FROM json_each(?)
JOIN logs ON file_id = json_extract(value, '$[0]') AND offset = json_extract(value, '$[1]')
"""
_TYPES = {"file_id": pl.UInt64(), "offset": pl.UInt64(), "raw": pl.Binary()}


class SqliteAccounts:
    """The `Accounts` of an SQLite store, by a connection of its own."""

    def __init__(self, db: sqlite3.Connection, instance: str) -> None:
        self._db = db
        self._instance = instance
        self._cancelled = False

    def sums(self) -> pl.DataFrame:
        """See `Accounts`."""
        found = []
        for file_id, bucket, lines, dead, rest, high, low in self._ask(_SUMS):
            base = bucket * BUCKET
            squares = lines * base * base + 2 * base * rest + high * BUCKET + low
            sums = [(lines * base + rest) % 2**64, squares % 2**64]
            found.append((file_id, bucket, lines, dead, *sums))
        return pl.DataFrame(found, schema=dict.fromkeys(_SUMMED, pl.UInt64), orient="row")

    def places(self, file_id: int, first: int, last: int) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The offsets that are stored in [first, last), and whether each is a dead letter."""
        within = "file_id = ? AND offset >= ? AND offset < ?"
        query = f"SELECT offset, dead FROM {_LINES} WHERE {within}"
        found = np.array(self._ask(query, (file_id, first, last)), np.uint64).reshape(-1, 2)
        return found[:, 0], found[:, 1].astype(np.bool_)

    def begins(self) -> dict[int, int]:
        """Where reading began in the files in which it did not begin at 0."""
        query = """SELECT file_id, max("end") FROM ingest_blocks
            WHERE instance = ? AND kind = 'position' GROUP BY file_id"""
        return dict(self._ask(query, (self._instance,)))

    def blocks(self, file_id: int) -> pl.DataFrame:
        """`start`, `end` and `proof` of the blocks that the ledger has of a file."""
        query = """SELECT start, "end", proof FROM ingest_blocks
            WHERE instance = ? AND file_id = ? AND kind = 'block' ORDER BY start, "end" """
        schema = {"start": pl.UInt64, "end": pl.UInt64, "proof": pl.String}
        return pl.DataFrame(self._ask(query, (self._instance, file_id)), schema, orient="row")

    def cuts(self, file_id: int) -> npt.NDArray[np.int64]:
        """Where lines of a file begin though no newline is before: blocks, rests of lines."""
        query = "SELECT offset FROM dead_letters WHERE file_id = ? AND reason = 'continued'"
        rests = [row[0] for row in self._ask(query, (file_id,))]
        return np.union1d(self.blocks(file_id)["start"].to_numpy(), rests).astype(np.int64)

    def letters(
        self, after: tuple[int, int], reason: str, sources: Sequence[str], lines: int, size: int
    ) -> pl.DataFrame:
        """The next dead letters behind the place `after`."""
        values = {"file": after[0], "offset": after[1], "reason": reason, "lines": lines}
        found = _frame(DEAD, self._ask(_LETTERS, {**values, "sources": json.dumps(list(sources))}))
        within = int((found["raw"].bin.size().cum_sum() <= size).sum())
        return found.head(max(within, 1))

    def sources(self) -> list[str]:
        """Every path that dead letters came from."""
        return [row[0] for row in self._ask("SELECT DISTINCT source FROM dead_letters")]

    def reasons(self) -> dict[str, int]:
        """How many dead letters there are of each reason, the most frequent first."""
        query = "SELECT reason, count(*) FROM dead_letters GROUP BY 1 ORDER BY 2 DESC, 1"
        return dict(self._ask(query))

    def samples(self, reason: str, most: int) -> pl.DataFrame:
        """The newest dead letters of a reason: `source`, `offset`, `reason`, `detail`, `raw`."""
        names = ["source", "offset", "reason", "detail", "raw"]
        query = """SELECT source, offset, reason, detail, substr(raw, 1, 1024) FROM dead_letters
            WHERE reason = ? ORDER BY seen_at DESC, file_id, offset LIMIT ?"""
        return _frame(names, self._ask(query, (reason, most)))

    def select(self, sql: str, most: int) -> Answer:
        """The answer to a question of a person's own, which can change nothing: `most` rows."""
        end = time.monotonic() + _SECONDS
        self._db.set_authorizer(lambda what, *_: sqlite3.SQLITE_DENY * (what not in _MAY))
        self._db.set_progress_handler(lambda: time.monotonic() > end, 100_000)
        try:
            cursor = self._db.execute(sql)
            rows = [[_text(value) for value in row] for row in cursor.fetchmany(most + 1)]
            names = [column[0] for column in cursor.description or ()]
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise StoreError(f"SQLite does not answer that, only one SELECT: {error}.") from error
        finally:
            self._db.set_authorizer(lambda *_: sqlite3.SQLITE_OK)
            self._db.set_progress_handler(None, 0)
        return Answer(names, rows[:most], len(rows) <= most)

    def held(self, places: pl.DataFrame) -> pl.DataFrame:
        """Which of these places hold a row: `file_id`, `offset`."""
        return _frame(PLACE, self._ask(_HELD, (json.dumps(places.select(PLACE).rows()),)))

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
        self._write(lambda: record(self._db, self._instance, "position", [span]))

    def cancel(self) -> None:
        """Give up the question under way, and do nothing more: the process is about to end."""
        self._cancelled = True
        self._db.interrupt()

    def _ask(self, query: str, values: Any = ()) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"SQLite cannot answer: {error}.") from error

    def _insert(self, table: str, lines: pl.DataFrame, held: Callable[[], pl.DataFrame]) -> int:
        def insert_rest() -> int:  # what is held cannot change in the midst of it
            rest = lines.join(held(), on=PLACE, how="anti") if len(lines) else lines
            return insert(self._db, table, rest)

        return int(self._write(insert_rest))

    def _change(self, statement: str, lines: pl.DataFrame, names: list[str]) -> None:
        self._write(lambda: self._db.executemany(statement, lines.select(names).rows()))

    def _write(self, work: Callable[[], Any]) -> Any:
        if self._cancelled:
            raise StoreError("The process is about to end.")
        try:
            with transaction(self._db):
                return work()
        except sqlite3.Error as error:
            raise StoreError(f"SQLite refuses a change: {error}.") from error


def _frame(names: Sequence[str], rows: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, {name: _TYPES.get(name, pl.String()) for name in names}, orient="row")


def _text(value: object) -> object:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
