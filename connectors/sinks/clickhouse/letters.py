"""The dead letters of a ClickHouse store, for people: its `Letters`."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.letters import (
    PATTERN_CHARACTERS,
    SAMPLE_BYTES,
    VARIES,
    Letter,
    Reason,
    said,
    some,
)
from connectors.sinks.sql import DEAD_LETTERS
from connectors.sinks.sql_logs import Ask, Values

_RANGE = f"""
FROM {DEAD_LETTERS} WHERE seen_at >= fromUnixTimestamp64Micro({{start:Int64}}, 'UTC')
    AND seen_at < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC')
"""
_COUNT = f"SELECT count() {_RANGE}"

_PATTERN = f"substringUTF8(detail, 1, {PATTERN_CHARACTERS})"
for _number in range(len(VARIES)):
    _PATTERN = f"replaceRegexpAll({_PATTERN}, {{varies{_number}:String}}, {{for{_number}:String}})"
_LETTER = f"""(toString(source), offset, hex(substring(raw, 1, {SAMPLE_BYTES})),
        toUnixTimestamp64Micro(seen_at))"""
_PLACE = "(seen_at, file_id, offset)"
_REASONS = f"""
SELECT toString(reason), {_PATTERN} AS pattern, count() AS letters,
    argMin({_LETTER}, {_PLACE}), argMax({_LETTER}, {_PLACE}), groupArray(3)({_LETTER})
    {_RANGE}
GROUP BY reason, pattern ORDER BY letters DESC, reason, pattern LIMIT {{most:UInt32}}
"""

_VALUES: Values = {}
for _number, (_varying, _stands_for) in enumerate(VARIES):
    _VALUES |= {f"varies{_number}": _varying, f"for{_number}": _stands_for}


class ClickHouseLetters:
    """See `Letters`; `ask_soon` does not wait behind long questions."""

    def __init__(self, ask: Ask, ask_soon: Ask) -> None:
        self._ask = ask
        self._ask_soon = ask_soon

    async def count(self, start: int, end: int) -> int:
        """See `Letters`."""
        [(count,)] = await self._ask_soon(_COUNT, {"start": start, "end": end})
        return int(count)

    async def reasons(self, start: int, end: int, most: int) -> Sequence[Reason]:
        """See `Letters`."""
        values = {**_VALUES, "start": start, "end": end, "most": most}
        found = []
        for reason, pattern, count, *ends, others in await self._ask(_REASONS, values):
            oldest, newest, *between = (
                Letter(source, offset, bytes.fromhex(raw), time)
                for source, offset, raw, time in (*ends, *others)
            )
            samples = some(oldest, newest, between)
            found.append(Reason(said(reason, pattern), count, oldest.time, newest.time, samples))
        return found
