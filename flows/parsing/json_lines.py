"""Format `json`: one JSON object (RFC 8259) a line.

Keys become columns by `ALIASES`; where a line has several keys for one column, the first in the
table wins. Every other key, nested values too, goes into `attributes`, and so does a known key
whose line has a better alias. A known key that is null is as good as missing. A line needs a
timestamp.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.compiled import read_lines
from flows.parsing.json_keys import accounted
from flows.parsing.keys import (
    BY_KEY,
    WHOLE_NUMBERS,
    Seen,
    column_of,
    columns_of,
    compiled_keys,
    encode,
    is_pattern,
    keys_in,
    nothing,
    row_of,
    with_plain_levels,
)
from flows.parsing.lines import CARRIAGE_RETURN, NEWLINE, Flags, Lines
from flows.parsing.parser import OK, Row
from native.lines import Form

_DTYPES = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}
_Schema = dict[str, pl.DataType]
_MOST_NESTED = 512
_BRACE, _ENDING_BRACE = b"{}"
_decode = msgspec.json.Decoder().decode
_skim = msgspec.json.Decoder(msgspec.Raw).decode
_UNREADABLE = re.compile(r"\bNaN\b|\bInfinity\b|[0-9][eE]\+?[0-9]{3}")


def make(time_zone: ZoneInfo, duration_shift: int = 0) -> JsonLines:
    """The parser of this format; times without a zone are in `time_zone`.

    Of durations whose unit nobody names, 10^`duration_shift` are a second.
    """
    return JsonLines(time_zone, duration_shift)


class JsonLines:
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo, duration_shift: int) -> None:
        self._zone = time_zone
        self._shift = duration_shift

    # One line: the definition

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        try:
            found = _value_of(text)
            if not isinstance(found, dict):
                raise MalformedLine("not_an_object", f"{type(found).__name__}, not an object")
            return row_of(found, self._zone, self._shift)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise MalformedLine("bad_json", str(error)) from None

    # Many lines: the compiled part reads flat objects, if it is there

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        keys = compiled_keys(keys_in(lines, _members), self._shift)
        return with_plain_levels(read_lines(Form.JSON, lines, keys, self._zone, self._columns))

    # Many lines: Polars reads what is as usual, and every key in the bytes is accounted for

    def _columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that Polars did not read whole are left open.

        Polars refuses all lines for one that is malformed, so those are taken out before.
        """
        seen = keys_in(lines, _members)
        for good in _guesses(lines):
            try:
                return self._read(lines, good, _schema(seen))
            except pl.exceptions.PolarsError:
                continue
        return nothing(lines)

    def _read(self, lines: Lines, good: Flags, schema: _Schema) -> pl.DataFrame:
        """One row for each of the lines, of which Polars reads the good ones."""
        if good.all():
            return self._read_all(lines, schema)
        if not good.any():
            return nothing(lines)
        frame = self._read_all(Lines(Lines(lines.text).join(np.flatnonzero(good))), schema)
        # Each line gets its row; a line that was not read gets any, which is not `OK`.
        place = np.maximum(np.cumsum(good) - 1, 0)
        return frame.select(pl.all().gather(place)).with_columns(pl.col(OK) & pl.Series(good))

    def _read_all(self, lines: Lines, schema: _Schema) -> pl.DataFrame:
        if "timestamp" not in map(column_of, schema):
            return nothing(lines)
        frame = pl.read_ndjson(lines.text, schema=schema, ignore_errors=True).rechunk()
        if len(frame) != len(lines):
            raise pl.exceptions.ComputeError("a line is no value, or several")
        whole = pl.Series(accounted(lines, frame, BY_KEY))
        return columns_of(frame, self._zone, self._shift).with_columns(pl.col(OK) & whole)


def _value_of(text: str) -> object:
    """The value that a text of JSON is. Raises `MsgspecError`, `RecursionError`.

    NaN and Infinity are no JSON, and 1e999 is no number of 64 bits; but programs write them.
    """
    try:
        return _decode(text)
    except msgspec.MsgspecError as error:
        if not _UNREADABLE.search(text):
            raise
        try:
            found = json.loads(text, parse_constant=str, parse_float=_float)
            encode(found).encode()  # half of a surrogate pair is no text
        except (ValueError, RecursionError):
            raise error from None
        return found


def _float(text: str) -> float | str:
    found = float(text)
    return found if math.isfinite(found) else text


def _guesses(lines: Lines) -> Iterator[Flags]:
    """Which lines Polars can read: as a look at them tells, and if that fails, as a parser does."""
    text = np.frombuffer(lines.text, np.uint8)
    ends = lines.starts[1:] - 1
    for ending in (NEWLINE, CARRIAGE_RETURN):
        ends = ends - (text.take(ends, mode="clip") == ending)
    good = (text[lines.starts[:-1]] == _BRACE) & (text.take(ends, mode="clip") == _ENDING_BRACE)
    if b"\0" in lines.text:
        # To Polars, a number ends at NUL, whatever follows.
        good &= ~lines.series.str.contains("\0", literal=True).to_numpy()
    for long in np.flatnonzero(np.diff(lines.starts) > _MOST_NESTED).tolist():
        # Polars 2.0 dies of some thousands of levels.
        line = lines.raw(long)
        good[long] &= line.count(b"[") + line.count(b"{") <= _MOST_NESTED
    yield good
    parts = lines.text.split(b"\n")[: len(lines)]
    yield good & np.fromiter(map(_is_json, parts), np.bool_, len(lines))


def _is_json(line: bytes) -> bool:
    try:
        _skim(line)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _members(line: bytes) -> dict[str, object]:
    """The members of the object that a line is, none if it is not one."""
    try:
        found = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _schema(seen: Seen) -> _Schema:
    """How Polars shall read each key: as most lines have it; others are asked one by one."""
    return {key: dtype for key, types in seen.items() if (dtype := _dtype(key, types))}


def _dtype(key: str, types: Counter[type]) -> pl.DataType | None:
    """How Polars shall read a key of these types; None: not at all."""
    if is_pattern(key) or ":" in key:
        return None  # the colons of lines are counted
    column = column_of(key)
    if column == "duration":
        return pl.Float64()
    if column in WHOLE_NUMBERS:
        return pl.Int64()
    common = max(_DTYPES, key=types.__getitem__)
    if not column:
        return _DTYPES[common] if types[common] else None
    if common is bool or (common is float and column != "timestamp"):
        return None
    return _DTYPES[common]
