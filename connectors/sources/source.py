"""What every source offers: batches of records, and how far it is with them."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Protocol

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from connectors.batch import Taken
from connectors.saying import in_words, is_ending
from connectors.status import SourceStatus

POLL = timedelta(milliseconds=250)
"""How long a worker with nothing to do waits before it asks again."""

_END = timedelta(milliseconds=10)
"""The same, when it only waits for others to come to the end."""


class Source(Protocol):
    """Streams of records, shared by all workers of a process; called from any thread.

    What is stored of each stream the ledger of the store says, at the start: the last span of every
    stream, behind which reading goes on, and the blocks in doubt. Such a block is handed out again
    first, as the very same records at the same places, with its name (`Taken.in_doubt`). The next
    records of a stream are handed out only after the last ones are acknowledged, or with an
    `in_order` that waits until these are recorded.
    """

    def collect(self) -> Taken | None:
        """The next batch, or None if none is due yet."""

    def due_in(self) -> float | None:
        """Seconds until a batch may be due by its age; None: nothing is waiting."""

    def exhausted(self) -> bool:
        """Whether everything that was there is stored, for a run that then ends."""

    def status(self) -> SourceStatus:
        """How far reading is, and what is wrong, for `/health`; waits for nothing."""

    def close(self) -> None:
        """Release everything; nothing may be called afterwards."""


class SourceInput(DynamicSource[Taken]):
    """Any `Source` as an input of Bytewax: each worker asks it for batches.

    `follow=False`: the input ends when the source is exhausted. Setting `stop` ends it after the
    batch in hand. Whoever stores a batch must call its `acknowledge`.
    """

    def __init__(
        self, source: Source, *, follow: bool = True, stop: threading.Event | None = None
    ) -> None:
        self._source = source
        self._follow = follow
        self._stop = stop or threading.Event()

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Partition:
        """One partition a worker; called by Bytewax."""
        return _Partition(self._source, self._follow, self._stop)

    def status(self) -> SourceStatus:
        """That of the source, from any thread."""
        return self._source.status()

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class _Partition(StatelessSourcePartition[Taken]):
    def __init__(self, source: Source, follow: bool, stop: threading.Event) -> None:
        self._source = source
        self._follow = follow
        self._stop = stop
        self._awake: datetime | None = None
        self._is_idle = False  # since the call before
        self._pause = 0.0  # seconds that the next wait takes

    @in_words
    def next_batch(self) -> list[Taken]:
        # From the beginning: Bytewax adds to the wait what this call takes, minutes of an outage.
        begun = datetime.now(timezone.utc)
        if self._stop.is_set() or is_ending():
            raise StopIteration
        batch = self._source.collect()
        was_idle, self._is_idle = self._is_idle, not batch
        if batch:
            self._awake = None
            return [batch]
        if not self._follow and self._source.exhausted():
            raise StopIteration
        due = self._source.due_in()
        wait = POLL if self._follow else _END
        if due is not None:
            wait = min(wait, timedelta(seconds=max(due, 0.01)))
        self._awake = begun + wait
        if was_idle and self._follow:  # no batch is on its way that this worker has to carry
            self._pause = wait.total_seconds()
        return []

    def next_awake(self) -> datetime | None:
        """When to ask again; the wait itself where it can be: Bytewax's takes 2 % of a core."""
        if self._pause:
            self._stop.wait(self._pause)
            self._pause, self._awake = 0.0, None
        return self._awake
