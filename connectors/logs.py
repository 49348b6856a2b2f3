"""What a store answers of its rows: a page of them, how many there are when, their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from connectors.contrast import Contrast
from connectors.filters import Field, Filter
from connectors.patterns import Seen

SHOWN = 4096
"""The characters of a text that an answer has."""


@dataclass(frozen=True)
class Place:
    """Where a row stands among all, which are sorted by these."""

    time: int
    file_id: int
    offset: int


@dataclass(frozen=True)
class Selection:
    """Rows: those that a filter takes, from `start` to before `end`, in microseconds since 1970.

    `columns` are those that rows have. `is_whole`: with whole texts, however long.
    """

    columns: Sequence[str]
    filter: Filter
    start: int
    end: int
    is_whole: bool = False


Row = Mapping[str, Any]
"""A row by its columns: times in microseconds since 1970, texts of up to `SHOWN` + 1 characters,
unless they are to be whole."""


@dataclass(frozen=True)
class Moment:
    """The requests of a time that begins at `start`.

    Percentiles of their durations are in seconds, None where none has any. They are
    interpolated linearly, unless they are estimated.
    """

    start: int
    total: int
    failed: int
    median: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Letter:
    """A dead letter: where its line begins, up to `SHOWN` of its bytes, and why it is no row."""

    offset: int
    raw: bytes
    reason: str


class Logs(Protocol):
    """The rows of a store, for people who look for some; every method raises `StoreError`.

    An answer is one view of the store, however fast it grows.
    """

    async def columns(self) -> Sequence[str]:
        """The columns of `filters.TYPES` that rows have here; none if these are no log lines."""

    async def newest(self, now: int) -> int | None:
        """The time of the newest row that is not after `now`, else of the newest; None: no row."""

    async def rows(
        self, chosen: Selection, most: int, *, is_newest_first: bool, after: Place | None
    ) -> Sequence[Row]:
        """Up to `most` rows in the order of their places, from the one after this."""

    async def histogram(
        self, chosen: Selection, width: int, column: str
    ) -> Sequence[tuple[int, str, int]]:
        """Rows by time and value of a column of text: beginning of the bucket, value, count.

        `width` is that of a bucket in microseconds; they begin at its multiples.
        """

    async def requests(self, chosen: Selection, width: int) -> tuple[bool, Sequence[Moment]]:
        """Requests by time: those of the rows that have a status; `width` as of `histogram`.

        First, whether percentiles are estimated, within about 1 %.
        """

    async def facets(
        self, chosen: Selection, fields: Sequence[Field], most: int
    ) -> tuple[int, Sequence[Sequence[tuple[Any, int]]]]:
        """The count of all rows; of each field its `most` most frequent values, and their counts.

        Of values that are as frequent as one another, the lower one comes first.
        """

    async def lines(
        self, columns: Sequence[str], file_id: int, offset: int, before: int, after: int
    ) -> Sequence[Row | Letter]:
        """The line at a place, and up to so many before and after it in its file, in order.

        Rows have these columns.
        """

    async def patterns(self, chosen: Selection, most: int) -> tuple[int, Sequence[Seen]]:
        """How many rows have a pattern; of the patterns the `most` most frequent ones."""

    async def examples(self, chosen: Selection, seen: Sequence[Seen]) -> Mapping[str, str]:
        """A message of each of these patterns, from its last time, by its id."""

    async def contrast(self, chosen: Selection, baseline: Filter | None) -> Contrast:
        """The values of the rows of a selection, beside those of others in its range.

        These are the rows that `baseline` takes (None: all), less those of the selection.
        """
