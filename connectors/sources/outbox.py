"""Source: the outbox of an application. A record is an event, its place the event's id."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from connectors.batch import BlockId, Span, Stream, Taken
from connectors.sources.source import Source
from connectors.status import SourceStatus
from logwax_capture.outbox.connections import as_text
from logwax_capture.outbox.table import Batch, Depth, Event, Outbox, OutboxError

KIND = "outbox"

LEASE = 30.0
"""Seconds after which another process sends what one that died had claimed."""

_LEAST, _MOST = 0.25, 5.0  # seconds between two looks while nothing is told of
_TELL = 2.0  # seconds between two looks at how much there is, and two renewals of leases

Stored = Callable[[int, int, int], Collection[int]]
"""Of a `Store`: which places of a stream it has, from one to before another."""


@dataclass(frozen=True, eq=False)
class TakenEvents(Taken):
    """Events as lines of JSON; into `refused` goes what the store says of those it refuses."""

    refused: dict[int, str] = field(default_factory=dict)


class OutboxSource(Source):
    """Hands out the batches of an outbox, each frozen, until each is stored.

    The outbox itself says what is delivered, so the ledger need not: each batch is handed out as
    the block of its number, in doubt, and so a store that has it already notices. `stored` is asked
    of batches that somebody has sent before. A batch has `most` events, or all once the oldest has
    waited `max_age` seconds. `follow=False`: no event is waited for.

    Guarantee: an event that is committed is handed out until it is stored. Leases are renewed while
    the process lives, and run out when it dies; many processes share an outbox.
    """

    def __init__(
        self, outbox: Outbox, stored: Stored, *, most: int, max_age: float, follow: bool = True
    ) -> None:
        self._outbox = outbox
        self._stored = stored
        self._most = most
        self._max_age = max_age if follow else 0.0
        self._pause = min(max(self._max_age, _LEAST), _MOST)
        self._lock = threading.Lock()  # workers share a source, and the outbox is for one thread
        self._look_at = 0.0
        self._sending: dict[int, Batch] = {}
        self._is_empty = False
        self._depth = Depth(0, 0.0, 0)
        self._problem = ""
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def collect(self) -> Taken | None:
        """The next batch."""
        with self._lock:
            try:
                while self._is_time():
                    batch = self._outbox.claim(self._most, self._max_age)
                    self._problem = ""
                    self._is_empty = batch is None
                    if batch is None:
                        self._look_at = time.monotonic() + self._pause
                    elif self._is_stored(batch):
                        self._outbox.delivered(batch)
                    else:
                        self._sending[batch.number] = batch
                        return self._taken(batch)
            except OutboxError as error:
                self._problem = str(error)
                self._look_at = time.monotonic() + self._pause
        return None

    def due_in(self) -> float | None:
        """Until the next look."""
        return max(0.0, self._look_at - time.monotonic())

    def exhausted(self) -> bool:
        """Whether everything that was there is stored."""
        return self._is_empty and not self._sending

    def status(self) -> SourceStatus:
        """How much is waiting; every event that the store refused is a problem."""
        problems = [self._problem] if self._problem else []
        if self._depth.failed:
            problems.append(
                f"The store has refused {self._depth.failed} events of the outbox; the column "
                "`failure` of events_log_outbox says why."
            )
        return SourceStatus(
            lag_seconds=self._depth.oldest_seconds,
            lag_records=self._depth.waiting,
            problems=tuple(problems),
        )

    def close(self) -> None:
        """Close the connection; what is not stored is sent again once its lease has run out."""
        self._closed.set()
        self._keeper.join()
        with self._lock:
            self._outbox.close()

    def _is_time(self) -> bool:
        if time.monotonic() >= self._look_at:
            return True
        return self._outbox.vendor == "postgresql" and self._outbox.wait(0)

    def _is_stored(self, batch: Batch) -> bool:
        if not batch.is_repeated:
            return False
        first, last = batch.events[0].id, batch.events[-1].id
        held = set(self._stored(batch.outbox, first, last + 1))
        return all(event.id in held for event in batch.events)

    def _taken(self, batch: Batch) -> TakenEvents:
        stream = Stream(batch.outbox, "events_log_outbox", KIND)
        ids = [event.id for event in batch.events]
        span = Span(stream, ids[0], ids[-1] + 1, 0, len(ids), proof=batch.token)
        taken = TakenEvents.of(
            [span],
            [_line(event) for event in batch.events],
            ids,
            in_doubt=BlockId(batch.number, 1),  # `Batch.token` says the same
        )
        assert isinstance(taken, TakenEvents)
        return replace(taken, acknowledge=lambda: self._acknowledge(batch, taken.refused))

    def _acknowledge(self, batch: Batch, refused: dict[int, str]) -> None:
        with self._lock:
            del self._sending[batch.number]
            try:
                self._outbox.delivered(batch, refused)
            except OutboxError as error:  # once its lease has run out, it is found to be stored
                self._problem = str(error)

    def _keep(self) -> None:
        """Keep leases, and look how much there is, while workers write."""
        while not self._closed.wait(_TELL):
            with self._lock, suppress(OutboxError):  # `collect` will say so
                self._outbox.renew()
                self._depth = self._outbox.depth()


def _line(event: Event) -> bytes:
    return (
        msgspec.json.encode(
            {
                "event_type": event.event_type,
                "event_date_time": as_text(event.event_date_time),
                "environment": event.environment,
                "event_context": event.event_context,
                "metadata_version": event.metadata_version,
            }
        )
        + b"\n"
    )
