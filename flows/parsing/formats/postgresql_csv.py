"""Format `postgresql_csv`: PostgreSQL's log with `log_destination = csvlog`.

By PostgreSQL's documentation, "Using CSV-Format Log Output": 22 columns in 8.4, 23 since 9.0, 24
since 13, 26 since 14, in quotes where they are texts. They mean what their keys mean in the log in
JSON ("Keys and Values of JSON Log Entries"), whose names they have here: the address and the port
of a client are apart, and what has no value is left out. A message that begins with how long a
statement took gives the duration, too. Statements of several lines are one record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product, starmap
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.cells import split
from flows.parsing.choice import Scanner
from flows.parsing.formats.postgresql import MILLISECONDS, TIME, with_durations
from flows.parsing.keys import row_of
from flows.parsing.layout import Field, Layout, Maybe, Part, Variants
from flows.parsing.lines import Lines
from flows.parsing.parser import Row
from flows.parsing.times import reader_of
from native.lines import Shape

_KEYS = (
    *("timestamp", "user", "dbname", "pid", "remote_host", "session_id", "line_num", "ps"),
    *("session_start", "vxid", "txid", "error_severity", "state_code", "message", "detail", "hint"),
    *("internal_query", "internal_position", "context", "statement", "cursor_position"),
    *("location", "application_name", "backend_type", "leader_pid", "query_id"),
)
_COUNTS = (22, 23, 24, 26)
_MORE = ((24, 26), (22, 23))
_SEVERITIES = (
    *("LOG", "ERROR", "FATAL", "WARNING", "INFO", "NOTICE", "PANIC"),
    *("DEBUG", "DEBUG1", "DEBUG2", "DEBUG3", "DEBUG4", "DEBUG5"),
)
_LAST = [_KEYS[count - 1] for count in _COUNTS]
_LOCAL = "[local]"
_COLUMNS = {"user": "customer_id", "message": "message"}


class PostgresqlCsv:
    """See the module's docstring: the definition reads cells, the compiled part a layout."""

    def __init__(self, time_zone: ZoneInfo, duration_shift: int) -> None:
        self._zone = time_zone
        self._shift = duration_shift
        self._kernel = Variants(tuple(starmap(_layout, product(_MORE, _CLIENTS)))).make(time_zone)

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        members = _members(text)
        with suppress(MalformedLine):  # there are other ways to write a time
            time = reader_of(TIME.time)(str(members.get("timestamp")), self._zone)
            members["timestamp"] = time.isoformat()
        return row_of(members, self._zone, self._shift)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return with_durations(self._kernel.columns(lines))


def _members(line: str) -> dict[str, object]:
    cells = split(line, ",")
    texts = {key: cell for key, cell in zip(_KEYS, cells, strict=False) if cell}
    if len(cells) not in _COUNTS or texts.get("error_severity") not in _SEVERITIES:
        why = f"{len(cells)} columns, or no severity in the twelfth"
        raise MalformedLine("not_postgresql_csv", why)
    members: dict[str, object] = {}
    for key, text in texts.items():
        members |= _address(text) if key == "remote_host" else {key: text}
    if took := re.match(MILLISECONDS, texts.get("message", "")):
        members["duration_ms"] = ".".join(took.groups())
    return members


def _address(text: str) -> dict[str, str]:
    """The parts of the address of a client."""
    host, colon, port = text.rpartition(":")
    if colon:
        return {"remote_host": host, "remote_port": port}
    return {"remote_host": text} if text != _LOCAL else {}


_CLIENTS: tuple[tuple[Part, ...], ...] = (
    (f'"{_LOCAL}"',),
    (),
    (
        *('"', Field("remote_host", "client_ip", odd='"', words={_LOCAL: ""}, empty=()), ":"),
        *(Field("remote_port", shape=Shape.DIGITS), '"'),
    ),
)
"""How the client of a line may be written."""


def _layout(counts: tuple[int, int], client: tuple[Part, ...]) -> Layout:
    """The lines with one of two numbers of cells, for the compiled part."""
    few, many = counts
    cells = [part for cell in _cells(_KEYS[:few], client) for part in (",", *cell)]
    more = [part for cell in _cells(_KEYS[few:many], client) for part in (",", *cell)]
    return Layout((*cells[1:], Maybe(*more)), (), "")


def _cells(keys: Sequence[str], client: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    for key in keys:
        odd = "\r," if key in _LAST else "\r"  # of a CR `csv` has its own opinion
        if key == "timestamp":
            yield (replace(TIME, odd=","),)
        elif key == "pid":
            yield (Field(key, shape=Shape.DIGITS),)
        elif key == "remote_host":
            yield client
        elif key == "error_severity":
            yield (Field(key, "level", choices=_SEVERITIES, words={"LOG": "info"}),)
        else:
            column = _COLUMNS.get(key, "")
            yield (Field(key, column, Shape.WORDS, odd=odd, empty=(), is_cell=True),)


FORMAT = Scanner(
    PostgresqlCsv,
    samples=(
        '2026-11-22 20:15:05.123 UTC,"shop","orders",1234,"203.0.113.7:50122",6b0994d9.4d2,3,'
        '"SELECT",2026-11-22 20:15:00 UTC,3/4,0,ERROR,22012,"division by zero",,,,,,"select 1/0",,,'
        '"psql","client backend",,0',
        "2026-11-22 20:15:05.123 UTC,,,1234,,6b0994d9.4d2,1,,2026-11-22 20:15:00 UTC,,0,LOG,00000,"
        '"caf\u00e9",,,,,,,,,"","postmaster",,0',
    ),
)
