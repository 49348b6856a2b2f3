"""A format as a value: the fields of its lines, and the literals between them.

From a layout come the definition, which is a regular expression and the readers of the values, and
the steps of the compiled part. Every field is as short as what is behind it allows: the compiled
part takes what such an expression tries first, and leaves the line open where that does not fit.
A field of a fixed width, and a time in a pattern, end by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.compiled import nothing, read_apart
from flows.parsing.fields import NO_VALUE, READ, Escapes, encode, put_numbers, unescape
from flows.parsing.lines import Flags, Lines
from flows.parsing.parser import OK, Row, filled
from flows.parsing.times import UTC, pattern, reader_of
from native.lines import MOST_HERE, Form, Key, Kind, Meaning, Shape, Step

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
_CHARACTERS = {Shape.WORD: "[^ ]", Shape.WORDS: ".", Shape.DIGITS: "[0-9]"}
_BETWEEN_BRACKETS = r"([^\[\]]*?)"
_KINDS = {
    "timestamp": Kind.TIME,
    "status_code": Kind.STATUS,
    "bytes_sent": Kind.LARGE,
    "duration": Kind.SECONDS,
    "": Kind.ATTRIBUTE,
}
_NUMBER = "number"
_MOST_WORDS = 2  # that a step has itself
_REQUEST = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ](?:.*[^ ])?) (HTTP/\d(?:\.\d)?)|"
    r"([A-Z]+) ([^ ]+)",  # HTTP/0.9 names no protocol
    re.DOTALL | re.ASCII,
)


@dataclass(frozen=True)
class Field:
    """A field: its name, the column that it means (none: the attribute of its name), how far it is.

    `time`: how a time is written (None: in any way); a text is a `times.pattern`, and such a time
    ends by itself, unless its shape is another than a word. `width`: it has so many characters, and
    what is behind may touch it. `empty`: texts that stand for none, two at most; `-` never means a
    number. `usual`: what is nearly always here, and not worth to be kept. `words`: what texts mean,
    of up to 12 bytes; others mean themselves. A line with one of two `odd` characters here is
    decided by the definition; if a comma is one, what is before it counts, and all is an attribute.
    `choices`: all that it can be; if they are more than two, each has up to 12 bytes. Of durations,
    10^shift of the unit are a second.
    """

    name: str
    column: str = ""
    shape: Shape = Shape.WORD
    time: Meaning | str | None = Meaning.ISO
    escapes: Escapes = Escapes.NONE
    empty: tuple[str, ...] = ("-",)
    usual: str | None = None
    odd: str = ""
    choices: tuple[str, ...] = ()
    shift: int = 0
    words: Mapping[str, str] = field(default_factory=dict)
    width: int = 0

    @property
    def is_pattern(self) -> bool:
        """Whether it is a time in a pattern."""
        return self.column == "timestamp" and isinstance(self.time, str)

    @property
    def ends_itself(self) -> bool:
        """Whether it needs nothing behind it to end."""
        return bool(self.width) or (self.is_pattern and self.shape is Shape.WORD)

    @property
    def pattern(self) -> str:
        """A group of a regular expression."""
        if self.choices:
            return f"({'|'.join(map(re.escape, self.choices))})"
        if self.width:
            return f"({_CHARACTERS[self.shape]}{{{self.width}}})"
        if self.ends_itself:
            return f"({pattern(str(self.time)).shape})"
        return _BETWEEN_BRACKETS if self.is_pattern else _PATTERNS[self.shape]

    def read_as(self) -> Iterator[Key]:
        """What the compiled part makes of it."""
        if self.column == REQUEST:
            yield Key("method", "method", Kind.TEXT)
            yield Key("request_path", "request_path", Kind.TEXT)
            yield Key("protocol", "attributes", Kind.ATTRIBUTE)
        else:
            kind = _KINDS.get(self.column, Kind.TEXT)
            meanings = self.words
            if len(self.choices) > _MOST_WORDS:
                meanings = {word: meanings.get(word, word) for word in self.choices}
            words = tuple(meanings.items())
            yield Key(self.name, self.column or "attributes", kind, self.shift, words)


class Spaces(Enum):
    """What `SPACES` is."""

    SPACES = " +"


SPACES = Spaces.SPACES
"""A part of a layout: one space or more."""


@dataclass(frozen=True, init=False)
class Maybe:
    """Parts that a line may leave out, all of them together."""

    parts: tuple[Part, ...]

    def __init__(self, *parts: Part) -> None:
        object.__setattr__(self, "parts", parts)


Part: TypeAlias = Field | str | Spaces
"""What a line has; a text is there as it is."""


def quoted(name: str, column: str = "", escapes: Escapes = Escapes.NONE) -> Field:
    """A field in quotes, which are in the literals around it."""
    shape = Shape.WORDS if escapes is Escapes.NONE else Shape.ESCAPED
    return Field(name, column, shape, escapes=escapes)


def bracketed(name: str, time: str) -> Field:
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
            raise MalformedLine(self.reason, partial(self.misfit, text))
        texts = {
            field.name: text
            for field, text in zip(self.fields, found.groups(), strict=True)
            if text is not None
        }
        if self.check:
            self.check(texts)
        row: Row = {}
        attributes: dict[str, str] = {}
        for one in self._in_order:
            if one.name in texts:
                put(one, texts[one.name], zone, row, attributes)
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


def put(field: Field, text: str, zone: ZoneInfo, row: Row, attributes: dict[str, str]) -> None:
    """Put a field into the row, or its attributes; numbers that do not fit are misfits."""
    if field.column == "timestamp":
        row["timestamp"] = reader_of(field.time)(text, zone)
    elif field.column in READ:
        text = "-" if text in field.empty else text
        attributes |= put_numbers(row, {field.column: text}, field.shift)
    elif field.column == REQUEST:
        _put_request(field, text, row, attributes)
    elif text != field.usual:
        meant = "" if text in field.empty else unescape(text, field.escapes)
        meant = "" if meant in field.empty else field.words.get(meant, meant)
        if "," in field.odd and "," in meant:
            attributes[field.name] = meant
            meant = meant.partition(",")[0]
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
    elif text not in (*NO_VALUE, *field.empty):
        attributes[field.name] = meant


@dataclass(frozen=True)
class Layout:
    """A format: what its lines consist of, in order, and lines that show it.

    `is_spaced`: runs of spaces are as good as one, and none count around the line. Times without a
    zone are in `zone` (None: that of the settings).
    """

    parts: tuple[Part | Maybe, ...]
    samples: tuple[str, ...]
    reason: str
    check: Callable[[Mapping[str, str]], None] | None = None
    is_spaced: bool = False
    zone: ZoneInfo | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for what cannot be read."""
        names = [field.name for field in self.fields]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(repeated))} is here more than once")
        if strange := [name for name in names if encode(name)[1:-1] != name]:
            raise ValueError(f"{', '.join(strange)}: a name has no quotes and no backslashes")
        if sum(field.column == "timestamp" for field in self.fields) != 1:
            raise ValueError("one field is to be the time")
        for one in self.fields:
            words = (word for pair in one.words.items() for word in pair)
            if any(len(word.encode()) > MOST_HERE for word in words):
                raise ValueError(f"{one.name}: words have up to {MOST_HERE} bytes")
        assert self.steps  # which raises where no field can end

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> LayoutFormat:
        """The format; times without a zone are in `time_zone`; durations name their units."""
        return LayoutFormat(self, self.zone or time_zone)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields, in order."""
        found = (part.parts if isinstance(part, Maybe) else (part,) for part in self.parts)
        return tuple(part for parts in found for part in parts if isinstance(part, Field))

    @cached_property
    def has_year(self) -> bool:
        """Whether its times say their year."""
        (time,) = (field.time for field in self.fields if field.column == "timestamp")
        return not isinstance(time, str) or pattern(time).has_year

    @cached_property
    def readers(self) -> Readers:
        """The definition."""
        expression = re.compile("".join(map(_pattern, self.parts)), re.DOTALL)
        return Readers(expression, self.fields, self.reason, self._misfit, self.check)

    @cached_property
    def keys(self) -> list[Key]:
        """What the compiled part makes of all fields."""
        return [key for field in self.fields for key in field.read_as()]

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """How the compiled part reads a line."""
        keys: dict[str, int] = {}
        count = 0
        for each in self.fields:
            keys[each.name] = count
            count += len(list(each.read_as()))
        steps = _steps(_tokens(self.parts), _End(may_be_last=True), keys)
        if not self.is_spaced:
            return tuple(steps)
        return tuple(
            step._replace(is_even=step.shape is Shape.WORDS, is_fixed=False) for step in steps
        )

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


def _pattern(part: Part | Maybe) -> str:
    """A part of a line as a regular expression."""
    if isinstance(part, str):
        return re.escape(part)
    if isinstance(part, Maybe):
        return f"(?:{''.join(map(_pattern, part.parts))})?"
    return part.value if isinstance(part, Spaces) else part.pattern


class _Text(NamedTuple):
    """Literals, among them what is usual in fields, which a line may have otherwise."""

    text: str
    is_guess: bool = False


_Token: TypeAlias = "Field | Spaces | Maybe | _Text"


def _tokens(parts: Iterable[Part | Maybe]) -> list[_Token]:
    """The parts as the compiled part is to see them, literals in one piece."""
    found: list[_Token] = []
    for part in parts:
        if isinstance(part, Field) and part.usual is not None:
            token: _Token = _Text(part.usual, is_guess=True)  # it is all there may be
        else:
            token = _Text(part) if isinstance(part, str) else part
        if isinstance(token, _Text) and found and isinstance(found[-1], _Text):
            last = found.pop()
            assert isinstance(last, _Text)
            token = _Text(last.text + token.text, last.is_guess or token.is_guess)
        found.append(token)
    return found


class _End(NamedTuple):
    """What may be behind a field: one of some texts, the end of the line, or another field."""

    texts: tuple[str, ...] = ()
    may_be_last: bool = False
    is_guess: bool = False
    field: str = ""


def _behind(tokens: Sequence[_Token], after: _End) -> _End:
    """What these tokens, behind which there is `after`, may begin with."""
    if not tokens:
        return after
    token = tokens[0]
    if isinstance(token, _Text):
        return _End((token.text,), is_guess=token.is_guess)
    if isinstance(token, Spaces):
        return _End((" ",))
    if isinstance(token, Field):
        return _End(field=token.name)
    one, other = _behind(_tokens(token.parts), after), _behind(tokens[1:], after)
    return _End(
        tuple(dict.fromkeys(one.texts + other.texts)),
        one.may_be_last or other.may_be_last,
        one.is_guess or other.is_guess,
        one.field or other.field,
    )


def _steps(tokens: Sequence[_Token], after: _End, keys: Mapping[str, int]) -> Iterator[Step]:
    """The steps of these tokens. Raises `ValueError` for a field of which nobody knows the end."""
    before = _Text("")
    number = 0
    while number < len(tokens):
        token, rest = tokens[number], tokens[number + 1 :]
        number += 1
        if isinstance(token, _Text):
            before = token
            continue
        if isinstance(token, Field):
            step = _step(token, _End() if token.ends_itself else _behind(rest, after), keys)
            if step.ends and isinstance(rest[0] if rest else None, _Text):
                step = step._replace(takes_end=True)
                number += 1
            yield _with(step, before)
        elif isinstance(token, Spaces):
            yield _with(Step(0, Shape.SPACES, is_fixed=_is_clear(rest)), before)
        else:
            if before.text:
                yield _with(Step(0, Shape.LITERAL, is_fixed=True), before)
            inner = list(_steps(_tokens(token.parts), _behind(rest, after), keys))
            is_fixed = token.parts == (SPACES,) and _is_clear(rest)
            yield inner[0]._replace(together=len(inner), is_fixed=is_fixed)
            yield from inner[1:]
        before = _Text("")
    if before.text:
        yield _with(Step(0, Shape.LITERAL, is_fixed=True), before)


def _with(step: Step, before: _Text) -> Step:
    return step._replace(before=before.text, is_guess=before.is_guess or step.is_guess)


def _is_clear(rest: Sequence[_Token]) -> bool:
    """Whether none of these begins with a space."""
    token = rest[0] if rest else _Text("")
    if isinstance(token, _Text):
        return token.text[:1] != " "
    return isinstance(token, Field) and token.shape < Shape.WORDS and not token.is_pattern


def _step(field: Field, end: _End, keys: Mapping[str, int]) -> Step:
    """How a field is read behind which this is."""
    if end.field:
        raise ValueError(f"nothing is between {field.name} and {end.field}")
    if field.shape is Shape.DIGITS and any(text[:1].isdigit() for text in end.texts):
        raise ValueError(f"a digit follows the digits of {field.name}")
    sign = {Shape.ESCAPED: '"'}.get(field.shape, " ")
    is_word = field.shape is not Shape.WORDS and all(text[0] == sign for text in end.texts)
    firsts = {text[0] for text in end.texts}
    is_chosen = bool(field.choices) and firsts.isdisjoint("".join(field.choices))
    is_request = field.column == REQUEST
    meaning = field.time if isinstance(field.time, Meaning) else Meaning.ISO
    return Step(
        keys[field.name],
        Shape.MOMENT if field.is_pattern and field.ends_itself else field.shape,
        Meaning.REQUEST if is_request else Meaning.PATTERN if field.is_pattern else meaning,
        ends=end.texts,
        may_be_last=end.may_be_last,
        width=field.width,
        codes=pattern(str(field.time)).codes if field.is_pattern else b"",
        odd=field.odd,
        words=field.choices or field.empty,
        is_json=field.escapes is Escapes.JSON,
        is_choice=bool(field.choices),
        is_guess=end.is_guess,
        is_fixed=field.ends_itself or field.shape is Shape.DIGITS or is_word or is_chosen,
    )


class LayoutFormat:
    """A layout with the zone of its times."""

    def __init__(self, layout: Layout, zone: ZoneInfo) -> None:
        self._layout = layout
        # A time without a year is in no zone yet: see flows/parsing/times.py.
        self._zone = zone if layout.has_year else UTC

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        if self._layout.is_spaced:
            text = " ".join(filter(None, text.split(" ")))
        return self._layout.readers.row(text, self._zone)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return self.apart(lines)[0]

    def apart(self, lines: Lines) -> tuple[pl.DataFrame, Flags]:
        """The same, and which lines are certainly not of this layout."""
        layout = self._layout
        return read_apart(Form.LAYOUT, lines, layout.keys, self._zone, layout.steps)

    def matches(self, text: str) -> bool:
        """Whether a line looks like one of this layout."""
        return not self._layout.is_spaced and bool(self._layout.readers.pattern.fullmatch(text))


@dataclass(frozen=True)
class Variants:
    """A format whose lines are of one of some layouts: of the first that fits."""

    layouts: tuple[Layout, ...]

    @property
    def samples(self) -> tuple[str, ...]:
        """Lines of all of them, those of the first before others."""
        return tuple(sample for layout in self.layouts for sample in layout.samples)

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> VariantsFormat:
        """The format; times without a zone are in `time_zone`; durations name their units."""
        return VariantsFormat([layout.make(time_zone) for layout in self.layouts])


class VariantsFormat:
    """See `Variants`."""

    def __init__(self, formats: Sequence[LayoutFormat]) -> None:
        self._formats = formats

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`: that of the layout that the line looks like."""
        # No error, whose traceback would hold all that is here.
        why: tuple[str, str | Callable[[], str]] | None = None
        for form in self._formats:
            try:
                return form.line(text)
            except MalformedLine as error:
                if why is None or form.matches(text):
                    why = error.reason, error.tell
        assert why
        raise MalformedLine(*why)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; each layout is asked for those that are not of the ones before."""
        frames: list[pl.DataFrame] = []
        numbers = np.arange(len(lines))
        for form in self._formats:
            frame, others = form.apart(lines)
            certain = frame[OK].to_numpy()
            for number in np.flatnonzero(~certain & ~others).tolist():
                others[number] = not form.matches(lines.raw(number).decode(errors="replace"))
            left = np.flatnonzero(others)
            if len(left) == len(lines):
                continue
            mine = frame.with_columns(pl.Series(_NUMBER, numbers))
            frames.append(mine.filter(~others) if len(left) else mine)
            if not len(left):
                break
            lines, numbers = lines.only(left), numbers[left]
        else:
            frames.append(nothing(lines).with_columns(pl.Series(_NUMBER, numbers)))
        if len(frames) == 1:
            return frames[0].drop(_NUMBER)
        return filled(pl.concat(frames, how="diagonal").sort(_NUMBER).drop(_NUMBER))
