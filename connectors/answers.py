"""Answers of the API that are kept until a write may have changed them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import polars as pl

MOST_BYTES = 16 * 1024 * 1024
"""What all kept answers may take."""

_OVERHEAD = 1024  # bytes of an answer besides its body


@dataclass(frozen=True)
class Answer:
    """The bytes of an answer; `age` is the time since it was made, in seconds."""

    body: bytes
    made: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self.made


@dataclass(eq=False)
class _Asked:
    """A question that is being answered; `is_current` until something is written meanwhile."""

    customer: str | None
    question: Hashable
    is_current: bool
    making: asyncio.Task[Answer] | None = None


class Answers:
    """A cache of answers by customer; safe in any thread.

    Guarantee: once `stored` has returned, no answer is given from before that write, provided that
    every write is told here before it is acknowledged (`is_told`). An answer that was being made
    meanwhile is given to those who had asked, and not kept. Whoever asks what is being answered
    waits for that answer. Of too many answers, those of the customers who were asked for least
    recently go.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.is_told = False  # of writes: until then nothing is kept
        self.hits = 0
        self.misses = 0
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str | None, dict[Hashable, Answer]] = OrderedDict()
        self._asked: set[_Asked] = set()
        self._bypasses = 0
        self._lock = threading.Lock()

    async def get(
        self, customer: str | None, question: Hashable, make: Callable[[], Awaitable[bytes]]
    ) -> Answer:
        """The answer to a question about one customer (None: all), by `make` if none is kept.

        Raises what `make` raises; that is not kept. `make` goes on when who asks is cancelled, for
        others may wait for it.
        """
        with self._lock:
            if found := self._kept.get(customer, {}).get(question):
                self._kept.move_to_end(customer)
                self.hits += 1
                return found
            making = self._being_made(customer, question)
            if making:
                self.hits += 1
            else:
                self.misses += 1
                is_current = self.is_told and not self._bypasses
                asked = _Asked(customer, question, is_current)
                self._asked.add(asked)
                asked.making = making = asyncio.create_task(self._make(asked, make))
                making.add_done_callback(_overheard)
        return await asyncio.shield(making)

    def stored(self, rows: pl.DataFrame) -> None:
        """Forget what these rows change. Call it when they are stored, before that is known."""
        if rows.is_empty() or not (self._kept or self._asked):
            return
        column = rows.get_column("customer_id", default=None)
        customers = {""} if column is None else {one or "" for one in column.unique()}
        self._forget({None, *customers})

    def forget(self) -> None:
        """Forget everything. Call it as `stored`, where no rows tell what has changed."""
        self._forget(None)

    @contextmanager
    def bypassed(self) -> Iterator[None]:
        """Keep nothing meanwhile: something is written of which nobody tells the customers."""
        with self._lock:
            self._bypasses += 1
        self._forget(None)
        try:
            yield
        finally:
            self._forget(None)
            with self._lock:
                self._bypasses -= 1

    def _being_made(self, customer: str | None, question: Hashable) -> asyncio.Task[Answer] | None:
        """The answer of this event loop that nothing has changed since it was asked for."""
        loop = asyncio.get_running_loop()
        for asked in self._asked:
            same = (asked.customer, asked.question) == (customer, question) and asked.is_current
            if same and asked.making and asked.making.get_loop() is loop:
                return asked.making
        return None

    async def _make(self, asked: _Asked, make: Callable[[], Awaitable[bytes]]) -> Answer:
        try:
            answer = Answer(await make())
            with self._lock:
                if asked.is_current:
                    self._keep(asked.customer, asked.question, answer)
            return answer
        finally:
            with self._lock:
                self._asked.discard(asked)

    def _keep(self, customer: str | None, question: Hashable, answer: Answer) -> None:
        of_customer = self._kept.setdefault(customer, {})
        self._kept.move_to_end(customer)
        if former := of_customer.get(question):
            self._bytes -= _size(former)
        of_customer[question] = answer
        self._bytes += _size(answer)
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _forget(self, customers: set[str | None] | None) -> None:
        """Those of these customers, or all."""
        with self._lock:
            for asked in self._asked:
                if customers is None or asked.customer in customers:
                    asked.is_current = False
            for customer in [one for one in self._kept if customers is None or one in customers]:
                self._drop(customer)

    def _drop(self, customer: str | None) -> None:
        self._bytes -= sum(map(_size, self._kept.pop(customer).values()))


def _overheard(making: asyncio.Task[Answer]) -> None:
    """What it failed with is no news where nobody waits for it any more."""
    if not making.cancelled():
        making.exception()


def _size(answer: Answer) -> int:
    return len(answer.body) + _OVERHEAD
