"""Answers the API's questions from MongoDB."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date, timedelta
from typing import Any, TypeVar

import numpy as np
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from connectors.errors import StoreError
from connectors.sinks.mongodb.documents import Document
from connectors.sinks.mongodb.server import DEAD_LETTERS, LOGS, client_options, words
from connectors.store import Figures, Statistics
from settings import Settings

T = TypeVar("T")

_EPOCH = date(1970, 1, 1)
_WAITS = {"serverSelectionTimeoutMS": 3_000, "timeoutMS": 60_000}

# Equal requests are counted by the server, from the index alone.
_BY = ("day", "status_code", "success", "duration")
_COUNT: Document = {"$group": {"_id": {name: f"${name}" for name in _BY}, "count": {"$sum": 1}}}


class MongoReader:
    """The `Reader` of a MongoDB database; figures are exact. Every method raises `StoreError`."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.mongodb_url.get_secret_value()
        self._address = str(settings.mongodb_url)
        self._name = settings.mongodb_database
        self._under_way: set[asyncio.Task[Any]] = set()
        self._cancelled = False

    async def statistics(
        self, customer_id: str | None, first: date, last: date
    ) -> Statistics | None:
        """Figures of one customer (None: of all) over whole UTC days, both included.

        None: no row matches.
        """
        chosen: Document = {
            "day": {"$gte": (first - _EPOCH).days, "$lte": (last - _EPOCH).days}
        } | ({} if customer_id is None else _of(customer_id))

        async def ask(database: AsyncDatabase[Document]) -> Statistics | None:
            found: dict[int, list[tuple[float, int, bool]]] = defaultdict(list)
            is_empty = True
            pipeline = [{"$match": chosen}, _COUNT]
            async for one in await database[LOGS].aggregate(pipeline, allowDiskUse=True):
                is_empty, key = False, one["_id"]
                if key.get("status_code"):
                    duration = key.get("duration") or 0.0
                    found[key["day"]].append((duration, one["count"], bool(key.get("success"))))
            if is_empty:
                return None
            daily = [(_EPOCH + timedelta(day), _figures(found[day])) for day in sorted(found)]
            return Statistics(_figures([one for day in found.values() for one in day]), daily)

        return await self._ask(ask)

    async def has_customer(self, customer_id: str) -> bool:
        """Whether any row, of any date, belongs to this customer."""

        async def ask(database: AsyncDatabase[Document]) -> bool:
            return await database[LOGS].find_one(_of(customer_id), {"_id": 1}) is not None

        return await self._ask(ask)

    async def counts(self) -> tuple[int, int]:
        """Stored rows and dead letters, as the server has counted them."""

        async def ask(database: AsyncDatabase[Document]) -> tuple[int, int]:
            rows = await database[LOGS].estimated_document_count()
            return rows, await database[DEAD_LETTERS].estimated_document_count()

        return await self._ask(ask)

    def cancel(self) -> None:
        """Give up the questions under way, and answer no more; from any thread."""
        self._cancelled = True
        for asking in list(self._under_way):
            with suppress(RuntimeError):  # its event loop has just ended, and so has the question
                asking.get_loop().call_soon_threadsafe(asking.cancel)

    async def _ask(self, question: Callable[[AsyncDatabase[Document]], Awaitable[T]]) -> T:
        async def ask() -> T:
            # A client is bound to an event loop: one for each question is none for the wrong loop.
            options = client_options(self._url, _WAITS)
            async with AsyncMongoClient[Document](self._url, **options) as client:
                return await question(client[self._name])

        if self._cancelled:
            raise StoreError("The process is about to end.")
        asking = asyncio.create_task(ask())
        self._under_way.add(asking)
        try:
            return await asking
        except asyncio.CancelledError:
            if self._cancelled:
                raise StoreError("The process is about to end.") from None
            raise
        except PyMongoError as error:
            raise StoreError(f"MongoDB at {self._address} cannot answer: {words(error)}") from error
        finally:
            self._under_way.discard(asking)


def _of(customer_id: str) -> Document:
    return {"customer_id": customer_id or {"$in": ["", None]}}


def _figures(requests: list[tuple[float, int, bool]]) -> Figures:
    """Figures of durations, how often each was, and whether with success.

    Percentiles are interpolated linearly between the closest ranks.
    """
    if not requests:
        return Figures.of(0, 0, None, None, None)
    durations, counts, successes = map(np.array, zip(*requests, strict=True))
    order = np.argsort(durations)
    behind = np.cumsum(counts[order])
    total = int(behind[-1])

    def percentile(share: float) -> float:
        rank = share * (total - 1)
        at = np.searchsorted(behind, [int(rank), min(int(rank) + 1, total - 1)], "right")
        low, high = durations[order[at]]
        return float(low + (high - low) * (rank - int(rank)))

    seconds = float((durations * counts).sum())
    return Figures.of(
        total, int(counts[successes].sum()), seconds, percentile(0.5), percentile(0.99)
    )
