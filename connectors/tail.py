"""Rows on their way from the sink to people who watch them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import polars as pl

from connectors.batch import PLACE, Parsed, Stored

MOST_BYTES = 64 * 1024 * 1024
"""What may wait for who watches."""


class Tail:
    """The batches that have just been stored, for one who `watch`es; safe in any thread.

    Guarantee: the sink never waits. While nobody watches, nothing is kept. What is too much for who
    does is left out, the oldest first, and that is told.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.is_closed = False
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._waiting: deque[tuple[pl.DataFrame, int]] = deque()
        self._is_broken = False
        self._wake: Callable[[], None] | None = None

    def watch(self, wake: Callable[[], None] | None) -> None:
        """Call `wake`, which must not wait, when there is something to take; None: no more."""
        with self._lock:
            self._wake = wake
            if wake is None:
                self._waiting.clear()
                self._bytes = 0
                self._is_broken = False

    def stored(self, batch: Parsed, stored: Stored) -> None:
        """A batch is stored; call it before that is acknowledged."""
        if self._wake is None:
            return
        rows = batch.rows
        if len(stored.refused):
            rows = rows.join(stored.refused, on=PLACE, how="anti", maintain_order="left")
        size = int(rows.estimated_size())
        with self._lock:
            if batch.in_doubt:  # some of its rows may be dead letters since before
                self._is_broken = True
            elif len(rows):
                self._waiting.append((rows, size))
                self._bytes += size
            while self._bytes > self._most_bytes and len(self._waiting) > 1:
                self._bytes -= self._waiting.popleft()[1]
                self._is_broken = True
            if self._wake is not None:
                self._wake()

    def take(self) -> tuple[bool, pl.DataFrame | None]:
        """Whether rows are missing before the next batch, and its rows; None: there is none."""
        with self._lock:
            is_broken, self._is_broken = self._is_broken, False
            if not self._waiting:
                return is_broken, None
            rows, size = self._waiting.popleft()
            self._bytes -= size
            return is_broken, rows

    def close(self) -> None:
        """Tell who watches that nothing comes any more."""
        with self._lock:
            self.is_closed = True
            if self._wake is not None:
                self._wake()
