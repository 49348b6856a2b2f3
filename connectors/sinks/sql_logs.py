"""`Logs` of a store that speaks SQL: what is the same in all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from connectors.filters import TYPES, And, Condition, Field, Filter, Not, Or, Text, searched
from connectors.logs import SHOWN, Letter, Moment, Place, Row, Selection
from connectors.patterns import Seen
from connectors.sinks.sql import DEAD_LETTERS

_EVER = 2**62  # microseconds: later than any time
_UNKNOWN = (None, None, None)

Values = dict[str, str | int | float]
Ask = Callable[[str, Values], Awaitable[Sequence[Sequence[Any]]]]


class SqlLogs(ABC):
    """The rows of one table; a subclass is one store's SQL. Values travel as parameters only."""

    table: str
    estimates_beyond: float = float("inf")
    """The number of requests beyond which percentiles are estimated."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    @abstractmethod
    def placeholder(self, name: str, value: str | int | float) -> str:
        """What stands in a statement for a value of this name."""

    @abstractmethod
    def time(self, placeholder: str) -> str:
        """The time of so many microseconds since 1970, to compare the column with."""

    @abstractmethod
    def selected(self, column: str) -> str:
        """A column as a `Row` has it."""

    @abstractmethod
    def contains(self, text: str, part: str) -> str:
        """Whether a text contains another one, the case of ASCII letters aside."""

    @abstractmethod
    def attribute(self, key: str) -> str:
        """The value under a key of `attributes`, as text; empty if there is none."""

    @abstractmethod
    def number(self, key: str) -> str:
        """The same as a number; null if it is none."""

    @abstractmethod
    def bucket(self, width: str) -> str:
        """The multiple of `width` at or before a row's time, in microseconds since 1970."""

    @abstractmethod
    def requests_by_time(self, bucket: str, where: str, *, estimated: bool) -> str:
        """The statement for `requests`: the fields of a `Moment`, and the longest duration."""

    @abstractmethod
    def counted(self, fields: Sequence[str], where: str, most: str) -> str:
        """The statement for `facets`: number of the field, count, and at its place the value.

        After the last field comes the count of all rows.
        """

    @abstractmethod
    async def knows_none(self) -> bool:
        """Whether a row may have no duration; in tables of earlier versions it has 0 instead."""

    @abstractmethod
    async def columns(self) -> Sequence[str]:
        """See `Logs`."""

    @abstractmethod
    async def newest(self, now: int) -> int | None:
        """See `Logs`."""

    async def rows(
        self, chosen: Selection, most: int, *, is_newest_first: bool, after: Place | None
    ) -> Sequence[Row]:
        """See `Logs`."""
        names = chosen.columns
        shown = [
            f'"{name}"' if chosen.is_whole and TYPES[name] == pl.String() else self.selected(name)
            for name in names
        ]
        values, where = self._where(chosen)
        add = self._adding(values)
        if after:
            sign = "<" if is_newest_first else ">"
            time = self.time(add(after.time))
            place = f"{time}, {add(after.file_id)}, {add(after.offset)}"
            # The first part is what an index can use.
            where += f" AND timestamp {sign}= {time}"
            where += f' AND (timestamp, file_id, "offset") {sign} ({place})'
        order = "DESC" if is_newest_first else "ASC"
        found = await self._ask(
            f"SELECT {', '.join(shown)} FROM {self.table} WHERE {where} "
            f'ORDER BY timestamp {order}, file_id {order}, "offset" {order} LIMIT {add(most)}'
            f"{self.reading(chosen)}",
            values,
        )
        return [dict(zip(names, row, strict=True)) for row in found]

    def reading(self, chosen: Selection) -> str:
        """What a statement for `rows` says at its end of how they are read."""
        return ""

    async def histogram(
        self, chosen: Selection, width: int, column: str
    ) -> Sequence[tuple[int, str, int]]:
        """See `Logs`."""
        values, where = self._where(chosen)
        bucket = self.bucket(self._adding(values)(width))
        found = await self._ask(
            f'SELECT {bucket} AS bucket, "{column}", count(*) FROM {self.table} WHERE {where} '
            f'GROUP BY bucket, "{column}" ORDER BY bucket, "{column}"',
            values,
        )
        return [(start, value or "", count) for start, value, count in found]

    async def requests(self, chosen: Selection, width: int) -> tuple[bool, Sequence[Moment]]:
        """See `Logs`."""
        values, where = self._where(chosen)
        where += " AND status_code > 0"
        estimated = False
        if self.estimates_beyond < float("inf"):
            count = f"SELECT count(*) FROM {self.table} WHERE {where}"
            [(requests,)] = await self._ask(count, values)
            estimated = requests > self.estimates_beyond
        bucket = self.bucket(self._adding(values)(width))
        found = await self._ask(self.requests_by_time(bucket, where, estimated=estimated), values)
        knows_none = await self.knows_none()

        def tells(longest: float | None) -> bool:
            return longest is not None and (knows_none or longest > 0)

        return estimated, [
            Moment(start, total, failed, *(map(float, percentiles) if tells(longest) else _UNKNOWN))
            for start, total, failed, *percentiles, longest in found
        ]

    async def facets(
        self, chosen: Selection, fields: Sequence[Field], most: int
    ) -> tuple[int, Sequence[Sequence[tuple[Any, int]]]]:
        """See `Logs`."""
        values, where = self._where(chosen)
        add = self._adding(values)
        shown = [
            self.selected(field.column) if field.key is None else self.attribute(add(field.key))
            for field in fields
        ]
        found: list[list[tuple[Any, int]]] = [[] for _ in fields]
        total = 0
        for number, count, *row in await self._ask(self.counted(shown, where, add(most)), values):
            if number < len(fields):
                found[number].append((row[number], count))
            else:
                total = count
        return total, found

    async def patterns(self, chosen: Selection, most: int) -> tuple[int, Sequence[Seen]]:
        """See `Logs`."""
        values, where = self._where(chosen)
        time = self.selected("timestamp")
        found = await self._ask(
            "SELECT pattern_id, shown, counted, earliest, latest, sum(counted) OVER () FROM ("
            "SELECT pattern_id, min(pattern) AS shown, count(*) AS counted, "
            f"min({time}) AS earliest, max({time}) AS latest FROM {self.table} "
            f"WHERE {where} AND pattern_id != '' GROUP BY pattern_id) AS found "
            f"ORDER BY counted DESC, pattern_id LIMIT {self._adding(values)(most)}",
            values,
        )
        seen = [Seen(name, shown, *map(int, rest)) for name, shown, *rest, _ in found]
        return (int(found[0][-1]) if found else 0), seen

    async def examples(self, chosen: Selection, seen: Sequence[Seen]) -> Mapping[str, str]:
        """See `Logs`."""
        if not seen:
            return {}
        pattern, time = Field("pattern_id"), Field("timestamp")
        last = Or(
            tuple(
                And((Condition(pattern, "=", one.id), Condition(time, "=", one.last)))
                for one in seen
            )
        )
        start, end = min(one.last for one in seen), max(one.last for one in seen) + 1
        these = replace(chosen, filter=And((chosen.filter, last)), start=start, end=end)
        values, where = self._where(these)
        shown = self.selected("message")
        found = await self._ask(
            f"SELECT pattern_id, min({shown}) FROM {self.table} WHERE {where} GROUP BY pattern_id",
            values,
        )
        return dict(map(tuple, found))

    async def lines(
        self, columns: Sequence[str], file_id: int, offset: int, before: int, after: int
    ) -> Sequence[Row | Letter]:
        """See `Logs`."""
        found: dict[int, Row | Letter] = {}
        for sign, order, most in (("<", "DESC", before), (">=", "ASC", after + 1)):
            values: Values = {}
            add = self._adding(values)
            these = (
                f'WHERE file_id = {add(file_id)} AND "offset" {sign} {add(offset)} '
                f'ORDER BY "offset" {order} LIMIT {add(most)}'
            )
            # first where they are, so that of a large file few rows are read
            rows = await self._ask(f'SELECT "offset" FROM {self.table} {these}', values)
            raw = f"hex(substr(raw, 1, {SHOWN}))"  # bytes, which need not be UTF-8
            asked = f'SELECT "offset", {raw}, reason FROM {DEAD_LETTERS} {these}'
            letters = {
                place: Letter(place, bytes.fromhex(raw), reason)
                for place, raw, reason in await self._ask(asked, values)
            }
            places = sorted({*letters, *(place for (place,) in rows)}, reverse=order == "DESC")
            kept = places[:most]
            found |= {place: letters[place] for place in kept if place in letters}
            if kept:
                chosen = _between(columns, file_id, min(kept), max(kept))
                of_file = await self.rows(chosen, most, is_newest_first=False, after=None)
                found |= {row["offset"]: row for row in of_file}
        return [found[place] for place in sorted(found)]

    def _adding(self, values: Values) -> Callable[[str | int | float], str]:
        """A function that adds a value, and returns what stands for it in the statement."""

        def add(value: str | int | float) -> str:
            name = f"v{len(values)}"
            values[name] = value
            return self.placeholder(name, value)

        return add

    def _where(self, chosen: Selection) -> tuple[Values, str]:
        values: Values = {}
        add = self._adding(values)
        texts = searched(chosen.columns)
        span = (
            f"timestamp >= {self.time(add(chosen.start))} "
            f"AND timestamp < {self.time(add(chosen.end))}"
        )
        return values, f"{span} AND ({self._condition(chosen.filter, add, texts)})"

    def _condition(self, part: Filter, add: Callable[..., str], texts: Sequence[str]) -> str:
        if isinstance(part, Not):
            # What is null counts as false, which only matters where the contrary is asked for.
            return f"NOT ifnull(({self._condition(part.part, add, texts)}), 0)"
        if isinstance(part, And | Or):
            word = " AND " if isinstance(part, And) else " OR "
            inner = [f"({self._condition(one, add, texts)})" for one in part.parts]
            return word.join(inner) or "1"
        if isinstance(part, Text):
            text = add(part.text)
            return " OR ".join(self.contains(f'"{name}"', text) for name in texts)
        return self._comparison(part, add)

    def _comparison(self, part: Condition, add: Callable[..., str]) -> str:
        key, value = part.field.key, add(part.value)
        if key is None:
            field = f'"{part.field.column}"'
            if TYPES[part.field.column] == TYPES["timestamp"]:
                value = self.time(value)
        else:
            is_text = isinstance(part.value, str)
            field = self.attribute(add(key)) if is_text else self.number(add(key))
        if part.operator == "~":
            return self.contains(field, value)
        return f"{field} {part.operator} {value}"


def _between(columns: Sequence[str], file_id: int, first: int, last: int) -> Selection:
    """The rows of a part of a file, both its ends included."""
    conditions = (("file_id", "=", file_id), ("offset", ">=", first), ("offset", "<=", last))
    part = And(tuple(Condition(Field(name), sign, value) for name, sign, value in conditions))
    return Selection(columns, part, -_EVER, _EVER)


def known(names: Collection[str]) -> Sequence[str]:
    """Of the columns of a table those that rows have; none if it holds no log lines."""
    needed: Mapping[str, object] = dict.fromkeys(("timestamp", "file_id", "offset"))
    return [name for name in TYPES if name in names] if needed.keys() <= set(names) else []
