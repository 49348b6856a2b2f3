"""What every store offers: a ledger of positions, writers for batches, a reader for questions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from connectors.accounts import Accounts
from connectors.batch import BlockId, Parsed, Span, Stored
from connectors.letters import Letters
from connectors.logs import Logs
from connectors.sinks.retry import Retry

if TYPE_CHECKING:
    from settings import Settings


@dataclass(frozen=True)
class Ledger:
    """What the store remembers of the files of this instance.

    `files` holds the last span of every known file: its `end` is the position reached.
    `in_doubt` holds the blocks of which nobody has said yet that they are stored: at most one for
    each writer that died, the last one first. Where a later one overlaps a block, the store was
    told of the earlier one late, when its writer was dead, which has stored nothing of it. So it is
    settled after the later one, of which lines may still be under way. `is_new`: this instance
    never started before.
    """

    files: Sequence[Span]
    in_doubt: Mapping[BlockId, Sequence[Span]]
    is_new: bool

    def of(self, kind: str) -> Ledger:
        """What it says of streams of this kind, which are one source's."""
        return Ledger(
            [span for span in self.files if span.stream.kind == kind],
            {
                block: spans
                for block, spans in self.in_doubt.items()
                if all(span.stream.kind == kind for span in spans)
            },
            self.is_new,
        )


@dataclass(frozen=True)
class Figures:
    """Figures of the requests of one day or one range: rows that have a status code.

    Latencies are in seconds, of the requests that have a duration, and None where none has one.
    """

    total: int
    successful: int
    average: float | None
    median: float | None
    p99: float | None

    @classmethod
    def of(
        cls,
        total: int,
        successful: int,
        measured: int | None,
        seconds: float | None,
        median: float | None,
        p99: float | None,
        *,
        none_is_zero: bool = False,
    ) -> Figures:
        """Figures of what a store says; `seconds` is the sum of the `measured` durations.

        `none_is_zero`: what is missing is 0 among them, so where all are 0 they tell nothing.
        """
        if not measured or seconds is None or (none_is_zero and not seconds):
            return cls(total, successful, None, None, None)
        average = _finite(seconds / measured)
        return cls(total, successful, average, _finite(median), _finite(p99))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Statistics:
    """Figures of a whole range, and of each UTC day (or hour, by its beginning) with requests.

    `estimated`: counts and means are exact, percentiles within about 1 %; of a day with few
    requests they are of the nearest rank.
    """

    overall: Figures
    daily: Sequence[tuple[date, Figures]]
    estimated: bool = False


def hour(number: int) -> datetime:
    """The beginning of an hour, which are counted from 1970 on, in UTC."""
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(hours=number)


ENDPOINT = ("method", "endpoint")
"""The columns that make an endpoint."""


@dataclass(frozen=True)
class Ranking:
    """Figures of what has most, the first first; see `Statistics` for `estimated`."""

    ranked: Sequence[tuple[tuple[str, ...], Figures]]
    estimated: bool = False


class Writer(Protocol):
    """Writes batches, one after another; belongs to one thread.

    One that has `records_in_order` waits its turn (`Block.in_order`) where it records a batch. Any
    other has its turn for as long as it writes.
    """

    def write(self, batch: Parsed) -> Stored:
        """Store the batch's rows and rejected lines, each exactly once; return when they are.

        Rows that the store refuses are dead letters instead.
        """

    def close(self) -> None:
        """Say in the ledger that the last batch is stored: a clean stop."""


class Reader(Protocol):
    """Answers the API's questions, many at a time, in any event loop; raises `StoreError`.

    `logs` answers those about single rows; None: this store does not. `letters` answers those about
    dead letters.
    """

    logs: Logs | None
    letters: Letters

    async def statistics(
        self, customer_id: str | None, first: date, last: date, *, hourly: bool = False
    ) -> Statistics | None:
        """Figures of one customer (None: of all) over whole UTC days, both included.

        `hourly`: hour by hour, in the place of day by day. None: no row matches,
        be it a request or not. Days that the store cannot hold are empty.
        """

    async def has_customer(self, customer_id: str) -> bool:
        """Whether any row, of any date, belongs to this customer."""

    async def counts(self) -> tuple[int | None, int | None]:
        """Stored rows, and dead letters; None where counting would be as dear as reading all."""

    def cancel(self) -> None:
        """Give up the questions under way, and answer no more; from any thread."""

    async def ranking(
        self, columns: Sequence[str], order: str, limit: int, first: date, last: date
    ) -> Ranking:
        """The `limit` values of these columns that have most in whole UTC days, both included.

        `order`: `requests`, `errors` (failed requests) or `latency` (their mean); of equal ones the
        first by name. Raises `UnanswerableError` where the store cannot tell.
        """


class Store(Protocol):
    """An open store."""

    reader: Reader | None

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        """What is known of these files of this instance (None: of all)."""

    def before(self, file_id: int, end: int) -> Span | None:
        """The last recorded span of a file that ends at or before `end`."""

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""

    def writer(self) -> Writer:
        """A writer for one worker."""

    def start_at(self, files: Sequence[Span]) -> None:
        """Record positions that were chosen, not read: `LOG_START=end` at the first start."""

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        """Note which known files are there and which are gone, and clear the ledger.

        Forgets what is older than `LEDGER_KEEP_DAYS` and not needed any more, and files that have
        been gone for so long; returns the ids of these. It keeps what is in doubt.
        """

    def accounts(self) -> Accounts | None:
        """What commands ask line by line, and change; None: it cannot say which lines it has."""

    def close(self) -> None:
        """Release everything; nothing may be used afterwards."""


def open_store(settings: Settings, retry: Retry | None = None) -> Store:
    """Open the store that `STORE` names, making its tables where they are missing.

    `retry` repeats what fails for a while only; by default it never gives up and tells nobody.
    Raises `StoreBusyError` if another process has the embedded store, `StoreError` if it cannot be
    opened.
    """
    store: Store = import_module(settings.store_kind.module).open_store(settings, retry or Retry())
    return store


def open_reader(settings: Settings, retry: Retry) -> Reader:
    """A reader alone, of a store that is shared: it makes nothing, connects when it is asked."""
    reader: Reader = import_module(settings.store_kind.module).open_reader(settings, retry)
    return reader
