"""A format within another one: what a container wrote, in the lines of what ran it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from connectors.errors import MalformedLine, Why
from flows.parsing.compiled import nothing
from flows.parsing.fields import encode
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Format, Row, filled

_NONE = "{}"


@runtime_checkable
class Timeless(Protocol):
    """A format that can do without a time."""

    def timeless(self) -> Format:
        """The same for lines that may have none."""


class Mixed:
    """Lines of several formats in turn: a line is of the first that takes it."""

    def __init__(self, formats: Sequence[Format]) -> None:
        self._formats = formats
        self._first, *others = formats
        self._others = Mixed(others) if others else None

    def line(self, text: str) -> Row:
        """One line. Raises the `MalformedLine` of the first format if none takes it."""
        why: Why | None = None
        for form in self._formats:
            try:
                return form.line(text)
            except MalformedLine as refusal:
                why = why or refusal.why
        assert why
        raise MalformedLine(*why)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual in the format that takes them are open."""
        frame = self._first.columns(lines)
        if not self._others or (certain := frame[OK].to_numpy()).all():
            return frame
        left = [n for n in np.flatnonzero(~certain).tolist() if self._is_refused(lines.raw(n))]
        if not left:
            return frame
        refused = np.array(left)
        rest = self._others.columns(lines.only(refused))
        order = np.concatenate((np.delete(np.arange(len(lines)), refused), refused))
        kept = frame[np.delete(np.arange(len(lines)), refused)]
        both = filled(pl.concat([kept, rest], how="diagonal"))
        return both[np.argsort(order)]

    def _is_refused(self, line: bytes) -> bool:
        """Whether a line is certainly not of the first format."""
        try:
            text = line.decode()
            self._first.line(text)
        except UnicodeDecodeError:
            return False
        except MalformedLine:
            return not text.startswith("\ufeff")  # which does not count in front of a file
        return False


class Nested:
    """Lines of `outer`, of whose `message` the format is `inner`; what that says counts first.

    Its time is that of `outer` if it has none. An empty message, and a part of a line (a tag `P` of
    CRI), is kept as it is. `adds` names the attributes of `outer`.
    """

    def __init__(self, outer: Format, inner: Format, adds: Sequence[str]) -> None:
        self._outer = outer
        self._inner = inner.timeless() if isinstance(inner, Timeless) else inner
        self._added = [f'"{name}":' for name in adds]

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = self._outer.line(text)
        message = str(row.get("message", "")).removesuffix("\n").removesuffix("\r")
        attributes = json.loads(str(row.get("attributes", _NONE)))
        if not message or str(attributes.get("tags", "")).startswith("P"):
            return row
        del row["message"]
        found = self._inner.line(message)
        attributes |= json.loads(str(found.pop("attributes", _NONE)))
        said = {name: value for name, value in found.items() if value != ""}
        return {**found, **row, **said, "attributes": encode(attributes)}

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left to `line`."""
        outer = self._outer.columns(lines)
        if "message" not in outer.columns:
            return nothing(lines)
        texts = outer.drop_in_place("message").rechunk()
        _, starts, data = texts.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
        begins = np.frombuffer(starts, np.int64)[: len(texts) + 1]
        inner = self._inner.columns(Lines(data.to_pybytes() if data else b"", begins))
        certain = outer.drop_in_place(OK) & inner.drop_in_place(OK)
        if "attributes" in inner.columns and "attributes" in outer.columns:
            within, around = inner["attributes"], outer["attributes"]
            certain &= ~within.str.contains_any(self._added)  # whose value is it?
            both = pl.concat_str(around.str.head(-1), pl.lit(","), within.str.tail(-1))
            joined = (
                pl.when(within == _NONE)
                .then(around)
                .otherwise(pl.when(around == _NONE).then(within).otherwise(both))
            )
            inner = inner.with_columns(joined.alias("attributes"))
        for name in {*inner.columns} & {*outer.columns} - {"timestamp", "attributes"}:
            inner = inner.with_columns(
                pl.when(pl.col(name) == "").then(outer[name]).otherwise(pl.col(name)).alias(name)
            )
        missing = [outer[name] for name in outer.columns if name not in inner.columns]
        # A frame that has lost its last column has lost its rows, too.
        return pl.DataFrame([*inner.get_columns(), *missing, certain.alias(OK)])
