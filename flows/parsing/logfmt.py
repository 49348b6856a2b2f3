r"""Format `logfmt`: `key=value key="quoted \"value\"" flag`.

Nobody has standardised it. Here it is what the documentation of kr/logfmt (package logfmt, its
grammar) and the decoder of go-logfmt take, and what writers make:

- Pairs stand between spaces or control characters. A key has no `=` and no `"`.
- A value is a word without `"`, or a text in quotes. The word may have `=` in it, which those two
  refuse, and which means one thing only: `path=/a?b=c`.
- Escapes in quotes are those of JSON, which go-logfmt writes, and those of Go's strconv.Quote,
  which log/slog and logrus write. What means no character stays as it is.
- A key alone is `true`, as kr/logfmt has it.
- Colours for a terminal are no part of a line: logrus and others write them.

Keys become columns as in JSON. There are no types, so every value is a text, in `attributes` too; a
number is read from it where a column wants one. A known key without a value, or with the word
`null`, which go-logfmt writes for nil, is as good as missing; so is `-` for a number. Of a repeated
key, the last counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.compiled import completed, read_lines
from flows.parsing.fields import number
from flows.parsing.keys import (
    COLOURS,
    NUMBERS,
    WHOLE_NUMBERS,
    column_of,
    columns_of,
    compiled_keys,
    is_pattern,
    keys_in,
    nothing,
    row_of,
    sample,
    with_plain_levels,
    without_colours,
)
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from native.lines import Form

_SEPARATORS = "".join(map(chr, range(ord(" ") + 1)))
_PAIR = re.compile(
    r'([^\0- ="]+)(?:=("[^"\\]*(?:\\.[^"\\]*)*"|[^\0- "]*))?(?:[\0- ]+|\Z)', re.DOTALL
)
_HEX = "[0-9A-Fa-f]"
_ESCAPE = re.compile(
    (
        rf"\\(?:u([dD][89abAB]{_HEX}{{2}})\\u([dD][c-fC-F]{_HEX}{{2}})"  # two halves of UTF-16
        rf"|u({_HEX}{{4}})|U({_HEX}{{8}})|x({_HEX}{{2}})|(.))"
    ).encode(),
    re.DOTALL,
)
_NAMES = dict(zip(b'"\\/abfnrtv', b'"\\/\a\b\f\n\r\t\v', strict=True))
_MISSING = ("", '""', "null")
_NO_NUMBER = (*_MISSING, "-", '"-"')
_COLOURS = re.compile(COLOURS.encode())
_WORTH_IT = 0.1  # of the lines: less is not read as columns again


def make(time_zone: ZoneInfo, duration_shift: int = 0) -> Logfmt:
    """The parser of this format; times without a zone are in `time_zone`.

    Of durations whose unit nobody names, 10^`duration_shift` are a second.
    """
    return Logfmt(time_zone, duration_shift)


class Logfmt:
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo, duration_shift: int) -> None:
        self._zone = time_zone
        self._shift = duration_shift

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        pairs = _pairs(without_colours(text))
        return row_of({key: _meaning(key, value) for key, value in pairs}, self._zone, self._shift)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        if b"\x1b" in lines.data:  # of one byte, which is found far quicker than two
            lines = Lines(_COLOURS.sub(b"", lines.data))
        keys = compiled_keys(keys_in(lines, _members), self._shift)
        return with_plain_levels(read_lines(Form.LOGFMT, lines, keys, self._zone, self._columns))

    def _columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once, those of the most common keys first, split at these keys."""
        shapes = Counter(_shape(lines.raw(line)) for line in sample(lines))
        del shapes[()]
        if not shapes:
            return nothing(lines)
        ((shape, _),) = shapes.most_common(1)
        frame = self._of_shape(lines, shape)
        if frame[OK].sum() < _WORTH_IT * len(lines):
            return frame
        return completed(frame, lines, self._columns)

    def _of_shape(self, lines: Lines, keys: tuple[str, ...]) -> pl.DataFrame:
        """All lines; those that do not have these keys in this order are left open.

        A line is split where a key is to begin. That was right if each part is one value.
        """
        rest = lines.series.str.strip_suffix("\n").str.strip_suffix("\r")
        text = np.frombuffer(lines.text, np.uint8)
        sure = rest.str.starts_with(f"{keys[0]}=")
        if np.count_nonzero(text < ord(" ")) > lines.text.count(b"\n"):
            sure &= ~rest.str.contains("[\0-\x1f]")
        rest = rest.str.slice(len(keys[0]) + 1)
        columns = {}
        for key, next_key in zip(keys, (*keys[1:], None), strict=True):
            value = rest
            if next_key is not None:
                value, rest = rest.str.splitn(f" {next_key}=", 2).struct.unnest()
            columns[key], is_value = _values(key, value)
            sure &= is_value
        frame = columns_of(pl.DataFrame(columns), self._zone, self._shift)
        return frame.with_columns(pl.col(OK) & sure.fill_null(False))


def _pairs(text: str) -> Iterator[tuple[str, str | None]]:
    """The keys of a line and their values as written, None for a key alone."""
    text, at = text.strip(_SEPARATORS), 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if not found:
            raise MalformedLine("bad_logfmt", f"{text[at : at + 64]!r} is not key=value")
        yield found.group(1), found.group(2)
        at = found.end()


def _meaning(key: str, value: str | None) -> object:
    """What `row_of` is to be told of a value."""
    if column_of(key) and (value is None or value in _MISSING):
        return None
    if value is None:
        return True
    return _unescape(value[1:-1]) if value.startswith('"') else value


def _unescape(text: str) -> str:
    """Undo the escapes; bytes that are not UTF-8, and what is no character, stay escaped."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_character, text.encode()).decode(errors="backslashreplace")


def _character(found: re.Match[bytes]) -> bytes:
    high, low, unit, point, octet, name = found.groups()
    if octet:
        return bytes.fromhex(octet.decode())
    if name:
        return bytes([_NAMES[name[0]]]) if name[0] in _NAMES else found.group()
    if high:
        return bytes.fromhex((high + low).decode()).decode("utf-16-be").encode()
    try:
        return chr(int(unit or point, 16)).encode()
    except (ValueError, OverflowError):  # half of a character, or beyond all of them
        return found.group()


def _members(line: bytes) -> dict[str, str]:
    """The pairs of a line, and of a malformed one what looks like pairs."""
    return dict(_PAIR.findall(line.decode(errors="replace")))


def _shape(line: bytes) -> tuple[str, ...]:
    """The keys of a line, in order, if it can be split at them."""
    try:
        keys, values = zip(*_pairs(line.decode()), strict=True)
    except (MalformedLine, ValueError):
        return ()
    repeats = len(set(keys)) < len(keys)
    known = "timestamp" in map(column_of, keys)
    return () if repeats or not known or None in values or any(map(is_pattern, keys)) else keys


def _values(key: str, written: pl.Series) -> tuple[pl.Series, pl.Series]:
    """What `columns_of` is to be told of the values, and which of them are certain."""
    column = column_of(key)
    is_quoted = written.str.starts_with('"')
    certain = ~written.str.contains(" ", literal=True)
    values = written
    if is_quoted.any():
        inner = written.str.strip_prefix('"').str.strip_suffix('"')
        values = inner.zip_with(is_quoted, written)
        is_text = written.str.ends_with('"') & (written.str.len_bytes() > 1)
        is_text &= ~written.str.contains("\\", literal=True)
        certain = (certain & ~is_quoted) | (is_quoted & is_text)
    certain &= ~values.str.contains('"', literal=True)
    if not column:
        return values, certain
    is_missing = written.is_in(_NO_NUMBER if column in NUMBERS else _MISSING)
    values = values.set(is_missing, None)
    dtype = _number_type(column, values)
    if dtype:
        values = values.cast(dtype, strict=False)
        # Signs, and what else may stand in quotes, are not worth a thought.
        is_plain = ~is_quoted & ~written.str.starts_with("+") & ~written.str.starts_with("-")
        certain &= is_missing | (is_plain & values.is_finite())
    return values, certain


def _number_type(column: str, values: pl.Series) -> type[pl.DataType] | None:
    """What the values of a column are read as; None: they are texts."""
    if column in WHOLE_NUMBERS:
        return pl.Int64
    if column == "duration":
        return pl.Float64
    first = values.drop_nulls().head(1).to_list()
    if column == "timestamp" and first and (moment := number(first[0])) is not None:
        return pl.Int64 if isinstance(moment, int) else pl.Float64
    return None
