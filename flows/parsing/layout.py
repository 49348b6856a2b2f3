"""A format as a value: the fields of its lines, and the literals between them.

From a layout come the definition, which is a regular expression and the readers of the values, and
the steps of the compiled part. Every field is as short as what is behind it allows: the compiled
part tries what such an expression tries, in the same order. A field of a fixed width, and a time in
a pattern, end by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine, Why
from flows.parsing.compiled import read_lines
from flows.parsing.fields import NO_VALUE, READ, Escapes, encode, put_numbers, unescape
from flows.parsing.lines import Lines
from flows.parsing.parser import Row
from flows.parsing.rest import apart, names_of
from flows.parsing.times import pattern, reader_of
from native.lines import MOST_HERE, Form, Key, Kind, Meaning, Paths, Rest, Shape, Step

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
    decided by the definition. `choices`: all that it can be; if they are more than two, each has up
    to 12 bytes. Of durations, 10^shift of the unit are a second. What `is_cell` may be in quotes,
    which only the compiled part knows: it is for `cells.py`. A `rest` behind its text is
    attributes: see `rest.py`.
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
    is_cell: bool = False
    rest: Rest = Rest.NONE

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

    @property
    def read_as(self) -> tuple[Key, ...]:
        """What the compiled part makes of it."""
        if self.column == REQUEST:
            return (
                Key("method", "method", Kind.TEXT),
                Key("request_path", "request_path", Kind.TEXT),
                Key("protocol", "attributes", Kind.ATTRIBUTE),
                Key(self.name, "attributes", Kind.ATTRIBUTE),  # of another shape
            )
        kind = _KINDS.get(self.column, Kind.TEXT)
        meanings = self.words
        if len(self.choices) > _MOST_WORDS:
            meanings = {word: meanings.get(word, word) for word in self.choices}
        words = tuple(meanings.items())
        behind = (
            Key(name, "attributes", Kind.ATTRIBUTE) for name in names_of(self.rest, self.name)
        )
        return (Key(self.name, self.column or "attributes", kind, self.shift, words), *behind)


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
        attributes: dict[str, object] = {}
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


def put(field: Field, text: str, zone: ZoneInfo, row: Row, attributes: dict[str, object]) -> None:
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
        meant, behind = apart(meant, field.rest, field.name)
        attributes |= behind
        meant = "" if meant in field.empty else field.words.get(meant, meant)
        if field.column:
            row[field.column] = meant
        elif meant:
            attributes[field.name] = meant


def _put_request(field: Field, text: str, row: Row, attributes: dict[str, object]) -> None:
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
        assert self._alone.paths  # which raises where no field can end

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> LayoutFormat:
        """The format; times without a zone are in `time_zone`; durations name their units."""
        return self._alone.make(time_zone)

    @cached_property
    def _alone(self) -> Variants:
        return Variants((self,))

    def row(self, text: str, zone: ZoneInfo) -> Row:
        """One line. Raises `MalformedLine`."""
        text = self.even(text)
        if not self._may_be(text):
            raise MalformedLine(self.reason, partial(self._misfit, text))
        return self.readers.row(text, zone)

    def even(self, text: str) -> str:
        """A line as it is read: runs of spaces may be as good as one."""
        return " ".join(filter(None, text.split(" "))) if self.is_spaced else text

    def has_parts(self, text: str) -> bool:
        """Whether a line has all parts, whatever their values."""
        return self._may_be(text) and bool(self.readers.pattern.fullmatch(text))

    def _may_be(self, text: str) -> bool:
        """False for most lines of other formats: for these, nothing large has to be compiled."""
        return all(map(text.__contains__, self._literals)) and bool(self.begin.match(text))

    @cached_property
    def _literals(self) -> list[str]:
        return [part for part in self.parts if isinstance(part, str)]

    @cached_property
    def begin(self) -> re.Pattern[str]:
        """What lines begin with, up to the first part that none leaves out."""
        is_there = [not isinstance(part, Maybe) for part in self.parts]
        parts = self.parts[: is_there.index(True) + 1]
        return re.compile("".join(map(_pattern, parts)), re.DOTALL)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields, in order."""
        found = (part.parts if isinstance(part, Maybe) else (part,) for part in self.parts)
        return tuple(part for parts in found for part in parts if isinstance(part, Field))

    @cached_property
    def readers(self) -> Readers:
        """The definition."""
        expression = re.compile("".join(map(_pattern, self.parts)), re.DOTALL)
        return Readers(expression, self.fields, self.reason, self._misfit, self.check)

    def steps(self, numbers: Mapping[tuple[Key, ...], int]) -> tuple[Step, ...]:
        """How the compiled part reads a line, to which the keys have these numbers."""
        keys = {field.name: numbers[field.read_as] for field in self.fields}
        steps = _steps(_tokens(self.parts), (), keys)
        if not self.is_spaced:
            return tuple(steps)
        return tuple(step._replace(is_even=step.shape is Shape.WORDS) for step in steps)

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
                words = opening[: -1 if is_enclosed else None].strip()
                if re.search(r"\w", words):
                    title = f"{words} {title}"
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


def _behind(tokens: Sequence[_Token]) -> _End:
    """What these tokens, behind which the line ends, may begin with."""
    if not tokens:
        return _End(may_be_last=True)
    token = tokens[0]
    if isinstance(token, _Text):
        return _End((token.text,), is_guess=token.is_guess)
    if isinstance(token, Spaces):
        return _End((" ",))
    if isinstance(token, Field):
        return _End(field=token.name)
    one, other = _behind(_tokens(token.parts)), _behind(tokens[1:])
    return _End(
        tuple(dict.fromkeys(one.texts + other.texts)),
        one.may_be_last or other.may_be_last,
        one.is_guess or other.is_guess,
        one.field or other.field,
    )


def _steps(
    tokens: Sequence[_Token], after: Sequence[_Token], keys: Mapping[str, int]
) -> Iterator[Step]:
    """The steps of these tokens. Raises `ValueError` for a field of which nobody knows the end."""
    before = _Text("")
    number = 0
    while number < len(tokens):
        token, rest = tokens[number], [*tokens[number + 1 :], *after]
        number += 1
        if isinstance(token, _Text):
            before = token
            continue
        if isinstance(token, Field):
            step = _step(token, _End() if token.ends_itself else _behind(rest), keys)
            if step.ends and number < len(tokens) and isinstance(rest[0], _Text):
                step = step._replace(takes_end=True)
                number += 1
            yield _with(step, before)
        elif isinstance(token, Spaces):
            yield _with(Step(0, Shape.SPACES, is_fixed=_is_clear(rest)), before)
        else:
            if before.text:
                yield _with(Step(0, Shape.LITERAL, is_fixed=True), before)
            inner = list(_steps(_tokens(token.parts), rest, keys))
            yield inner[0]._replace(together=len(inner))
            yield from inner[1:]
        before = _Text("")
    if before.text:
        yield _with(Step(0, Shape.LITERAL, is_fixed=True), before)


def _is_clear(behind: Sequence[_Token]) -> bool:
    """Whether a space more in front of these tokens would make no difference to the others."""
    token = behind[0] if behind else _Text("")
    if isinstance(token, _Text):
        return token.text[:1] != " "
    if not isinstance(token, Field) or token.ends_itself:
        return False
    if token.choices:
        return all(choice[:1] != " " for choice in token.choices)
    return token.shape < Shape.WORDS or all(text[0] != " " for text in _behind(behind[1:]).texts)


def _with(step: Step, before: _Text) -> Step:
    return step._replace(before=before.text, is_guess=before.is_guess or step.is_guess)


def _step(field: Field, end: _End, keys: Mapping[str, int]) -> Step:
    """How a field is read behind which this is."""
    if end.field:
        raise ValueError(f"nothing is between {field.name} and {end.field}")
    if field.shape is Shape.DIGITS and any(text[:1].isdigit() for text in end.texts):
        raise ValueError(f"a digit follows the digits of {field.name}")
    sign = {Shape.ESCAPED: '"'}.get(field.shape, " ")
    firsts = {text[0] for text in end.texts}
    is_word = field.shape is not Shape.WORDS and firsts <= {sign}
    is_chosen = bool(field.choices) and firsts.isdisjoint("".join(field.choices))
    is_bracketed = field.is_pattern and firsts <= {"[", "]"}
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
        is_cell=field.is_cell,
        rest=field.rest,
        is_fixed=field.is_cell
        or is_bracketed
        or is_word
        or (is_chosen if field.choices else field.ends_itself or field.shape is Shape.DIGITS),
    )


@dataclass(frozen=True)
class Variants:
    """A format whose lines are of one of some layouts: of the first that fits."""

    layouts: tuple[Layout, ...]

    @property
    def samples(self) -> tuple[str, ...]:
        """Lines of all of them, those of the first before others."""
        return tuple(sample for layout in self.layouts for sample in layout.samples)

    def beginning_as(self, text: str) -> Iterator[Layout]:
        """The layouts that a line begins as; if there are none, the first one, which says so."""
        even = self.layouts[0].even(text)
        fits: dict[int, bool] = {}
        for layout, at in zip(self.layouts, self._begin_of, strict=True):
            if at not in fits:
                fits[at] = bool(self._begins[at].match(even))
            if fits[at]:
                yield layout
        if not any(fits.values()):
            yield self.layouts[0]

    @cached_property
    def _begins(self) -> list[re.Pattern[str]]:
        """Each beginning that there is, once."""
        return list(dict.fromkeys(one.begin for one in self.layouts))

    @cached_property
    def _begin_of(self) -> list[int]:
        """Which of them each layout has."""
        return [self._begins.index(one.begin) for one in self.layouts]

    @cached_property
    def keys(self) -> dict[tuple[Key, ...], int]:
        """What the compiled part makes of all fields, and the number of the first of these keys."""
        found: dict[tuple[Key, ...], int] = {}
        for layout in self.layouts:
            for one in layout.fields:
                found.setdefault(one.read_as, sum(map(len, found)))
        return found

    @cached_property
    def paths(self) -> Paths:
        """How the compiled part reads a line."""
        return tuple(layout.steps(self.keys) for layout in self.layouts)

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> LayoutFormat:
        """The format; times without a zone are in `time_zone`; durations name their units."""
        (zone,) = {layout.zone for layout in self.layouts}
        return LayoutFormat(self, zone or time_zone)


class LayoutFormat:
    """Layouts with the zone of their times."""

    def __init__(self, variants: Variants, zone: ZoneInfo) -> None:
        self._variants = variants
        self._zone = zone

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`: that of the layout that the line looks like."""
        why: Why | None = None
        for layout in self._variants.beginning_as(text):
            try:
                return layout.row(text, self._zone)
            except MalformedLine as error:
                if why is None or layout.has_parts(text):
                    why = error.why
        assert why
        raise MalformedLine(*why)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        keys = [key for keys in self._variants.keys for key in keys]
        return read_lines(Form.LAYOUT, lines, keys, self._zone, self._variants.paths)
