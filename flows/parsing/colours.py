"""Formats whose lines may have colours for a terminal, which mean nothing."""

from __future__ import annotations

import re
from functools import partial

import polars as pl

from flows.parsing.choice import Wrapped
from flows.parsing.keys import COLOURS, without_colours
from flows.parsing.lines import Lines
from flows.parsing.parser import Format, Row

# Where one is behind a CR, at the end of a line, that is no part of its end: it gets another.
_COLOURS = re.compile(rf"(\r)(?:{COLOURS})+$|{COLOURS}".encode(), re.MULTILINE)


def bare(lines: Lines) -> Lines:
    """The lines as `without_colours` has them, each with its end."""
    if b"\x1b" not in lines.data:  # of one byte, which is found far quicker than two
        return lines
    return lines.changed(partial(_COLOURS.sub, rb"\1\1"))


class _WithoutColours:
    """See `Coloured`."""

    def __init__(self, plain: Format) -> None:
        self._plain = plain

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        return self._plain.line(without_colours(text))

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return self._plain.columns(bare(lines))


Coloured = partial(Wrapped, wrap=_WithoutColours)
"""A format, with or without colours."""
