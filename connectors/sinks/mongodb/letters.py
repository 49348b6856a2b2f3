"""The dead letters of a MongoDB database, for people: its `Letters`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from connectors.letters import SAMPLE_BYTES, Letter, Reason, some
from connectors.sinks.mongodb.documents import Document
from connectors.sinks.mongodb.server import DEAD_LETTERS

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_FIRST, _LAST = (
    (time.replace(tzinfo=timezone.utc) - _EPOCH) // _MICROSECOND
    for time in (datetime.min, datetime.max)
)

Ask = Callable[[Callable[[AsyncDatabase[Document]], Awaitable[Any]]], Awaitable[Any]]


class MongoLetters:
    """See `Letters`. Of a reason only its word tells it apart."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def count(self, start: int, end: int) -> int:
        """See `Letters`."""
        chosen = _between(start, end)

        async def ask(database: AsyncDatabase[Document]) -> int:
            return await database[DEAD_LETTERS].count_documents(chosen)

        return int(await self._ask(ask))

    async def reasons(self, start: int, end: int, most: int) -> Sequence[Reason]:
        """See `Letters`."""
        chosen = _between(start, end)
        counted: Document = {"$group": {"_id": "$reason", "letters": {"$sum": 1}}}

        async def ask(database: AsyncDatabase[Document]) -> list[Reason]:
            letters = database[DEAD_LETTERS]
            counts = [
                (-one["letters"], one["_id"])
                async for one in await letters.aggregate([{"$match": chosen}, counted])
            ]
            reasons = []
            for count, reason in sorted(counts)[:most]:
                of_reason = letters.find({**chosen, "reason": reason})
                first_two = of_reason.clone().sort([("seen_at", 1), ("_id", 1)]).limit(2)
                oldest, *others = [_letter(one) async for one in first_two]
                newest = of_reason.sort([("seen_at", -1), ("_id", -1)]).limit(1)
                last = _letter(await newest.next())
                samples = some(oldest, last, others)
                reasons.append(Reason(reason, -count, oldest.time, last.time, samples))
            return reasons

        found: list[Reason] = await self._ask(ask)
        return found


def _between(start: int, end: int) -> Document:
    first, last = (
        _EPOCH + timedelta(microseconds=max(_FIRST, min(time, _LAST))) for time in (start, end)
    )
    return {"seen_at": {"$gte": first, "$lt": last}}


def _letter(found: Document) -> Letter:
    time = found["seen_at"].replace(tzinfo=timezone.utc)
    raw = bytes(found["raw"])[:SAMPLE_BYTES]
    return Letter(found["source"], found["offset"], raw, (time - _EPOCH) // _MICROSECOND)
