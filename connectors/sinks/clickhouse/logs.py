"""The rows of a ClickHouse store, for people who look for some: its `Logs`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from connectors.contrast import LONGEST
from connectors.filters import TYPES
from connectors.logs import SHOWN
from connectors.sinks.sql_contrast import SqlContrast
from connectors.sinks.sql_logs import known

_MICROSECONDS = "toUnixTimestamp64Micro(timestamp)"
_NUMBER = "^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$"

# Of each part other ones: in a part that has not been merged, each has customers of its own.
_GRANULE = "(intDiv(_part_offset, 8192) + cityHash64(_part))"

_COLUMNS = """
SELECT name FROM system.columns
WHERE database = currentDatabase() AND table = {name:String}
"""

# The projection tells the days, so that only one is read. Today may have nothing before now.
_DAYS = """
SELECT toDate32(timestamp, 'UTC') AS day FROM {table:Identifier}
WHERE toDate32(timestamp, 'UTC') <= toDate32(fromUnixTimestamp64Micro({now:Int64}, 'UTC'), 'UTC')
GROUP BY day ORDER BY day DESC LIMIT 2
"""
_NEWEST = """
SELECT toUnixTimestamp64Micro(max(timestamp)), count() FROM {table:Identifier}
WHERE timestamp >= fromUnixTimestamp64Micro({start:Int64}, 'UTC')
    AND timestamp <= fromUnixTimestamp64Micro({end:Int64}, 'UTC')
"""
_HOUR = 3600 * 10**6  # microseconds
_DAY = 24 * _HOUR
_EVER = 2**62  # later than any time


class ClickHouseLogs(SqlContrast):
    """See `SqlLogs`. The questions have the parameters `table` and `name`, that of the table."""

    table = "{table:Identifier}"
    estimates_beyond = 500_000  # exact ones need all durations in memory

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
            return _MICROSECONDS
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
        return f"{_MICROSECONDS} - positiveModulo({_MICROSECONDS}, {width})"

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
        return known([name for (name,) in await self._ask(_COLUMNS, {})])

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
        [(newest, rows)] = await self._ask(_NEWEST, {"start": start, "end": end})
        return int(newest) if rows else None
