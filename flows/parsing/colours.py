"""Formats whose lines may have colours for a terminal, which mean nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from zoneinfo import ZoneInfo

import polars as pl

from flows.parsing.choice import Description
from flows.parsing.keys import COLOURS, without_colours
from flows.parsing.lines import Lines
from flows.parsing.parser import Format, Row

_COLOURS = re.compile(COLOURS.encode())


@dataclass(frozen=True)
class Coloured:
    """A format, with or without colours."""

    plain: Description

    @property
    def samples(self) -> tuple[str, ...]:
        """See `Description`."""
        return self.plain.samples

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> Format:
        """See `Description`."""
        return _WithoutColours(self.plain.make(time_zone, duration_shift))


class _WithoutColours:
    """See `Coloured`."""

    def __init__(self, plain: Format) -> None:
        self._plain = plain

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        return self._plain.line(without_colours(text))

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        if b"\x1b" in lines.data:
            lines = lines.changed(partial(_COLOURS.sub, b""))
        return self._plain.columns(lines)
