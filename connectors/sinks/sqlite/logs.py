"""The rows of an SQLite store, for people who look for some: its `Logs`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from connectors.contrast import LONGEST
from connectors.sinks.sql_contrast import SqlContrast
from connectors.sinks.sql_logs import known

_IS_NUMBER = re.compile("-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")

# Times are integers here. A value of `attributes` is null if the text is no JSON.
_VALUE = """(SELECT {shown} FROM json_each(iif(json_valid(attributes), attributes, '{{}}'))
    WHERE key = {key} LIMIT 1)"""
_TEXT = """CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'
    ELSE CAST(value AS TEXT) END"""
_NUMBER = """CASE type WHEN 'integer' THEN value WHEN 'real' THEN value
    WHEN 'text' THEN as_number(value) END"""

_AS_JSON = """CASE type WHEN 'text' THEN json_quote(value) WHEN 'true' THEN 'true'
    WHEN 'false' THEN 'false' WHEN 'null' THEN 'null' ELSE CAST(value AS TEXT) END"""


def as_number(text: str) -> float | None:
    """A text as a number; None if it is none."""
    return float(text) if _IS_NUMBER.fullmatch(text) else None


class SqliteLogs(SqlContrast):
    """See `SqlLogs`. Its connections have the function `as_number`."""

    table = "logs"

    def placeholder(self, name: str, value: str | int | float) -> str:
        """See `SqlLogs`."""
        return f":{name}"

    def time(self, placeholder: str) -> str:
        """See `SqlLogs`."""
        return placeholder

    def selected(self, column: str) -> str:
        """See `SqlLogs`."""
        return f'"{column}"'

    def contains(self, text: str, part: str) -> str:
        """See `SqlLogs`."""
        return f"instr(lower({text}), lower({part})) > 0"

    def attribute(self, key: str) -> str:
        """See `SqlLogs`."""
        return f"ifnull({_VALUE.format(shown=_TEXT, key=key)}, '')"

    def number(self, key: str) -> str:
        """See `SqlLogs`."""
        return _VALUE.format(shown=_NUMBER, key=key)

    def bucket(self, width: str) -> str:
        """See `SqlLogs`."""
        return f"timestamp - (timestamp % {width} + {width}) % {width}"

    def requests_by_time(self, bucket: str, where: str, *, estimated: bool) -> str:
        """See `SqlLogs`. Of the durations, each weighs what it is nearer to the place."""
        percentiles = ", ".join(
            f"sum(duration * max(0, 1 - abs(rank - last * {part})))" for part in (0.5, 0.95, 0.99)
        )
        return (
            f"WITH found AS (SELECT {bucket} AS bucket, success, duration "
            f"FROM {self.table} WHERE {where}), "
            "ranked AS (SELECT *, row_number() OVER (PARTITION BY bucket ORDER BY duration "
            "NULLS LAST) - 1 AS rank, count(duration) OVER (PARTITION BY bucket) - 1 AS last "
            "FROM found) "
            f"SELECT bucket, count(*), sum(NOT ifnull(success, 0)), {percentiles}, max(duration) "
            "FROM ranked GROUP BY bucket ORDER BY bucket"
        )

    def counted(self, fields: Sequence[str], where: str, most: str) -> str:
        """See `SqlLogs`."""
        shown = ", ".join([f"{field} AS f{number}" for number, field in enumerate(fields)] or ["1"])
        parts = [
            f"SELECT * FROM (SELECT {number}, count(*){', NULL' * number}, f{number}"
            f"{', NULL' * (len(fields) - number - 1)} FROM found GROUP BY f{number} "
            f"ORDER BY count(*) DESC, f{number} NULLS LAST LIMIT {most})"
            for number in range(len(fields))
        ]
        parts.append(f"SELECT {len(fields)}, count(*){', NULL' * len(fields)} FROM found")
        found = f"SELECT {shown} FROM {self.table} WHERE {where}"
        return f"WITH found AS MATERIALIZED ({found}) {' UNION ALL '.join(parts)}"

    def hashed(self) -> str:
        """See `SqlContrast`."""
        return f"""((offset + file_id % 1000003) % {2**31} * 2654435761 % {2**32})"""

    def sampled(self, selected: str, of_selected: int, of_others: int, where: str) -> str:
        """See `SqlContrast`."""
        return f"FROM {self.table} WHERE {where}"

    def counted_values(
        self, columns: Sequence[str], selected: str, rows: str, least: str, most: str
    ) -> str:
        """See `SqlContrast`."""
        names = ", ".join(f'"{name}"' for name in ("attributes", *columns))
        parts = ["SELECT '' AS field, '' AS value, sel FROM found"]
        parts += [f"""SELECT 'c{name}', "{name}", sel FROM found""" for name in columns]
        parts.append(
            f"SELECT 'a' || key, {_AS_JSON}, sel FROM found, "
            "json_each(iif(json_valid(attributes), attributes, '{}'))"
        )
        return (
            f"WITH found AS MATERIALIZED (SELECT {selected} AS sel, {names} {rows}) "
            "SELECT field, CAST(value AS TEXT), sum(sel), sum(1 - sel) "
            f"FROM ({' UNION ALL '.join(parts)}) WHERE length(value) <= {LONGEST} "
            f"GROUP BY field, value HAVING sum(sel) >= {least} "
            f"ORDER BY sum(sel) DESC, field, value LIMIT {most}"
        )

    async def knows_none(self) -> bool:
        """See `SqlLogs`."""
        return not await self._ask(_ZERO_BY_DEFAULT, {})

    async def columns(self) -> Sequence[str]:
        """See `Logs`."""
        return known([name for (name,) in await self._ask(_COLUMNS, {})])

    async def newest(self, now: int) -> int | None:
        """See `Logs`."""
        [(newest,)] = await self._ask(_NEWEST, {"now": now})
        return newest if newest is None else int(newest)


_COLUMNS = "SELECT name FROM pragma_table_info('logs')"
_ZERO_BY_DEFAULT = """
SELECT 1 FROM pragma_table_info('logs') WHERE name = 'duration' AND dflt_value IS NOT NULL
"""
_NEWEST = """
SELECT coalesce((SELECT max(timestamp) FROM logs WHERE timestamp <= :now),
    (SELECT max(timestamp) FROM logs))
"""
