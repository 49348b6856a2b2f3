r"""A regular expression with named groups to a definition: `(?P<timestamp>\S+) (?P<message>.*)`.

Groups that have the name of a column mean it, `request` a request line; others are attributes. A
time is ISO 8601, as Apache or HAProxy write it, or a number since 1970. Such lines are read one by
one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from connectors.batch import COLUMNS
from flows.parsing.compiled import nothing
from flows.parsing.layout import REQUEST, Field, Readers
from flows.parsing.lines import Lines
from flows.parsing.parser import Row

_NOT_OF_A_LINE = {
    *("file_id", "offset", "line", "source", "attributes"),
    *("endpoint", "status_class", "success"),
}

MISFIT = "the expression of LOG_FORMAT does not match"


@dataclass(frozen=True)
class Regex:
    """Lines that an expression matches whole."""

    readers: Readers
    samples: tuple[str, ...] = ()

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> RegexFormat:
        """The format; times without a zone are in `time_zone`."""
        return RegexFormat(self.readers, time_zone)


class RegexFormat:
    """See `Regex`."""

    def __init__(self, readers: Readers, zone: ZoneInfo) -> None:
        self._readers = readers
        self._zone = zone

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        return self._readers.row(text, self._zone)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """No line is certain."""
        return nothing(lines)


def translate(text: str) -> Regex:
    """The definition. Raises `ValueError` for what it cannot mean, with the place."""
    try:
        pattern = re.compile(text, re.DOTALL)
    except re.error as error:
        place = 1 if error.pos is None else error.pos + 1
        raise ValueError(f"no regular expression: {error.msg} at {place}") from None
    if pattern.groups != len(pattern.groupindex):
        raise ValueError("a group has no name; write (?:...) for one that is not wanted")
    if "timestamp" not in pattern.groupindex:
        raise ValueError("no group is named timestamp")
    columns = {name: name for name in COLUMNS.keys() - _NOT_OF_A_LINE} | {REQUEST: REQUEST}
    fields = tuple(Field(name, columns.get(name, ""), time=None) for name in pattern.groupindex)
    return Regex(Readers(pattern, fields, "not_log_format", lambda _: MISFIT))
