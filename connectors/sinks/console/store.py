"""Store `console`: shows lines on stdout, in tables on a terminal, else as one JSON object each."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime

import polars as pl
from rich.console import Console
from rich.table import Table

from connectors.batch import COLUMNS, Parsed, Stored, with_nulls
from connectors.errors import StoreError
from connectors.saying import shown
from connectors.sinks.null.store import NullStore, NullWriter
from connectors.sinks.retry import Retry
from settings import Settings

_STDOUT = 1
_ROWS_OF_A_TABLE = 1000  # rich measures every cell of a table before it prints the first
_LONGEST_CELL = 500

_IN_TABLES = (
    *("timestamp", "level", "customer_id", "client_ip", "method", "request_path"),
    *("status_code", "duration", "message"),
)

# What JSON leaves as it is and a terminal may obey: C1 controls, and marks of direction.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class ConsoleStore(NullStore):
    """Shows lines, and remembers nothing."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._turn = threading.Lock()

    def writer(self) -> ConsoleWriter:
        """A writer that takes turns with those of the other workers."""
        return ConsoleWriter(self._retry, self._turn)


class ConsoleWriter(NullWriter):
    """Shows the rows of a batch, then its rejected lines; waits for whoever reads them."""

    def __init__(self, retry: Retry, turn: threading.Lock) -> None:
        self._retry = retry
        self._turn = turn
        self._is_terminal = os.isatty(_STDOUT)

    def write(self, batch: Parsed) -> Stored:
        """Show one batch. Raises `StoreError` where stdout refuses it, as on a full disk."""
        try:
            self._retry.bounded(lambda: self._show(batch))
        except (BrokenPipeError, StoreError):
            # Nobody reads any more, or a stop does not wait for readers: both end in order.
            os.kill(os.getpid(), signal.SIGTERM)
        except OSError as error:
            raise StoreError(f"Cannot write to stdout: {error.strerror}.") from error
        return Stored.of(batch)

    def _show(self, batch: Parsed) -> None:
        with self._turn:
            for text in as_text(batch, self._is_terminal):
                rest = memoryview(text.encode())
                while rest:  # no buffer: the exit would try again what a closed pipe refused
                    rest = rest[os.write(_STDOUT, rest) :]


def as_text(batch: Parsed, is_terminal: bool) -> Iterator[str]:
    """The rows of a batch, then its rejected lines: tables, or a JSON object each."""
    return _as_tables(batch) if is_terminal else _as_json(batch)


def _as_json(batch: Parsed) -> Iterator[str]:
    every = pl.DataFrame(schema=COLUMNS)
    rows = pl.concat([every, with_nulls(batch.rows)], how="diagonal")
    raw = pl.col("raw").map_elements(_text, pl.String)
    dead = batch.rejected.select(pl.lit(True).alias("dead_letter"), pl.exclude("raw"), raw)
    for lines in (rows, dead):
        yield escaped(lines.write_ndjson())


def _as_tables(batch: Parsed) -> Iterator[str]:
    known = with_nulls(batch.rows)
    rows = known.select(name for name in _IN_TABLES if name in known.columns)
    dead = batch.rejected.select("source", "offset", "reason", "detail", "raw")
    for title, lines in (("", rows), ("Dead letters", dead)):
        for some in lines.iter_slices(_ROWS_OF_A_TABLE):
            yield as_table(some.columns, some.rows(), title)


def as_table(names: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> str:
    """Rows as a terminal may have them."""
    console = Console(markup=False, emoji=False, highlight=False)
    table = Table(title=title or None, title_style="bold red", title_justify="left")
    for name in names:
        table.add_column(as_cell(name), no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*map(as_cell, row))
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def escaped(text: str) -> str:
    """JSON in which nothing is left that a terminal may obey."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_cell(value: object) -> str:
    """A value as a terminal may have it: nothing in it moves the cursor or changes a colour."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03}"
    return "" if value is None else shown(value)[:_LONGEST_CELL]


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


def open_store(settings: Settings, retry: Retry) -> ConsoleStore:
    """The console; needs no settings, and never fails."""
    return ConsoleStore(retry)
