"""Formats whose columns a line of the file names: cells with a separator between them.

Of a header come the fields, of these the layout that the one kernel reads, and the definition: a
line is taken apart at the separator, and what is in quotes as RFC 4180 has it. Cells that a line
lacks are empty, and what it has more of is `attributes.extra`: a line is refused if it has no time.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.compiled import nothing
from flows.parsing.dialects import USUAL
from flows.parsing.events import OPEN_QUOTE
from flows.parsing.fields import READ, encode, number
from flows.parsing.keys import Table
from flows.parsing.layout import Field, Layout, Part, put
from flows.parsing.lines import QUOTE, Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import any_time, pattern
from native.lines import MOST_HERE, Meaning, Shape

QUERY = "query"
"""What a path goes on with behind a `?`: a column on the way."""

CLOCK = "clock"
"""Of a field that goes on with the time in the cell before it."""

EXTRA = "extra"

_DATE, _CLOCK = "%Y-%m-%d", "%H:%M:%S"
_TIME = pattern(f"{_DATE} {_CLOCK}")
_WORD = re.compile(r'"((?:[^"]|"")*)"(?= |\Z)|([^ ]+)')


csv.field_size_limit(2**31 - 1)  # the line is what has a limit


@dataclass(frozen=True)
class Columns:
    """What a header says.

    `fields` has one for each cell; times without a zone are in `zone` (None: that of the settings).
    Between cells is the first of the `separators` that a line has. `decode` undoes how the program
    writes what is in columns, in lines without quotes.
    """

    fields: tuple[Field, ...]
    separators: str
    zone: ZoneInfo | None = None
    decode: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    is_quoted: bool = True

    @property
    def has_time(self) -> bool:
        """Whether a line can have a time."""
        return any(one.column == "timestamp" for one in self.fields)


@dataclass(frozen=True)
class HeadedFormat:
    """A format whose columns a line names that begins with `header`; see `Headed`.

    `columns` says what such a line means, and what the unit is of durations that name none. Lines
    that are behind none are as if they were behind `usual`.
    """

    header: str
    usual: str
    columns: Callable[[str, int], Columns]
    samples: tuple[str, ...]

    def headed(self, header: str) -> _Behind:
        """The format of the lines behind this one."""
        return _Behind(self, header)

    def names_time(self, header: str) -> bool:
        """Whether lines behind this one have a time."""
        return self.columns(header, 0).has_time

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> CellsFormat:
        """See `Description`."""
        return self.headed(self.usual).make(time_zone, duration_shift)


@dataclass(frozen=True)
class _Behind:
    """Lines behind a header."""

    form: HeadedFormat
    header: str
    samples: tuple[str, ...] = ()

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> CellsFormat:
        """See `Description`."""
        columns = self.form.columns(self.header, duration_shift)
        return CellsFormat(columns, columns.zone or time_zone)


def named(names: Sequence[str], known: Mapping[str, Field], shift: int) -> tuple[Field, ...]:
    """The fields of cells with these names: the known ones, else what keys of JSON mean.

    The first that means a column is it. Of durations whose unit no name says, 10^shift are a
    second.
    """
    taken: set[str] = set()
    found: list[Field] = []
    for at, name in enumerate(_apart(names)):
        one = known.get(name.lower()) or _usual(name, shift)
        if one.column == CLOCK and not (at and found[-1].column == "timestamp"):
            one = Field(name)
        if one.column and one.column in taken:
            one = Field(name, empty=one.empty)
        taken.add(one.column)
        found.append(replace(one, name=name))
    return tuple(found)


def _apart(names: Sequence[str]) -> Iterator[str]:
    """The names, none of them twice."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}_{seen[name]}"


def _usual(name: str, shift: int) -> Field:
    """What a key of JSON means, whatever its capitals and spaces; the texts are as they are."""
    key = re.sub(r"[ -]", "_", name.strip().lower())
    for known in sorted(Table.of(USUAL).firsts.get(key, ())):
        alias = known.alias
        words = {word: text for word, text in alias.names.items() if len(text) <= MOST_HERE}
        time = None if alias.column == "timestamp" else Meaning.ISO
        return Field(
            name, alias.column, time=time, empty=(), shift=alias.shift_or(shift), words=words
        )
    return Field(name, empty=())


class CellsFormat:
    """See the module's docstring."""

    def __init__(self, columns: Columns, zone: ZoneInfo) -> None:
        self._columns = columns
        self._zone = zone
        self._kernel = lru_cache(maxsize=16)(self._layout)

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        fields = self._columns.fields
        cells = self._cells(text)
        row: Row = {}
        attributes: dict[str, object] = {}
        for at, (one, cell) in enumerate(zip(fields, cells, strict=False)):
            if one.column == "timestamp":
                has_clock = at + 1 < len(fields) and fields[at + 1].column == CLOCK
                clock = cells[at + 1 : at + 2] if has_clock else []
                row["timestamp"] = _moment(one, " ".join([cell, *clock]), self._zone)
            elif one.column != CLOCK:
                put(one, cell, self._zone, row, attributes)
                if one.column in READ and one.column in attributes:  # it does not fit
                    attributes[one.name] = attributes.pop(one.column)
        if "timestamp" not in row:
            named = "the line has no time" if self._columns.has_time else "no column is a time"
            raise MalformedLine("no_timestamp", named)
        if rest := cells[len(fields) :]:
            attributes[EXTRA] = self._separator(text).join(rest)
        if query := row.pop(QUERY, ""):
            row["request_path"] = f"{row.get('request_path', '')}?{query}"
        for column, decode in self._columns.decode.items():
            if column in row and not (self._columns.is_quoted and '"' in text):
                row[column] = decode(str(row[column]))
        if attributes:
            row["attributes"] = encode(attributes)
        return row

    def is_filled(self, text: str) -> bool:
        """Whether a line has just the cells that the header names."""
        try:
            return len(self._cells(text)) == len(self._columns.fields)
        except MalformedLine:
            return False

    def _separator(self, text: str) -> str:
        separators = self._columns.separators
        return next((one for one in separators[:-1] if one in text), separators[-1])

    def _cells(self, text: str) -> list[str]:
        separator = self._separator(text)
        if not (self._columns.is_quoted and '"' in text):
            cells = text.split(separator)
            return [cell for cell in cells if cell] if separator == " " else cells
        if separator == " ":
            found = _WORD.findall(text)
            return [word or quoted.replace('""', '"') for quoted, word in found]
        return split(text, separator)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those with another number of cells, or odd quotes, are left open."""
        if not len(lines):
            return nothing(lines)
        first = lines.raw(0).decode(errors="replace")
        separator = self._separator(first)
        layout = self._kernel(separator, self._way(first))
        if not layout:
            return nothing(lines)
        frame = layout.make(self._zone).columns(lines)
        for other in self._columns.separators.partition(separator)[0].encode():
            if other in lines.data:
                frame = frame.with_columns(pl.col(OK) & ~lines.having(other))
        if QUERY in frame.columns:
            query, path = pl.col(QUERY), pl.col("request_path")
            whole = pl.when(query == "").then(path).otherwise(path + "?" + query)
            frame = frame.with_columns(request_path=whole).drop(QUERY)
        for column, decode in self._columns.decode.items():
            texts = frame.filter(OK)[column].unique().to_list() if column in frame.columns else []
            if texts:
                text = pl.col(column)
                meant = text.replace({text: decode(text) for text in texts})
                if self._columns.is_quoted and b'"' in lines.data:
                    meant = pl.when(lines.having(QUOTE)).then(text).otherwise(meant)
                frame = frame.with_columns(meant.alias(column))
        return frame

    def _way(self, text: str) -> Meaning:
        """How the time of a line like this is written, where it is one cell."""
        fields = self._columns.fields
        times = [at for at, one in enumerate(fields) if one.column == "timestamp"]
        try:
            cell = self._cells(text)[times[0]]
        except (IndexError, MalformedLine):
            return Meaning.ISO
        return Meaning.ISO if number(cell) is None else Meaning.EPOCH

    def _layout(self, separator: str, way: Meaning) -> Layout | None:
        """Lines with this separator, and times like these, for the kernel; None: it reads none."""
        fields = self._columns.fields
        names = [one.name for one in fields]
        columns = {one.column for one in fields}
        is_alone = len(fields) == 1 and len(self._columns.separators) > 1  # there is none to see
        if is_alone or any(encode(name)[1:-1] != name for name in names):
            return None
        if "timestamp" not in columns or (QUERY in columns and "request_path" not in columns):
            return None
        parts: list[Part] = []
        for one, behind in zip(fields, [*fields[1:], None], strict=True):
            if one.column == CLOCK:
                continue
            parts += [separator] if parts else []
            if behind and behind.column == CLOCK:
                fraction = "%q" if separator == "," else ""  # the next cell is none
                time = f"{_DATE}{separator}{_CLOCK}{fraction}"
                parts.append(Field(one.name, "timestamp", time=time))
                continue
            shape = Shape.WORD if separator == " " else Shape.WORDS
            odd = "\r" if self._columns.is_quoted else "\\"  # of which `csv` has its own opinion
            odd += separator if behind is None and shape is Shape.WORDS else ""
            is_time = one.column == "timestamp"
            way_of = way if is_time else one.time
            is_cell = self._columns.is_quoted
            parts.append(replace(one, shape=shape, odd=odd, time=way_of, is_cell=is_cell))
        return Layout(tuple(parts), (), "")


def _moment(field: Field, text: str, zone: ZoneInfo) -> datetime:
    if text.strip(" ") in field.empty:
        raise MalformedLine("no_timestamp", "the line has no time")
    if _TIME.expression.fullmatch(text):
        return _TIME.read(text, zone)
    return any_time(text, zone)


def names_in(header: str, separator: str) -> list[str]:
    """The cells of a header, which may be any line."""
    try:
        return split(header, separator)
    except MalformedLine:
        return header.split(separator)


def split(text: str, separator: str) -> list[str]:
    """The cells of a line, some of them in quotes. Raises `MalformedLine`."""
    for is_strict in (True, False):
        try:
            (cells,) = csv.reader([text], delimiter=separator, strict=is_strict)
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                why = "a quote does not end: records over several lines are not read"
                raise MalformedLine(OPEN_QUOTE, why) from None
            if not is_strict:
                raise MalformedLine("bad_csv", str(error)) from None
        else:
            return cells
    raise AssertionError("one of both returned or raised")
