"""A format as a value: the fields of its lines, and the literals between them.

From a layout come the definition, which is a regular expression and the readers of the values, and
the steps of the compiled part. Every field is as short as what is behind it allows: the compiled
part takes what such an expression tries first, and leaves the line open where that does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.compiled import read_lines
from flows.parsing.fields import NO_VALUE, READ, Escapes, encode, put_numbers, unescape
from flows.parsing.lines import Lines
from flows.parsing.parser import Row
from flows.parsing.times import READ_TIME
from native.lines import Form, Key, Kind, Meaning, Shape, Step

REQUEST = "request"
"""The column of a request line: method, path and `attributes.protocol`."""

_ESCAPED = r'([^"\\]*(?:\\.[^"\\]*)*)'
_PATTERNS = {
    Shape.WORD: "([^ ]+?)",
    Shape.TWO_WORDS: "([^ ]+ [^ ]+?)",
    Shape.WORDS: "(.*?)",
    Shape.DIGITS: "([0-9]+?)",
    Shape.ESCAPED: _ESCAPED,
}
_BETWEEN_BRACKETS = r"([^\[\]]*?)"
_KINDS = {
    "timestamp": Kind.TIME,
    "status_code": Kind.STATUS,
    "bytes_sent": Kind.LARGE,
    "duration": Kind.SECONDS,
    "": Kind.ATTRIBUTE,
}
_REQUEST = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ](?:.*[^ ])?) (HTTP/\d(?:\.\d)?)|"
    r"([A-Z]+) ([^ ]+)",  # HTTP/0.9 names no protocol
    re.DOTALL | re.ASCII,
)


@dataclass(frozen=True)
class Field:
    """A field: its name, the column that it means (none: the attribute of its name), how far it is.

    `time`: how a time is written (None: in any way). `empty`: texts that stand for none, two at
    most; `-` never means a number. `usual`: what is nearly always here, and not worth to be kept.
    A line with one of two `odd` characters here is decided by the definition. `choices`: all that
    it can be, two at most. Of durations, 10^shift of the unit are a second.
    """

    name: str
    column: str = ""
    shape: Shape = Shape.WORD
    time: Meaning | None = Meaning.ISO
    escapes: Escapes = Escapes.NONE
    empty: tuple[str, ...] = ("-",)
    usual: str | None = None
    odd: str = ""
    choices: tuple[str, ...] = ()
    shift: int = 0

    @property
    def pattern(self) -> str:
        """A group of a regular expression."""
        if self.choices:
            return f"({'|'.join(map(re.escape, self.choices))})"
        is_bracketed = self.time in (Meaning.CLF, Meaning.HAPROXY)
        return _BETWEEN_BRACKETS if is_bracketed else _PATTERNS[self.shape]

    def read_as(self) -> Iterator[Key]:
        """What the compiled part makes of it."""
        if self.column == REQUEST:
            yield Key("method", "method", Kind.TEXT)
            yield Key("request_path", "request_path", Kind.TEXT)
            yield Key("protocol", "attributes", Kind.ATTRIBUTE)
        else:
            kind = _KINDS.get(self.column, Kind.TEXT)
            yield Key(self.name, self.column or "attributes", kind, self.shift)


@dataclass(frozen=True)
class Maybe:
    """A field that a line may leave out, together with the literals around it."""

    before: str
    field: Field
    behind: str = ""


def quoted(name: str, column: str = "", escapes: Escapes = Escapes.NONE) -> Field:
    """A field in quotes, which are in the literals around it."""
    shape = Shape.WORDS if escapes is Escapes.NONE else Shape.ESCAPED
    return Field(name, column, shape, escapes=escapes)


def bracketed(name: str, time: Meaning) -> Field:
    """A time in brackets, which are in the literals around it."""
    return Field(name, "timestamp", Shape.WORDS, time)


@dataclass(frozen=True)
class Readers:
    """The definition of a format: a regular expression, and a field for each of its groups.

    `reason` names lines that it does not match; `check` raises `MalformedLine` for others that are
    not of the format, told the texts of the fields.
    """

    pattern: re.Pattern[str]
    fields: tuple[Field, ...]
    reason: str
    misfit: Callable[[str], str]
    check: Callable[[Mapping[str, str]], None] | None = None

    def row(self, text: str, zone: ZoneInfo) -> Row:
        """One line. Raises `MalformedLine`."""
        found = self.pattern.fullmatch(text)
        if not found:
            raise MalformedLine(self.reason, self.misfit(text))
        texts = {
            field.name: text
            for field, text in zip(self.fields, found.groups(), strict=True)
            if text is not None
        }
        if self.check:
            self.check(texts)
        row: Row = {}
        attributes: dict[str, str] = {}
        for field in self._in_order:
            if field.name in texts:
                _put(field, texts[field.name], zone, row, attributes)
        if "timestamp" not in row:
            raise MalformedLine("no_timestamp", "the line leaves out its time")
        if attributes:
            row["attributes"] = encode(attributes)
        return row

    @cached_property
    def _in_order(self) -> list[Field]:
        """The fields; those of attributes that few lines have behind those of all."""

        def rarity(field: Field) -> int:
            is_rest = field is self.fields[-1] and not field.column
            return 3 * is_rest or 2 * (field.column in READ) or int(field.usual is not None)

        return sorted(self.fields, key=rarity)


def _put(field: Field, text: str, zone: ZoneInfo, row: Row, attributes: dict[str, str]) -> None:
    """Put a field into the row, or its attributes; numbers that do not fit are misfits."""
    if field.column == "timestamp":
        row["timestamp"] = READ_TIME[field.time](text, zone)
    elif field.column in READ:
        attributes |= put_numbers(row, {field.column: text}, field.shift)
    elif field.column == REQUEST:
        _put_request(field, text, row, attributes)
    elif text != field.usual:
        meant = "" if text in field.empty else unescape(text, field.escapes)
        meant = "" if meant in field.empty else meant
        if field.column:
            row[field.column] = meant
        elif meant:
            attributes[field.name] = meant


def _put_request(field: Field, text: str, row: Row, attributes: dict[str, str]) -> None:
    """Method, path and protocol of a request line; one of another shape is kept whole."""
    meant = unescape(text, field.escapes)
    asked = _REQUEST.fullmatch(meant)
    if asked:
        row["method"] = asked.group(1) or asked.group(4)
        row["request_path"] = asked.group(2) or asked.group(5)
        if asked.group(3):
            attributes["protocol"] = asked.group(3)
    elif text not in NO_VALUE:
        attributes[field.name] = meant


@dataclass(frozen=True)
class Layout:
    """A format: what its lines consist of, in order, and lines that show it.

    `is_spaced`: runs of spaces are as good as one, and none count around the line.
    """

    parts: tuple[Field | Maybe | str, ...]
    samples: tuple[str, ...]
    reason: str
    check: Callable[[Mapping[str, str]], None] | None = None
    is_spaced: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError` for what cannot be read."""
        for one, other in zip(self.parts, self.parts[1:], strict=False):
            if isinstance(one, Field) and isinstance(other, Field):
                raise ValueError(f"nothing is between {one.name} and {other.name}")
        names = [field.name for field in self.fields]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(repeated))} is here more than once")
        if strange := [name for name in names if encode(name)[1:-1] != name]:
            raise ValueError(f"{', '.join(strange)}: a name has no quotes and no backslashes")
        if sum(field.column == "timestamp" for field in self.fields) != 1:
            raise ValueError("one field is to be the time")

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> LayoutFormat:
        """The format; times without a zone are in `time_zone`; durations name their units."""
        return LayoutFormat(self, time_zone)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields, in order."""
        found = (part.field if isinstance(part, Maybe) else part for part in self.parts)
        return tuple(field for field in found if isinstance(field, Field))

    @cached_property
    def readers(self) -> Readers:
        """The definition."""
        pattern = re.compile("".join(map(_pattern, self.parts)), re.DOTALL)
        return Readers(pattern, self.fields, self.reason, self._misfit, self.check)

    @cached_property
    def keys(self) -> list[Key]:
        """What the compiled part makes of all fields."""
        return [key for field in self.fields for key in field.read_as()]

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """How the compiled part reads a line."""
        steps: list[Step] = []
        before = ""
        key = 0
        for part in self.parts:
            if isinstance(part, Field) and part.usual is not None:
                key += len(list(part.read_as()))
                part = part.usual  # to the kernel, it is all there may be
            if isinstance(part, str):
                if steps and not steps[-1].is_optional:
                    steps[-1] = steps[-1]._replace(behind=steps[-1].behind + part)
                else:
                    before += part
                continue
            field = part.field if isinstance(part, Maybe) else part
            is_request = field.column == REQUEST
            step = Step(
                key,
                field.shape,
                Meaning.REQUEST if is_request else field.time or Meaning.ISO,
                before,
                "",
                field.odd,
                field.choices or field.empty,
                is_json=field.escapes is Escapes.JSON,
                is_choice=bool(field.choices),
                is_even=self.is_spaced and field.shape is Shape.WORDS,
            )
            if isinstance(part, Maybe):
                step = step._replace(before=part.before, behind=part.behind, is_optional=True)
            else:
                before = ""
            steps.append(step)
            key += len(list(field.read_as()))
        assert not before, "a literal at the end follows a field that a line has"
        return tuple(steps)

    def _misfit(self, text: str) -> str:
        """Which field of a line is the first that does not fit."""
        titles = " ".join(title for title, _ in self._beginnings)
        for title, begin in self._beginnings:
            if not begin.match(text):
                return f"{title} is missing, or does not end, in {titles}"
        return f"something follows {titles}"

    @cached_property
    def _beginnings(self) -> list[tuple[str, re.Pattern[str]]]:
        """Each field, as people write it, and what a line begins with up to its end."""
        found = []
        pattern = ""
        parts = [*self.parts, ""]
        for number, part in enumerate(parts[:-1]):
            if isinstance(part, str):
                continue
            before = parts[number - 1] if number else ""
            opening = before if isinstance(before, str) else ""
            if number > 1:
                opening = opening[len(opening.partition(" ")[0]) :]
            behind = parts[number + 1]
            closing = behind.partition(" ")[0] if isinstance(behind, str) else ""
            pattern += re.escape(opening)
            pattern += _pattern(part) + re.escape(closing)
            if isinstance(part, Field):
                is_enclosed = opening.endswith(('"', "["))
                title = f"{opening[-1]}{part.name}{closing[:1]}" if is_enclosed else part.name
                found.append((title, re.compile(pattern, re.DOTALL)))
        return found


def _pattern(part: Field | Maybe | str) -> str:
    """A part of a line as a regular expression."""
    if isinstance(part, str):
        return re.escape(part)
    if isinstance(part, Maybe):
        before, behind = re.escape(part.before), re.escape(part.behind)
        return f"(?:{before}{part.field.pattern}{behind})?"
    return part.pattern


class LayoutFormat:
    """A layout with the zone of its times."""

    def __init__(self, layout: Layout, zone: ZoneInfo) -> None:
        self._layout = layout
        self._zone = zone

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        if self._layout.is_spaced:
            text = " ".join(filter(None, text.split(" ")))
        return self._layout.readers.row(text, self._zone)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        layout = self._layout
        return read_lines(Form.LAYOUT, lines, layout.keys, self._zone, layout.steps)
