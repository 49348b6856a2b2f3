"""The lines of one old file, of a span of time, once: whatever the tail has stored, it stores not.

Every line has the identity that the tail would give it, and the store is asked about each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.accounts import ChangeableAccounts
from connectors.batch import REJECTED, Numbers, Parsed, Taken
from connectors.sources.framing import MOST_BYTES
from connectors.sources.records import KEPT_OF_LONG, Events, Piece, taken, too_long
from flows.line_ranges import CHUNK, LineRanges, Offsets

LINES_AT_ONCE = 100_000


@dataclass(frozen=True)
class TimeRange:
    """Times from `first` to before `last`; None: no bound."""

    first: datetime | None
    last: datetime | None

    def of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows within."""
        if self.first:
            rows = rows.filter(pl.col("timestamp") >= self.first)
        return rows.filter(pl.col("timestamp") < self.last) if self.last else rows

    @property
    def is_all(self) -> bool:
        """Whether there is no bound."""
        return not (self.first or self.last)


@dataclass
class Backfilled:
    """How many lines were looked at, are within, and were stored now; up to which byte."""

    lines: int = 0
    within: int = 0
    stored: int = 0
    dead: int = 0
    done: int = 0


def backfill(
    accounts: ChangeableAccounts,
    parse: Callable[[Taken], Parsed],
    ranges: LineRanges,
    file_id: int,
    path: str,
    within: TimeRange,
    longest: int,
    hide: Callable[[pl.DataFrame], pl.DataFrame] = lambda letters: letters,
) -> Iterator[Backfilled]:
    """Store the lines of a file up to the end of `ranges`; yields the counts after every block.

    Dead letters have no time: they are stored only if there is no bound. A line that is longer
    than `longest` bytes keeps its first ones, less what `hide` takes out of dead letters.
    """
    counts = Backfilled()
    for starts, ends in ranges.lines(0):
        are_lines = ranges.framings.are_lines  # streams may be mixed where lines are put together
        blocks = _blocks(starts, ends) if are_lines else [(0, len(starts))][: len(starts)]
        for first, last in blocks:
            lines = _Lines(ranges, file_id, path, starts[first:last], ends[first:last], longest)
            parsed = parse(taken(lines.pieces(), ranges.encoding, longest))
            rows = within.of(parsed.rows) if len(parsed.rows) else parsed.rows
            rejected = pl.concat([parsed.rejected, hide(lines.too_long())])
            if not within.is_all:
                rejected = rejected.clear()
            counts.lines += last - first
            counts.within += len(rows) + len(rejected)
            held = partial(_held, accounts, file_id, int(starts[first]), int(ends[last - 1]))
            counts.dead += accounts.insert_dead(rejected, held)
            stored, refused = accounts.insert(rows, held)
            counts.stored += stored
            counts.dead += accounts.insert_dead(parsed.reject(refused), held)
            counts.done = int(ends[last - 1])
            yield counts


def _held(accounts: ChangeableAccounts, file_id: int, first: int, last: int) -> pl.DataFrame:
    """The places in [first, last) that are stored, as rows or dead letters."""
    offsets, _ = accounts.places(file_id, first, last)
    return pl.DataFrame({"offset": offsets}, schema={"offset": pl.UInt64}).with_columns(
        pl.lit(file_id, pl.UInt64).alias("file_id")
    )


def _blocks(starts: Offsets, ends: Offsets) -> Iterator[tuple[int, int]]:
    """Numbers of lines that are stored together: not too many, not too many bytes."""
    first = 0
    while first < len(starts):
        by_size = int(np.searchsorted(ends, starts[first] + CHUNK, "right"))
        last = max(first + 1, min(by_size, first + LINES_AT_ONCE))
        yield first, last
        first = last


@dataclass(frozen=True)
class _Lines:
    """Lines that are stored together, of which none is empty."""

    ranges: LineRanges
    file_id: int
    path: str
    starts: Offsets
    ends: Offsets
    longest: int

    def pieces(self) -> list[Piece]:
        """Those that are not too long, as many as follow one another in one piece."""
        begin, end = int(self.starts[0]), int(self.ends[-1])
        long = self._long()
        cuts = self.ranges.cuts[(self.ranges.cuts > begin) & (self.ranges.cuts < end)]
        runs = self.ranges.meanings.runs(self.starts)
        turns = self.starts[[which.start for _, which in runs]]  # where others are meant otherwise
        edges = np.unique(
            np.concatenate(([begin, end], self.starts[long], self.ends[long], cuts, turns))
        )
        found = []
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if not np.isin(low, self.starts[long]):
                text = self.ranges.data.read(high - low, low)
                encoding = self.ranges.encoding
                text = text.removesuffix(encoding.newline) + encoding.newline
                place = self.file_id, self.path, low
                events = None if self.ranges.framings.are_lines else self._events(low, text)
                evidence = self.ranges.meanings.at(low)
                found.append(Piece.at(place, text, encoding, events, evidence))
        return found

    def _events(self, low: int, text: bytes) -> Callable[[Numbers], Events]:
        kinds = partial(self.ranges.framings.kinds, text, low, encoding=self.ranges.encoding)
        return lambda ends: Events.of_kinds(kinds(ends), ends, self.ranges.cuts - low)

    def too_long(self) -> pl.DataFrame:
        """The others, as dead letters with their first bytes."""
        letters = [
            (
                self.file_id,
                int(self.starts[number]),
                0,  # ClickHouse does not ask for the line's number
                self.path,
                self.ranges.data.read(KEPT_OF_LONG, int(self.starts[number])),
                why.reason,
                why.detail,
            )
            for number in self._long()
            for why in [too_long(int(self.ends[number] - self.starts[number]), self.longest)]
        ]
        return pl.DataFrame(letters, schema=REJECTED, orient="row")

    def _long(self) -> npt.NDArray[np.int64]:
        are_lines = self.ranges.framings.are_lines  # an event has a limit of its own
        longest = self.longest if are_lines else max(self.longest, MOST_BYTES)
        return np.flatnonzero(self.ends - self.starts > longest)
