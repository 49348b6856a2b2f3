"""The rows of a ClickHouse store, for people who look for some: its `Logs`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

import polars as pl

from connectors.contrast import LONGEST
from connectors.filters import TYPES, And, Condition, Filter, Not, Or
from connectors.logs import SHOWN, Place, Row, Selection
from connectors.sinks.clickhouse.tables import (
    COUNTED,
    COUNTS,
    FORMER_ORDER,
    MICROSECONDS,
    PIECE,
    PIECE_OF_ROW,
    is_nullable,
)
from connectors.sinks.sql_contrast import SqlContrast
from connectors.sinks.sql_logs import Values, known

_NUMBER = "^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$"

# Of each part other ones: in a part that has not been merged, each has customers of its own.
_GRANULE = "(intDiv(_part_offset, 8192) + cityHash64(_part))"

_COLUMNS = """
SELECT name, type FROM system.columns
WHERE database = currentDatabase() AND table = {name:String}
"""

_MADE = """
SELECT sorting_key, create_table_query FROM system.tables
WHERE database = currentDatabase() AND name = {name:String}
"""

# Whole pieces of time are in the projection; what is before and behind them is counted by rows.
_BY_PIECES = f"""
SELECT piece - positiveModulo(piece, {{width}}) AS bucket, value, sum(rows) FROM (
    SELECT {PIECE_OF_ROW} AS piece, "{{column}}" AS value, count() AS rows FROM {{table}}
    WHERE {PIECE_OF_ROW} >= {{first}} AND {PIECE_OF_ROW} < {{last}} AND ({{condition}})
    GROUP BY piece, value
    UNION ALL
    SELECT {PIECE_OF_ROW} AS piece, "{{column}}" AS value, count() AS rows FROM {{table}}
    WHERE (timestamp >= {{start_time}} AND timestamp < {{first_time}}
        OR timestamp >= {{last_time}} AND timestamp < {{end_time}}) AND ({{condition}})
    GROUP BY piece, value)
GROUP BY bucket, value ORDER BY bucket, value
"""

# The projection tells the days, so that only one is read. Today may have nothing before now.
_DAYS = """
SELECT toDate32(timestamp, 'UTC') AS day FROM {table:Identifier}
WHERE toDate32(timestamp, 'UTC') <= toDate32(fromUnixTimestamp64Micro({now:Int64}, 'UTC'), 'UTC')
GROUP BY day ORDER BY day DESC LIMIT 2
"""
# In the order of time, from behind: of each part a few rows are read. `max` would read the hour.
_NEWEST = f"""
SELECT {MICROSECONDS} FROM {{table:Identifier}}
WHERE timestamp >= fromUnixTimestamp64Micro({{start:Int64}}, 'UTC')
    AND timestamp <= fromUnixTimestamp64Micro({{end:Int64}}, 'UTC')
ORDER BY timestamp DESC LIMIT 1
"""
_MINUTE = 60 * 10**6  # microseconds
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_EVER = 2**62  # later than any time

# Of a piece: to read many fresh parts in order costs more than to sort what fits.
_UNORDERED = "\nSETTINGS optimize_read_in_order = 0, optimize_use_projections = 0"

_GOOD_FOR = 10.0  # seconds, that the columns of a table are taken for what they were


class ClickHouseLogs(SqlContrast):
    """See `SqlLogs`. The questions have the parameters `table` and `name`, that of the table."""

    table = "{table:Identifier}"
    estimates_beyond = 500_000  # exact ones need all durations in memory
    _as_made = "", ""
    _columns: tuple[float, Mapping[str, str]] = (0.0, {})

    def placeholder(self, name: str, value: str | int | float) -> str:
        """See `SqlLogs`."""
        if isinstance(value, int):
            return f"{{{name}:{'Int64' if value < 2**63 else 'UInt64'}}}"
        return f"{{{name}:{'String' if isinstance(value, str) else 'Float64'}}}"

    def time(self, placeholder: str) -> str:
        """See `SqlLogs`."""
        return f"fromUnixTimestamp64Micro({placeholder}, 'UTC')"

    def selected(self, column: str) -> str:
        """See `SqlLogs`."""
        if column == "timestamp":
            return MICROSECONDS
        is_text = TYPES[column] == pl.String()
        return f'substringUTF8("{column}", 1, {SHOWN + 1})' if is_text else f'"{column}"'

    def contains(self, text: str, part: str) -> str:
        """See `SqlLogs`."""
        return f"positionCaseInsensitive({text}, {part}) > 0"

    def attribute(self, key: str) -> str:
        """See `SqlLogs`."""
        return f"ifNull(JSONExtract(attributes, {key}, 'Nullable(String)'), '')"

    def number(self, key: str) -> str:
        """See `SqlLogs`."""
        text = self.attribute(key)
        return f"if(match({text}, '{_NUMBER}'), toFloat64OrNull({text}), NULL)"

    def bucket(self, width: str) -> str:
        """See `SqlLogs`."""
        return f"{MICROSECONDS} - positiveModulo({MICROSECONDS}, {width})"

    async def rows(
        self, chosen: Selection, most: int, *, is_newest_first: bool, after: Place | None
    ) -> Sequence[Row]:
        """See `Logs`. The time that comes first is looked at first, until there are enough."""
        rows = partial(super().rows, is_newest_first=is_newest_first, after=after)
        start, end = chosen.start, chosen.end
        if after and is_newest_first:
            end = min(end, after.time + 1)
        elif after:
            start = max(start, after.time)
        order, _ = await self._made()
        found: list[Row] = []
        passed, width = 0, _MINUTE
        while end - start < _EVER and width < end - start and order != FORMER_ORDER:
            near = end - width if is_newest_first else start + width
            piece = (near, end) if is_newest_first else (start, near)
            found += await rows(replace(chosen, start=piece[0], end=piece[1]), most - len(found))
            if len(found) == most:
                return found
            start, end = (start, near) if is_newest_first else (near, end)
            passed += width
            # Twice as long as the others take, as far as one knows.
            width = max(passed, 2 * passed * (most - len(found)) // (len(found) + 1))
        rest = replace(chosen, start=start, end=end)
        return [*found, *await rows(rest, most - len(found))]

    def reading(self, chosen: Selection) -> str:
        """See `SqlLogs`."""
        in_order = chosen.filter != And(()) and chosen.end - chosen.start <= _MINUTE
        return "" if in_order or chosen.end - chosen.start >= _EVER else _UNORDERED

    async def histogram(
        self, chosen: Selection, width: int, column: str
    ) -> Sequence[tuple[int, str, int]]:
        """See `Logs`. Of rows that are counted already, few are read."""
        first, last = -(-chosen.start // PIECE) * PIECE, chosen.end // PIECE * PIECE
        is_counted = width % PIECE == 0 and column in COUNTED and _is_counted(chosen.filter)
        _, made = await self._made() if is_counted and first < last else ("", "")
        if f"PROJECTION {COUNTS} " not in made:
            return await super().histogram(chosen, width, column)
        values: Values = {}
        add = self._adding(values)
        statement = _BY_PIECES.format(
            table=self.table,
            column=column,
            condition=self._condition(chosen.filter, add, ()),
            width=add(width),
            first=(first_value := add(first)),
            last=(last_value := add(last)),
            start_time=self.time(add(chosen.start)),
            first_time=self.time(first_value),
            last_time=self.time(last_value),
            end_time=self.time(add(chosen.end)),
        )
        return [
            (start, value or "", count)
            for start, value, count in await self._ask(statement, values)
        ]

    async def _made(self) -> tuple[str, str]:
        """The order of the table and the statement that makes it: neither changes for the worse."""
        if not any(self._as_made):
            found = await self._ask(_MADE, {})
            self._as_made = (str(found[0][0]), str(found[0][1])) if found else ("", "")
        return self._as_made

    def requests_by_time(self, bucket: str, where: str, *, estimated: bool) -> str:
        """See `SqlLogs`."""
        way = "TDigest" if estimated else "ExactInclusive"
        return (
            f"SELECT {bucket} AS bucket, count(), countIf(NOT success), "
            f"(quantiles{way}(0.5, 0.95, 0.99)(duration) AS found)[1], found[2], found[3], "
            f"max(duration) FROM {self.table} WHERE {where} GROUP BY bucket ORDER BY bucket"
        )

    def counted(self, fields: Sequence[str], where: str, most: str) -> str:
        """See `SqlLogs`."""
        names = [f"f{number}" for number in range(len(fields))]
        shown = ", ".join(f"{field} AS {name}" for field, name in zip(fields, names, strict=True))
        if not fields:
            return f"SELECT 0, count() FROM {self.table} WHERE {where}"
        sets = ", ".join(f"({name})" for name in names)
        every = ", ".join(names)
        numbers = ", ".join(f"grouping({name}) = 0, {n}" for n, name in enumerate(names))
        return (
            f"SELECT multiIf({numbers}, {len(fields)}) AS number, count() AS rows, {every} "
            f"FROM (SELECT {shown} FROM {self.table} WHERE {where}) "
            f"GROUP BY GROUPING SETS ((), {sets}) ORDER BY number, rows DESC, {every} "
            f"LIMIT {most} BY number"
        )

    def hashed(self) -> str:
        """See `SqlContrast`."""
        return 'intHash32("offset" + file_id)'

    def sampled(self, selected: str, of_selected: int, of_others: int, where: str) -> str:
        """See `SqlContrast`; a group is a granule, so that others are not read at all."""
        if of_selected == of_others == 1:
            return f"FROM {self.table} WHERE {where}"
        groups = f"{_GRANULE} % {of_others} = 0"
        if of_selected != of_others:
            groups = f"({groups} OR ({_GRANULE} % {of_selected} = 0 AND {selected}))"
        return f"FROM {self.table} PREWHERE {groups} WHERE {where}"

    def counted_values(
        self, columns: Sequence[str], selected: str, rows: str, least: str, most: str
    ) -> str:
        """See `SqlContrast`."""
        pairs = ["('', '')", *(f"('c{name}', toString(\"{name}\"))" for name in columns)]
        found = (
            f"arrayFilter(pair -> lengthUTF8(pair.2) <= {LONGEST}, "
            f"arrayConcat([{', '.join(pairs)}], arrayMap(pair -> (concat('a', pair.1), pair.2), "
            "JSONExtractKeysAndValuesRaw(attributes))))"
        )
        names = ", ".join(f'"{name}"' for name in ("attributes", *columns))
        return (
            "SELECT pair.1 AS field, pair.2 AS value, countIf(sel) AS some, countIf(NOT sel) "
            f"FROM (SELECT sel, arrayJoin({found}) AS pair FROM "
            f"(SELECT {selected} AS sel, {names} {rows})) "
            f"GROUP BY field, value HAVING some >= {least} "
            f"ORDER BY some DESC, field, value LIMIT {most}"
        )

    async def columns(self) -> Sequence[str]:
        """See `Logs`."""
        return known(await self._types())

    async def knows_none(self) -> bool:
        """See `SqlLogs`."""
        return is_nullable((await self._types()).get("duration", ""))

    async def _types(self) -> Mapping[str, str]:
        asked, types = self._columns
        now = time.monotonic()
        if not types or now - asked > _GOOD_FOR:
            types = {str(name): str(type_) for name, type_ in await self._ask(_COLUMNS, {})}
            self._columns = now, types
        return types

    async def newest(self, now: int) -> int | None:
        """See `Logs`."""
        if (newest := await self._newest(now - _HOUR, now)) is not None:
            return newest
        for (day,) in await self._ask(_DAYS, {"now": now}):
            start = (day - date(1970, 1, 1)).days * _DAY
            if (newest := await self._newest(start, now)) is not None:
                return newest
        return await self._newest(-_EVER, _EVER)

    async def _newest(self, start: int, end: int) -> int | None:
        found = await self._ask(_NEWEST, {"start": start, "end": end})
        return int(found[0][0]) if found else None


def _is_counted(part: Filter) -> bool:
    """Whether a filter asks for nothing but columns by which rows are counted."""
    if isinstance(part, Not):
        return _is_counted(part.part)
    if isinstance(part, And | Or):
        return all(map(_is_counted, part.parts))
    return isinstance(part, Condition) and part.field.key is None and part.field.column in COUNTED
