"""The dead letters of an InfluxDB bucket, for people: its `Letters`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.letters import SAMPLE_BYTES, Letter, Reason, some
from connectors.sinks.influxdb.line_protocol import DEAD_LETTERS

_RANGE = f'FROM "{DEAD_LETTERS}" WHERE time >= $start AND time < $end'
_COUNT = f'SELECT COUNT("offset") {_RANGE}'
_NAMES = f'SHOW TAG VALUES FROM "{DEAD_LETTERS}" WITH KEY = "reason"'
_REASON = """
SELECT COUNT("offset") {range} AND "reason" = ${name};
SELECT "source", "offset", "raw" {range} AND "reason" = ${name} ORDER BY time LIMIT 2;
SELECT "source", "offset", "raw" {range} AND "reason" = ${name} ORDER BY time DESC LIMIT 1
"""
_LAST_TIME = 2**63 - 2  # nanoseconds, before 1970 and after

Ask = Callable[[str, Mapping[str, object]], Awaitable[list[list[list[Any]]]]]


class InfluxLetters:
    """See `Letters`. Of a reason only its word tells it apart: details are no tags."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def count(self, start: int, end: int) -> int:
        """See `Letters`."""
        [found] = await self._ask(_COUNT, _times(start, end))
        return found[0][1] if found else 0

    async def reasons(self, start: int, end: int, most: int) -> Sequence[Reason]:
        """See `Letters`."""
        [names] = await self._ask(_NAMES, {})
        words = {f"reason_{number}": word for number, (_, word) in enumerate(names)}
        if not words:
            return []
        statements = ";".join(_REASON.format(range=_RANGE, name=name) for name in words)
        found = await self._ask(statements, {**words, **_times(start, end)})
        reasons = []
        for number, word in enumerate(words.values()):
            counts, oldest, newest = found[3 * number : 3 * number + 3]
            if counts:
                first, *others = (_letter(*letter) for letter in oldest)
                last = _letter(*newest[0])
                samples = some(first, last, others)
                reasons.append(Reason(word, counts[0][1], first.time, last.time, samples))
        return sorted(reasons, key=lambda one: (-one.count, one.reason))[:most]


def _times(start: int, end: int) -> dict[str, int]:
    first, last = (max(-_LAST_TIME, min(time * 1000, _LAST_TIME)) for time in (start, end))
    return {"start": first, "end": last}


def _letter(time: int, source: str, offset: int, raw: str) -> Letter:
    return Letter(source, offset, raw.encode()[:SAMPLE_BYTES], time // 1000)
