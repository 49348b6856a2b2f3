"""Formats whose lines may have colours for a terminal, which mean nothing."""

from __future__ import annotations

from functools import partial

import polars as pl

from flows.parsing.choice import Wrapped
from flows.parsing.keys import COLOURS, without_colours
from flows.parsing.lines import Lines
from flows.parsing.parser import Format, Row

_BEHIND_CR = rf"(?m)\r(?:{COLOURS})+$"


def bare(lines: Lines) -> Lines:
    """The lines as `without_colours` has them, each with its end."""
    if b"\x1b" not in lines.data:  # of one byte, which is found far quicker than two
        return lines
    return lines.changed(_without)


def _without(data: bytes) -> bytes:
    text = pl.Series([data.decode()]).str  # `re` takes ten times as long
    # A CR in front of colours at the end of a line is no part of its end: it gets another.
    return str(text.replace_all(_BEHIND_CR, "\r\r").str.replace_all(COLOURS, "")[0]).encode()


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
