"""Lines that say what an object of JSON could say: they are read as that object is."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.formats.json import JsonLines
from flows.parsing.keys import row_of
from flows.parsing.lines import Lines
from flows.parsing.parser import Row

Members = Callable[[str], dict[str, object]]
"""The members of the object that a line means. Raises `MalformedLine`."""


class Objects(JsonLines):
    """A format whose lines `members` makes objects of; keys mean what they mean in `json`."""

    def __init__(self, members: Members, time_zone: ZoneInfo, duration_shift: int) -> None:
        super().__init__(time_zone, duration_shift)
        self._members = members

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        return row_of(self._members(text), self._zone, self._shift, needs_time=self._needs_time)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        numbers = range(len(lines))
        return super().columns(Lines(b"".join(self._encoded(lines.raw(each)) for each in numbers)))

    def _encoded(self, line: bytes) -> bytes:
        """The object as a line of JSON, an empty one for a line that `line` has to see."""
        try:
            return msgspec.json.encode(self._members(line.decode())) + b"\n"
        except (MalformedLine, UnicodeDecodeError):
            return b"{}\n"


def objects(members: Members, samples: tuple[str, ...]) -> Scanner:
    """Such a format as a value."""
    return Scanner(lambda zone, shift: Objects(members, zone, shift), samples)
