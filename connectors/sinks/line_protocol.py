"""InfluxDB's line protocol: rows as columns of text, and single points in plain Python.

What the protocol cannot carry as what it is goes into the string field `<name>_text`, and empty
text is left out: see docs/influxdb.md, "Values". Both ways give the same line for the same values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import groupby

import numpy as np
import polars as pl

from connectors.batch import COLUMNS

MEASUREMENT = "api_requests"

_MAX_TAG_BYTES = 4096  # so that all tags fit into the 65,535 of a series key
_MAX_INT = 2**63 - 1
_MAX_MS = _MAX_INT // 1_000_000 - 1

_LOOSE_BACKSLASH = r"\\(?:[,= \\]|$)"  # versions differ in what it means there
_NO_TAG = r"^$|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]|" + _LOOSE_BACKSLASH  # as `str.isprintable`, too


class Encoded:
    """Lines in one stretch of bytes, each ended by a newline."""

    def __init__(self, lines: pl.Series) -> None:
        _, offsets, data = lines.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
        self._ends = np.frombuffer(offsets, np.int64)[: len(lines) + 1]
        self._data = memoryview(data) if len(lines) else memoryview(b"")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def between(self, first: int, last: int) -> memoryview:
        """The lines from number `first` to before `last`, without a copy."""
        return self._data[self._ends[first] : self._ends[last]]

    def parts(self, size: int) -> list[tuple[int, int]]:
        """Numbers of lines that make no more than `size` bytes, one line at least."""
        found, first = [], 0
        while first < len(self):
            last = int(np.searchsorted(self._ends, self._ends[first] + size, "right")) - 1
            last = max(first + 1, last)
            found.append((first, last))
            first = last
        return found


_Piece = str | pl.Series
"""A part of every line: the same everywhere, or a text a row."""


def encode(rows: pl.DataFrame, tags: Iterable[str], demoted: Collection[str] = ()) -> Encoded:
    """The rows as lines, each ended by a newline; a line depends on its row and nothing else.

    `rows` has some of `connectors.batch.COLUMNS`, among them `timestamp`, `file_id` and `line`.
    The columns in `tags`, and `file_id`, are tags, unless they are `demoted`; all others are
    fields.
    """
    if rows.is_empty():
        return Encoded(pl.Series([], dtype=pl.String))
    tagged = sorted({"file_id", *tags}.intersection(rows.columns))
    micros = rows["timestamp"].to_physical()
    series: list[_Piece] = [MEASUREMENT]
    fields: list[_Piece] = [" event_time=", micros.cast(pl.String), "i"]
    for name in tagged:
        values = rows[name].cast(pl.String)
        if name in demoted:
            fields += _text_field(f"{name}_text", values)
            continue
        written = _by_distinct(values, _as_tag)
        series += _where_given(f",{name}=", written)
        if written.null_count():
            fields += _text_field(f"{name}_text", _only(written.is_null(), values))
    for name in COLUMNS:
        if name in rows.columns and name not in (*tagged, "timestamp", "line"):
            fields += _field(name, rows[name])
    return _joined([*series, *fields, " ", _nanoseconds(micros, rows["line"]), "\n"])


def point(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, str | float], time: int
) -> bytes:
    """One line, ended by a newline; names are plain words, values are of any kind.

    Not all of `fields` may be empty. `time` is in nanoseconds.
    """
    head = measurement
    written = {}
    for name, text in sorted(tags.items()):
        escaped = re.sub("([,= ])", r"\\\1", text)
        is_tag = text.isprintable() and not re.search(_LOOSE_BACKSLASH, text)
        if is_tag and len(escaped.encode()) <= _MAX_TAG_BYTES:
            head += f",{name}={escaped}" if text else ""
        else:
            written[f"{name}_text"] = _quoted(text)
    for name, value in fields.items():
        if isinstance(value, bool):
            written[name] = str(value).lower()
        elif isinstance(value, int) and abs(value) <= _MAX_INT:
            written[name] = f"{value}i"
        elif isinstance(value, float) and math.isfinite(value):
            written[name] = repr(value)
        elif value != "":
            written[name if isinstance(value, str) else f"{name}_text"] = _quoted(str(value))
    body = ",".join(f"{name}={value}" for name, value in written.items())
    return f"{head} {body} {time}\n".encode()


def _quoted(text: str) -> str:
    text = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{text}"'


def _as_tag(values: pl.Series) -> pl.Series:
    """Escaped; null where the value can be no tag."""
    escaped = values.str.replace_all("([,= ])", r"\$1")
    refused = values.str.contains(_NO_TAG) | (escaped.str.len_bytes() > _MAX_TAG_BYTES)
    return _only(~refused, escaped)


def _as_text(values: pl.Series) -> pl.Series:
    """Escaped; null where the value is empty."""
    for special in ("\\", '"'):
        if values.str.contains(special, literal=True).any():
            values = values.str.replace_all(special, f"\\{special}", literal=True)
    return _only(values != "", values)


def _by_distinct(values: pl.Series, write: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """`write` of the values, of one for all if they are equal; what repeats is written once."""
    distinct = values.unique()
    if len(distinct) > len(values) // 2:
        return write(values)
    written = write(distinct)
    if len(distinct) == 1:
        return written
    return values if written.equals(distinct) else values.replace_strict(distinct, written)


def _field(name: str, values: pl.Series) -> list[_Piece]:
    if values.dtype == pl.String:
        return _text_field(name, values)
    written = values.cast(pl.String)
    if values.dtype == pl.Boolean:
        return [f",{name}=", written]
    is_float = values.dtype.is_float()
    carried = values.is_finite() if is_float else values.cast(pl.Int64, strict=False).is_not_null()
    return [
        *_where_given(f",{name}=", _only(carried, written), "" if is_float else "i"),
        *([] if carried.all() else _text_field(f"{name}_text", _only(~carried, written))),
    ]


def _text_field(name: str, values: pl.Series) -> list[_Piece]:
    return _where_given(f',{name}="', _by_distinct(values, _as_text), '"')


def _where_given(before: str, values: pl.Series, after: str = "") -> list[_Piece]:
    """The values with what stands around them; nothing where they are null."""
    if len(values) == 1:
        return [] if values.item() is None else [before, values.item(), after]
    if not values.null_count():
        return [before, values, after]
    whole = pl.concat_str(pl.lit(before), values, pl.lit(after))
    return [pl.select(whole.fill_null("")).to_series()]


def _only(mask: pl.Series, values: pl.Series) -> pl.Series:
    """The values where the mask is true, else null."""
    return values if mask.all() else pl.select(pl.when(mask).then(values)).to_series()


def _nanoseconds(micros: pl.Series, numbers: pl.Series) -> pl.Series:
    millis = micros // 1000
    if (millis > _MAX_MS).any():  # the server shall refuse them, not take them for other times
        millis = millis.cast(pl.Int128)
    return (millis * 1_000_000 + (numbers % 1_000_000).cast(millis.dtype)).cast(pl.String)


def _joined(pieces: list[_Piece]) -> Encoded:
    """Row by row, one piece after another."""
    parts: list[pl.Series | pl.Expr] = []
    for is_same, run in groupby(pieces, lambda piece: isinstance(piece, str)):
        parts += [pl.lit("".join(map(str, run)))] if is_same else list(run)  # type: ignore[arg-type]
    lines = pl.select(pl.concat_str(parts)).to_series()
    return Encoded(lines)
