"""What is behind the message of a line: pairs, as structlog and tracing write them."""

from __future__ import annotations

import ast
import json
import re
from functools import partial

import polars as pl

from flows.parsing.choice import Wrapped
from flows.parsing.fields import encode
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Format, Row

_VALUE = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^\[\]]*\]|\{[^{}]*\}|[^\s'"]*"""
_PAIR = re.compile(rf" +([A-Za-z_][\w.-]*)=({_VALUE})", re.ASCII)
_MESSAGE = re.compile(
    rf"(.*?)(?: +\[([\w.:$-]+)\])?((?: +[A-Za-z_][\w.-]*=(?:{_VALUE}))*) *", re.DOTALL | re.ASCII
)


class _PairsFormat:
    """See `WithPairs`."""

    def __init__(self, plain: Format) -> None:
        self._plain = plain

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = self._plain.line(text)
        found = _MESSAGE.fullmatch(str(row["message"]))
        assert found  # for it may be all message
        row["message"], logger, pairs = found.groups()
        attributes = json.loads(str(row.get("attributes", "{}")))
        if logger:
            attributes["logger"] = logger
        attributes |= {key: _plain(value) for key, value in _PAIR.findall(pairs)}
        return {**row, "attributes": encode(attributes)} if attributes else row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those with pairs are left open."""
        frame = self._plain.columns(lines)
        if "message" not in frame.columns:
            return frame
        text = pl.col("message").str.strip_chars_end(" ")
        return frame.with_columns(text, pl.col(OK) & ~text.str.contains_any(["=", "]"]))


def _plain(value: str) -> str:
    """A value without its quotes."""
    if not value.startswith(("'", '"')):
        return value
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


WithPairs = partial(Wrapped, wrap=_PairsFormat)
"""Lines whose message is followed by a logger in brackets and pairs, which are attributes."""
