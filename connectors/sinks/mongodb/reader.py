"""Answers the API's questions from MongoDB."""

from __future__ import annotations

import asyncio
from array import array
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from heapq import nsmallest
from typing import Any, TypeVar

import numpy as np
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from connectors.errors import StoreError
from connectors.letters import Letters
from connectors.logs import Logs
from connectors.sinks.mongodb.documents import Document
from connectors.sinks.mongodb.letters import MongoLetters
from connectors.sinks.mongodb.server import DEAD_LETTERS, LOGS, client_options, words
from connectors.store import Figures, Ranking, Statistics, hour
from settings import Settings

T = TypeVar("T")

_EPOCH = date(1970, 1, 1)
_HOUR = 3_600 * 10**6  # microseconds
_WAITS = {"serverSelectionTimeoutMS": 3_000, "timeoutMS": 60_000}

_READ: Document = {"$project": {"_id": 0, "day": 1, "status_code": 1, "success": 1, "duration": 1}}


@dataclass
class _Found:
    """The requests of one day: how many they are, and successful, and the durations they have."""

    total: int = 0
    successful: int = 0
    durations: array[float] = field(default_factory=lambda: array("d"))

    def add(self, request: Document) -> None:
        """One request more."""
        self.total += 1
        self.successful += bool(request.get("success"))
        if (duration := request.get("duration")) is not None:
            self.durations.append(duration)

    def most(self, order: str) -> float:
        """What a ranking by `order` looks at."""
        if order == "latency":
            return float(np.frombuffer(self.durations).mean()) if self.durations else -1.0
        return self.total - (self.successful if order == "errors" else 0)

    @property
    def figures(self) -> Figures:
        """Percentiles are interpolated linearly between the closest ranks."""
        if not self.durations:
            return Figures(self.total, self.successful, None, None, None)
        values = np.frombuffer(self.durations)
        figures = len(values), float(values.sum()), *np.percentile(values, (50, 99))
        return Figures.of(self.total, self.successful, *figures)


class MongoReader:
    """The `Reader` of a MongoDB database; figures are exact. Every method raises `StoreError`."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.mongodb_url.get_secret_value()
        self._address = str(settings.mongodb_url)
        self._name = settings.mongodb_database
        self._under_way: set[asyncio.Task[Any]] = set()
        self._cancelled = False
        self.logs: Logs | None = None
        self.letters: Letters = MongoLetters(self._ask)

    async def statistics(
        self, customer_id: str | None, first: date, last: date, *, hourly: bool = False
    ) -> Statistics | None:
        """Figures of one customer (None: of all) over whole UTC days, both included.

        None: no row matches.
        """
        chosen = _between(first, last) | ({} if customer_id is None else _of(customer_id))

        async def ask(database: AsyncDatabase[Document]) -> Statistics | None:
            days: dict[int, _Found] = defaultdict(_Found)
            whole, is_empty = _Found(), True
            read = {"$project": {**_READ["$project"], "timestamp_us": 1}} if hourly else _READ
            pipeline = [{"$match": chosen}, read]  # of days, an index answers it alone
            async for one in await database[LOGS].aggregate(pipeline):
                is_empty = False
                if one.get("status_code"):
                    period = one["timestamp_us"] // _HOUR if hourly else one["day"]
                    for found in (whole, days[period]):
                        found.add(one)
            if is_empty:
                return None
            daily = [
                (hour(day) if hourly else _EPOCH + timedelta(day), days[day].figures)
                for day in sorted(days)
            ]
            return Statistics(whole.figures, daily)

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

    async def ranking(
        self, columns: Sequence[str], order: str, limit: int, first: date, last: date
    ) -> Ranking:
        """The values of these columns that have most in whole UTC days, both included."""
        read: Document = {"$project": {**_READ["$project"], **dict.fromkeys(columns, 1)}}

        async def ask(database: AsyncDatabase[Document]) -> Ranking:
            values: dict[tuple[str, ...], _Found] = defaultdict(_Found)
            pipeline = [{"$match": _between(first, last)}, read]
            async for one in await database[LOGS].aggregate(pipeline):
                if one.get("status_code"):
                    values[tuple(one.get(name) or "" for name in columns)].add(one)
            return Ranking(
                [
                    (value, values[value].figures)
                    for value in nsmallest(limit, values, lambda v: (-values[v].most(order), v))
                ]
            )

        return await self._ask(ask)

    async def _ask(self, question: Callable[[AsyncDatabase[Document]], Awaitable[T]]) -> T:
        async def ask() -> T:
            # A client is bound to an event loop: one for each question is none for the wrong loop.
            options = client_options(self._url, _WAITS)
            client = AsyncMongoClient[Document](self._url, **options)
            try:
                return await question(client[self._name])
            finally:
                with suppress(asyncio.TimeoutError):  # a server that hangs takes no farewell
                    await asyncio.wait_for(client.close(), 1)

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


def _between(first: date, last: date) -> Document:
    return {"day": {"$gte": (first - _EPOCH).days, "$lte": (last - _EPOCH).days}}
