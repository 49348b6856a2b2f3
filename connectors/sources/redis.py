"""Source: a stream of Redis. A record is an event, its place the id of its entry.

The id of an entry has 128 bits: milliseconds, and a number among the entries of one. A place has
their 43 and 20 low bits; the others, nearly always 0, choose the stream. So no two entries have one
place, though a clock that was set back lets the number grow without end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from itertools import groupby

import numpy as np
import polars as pl

from connectors.batch import BlockId, Numbers, Span, Stream, Taken
from connectors.errors import MalformedLine
from connectors.saying import say
from connectors.sources.records import KEPT_OF_LONG, too_long
from connectors.sources.redis_group import FAILURES, Batch, Depth, Entry, EntryId, Group
from connectors.sources.source import Source
from connectors.status import SourceStatus

KIND = "redis"

LEASE = 30.0
"""Seconds after which another process sends what one that died had read."""

_LEAST, _MOST = 0.1, 5.0  # seconds between two looks
_TELL = 2.0  # seconds between two looks for the batches of the dead, and two renewals of leases
_MILLIS, _NUMBER = 43, 20  # bits

Stored = Callable[[int, int, int], Collection[int]]
"""Of a `Store`: which places of a stream it has, from one to before another."""


@dataclass(frozen=True, eq=False)
class TakenEntries(Taken):
    """Events as lines of JSON; `numbers` count the entries of the stream in the order of reading.

    By these InfluxDB tells points apart, for which an id is too long.
    """

    numbers: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))

    @cached_property
    def identity(self) -> pl.DataFrame:
        """See `Taken`."""
        return super().identity.with_columns(line=pl.Series(self.numbers.astype(np.uint64)))


class RedisSource(Source):
    """Hands out the batches of a consumer group, each frozen, until each is stored.

    Redis says what is stored, so the ledger need not: each batch is handed out as the block of its
    number, in doubt, and so a store that has it already notices. `stored` is asked of what somebody
    has read before, and after each start of Redis of all that is there, for it may have come back
    older than it was. A batch has as much as `group` gives, or all once the first of
    its entries was seen `max_age` seconds ago. An event longer than `longest` bytes becomes a dead
    letter. `follow=False`: no event is waited for.

    Guarantee: what Redis has, and keeps until it is read, is handed out until it is stored. What is
    gone before is counted and told. Processes share a group.
    """

    def __init__(
        self,
        group: Group,
        stored: Stored,
        *,
        most: int,
        max_age: float,
        longest: int,
        follow: bool = True,
    ) -> None:
        self._group = group
        self._stored = stored
        self._most = most
        self._max_age = max_age if follow else 0.0
        self._longest = longest
        self._lock = threading.Lock()  # workers share a source, and the group is for one thread
        self._sending: dict[str, Batch] = {}
        self._is_older = False  # Redis may have forgotten what is being sent
        self._depth: Depth | None = None
        self._lost = 0
        self._losses: list[str] = []
        self._problem = ""
        self._pause = _LEAST
        self._look_at = 0.0
        self._take_at = 0.0
        self._seen: float | None = None  # when there was something that is not read yet
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def collect(self) -> Taken | None:
        """The next batch."""
        with self._lock:
            try:
                while time.monotonic() >= self._look_at:
                    batch = self._next()
                    self._pause, self._problem = _LEAST, ""
                    if batch is None:
                        self._look_at = time.monotonic() + _LEAST
                    elif taken := self._taken(batch):
                        self._sending[batch.name] = batch
                        return taken
                    else:
                        self._group.done(batch)
            except FAILURES as error:
                self._fail(error)
        return None

    def due_in(self) -> float | None:
        """Until the next look."""
        return max(0.0, self._look_at - time.monotonic())

    def exhausted(self) -> bool:
        """Whether everything that was there is stored."""
        depth = self._depth
        return bool(depth and not (self._problem or self._sending or depth.waiting + depth.pending))

    def status(self) -> SourceStatus:
        """How much is waiting; everything that was lost is a problem."""
        depth = self._depth or Depth()
        problems = [self._problem] if self._problem else []
        if depth.lost:
            problems.append(_trimmed(self._group.name, depth.lost))
        return SourceStatus(
            lag_seconds=depth.oldest_seconds,
            lag_records=depth.waiting + depth.pending,
            problems=(*problems, *self._losses),
        )

    def close(self) -> None:
        """Close the connections; what is not stored is sent again once its lease has run out."""
        self._closed.set()
        self._keeper.join()
        with self._lock:
            self._group.close()

    def _next(self) -> Batch | None:
        self._look()
        now = time.monotonic()
        if now >= self._take_at:
            batch = self._group.take_over()
            if batch and batch.name not in self._sending:
                return batch
            self._take_at = now + _TELL
        assert self._depth
        self._is_older = self._is_older and bool(self._sending)
        if self._is_older:  # what it has forgotten of these would be read again
            return None
        if not self._depth.waiting:
            self._seen = None
            return None
        self._seen = now if self._seen is None else self._seen
        if self._depth.waiting < self._most and now - self._seen < self._max_age:
            return None
        self._seen = None
        batch = self._group.claim()
        if batch and batch.depth.run != self._depth.run and self._sending:
            return None  # as above; it is taken over when its lease has run out
        return batch

    def _look(self) -> None:
        """Ask how much there is, and tell what is lost."""
        before = self._depth
        depth = self._group.look()
        if before and before.stream != depth.stream:
            self._lose("was made anew: what had been in it and was not read is lost")
        elif before and depth.last < before.last:
            self._lose("is older than it was: Redis has lost what was written last")
            self._group.go_beyond(before.last)
            depth = replace(depth, last=before.last)
        elif before and before.run != depth.run and self._group.has_lost(before.last):
            self._lose("lacks an entry that was there: Redis has lost what was written last")
        if depth.lost > self._lost:
            say(_trimmed(self._group.name, depth.lost))
        self._is_older = self._is_older or bool(before and before.run != depth.run)
        self._depth, self._lost = depth, depth.lost

    def _lose(self, what: str) -> None:
        self._losses.append(f"The stream {self._group.name} {what}.")
        say(self._losses[-1])

    def _fail(self, error: Exception) -> None:
        self._problem = f"Redis cannot be used now: {error}."
        self._look_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _MOST)

    def _taken(self, batch: Batch) -> TakenEntries | None:
        """What of a batch is not stored yet; None: nothing."""
        entries, numbers = batch.entries, [batch.first + at for at in batch.positions]
        is_whole = True
        if entries and (batch.is_repeated or entries[0].id <= batch.depth.again):
            missing = self._missing(batch)
            is_whole = len(missing) == len(entries)
            entries = [entries[at] for at in missing]
            numbers = [numbers[at] for at in missing]
        if not entries:
            return None
        records, unfit = [], []
        for at, entry in enumerate(entries):
            why = self._unfit(entry)
            if why:
                unfit.append((at, entry.event[:KEPT_OF_LONG], why))
            records.append(b"\n" if why else entry.event + b"\n")
        spans, places = self._spans(batch.depth.stream, entries)
        taken = Taken.of(spans, records, places)
        return TakenEntries(
            taken.spans,
            taken.data,
            taken.starts,
            taken.places,
            unfit=tuple(unfit),
            in_doubt=BlockId(batch.number, 1),
            is_whole=is_whole,
            acknowledge=lambda: self._acknowledge(batch),
            numbers=np.array(numbers, np.int64),
        )

    def _missing(self, batch: Batch) -> list[int]:
        """Which entries of a batch the store does not have, by their number in it."""
        spans, places = self._spans(batch.depth.stream, batch.entries)
        missing, at = [], 0
        for span in spans:
            held = set(self._stored(span.stream.id, span.start, span.end))
            mine = range(at, at + span.records)
            missing += [number for number in mine if places[number] not in held]
            at += span.records
        return missing

    def _spans(self, stream: int, entries: Collection[Entry]) -> tuple[list[Span], list[int]]:
        spans: list[Span] = []
        places: list[int] = []
        for high, found in groupby((entry.id for entry in entries), _high):
            mine = [_place(id) for id in found]
            which = Stream(_stream(stream, high), self._group.name, KIND)
            spans.append(Span(which, mine[0], mine[-1] + 1, 0, len(mine)))
            places += mine
        return spans, places

    def _unfit(self, entry: Entry) -> MalformedLine | None:
        if not entry.has_event:
            return MalformedLine("no_event", "the entry has no field `event`")
        if len(entry.event) > self._longest:
            return too_long(len(entry.event) + 1, self._longest)
        if not entry.event.strip():
            return MalformedLine("bad_json", "the event is empty")
        return None

    def _acknowledge(self, batch: Batch) -> None:
        with self._lock:
            del self._sending[batch.name]
            try:
                self._group.done(batch)
            except FAILURES as error:  # once its lease has run out, it is found to be stored
                self._fail(error)

    def _keep(self) -> None:
        """Keep leases, and look how much there is, while workers write."""
        while not self._closed.wait(_TELL):
            with self._lock:
                try:
                    self._group.renew(list(self._sending.values()))
                    self._look()
                except FAILURES as error:
                    self._fail(error)


def entry_of(place: int) -> str:
    """The id of an entry, as Redis writes it, if its high bits are 0."""
    return f"{place >> _NUMBER}-{place & (1 << _NUMBER) - 1}"


def _place(id: EntryId) -> int:
    millis, number = id
    return (millis & (1 << _MILLIS) - 1) << _NUMBER | number & (1 << _NUMBER) - 1


def _high(id: EntryId) -> EntryId:
    return id[0] >> _MILLIS, id[1] >> _NUMBER


def _stream(stream: int, high: EntryId) -> int:
    if high == (0, 0):
        return stream
    name = f"{stream} {high}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") >> 1


def _trimmed(name: str, lost: int) -> str:
    return (
        f"{lost} events of {name} were trimmed before they were read, and are lost: let the stream "
        "be longer (MAXLEN), or read it faster. docs/operations.md says how to silence this."
    )
