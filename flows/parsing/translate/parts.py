"""What the translations share: fields and literals to a layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from flows.parsing.fields import Escapes
from flows.parsing.layout import SPACES, Field, Layout, Maybe, Spaces
from native.lines import Shape

Part = tuple[int, Field | Maybe | Spaces | str]
"""A part of a layout, and where it is in the text of the format, counted from 1."""

PADDING = Maybe(SPACES)
"""What makes a field as wide as it is to be."""


def padded(place: int, field: Field) -> Iterator[Part]:
    """A field that is made wider on either side."""
    for part in (PADDING, field, PADDING):
        yield place, part


def pieces(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str | re.Match[str]]]:
    """What the pattern finds in a text, what is between, and where each is, counted from 1."""
    at = 0
    for found in pattern.finditer(text):
        yield at + 1, text[at : found.start()]
        yield found.start() + 1, found
        at = found.end()
    yield at + 1, text[at:]


def layout_of(parts: Iterable[Part], reason: str, escapes: Escapes) -> Layout:
    """The layout of these parts. Raises `ValueError`, which says where it cannot be one.

    A field between quotes has escapes. Of several fields for one column the first counts; the
    others are attributes. Spaces beside `PADDING` are one or more.
    """
    told: list[Field | Maybe | Spaces | str] = []
    columns: set[str] = set()
    names: set[str] = set()
    parts = [(place, part) for place, part in parts if part != ""]
    for number, (place, part) in enumerate(parts):
        last = told[-1] if told else ""
        if isinstance(part, str):
            if last in (PADDING, SPACES) and part.startswith(" "):
                told[-1:] = [SPACES, part.lstrip(" ")]
            elif isinstance(last, str):
                told[-1:] = [last + part]
            else:
                told.append(part)
            continue
        if not isinstance(part, Field):
            if isinstance(last, str) and last.endswith(" "):
                told[-1:] = [last.rstrip(" "), SPACES]
            elif last not in (PADDING, SPACES):
                told.append(part)
            continue
        if isinstance(last, Field):
            raise ValueError(f"nothing is before the field at {place}: where does it begin?")
        if part.name in names:
            raise ValueError(f"the field at {place} is here a second time: {part.name}")
        behind = parts[number + 1][1] if number + 1 < len(parts) else ""
        is_quoted = str(last).endswith('"') and str(behind).startswith('"')
        told.append(_fitted(part, columns, is_quoted, escapes))
        names.add(part.name)
        columns |= {part.column} - {""}
    if "timestamp" not in columns:
        raise ValueError("no field is a time")
    if told[-1] == PADDING:
        told.pop()
    return Layout(tuple(part for part in told if part != ""), samples=(), reason=reason)


def _fitted(field: Field, columns: set[str], is_quoted: bool, escapes: Escapes) -> Field:
    """The field as it is where it stands."""
    if field.column in columns:
        field = Field(field.name, shape=field.shape)
    if is_quoted and field.column == "timestamp":
        return replace(field, shape=Shape.WORDS)
    if is_quoted:
        shape = Shape.WORDS if escapes is Escapes.NONE else Shape.ESCAPED
        return replace(field, shape=shape, escapes=escapes)
    if field.shape is Shape.WORDS and escapes is not Escapes.NONE:
        return replace(field, escapes=escapes, odd="\\")
    return field
