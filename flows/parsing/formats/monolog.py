"""Format `monolog`: `[time] channel.LEVEL: message {context} [extra]`, also Laravel's.

By the documentation of Monolog, `LineFormatter::SIMPLE_FORMAT`. Context and extra are JSON, and
attributes; Laravel leaves out those that are empty.
"""

from __future__ import annotations

import json
import re
from itertools import islice

import polars as pl

from flows.parsing.choice import Wrapped
from flows.parsing.fields import encode
from flows.parsing.formats.app import texts
from flows.parsing.formats.json import LENIENT
from flows.parsing.layout import Variants
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Format, Row

_OPENING = re.compile(r" (?=[{\[])")
_NONE = " [] []"
_BEHIND = ("context", "extra")
_MOST_TRIED = 32


class _MonologFormat:
    """Lines behind whose message there is JSON."""

    def __init__(self, plain: Format) -> None:
        self._plain = plain

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = self._plain.line(text)
        row["message"], found = _split(str(row["message"]))
        if found:
            row["attributes"] = encode({**json.loads(str(row["attributes"])), **found})
        return row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that have something behind the message are left open."""
        frame = self._plain.columns(lines)
        if "message" not in frame.columns:
            return frame
        text = pl.col("message").str.strip_chars_end(" ").str.strip_suffix(_NONE)
        is_plain = ~text.str.contains_any(["{", "["]) & ~text.str.ends_with(" ")
        return frame.with_columns(text, pl.col(OK) & is_plain)


def _split(text: str) -> tuple[str, dict[str, object]]:
    """A message, and what is behind it."""
    text = text.rstrip(" ")
    for place in islice(_OPENING.finditer(text), _MOST_TRIED):
        at = place.start()
        values: list[object] = []
        while text.startswith((" {", " ["), at) and len(values) < len(_BEHIND):
            try:
                value, end = LENIENT.raw_decode(text, at + 1)
                encode(value).encode()  # half of a surrogate pair is no text
            except (ValueError, RecursionError):
                break
            values.append(value)
            at = end
        if at == len(text):
            behind = zip(_BEHIND, values, strict=False)
            return text[: place.start()], {name: value for name, value in behind if value}
    return text, {}


FORMAT = Wrapped(
    Variants(
        texts(
            "not_monolog",
            "[{time}] {channel}.{level}: {message}",
            samples=(
                "[2026-11-22T20:15:05.123456+00:00] shop.WARNING: disk 91% full [] []",
                '[2026-11-22 20:15:05] production.ERROR: caf\u00e9 closed {"order":4711} ',
            ),
        )
    ),
    _MonologFormat,
)
