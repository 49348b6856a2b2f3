"""The dead letters of an SQLite store, for people: its `Letters`."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.letters import SAMPLE_BYTES, Letter, Reason, said
from connectors.sinks.sql import DEAD_LETTERS
from connectors.sinks.sql_logs import Ask, Values

_RANGE = f"FROM {DEAD_LETTERS} WHERE seen_at >= :start AND seen_at < :end"
_COUNT = f"SELECT count(*) {_RANGE}"

# Up to three rows for each: the oldest letters and the newest.
_REASONS = f"""
WITH letters AS (SELECT file_id, offset, seen_at, reason, pattern_of(detail) AS pattern {_RANGE}),
ranked AS (
    SELECT *, count(*) OVER same AS letters,
        row_number() OVER (same ORDER BY seen_at, file_id, offset) AS rank
    FROM letters WINDOW same AS (PARTITION BY reason, pattern))
SELECT ranked.reason, pattern, letters, source, ranked.offset, substr(raw, 1, {SAMPLE_BYTES}),
    ranked.seen_at
FROM ranked JOIN {DEAD_LETTERS} USING (file_id, offset)
WHERE rank IN (1, 2, letters) ORDER BY letters DESC, ranked.reason, pattern, rank LIMIT 3 * :most
"""


class SqliteLetters:
    """See `Letters`. Its connections have the function `pattern_of`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def count(self, start: int, end: int) -> int:
        """See `Letters`."""
        [(count,)] = await self._ask(_COUNT, {"start": start, "end": end})
        return int(count)

    async def reasons(self, start: int, end: int, most: int) -> Sequence[Reason]:
        """See `Letters`."""
        values: Values = {"start": start, "end": end, "most": most}
        counts: dict[str, int] = {}
        letters: dict[str, list[Letter]] = {}
        for reason, pattern, count, *letter in await self._ask(_REASONS, values):
            name = said(reason, pattern)
            counts[name] = count
            letters.setdefault(name, []).append(Letter(*letter))
        return [
            Reason(name, counts[name], found[0].time, found[-1].time, found)
            for name, found in list(letters.items())[:most]
        ]
