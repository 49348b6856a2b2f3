"""Source: the file of a local logger. A record is a row as a line of JSON, its place the id."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from connectors.batch import BlockId, Span, Stream, Taken
from connectors.errors import LogwaxError
from connectors.sources.source import Source
from connectors.status import SourceStatus
from connectors.store import Ledger
from logwax_capture import local_tables as tables

KIND = "local"

_BUSY = 5.0  # seconds to wait for the logger's own transaction
_PAUSE = 0.25  # seconds between two looks for rows

Row = Sequence[Any]


class LocalSource(Source):
    """Hands out the rows of `logs` and `metrics` behind those that the ledger has.

    A batch is of one table, and has `most` rows, or what is there once the first of them has waited
    `max_age` seconds. What is stored is marked in the file, whose retention takes no other row from
    the first start on. `follow=False`: no row is waited for.

    Guarantee: ids only grow, in the order of commits, and rows never change, so a block in doubt is
    read again as it was. One process ships a file at a time.

    Raises `LogwaxError` if the file is none of a local logger, is older than what the ledger has of
    it, or is shipped by another process.
    """

    def __init__(
        self, path: Path, ledger: Ledger, *, most: int, max_age: float, follow: bool = True
    ) -> None:
        self._path = path
        self._most = most
        self._max_age = max_age if follow else 0.0
        self._lock = threading.Lock()  # workers share a source
        self._is_busy = False
        self._look_at = 0.0
        self._seen: dict[str, float] = {}  # when a table's first row behind the last was seen
        self._oldest: dict[str, str] = {}  # its time
        self._waiting: dict[str, int] = {}  # how many there are
        self._problem = ""
        self._claim = _claim(path)
        try:
            self._database = _open(path)
            known = ledger.of(KIND)
            (stream,) = self._mark("stream")
            self._streams = {
                table: Stream(number, f"{path}:{table}", KIND)
                for table, number in tables.streams(stream).items()
            }
            mine = {stream.id: table for table, stream in self._streams.items()}
            self._last = {
                table: Span(stream, 1, 1, 0, 0) for table, stream in self._streams.items()
            } | {mine[span.stream.id]: span for span in known.files if span.stream.id in mine}
            self._in_doubt = {
                block: [span for span in spans if span.stream.id in mine]
                for block, spans in known.in_doubt.items()
                if all(span.stream.id in mine for span in spans)
            }
            for table, span in self._last.items():
                self._check(table, span)
                self._set_mark(table, span.end - 1)
        except BaseException:
            os.close(self._claim)
            raise

    def collect(self) -> Taken | None:
        """The block in doubt, or the next rows of a table that has enough of them."""
        with self._lock:
            if self._is_busy or time.monotonic() < self._look_at:
                return None
            try:
                taken = self._repeated() if self._in_doubt else self._next()
                self._problem = ""
            except sqlite3.Error as error:
                self._problem = f"{self._path} cannot be read: {error}."
                taken = None
            self._is_busy = taken is not None
            if not taken:
                self._look_at = time.monotonic() + _PAUSE
            return taken

    def due_in(self) -> float | None:
        """Until the next look."""
        return max(0.0, self._look_at - time.monotonic())

    def exhausted(self) -> bool:
        """Whether all rows that are there are stored."""
        with self._lock:
            try:
                rows = any(self._rows(table, span.end, 1) for table, span in self._last.items())
            except sqlite3.Error:
                return False
            return not (self._is_busy or self._in_doubt or rows)

    def status(self) -> SourceStatus:
        """How many rows are waiting, and how long the oldest, as of the last look."""
        oldest = min(self._oldest.values(), default="")
        lag = (datetime.now(timezone.utc) - _moment(oldest)).total_seconds() if oldest else 0.0
        problems = (self._problem,) if self._problem else ()
        return SourceStatus(
            files=1,
            lag_seconds=max(0.0, lag),
            lag_records=sum(self._waiting.values()),
            problems=problems,
            blocks_in_doubt=len(self._in_doubt),
        )

    def close(self) -> None:
        """Close the file, and let another process ship it."""
        with self._lock:
            self._database.close()
            os.close(self._claim)

    def _next(self) -> Taken | None:
        for table, last in self._last.items():
            rows = self._rows(table, last.end, self._most)
            if not rows:
                self._seen.pop(table, None)
                self._oldest.pop(table, None)
                self._waiting.pop(table, None)
                continue
            now = time.monotonic()
            waited = now - self._seen.setdefault(table, now)
            self._oldest[table] = rows[0][1]
            self._waiting[table] = self._given(table) - last.end + 1
            if len(rows) == self._most or waited >= self._max_age:
                del self._seen[table]
                end = rows[-1][0] + 1
                first = last.first + last.records
                span = Span(last.stream, last.end, end, first, len(rows))
                return self._taken([(table, span, rows)], None)
        return None

    def _repeated(self) -> Taken:
        block, spans = next(iter(self._in_doubt.items()))
        tables_of = {stream.id: table for table, stream in self._streams.items()}
        parts = [
            (table, span, self._rows(table, span.start, span.records))
            for span in spans
            for table in [tables_of[span.stream.id]]
        ]
        return self._taken(parts, block)

    def _taken(self, parts: list[tuple[str, Span, list[Row]]], block: BlockId | None) -> Taken:
        def acknowledge() -> None:
            with self._lock:
                self._is_busy = False
                if block:
                    del self._in_doubt[block]
                for table, span, _ in parts:
                    if span.end > self._last[table].end:
                        self._last[table] = span
                    try:
                        self._set_mark(table, span.end - 1)
                    except sqlite3.Error as error:  # the next mark will say it, too
                        self._problem = f"{self._path} cannot be marked: {error}."

        return Taken.of(
            [span for _, span, _ in parts],
            [tables.line(table, row) for table, _, rows in parts for row in rows],
            [row[0] for _, _, rows in parts for row in rows],
            in_doubt=block,
            acknowledge=acknowledge,
        )

    def _rows(self, table: str, start: int, most: int) -> list[Row]:
        return self._database.execute(tables.NEXT[table], (start - 1, most)).fetchall()

    def _given(self, table: str) -> int:
        """The largest id that was ever given."""
        query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?"
        return int(self._database.execute(query, (table,)).fetchone()[0])

    def _mark(self, name: str) -> Row:
        found: Row = self._database.execute(tables.GET_MARK, (name,)).fetchone()
        return found

    def _set_mark(self, table: str, number: int) -> None:
        self._database.execute(tables.SET_MARK, (tables.shipped(table), number))

    def _check(self, table: str, span: Span) -> None:
        """Raise if ids are going to be given that are taken for stored."""
        given = self._given(table)
        if given < span.end - 1:
            raise LogwaxError(
                f"{self._path} is older than what was shipped of it: {table} ends at {given}, and"
                f" {span.end - 1} is stored. It is a backup: let the logger begin a new file."
            )


def logger_file(url: str) -> Path | None:
    """The file of a local logger that a URL `sqlite:///path` names, None if it names another."""
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.is_file():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        try:
            return path if database.execute(tables.GET_MARK, ("stream",)).fetchone() else None
        except sqlite3.Error:
            return None


def _open(path: Path) -> sqlite3.Connection:
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        database = sqlite3.connect(
            uri, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        for table in tables.COLUMNS:
            database.execute(tables.NEXT[table], (0, 1))
        database.execute(tables.GET_MARK, ("stream",))
        return database
    except sqlite3.Error as error:
        raise LogwaxError(f"{path} is no file of a local logger: {error}.") from error


def _claim(path: Path) -> int:
    """A lock that ends with its process."""
    claim = os.open(f"{path}-ship", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(claim)
        raise LogwaxError(f"{path} is shipped by another process. One is enough.") from None
    return claim


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
