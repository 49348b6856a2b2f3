"""InfluxDB's line protocol: rows as columns of text, and single points in plain Python.

What the protocol cannot carry as what it is goes into the string field `<name>_text`, and empty
text is left out, as is a duration that is none: see docs/influxdb.md, "Values".
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

import native
from connectors.batch import ENRICHED, columns_with
from connectors.distinct import Distinct, distinct
from native.text import Coded, Part, Quoted, Rows, Same

DEAD_LETTERS = "dead_letters"

MEASUREMENT = "api_requests"

_COLUMNS = columns_with(ENRICHED)

_MAX_TAG_BYTES = 4096  # so that all tags fit into the 65,535 bytes of a series' key
_MAX_INT = 2**63 - 1
_MAX_MICROS = _MAX_INT // 1000 - 1000

_SPECIAL = r"[,= ]"
_LOOSE_BACKSLASH = r"\\(?:[,= \\]|$)"  # servers differ in what it means there
_NO_TAG = r"^$|[^\p{L}\p{M}\p{N}\p{P}\p{S} ]|" + _LOOSE_BACKSLASH  # not `str.isprintable`

_SAMPLE = 1000  # rows that tell whether a column repeats its values
_OFTEN_FIELD = 8
_OFTEN_TAG = 2  # a tag is escaped by a regular expression: once a value is soon won back
_MAX_COMBINED = 1000
_MOST_KNOWN = 50_000

_known_tags: dict[str, str | None] = {}

_NOTHING = pl.lit("")


class Encoded(Protocol):
    """Lines, each ended by a newline."""

    def __len__(self) -> int: ...

    def between(self, first: int, last: int) -> memoryview:
        """The bytes of the lines from number `first` to before `last`."""

    def parts(self, size: int) -> list[tuple[int, int]]:
        """Numbers of lines that make no more than `size` bytes, one line at least."""


class Texts(Encoded):
    """Lines that are there."""

    def __init__(self, lines: pl.Series) -> None:
        _, offsets, data = lines.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
        self._ends = np.frombuffer(offsets, np.int64)[: len(lines) + 1]
        self._data = memoryview(data).cast("B") if len(lines) else memoryview(b"")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def between(self, first: int, last: int) -> memoryview:
        """See `Encoded`; without a copy."""
        return self._data[self._ends[first] : self._ends[last]]

    def parts(self, size: int) -> list[tuple[int, int]]:
        """See `Encoded`."""
        found, first = [], 0
        while first < len(self):
            last = int(np.searchsorted(self._ends, self._ends[first] + size, "right")) - 1
            last = max(first + 1, last)
            found.append((first, last))
            first = last
        return found


class _Written(Rows, Encoded):
    """Lines that the compiled part writes when they are sent."""

    def parts(self, size: int) -> list[tuple[int, int]]:
        found, left = [], [(0, len(self))]
        while left:
            first, last = left.pop()
            pieces = min(-(-self.room(first, last) // size), last - first)
            if pieces > 1:
                ends = [first + (last - first) * piece // pieces for piece in range(pieces + 1)]
                left += reversed(list(itertools.pairwise(ends)))
            else:
                found.append((first, last))
        return found


class _Coded(NamedTuple):
    """A part of every line that repeats: row by row, `codes` say which of the `texts` it is."""

    texts: list[str]
    codes: pl.Series | int


class _Text(NamedTuple):
    """A field of texts, few of which repeat; a row has nothing of it where its text is empty."""

    name: str
    values: pl.Series


_Part = _Coded | _Text | pl.Expr
"""A part of every line; as an expression, it is a text or a number made of the row's columns."""


def encode(
    rows: pl.DataFrame,
    tags: Iterable[str],
    demoted: Collection[str] = (),
    known: Mapping[str, Distinct] | None = None,
) -> Encoded:
    """The rows as lines, each ended by a newline; a line depends on its row and nothing else.

    `rows` has some of the columns that there are, `timestamp`, `file_id` and `line` among them. The
    columns in `tags`, and `file_id`, are tags, unless they are `demoted`; all others are fields.
    `known` has what is `distinct` in some of the columns, if somebody has looked.
    """
    if rows.is_empty():
        return Texts(pl.Series(dtype=pl.String))
    series: list[_Part] = [_same(MEASUREMENT)]
    fields: list[_Part] = [_same(" ")]
    tagged = sorted({"file_id", *tags}.intersection(rows.columns))
    for name in tagged:
        if name in demoted:
            fields += _field_parts(f"{name}_text", rows[name].cast(pl.String))
        else:
            tag, field = _tag_parts(name, rows[name], (known or {}).get(name))
            series += tag
            fields += field
    for name in _COLUMNS:
        if name in rows.columns and name not in (*tagged, "timestamp", "line"):
            fields += _field_parts(name, rows[name])
    micros = pl.col("timestamp").to_physical()
    fields += [_same("event_time="), micros, _same("i "), _nanoseconds(rows), _same("\n")]
    if native.library:
        return _compiled(rows, _combined(series + fields))
    parts = [one for part in series + fields for one in _expressed(part)]
    columns = map(_column, _combined(parts))
    return Texts(rows.select(pl.concat_str(columns)).to_series())


def point(
    measurement: str, tags: Mapping[str, str], fields: Mapping[str, str | float], time: int
) -> bytes:
    """One line, ended by a newline; names are plain words, values whatever they are.

    Not all of `fields` may be empty. `time` is in nanoseconds.
    """
    series, rest = measurement, ""
    for name, text in sorted(tags.items()):
        tag = _tag(text)
        series += f",{name}={tag}" if tag else ""
        rest += _field(f"{name}_text", text) if tag is None else ""
    rest += "".join(_field(name, value) for name, value in fields.items())
    return f"{series} {rest[:-1]} {time}\n".encode()


def _tag(text: str) -> str | None:
    """Escaped; None if it can be no tag."""
    escaped = re.sub(_SPECIAL, r"\\\g<0>", text)
    if not text.isprintable() or re.search(_LOOSE_BACKSLASH, text):
        return None
    return escaped if len(escaped.encode()) <= _MAX_TAG_BYTES else None


def _field(name: str, value: str | float) -> str:
    """`name=value,`; nothing for empty text."""
    if not isinstance(value, str):
        if isinstance(value, bool):
            return f"{name}={str(value).lower()},"
        if isinstance(value, int) and abs(value) <= _MAX_INT:
            return f"{name}={value}i,"
        if isinstance(value, float) and math.isfinite(value):
            return f"{name}={value!r},"
        name, value = f"{name}_text", str(value)
    if '"' in value or "\\" in value:
        value = value.replace("\\", r"\\").replace('"', r"\"")
    return f'{name}="{value}",' if value else ""


def _tag_parts(
    name: str, values: pl.Series, known: Distinct | None
) -> tuple[list[_Part], list[_Part]]:
    """What a tag gives among the tags, and among the fields."""
    if coded := _coded(values, _OFTEN_TAG, known):
        texts = pl.Series(coded.texts, dtype=values.dtype).cast(pl.String).to_list()
        tags = _tags_of(texts)
        series = [f",{name}={tag}" if tag else "" for tag in tags]
        rest = [
            "" if tag else _field(f"{name}_text", text)
            for text, tag in zip(texts, tags, strict=True)
        ]
        return [_Coded(series, coded.codes)], [_Coded(rest, coded.codes)]
    whole = values.cast(pl.String)
    escaped, fits = _escaped(whole)
    # Text that is a tag is empty among the fields, hence left out.
    rest_of = pl.select(pl.when(fits).then(pl.lit("")).otherwise(whole)).to_series()
    fields = [] if fits.all() else _field_parts(f"{name}_text", rest_of)
    return _where(fits, f",{name}=", pl.lit(escaped), ""), fields


def _escaped(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The texts as tags, and which of them can be."""
    tag = pl.lit(texts).str.replace_all(f"({_SPECIAL})", r"\$1")
    is_tag = ~pl.lit(texts).str.contains(_NO_TAG) & (tag.str.len_bytes() <= _MAX_TAG_BYTES)
    escaped, fits = pl.select(tag.alias("tag"), is_tag.alias("fits"))
    return escaped, fits


def _tags_of(texts: list[str]) -> list[str | None]:
    """The same, None for those that cannot be; most come again with the next batch."""
    global _known_tags
    known = _known_tags if len(_known_tags) < _MOST_KNOWN else {}
    new = [text for text in texts if text not in known]
    if new:
        escaped, fits = _escaped(pl.Series(new))
        tags = pl.select(pl.when(fits).then(escaped)).to_series()
        known = {**known, **dict(zip(new, tags, strict=True))}
        _known_tags = known  # whole at any time: other workers read it
    return [known[text] for text in texts]


def _field_parts(name: str, values: pl.Series) -> list[_Part]:
    is_float = values.dtype.is_float()
    values = values.fill_nan(None) if is_float else values
    column = pl.lit(values)
    # Compiled, a text is escaped as soon as it is found among the others.
    often = _SAMPLE if native.library and values.dtype == pl.String else _OFTEN_FIELD
    if not is_float and (coded := _coded(values, often)):
        return [_Coded([_field(name, value) for value in coded.texts], coded.codes)]
    if values.dtype == pl.String:
        return [_Text(name, values)]
    if is_float:
        carried = values.is_finite()
    elif values.dtype == pl.UInt64:
        carried = values <= _MAX_INT
    else:
        carried = values.is_not_null()
    as_text = pl.concat_str(pl.lit(f'{name}_text="'), column, pl.lit('",')).fill_null("")
    return _where(carried, f"{name}=", column, "i," if values.dtype.is_integer() else ",", as_text)


def _where(
    usual: pl.Series, before: str, text: pl.Expr, after: str, otherwise: pl.Expr = _NOTHING
) -> list[_Part]:
    """The text with what stands around it; something else where it is not usual."""
    if usual.null_count():  # what is null is left out, and its line is not
        usual = usual.fill_null(False)
    if usual.all():
        return [_same(before), text, _same(after)]
    whole = pl.concat_str(pl.lit(before), text, pl.lit(after))
    return [pl.when(usual).then(whole).otherwise(otherwise)]


def _nanoseconds(rows: pl.DataFrame) -> pl.Expr:
    """The line's millisecond, and its number in the place of the nanoseconds."""
    micros = pl.col("timestamp").to_physical()
    millis, line = micros // 1000, pl.col("line") % 1_000_000
    # Later times shall be refused by the server, not wrap around to others.
    is_late = rows.select(micros.max() > _MAX_MICROS).item()
    wide = pl.Int128 if is_late else pl.Int64
    return millis.cast(wide) * 1_000_000 + line.cast(wide)


def _coded(values: pl.Series, often: int, known: Distinct | None = None) -> _Coded | None:
    """The distinct values, and which of them each row has; None if they occur less `often`."""
    if values.null_count():
        return None
    sample = known.which if known else values.head(_SAMPLE)
    found = len(known.values) if known else sample.n_unique()
    if found > max(2, 1 + len(sample) // often):  # all booleans are coded
        return None
    if found == 1 and (known or (values == values[0]).all()):
        return _Coded([values[0]], 0)
    texts, codes = known or distinct(values)
    return _Coded(texts.to_list(), codes)


def _same(text: str) -> _Coded:
    return _Coded([text], 0)


def _combined(parts: list[_Part]) -> list[_Part]:
    """The parts, with neighbours that repeat made one: a line costs by the number of its parts."""
    combined: list[_Part] = [_same("")]
    for part in parts:
        last = combined[-1]
        if isinstance(part, _Coded) and not any(part.texts):
            continue
        if (
            isinstance(last, _Coded)
            and isinstance(part, _Coded)
            and len(last.texts) * len(part.texts)
            <= max(_MAX_COMBINED, len(last.texts), len(part.texts))
        ):
            texts = [before + after for before in last.texts for after in part.texts]
            combined[-1] = _Coded(texts, last.codes * len(part.texts) + part.codes)
        else:
            combined.append(part)
    return combined


def _expressed(part: _Part) -> list[_Part]:
    """The part without texts that are yet to be escaped."""
    if not isinstance(part, _Text):
        return [part]
    name, values = part
    column = pl.lit(values)
    if values.str.contains(r'["\\]').any():
        if values.str.contains("\\", literal=True).any():  # which is rare
            column = column.str.replace_all("\\", r"\\", literal=True)
        column = column.str.replace_all('"', r"\"", literal=True)
    return _where(values != "", f'{name}="', column, '",')


def _compiled(rows: pl.DataFrame, parts: list[_Part]) -> Encoded:
    """The lines by the compiled part, which escapes on the way."""
    made = rows.select(
        part.alias(str(number)) for number, part in enumerate(parts) if isinstance(part, pl.Expr)
    )
    described: list[Part] = []
    for number, part in enumerate(parts):
        if isinstance(part, _Text):
            texts = part.values.fill_null("") if part.values.null_count() else part.values
            described.append(Quoted(f'{part.name}="', texts))
        elif not isinstance(part, _Coded):
            described.append(made[str(number)])
        elif isinstance(part.codes, int):
            described.append(Same(part.texts[0]))
        else:
            described.append(Coded(part.texts, part.codes.to_numpy().astype(np.uint32)))
    return _Written(len(rows), described)


def _column(part: _Part) -> pl.Series | pl.Expr:
    if isinstance(part, pl.Expr):
        return part
    assert isinstance(part, _Coded)
    if isinstance(part.codes, int):
        return pl.lit(part.texts[0])
    return pl.Series(part.texts).gather(part.codes)
