"""Formats whose lines may have colours for a terminal, which mean nothing."""

from __future__ import annotations

import re
from functools import partial

import polars as pl

from flows.parsing.choice import Wrapped
from flows.parsing.keys import COLOURS, without_colours
from flows.parsing.lines import Lines
from flows.parsing.parser import Format, Row

_COLOURS = re.compile(COLOURS.encode())


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


Coloured = partial(Wrapped, wrap=_WithoutColours)
"""A format, with or without colours."""
