"""The language of filters, by which people choose rows: its text, and the tree that it means.

    status_code >= 500 and method in (GET, POST) and not (attr.user = 7 or endpoint ~ "/x") timeout

A condition names a column or, with `attr.`, a key of `attributes`; a text alone is looked for in
every column of text. `and` may be left out. A condition is true or false, never unknown: what a row
lacks is an empty text, a duration that it lacks is neither more nor less than a number, and `!=`
and `!~` say the contrary of `=` and `~`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from difflib import get_close_matches

import polars as pl

from connectors.batch import COLUMNS, ENRICHED
from connectors.errors import FilterError
from connectors.severity import LEVELS, STATUSES, number_of

TYPES = {name: dtype for part in (COLUMNS, *ENRICHED.values()) for name, dtype in part.items()}
"""Every column that a row may have, with its type."""


def searched(columns: Collection[str]) -> list[str]:
    """Of these columns those in which a text is looked for: of ids, nobody knows a part."""
    return [name for name in columns if TYPES[name] == pl.String() and name != "pattern_id"]


MOST = 100
"""The values that one filter may compare with."""

_DEPTH = 50  # of brackets
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LARGEST = 2**63  # of the integers that every store compares exactly

Value = str | int | float
"""A time is in microseconds since 1970, UTC; what is true is 1."""


@dataclass(frozen=True)
class Field:
    """A column, or the key of `attributes` that is named instead."""

    column: str
    key: str | None = None

    @classmethod
    def named(cls, name: str, columns: Collection[str], place: int = 0) -> Field:
        """The field of this name; raises `FilterError`, which tells of `place`, if it is none."""
        start, dot, key = name.partition(".")
        if start == "attr" and dot:
            if key.startswith('"'):
                key = _unquoted(key)
            if key:
                return cls("attributes", key)
            raise FilterError("attr. needs a key, such as attr.user", place)
        if name in columns:
            return cls(name)
        meant = _ALSO_CALLED.get(name.lower(), "")
        near = [meant] if meant in columns else get_close_matches(name, columns, 1)
        hint = f"did you mean {near[0]}?" if near else f"attributes are named attr.{name}."
        raise FilterError(
            f"there is no column {name!r}; {hint} Text to look for stands in quotes", place
        )


@dataclass(frozen=True)
class Condition:
    """A field compared with a value: by `=`, `<`, `<=`, `>`, `>=`, or `~` (contains)."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True)
class Text:
    """A text that any column of text contains."""

    text: str


@dataclass(frozen=True)
class Not:
    """The contrary."""

    part: Filter


@dataclass(frozen=True)
class And:
    """All of the parts; of none: every row."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """Any of the parts."""

    parts: tuple[Filter, ...]


Filter = Condition | Text | Not | And | Or


def parse(text: str, columns: Collection[str]) -> Filter:
    """The filter that a text means, where a row has these columns; an empty one takes every row.

    Raises `FilterError`, which says what is wrong and at which character.
    """
    return _Parser(text, columns).filter()


def microseconds(text: str) -> int:
    """A time in ISO 8601, of UTC where it says nothing else, in microseconds since 1970.

    Raises `ValueError` if it is none.
    """
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("must be a time such as 2024-01-31T12:00:00Z")
    try:
        time = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError:
        raise ValueError("must be a time such as 2024-01-31T12:00:00Z") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return (time - _EPOCH) // timedelta(microseconds=1)


_QUOTED = r""" "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' """
_TOKEN = re.compile(
    rf"""\s*(?:
        (?P<quoted>{_QUOTED})
        | (?P<operator><=|>=|!=|!~|[=<>~])
        | (?P<mark>[(),])
        | (?P<word>attr\."(?:[^"\\]|\\.)*" | (?!["'])(?:[^\s(),=<>~!]|!(?![=~]))+)
        | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|ms|us)")
_EXPONENTS = {"s": 0, "ms": -3, "us": -6}
_TRUTH = {"true": 1, "false": 0, "1": 1, "0": 0}
_ALSO_CALLED = {
    "ip": "client_ip",
    "latency": "duration",
    "path": "request_path",
    "request_time": "duration",
    "status": "status_code",
    "time": "timestamp",
    "url": "request_path",
    "user": "customer_id",
}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words

    def is_mark(self, mark: str) -> bool:
        return self.kind == "mark" and self.text == mark


class _Parser:
    """By recursive descent: or, and, not, condition."""

    def __init__(self, text: str, columns: Collection[str]) -> None:
        self._columns = columns
        self._tokens = _tokens(text)
        self._next = 0
        self._values = 0
        self._depth = 0

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._token
        self._next += 1
        return token

    def filter(self) -> Filter:
        found = And(()) if self._token.kind == "end" else self._or()
        if self._token.kind != "end":
            raise FilterError(f"{self._token.text!r} is too much", self._token.place)
        return found

    def _or(self) -> Filter:
        parts = [self._and()]
        while self._token.is_word("or"):
            self._take()
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self) -> Filter:
        parts = [self._not()]
        while not (
            self._token.kind == "end" or self._token.is_mark(")") or self._token.is_word("or")
        ):
            if self._token.is_word("and"):
                self._take()
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self) -> Filter:
        contrary = False
        while self._token.is_word("not"):
            self._take()
            contrary = not contrary
        part = self._one()
        return Not(part) if contrary else part

    def _one(self) -> Filter:
        token = self._take()
        if token.is_mark("("):
            self._depth += 1
            if self._depth > _DEPTH:
                raise FilterError(f"more than {_DEPTH} brackets are open", token.place)
            part = self._or()
            self._close(token)
            self._depth -= 1
            return part
        if token.kind not in ("word", "quoted") or token.is_word("and", "or", "in"):
            raise FilterError(f"{_said(token)} stands where a condition should begin", token.place)
        if token.kind == "word":
            if self._token.kind == "operator" and token.is_word("severity"):
                self._needs_levels(token)
                return self._severity(self._take())
            if self._token.kind == "operator":
                return self._comparison(Field.named(token.text, self._columns, token.place))
            if self._is_list():
                return self._list(Field.named(token.text, self._columns, token.place))
            if token.text.startswith('attr."'):
                raise FilterError(f"{token.text} is compared with nothing", token.place)
        self._count(token)
        return Text(_text(token))

    def _needs_levels(self, token: _Token) -> None:
        for column in ("level", "status_code"):
            Field.named(column, self._columns, token.place)

    def _is_list(self) -> bool:
        after = self._tokens[self._next + 1 :]
        if self._token.is_word("in"):
            return after[0].is_mark("(")
        return self._token.is_word("not") and after[0].is_word("in") and after[1].is_mark("(")

    def _comparison(self, field: Field) -> Filter:
        operator = self._take()
        condition = Condition(field, operator.text.lstrip("!"), self._value(field, operator))
        return Not(condition) if operator.text.startswith("!") else condition

    def _list(self, field: Field) -> Filter:
        contrary = self._token.is_word("not")
        if contrary:
            self._take()
        operator = self._take()
        opened = self._take()
        parts = [Condition(field, "=", self._value(field, operator))]
        while self._token.is_mark(","):
            self._take()
            parts.append(Condition(field, "=", self._value(field, operator)))
        self._close(opened)
        return Not(Or(tuple(parts))) if contrary else Or(tuple(parts))

    def _severity(self, operator: _Token) -> Filter:
        """The rows whose severity compares with the next token so."""
        token = self._take()
        order = _ORDERS.get(operator.text.lstrip("!"))
        if token.kind not in ("word", "quoted") or not order:
            raise FilterError("severity is compared, such as severity >= warn", operator.place)
        self._count(token)
        try:
            value = number_of(_text(token))
        except ValueError as error:
            raise FilterError(f"the value of severity {error}", token.place) from None
        found = _of_severities([number for number in LEVELS if order(number, value)])
        return Not(found) if operator.text.startswith("!") else found

    def _close(self, opened: _Token) -> None:
        token = self._take()
        if token.is_mark(")"):
            return
        if token.kind == "end":
            raise FilterError("this bracket is not closed", opened.place)
        raise FilterError(f"{token.text!r} stands where a bracket should close", token.place)

    def _count(self, token: _Token) -> None:
        self._values += 1
        if self._values > MOST:
            raise FilterError(f"a filter has {MOST} values at most", token.place)

    def _value(self, field: Field, operator: _Token) -> Value:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            raise FilterError(f"{operator.text} needs a value, not {_said(token)}", token.place)
        self._count(token)
        text = _text(token)
        if operator.text.endswith("~"):
            if TYPES[field.column] != pl.String():
                raise FilterError(f"~ is for text, which {field.column} is not", operator.place)
            return text
        try:
            return _attribute(token, text) if field.key is not None else _fitting(field, text)
        except ValueError as error:
            raise FilterError(f"the value of {field.column} {error}", token.place) from None


_ORDERS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _of_severities(numbers: Collection[int]) -> Filter:
    """The rows of these severities; those of none are neither more nor less.

    Words begin as a range of texts does, so that every store can tell.
    """
    level, status = Field("level"), Field("status_code")
    found: list[Filter] = []
    for word in (word for number in numbers for word in LEVELS[number]):
        for first in (word, word.upper(), word.capitalize()):
            behind = first[:-1] + chr(ord(first[-1]) + 1)
            found.append(And((Condition(level, ">=", first), Condition(level, "<", behind))))
    for low, high in (STATUSES[number] for number in numbers if number in STATUSES):
        between = Condition(status, ">=", low), Condition(status, "<=", high)
        found.append(And((Condition(level, "=", ""), *between)))
    return Or(tuple(found))


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while True:
        token = _TOKEN.match(text, place)
        if token is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            is_quote = text[place] in "\"'"
            raise FilterError(
                "this quote is not closed" if is_quote else f"{text[place]!r} means nothing here",
                place + 1,
            )
        kind = token.lastgroup or ""
        found.append(_Token(kind, token[kind], token.start(kind) + 1))
        if kind == "end":
            return found
        place = token.end()


def _said(token: _Token) -> str:
    return "the end" if token.kind == "end" else repr(token.text)


def _text(token: _Token) -> str:
    return _unquoted(token.text) if token.kind == "quoted" else token.text


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def _attribute(token: _Token, text: str) -> Value:
    """A number without quotes is one, unless it has more digits than a store compares exactly."""
    if token.kind == "quoted" or not _NUMBER.fullmatch(text):
        return text
    number = _number(text)
    return number if abs(number) <= 2**53 else text


def _fitting(field: Field, text: str) -> Value:
    """A value of the column's type; raises `ValueError`, which says what is one."""
    dtype = TYPES[field.column]
    if dtype == pl.String():
        return text
    if dtype == pl.Boolean():
        if text.lower() not in _TRUTH:
            raise ValueError("must be true or false")
        return _TRUTH[text.lower()]
    if isinstance(dtype, pl.Datetime):
        return microseconds(text)
    if field.column == "duration" and (spelled := _DURATION.fullmatch(text)):
        number, unit = spelled.groups()
        return float(f"{number}e{_EXPONENTS[unit]}")
    if not _NUMBER.fullmatch(text):
        raise ValueError("must be a number")
    return _number(text)


def _number(text: str) -> int | float:
    if len(text) < 20 and text.lstrip("-").isdigit() and abs(int(text)) < _LARGEST:
        return int(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("is too large")
    return number
