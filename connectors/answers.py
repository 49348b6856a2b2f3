"""Answers of the API that are kept until a write may have changed them."""

from __future__ import annotations

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
    is_current: bool = True


class Answers:
    """A cache of answers by customer; safe in any thread.

    Guarantee: once `stored` has returned, no answer is given from before that write, provided that
    every write is told here before it is acknowledged (`is_told`). An answer that was being made
    meanwhile is given to those who asked, and not kept. Of too many answers, those of the customers
    who were asked for least recently go.
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

        Raises what `make` raises; that is not kept.
        """
        with self._lock:
            if found := self._kept.get(customer, {}).get(question):
                self._kept.move_to_end(customer)
                self.hits += 1
                return found
            self.misses += 1
            asked = _Asked(customer, is_current=self.is_told and not self._bypasses)
            self._asked.add(asked)
        try:
            answer = Answer(await make())
            with self._lock:
                if asked.is_current:
                    self._keep(customer, question, answer)
            return answer
        finally:
            with self._lock:
                self._asked.discard(asked)

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


def _size(answer: Answer) -> int:
    return len(answer.body) + _OVERHEAD
