"""The proof that every line of the files on disk is stored exactly once.

Sums of the places of all lines, bucket by bucket, are compared between file and store; only where
they differ, the lines themselves are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import polars as pl
from xxhash import xxh3_64

from connectors.accounts import BUCKET, Accounts
from connectors.batch import Parsed, Span, Taken
from connectors.encodings import Encoding
from connectors.sources.content import Content
from connectors.sources.evidence import Evidence
from connectors.sources.framing import Framing
from connectors.sources.known_files import KnownFile
from connectors.sources.names import recorded
from connectors.sources.records import Events, Piece, taken
from flows.line_ranges import CHUNK, NO_BLOCKS, NO_CUTS, Framings, LineRanges, Meanings, Offsets

RANGES_KEPT = 1000
LINES_AT_ONCE, BUCKETS_AT_ONCE, BYTES_AT_ONCE = 250_000, 16, 2 * 1024 * 1024

Sums = dict[int, tuple[int, int, int]]  # bucket -> count, sum of offsets, sum of their squares
_WRAP = 2**64 - 1


@dataclass
class Ranges:
    """Byte ranges of a file, and how many lines are in them; no more than are worth reading."""

    lines: int = 0
    found: list[tuple[int, int, int]] = field(default_factory=list)  # start, end, lines
    dropped: int = 0

    def add(self, start: int, end: int, lines: int = 1) -> None:
        """One more range, behind those before; it is joined to the last one if they touch."""
        self.lines += lines
        if self.found and self.found[-1][1] == start and not self.dropped:
            before = self.found.pop()
            start, lines = before[0], before[2] + lines
        if len(self.found) < RANGES_KEPT:
            self.found.append((start, end, lines))
        else:
            self.dropped += 1

    def add_lines(self, starts: Offsets, ends: Offsets, which: npt.NDArray[np.int64]) -> None:
        """The lines with these sorted numbers; neighbours make one range."""
        if len(which):
            for run in np.split(which, np.flatnonzero(np.diff(which) > 1) + 1):
                self.add(int(starts[run[0]]), int(ends[run[-1]]), len(run))

    def __bool__(self) -> bool:
        return bool(self.found)


@dataclass
class FileAudit:
    """What was found of one file; `doubt` are its blocks that nobody has said are stored.

    `is_outside`: no glob covers it, so that nobody reads what waits in it.
    """

    file_id: int
    path: str
    lines: int = 0
    stored: int = 0
    dead: int = 0
    dropped: int = 0
    expired: int = 0
    waiting: int = 0
    missing: Ranges = field(default_factory=Ranges)
    twice: Ranges = field(default_factory=Ranges)
    changed: Ranges = field(default_factory=Ranges)
    stray: Ranges = field(default_factory=Ranges)
    doubt: Ranges = field(default_factory=Ranges)
    error: str = ""
    is_outside: bool = False

    def is_well(self, running: bool) -> bool:
        """Whether everything is accounted for; a running pipeline may have lines to read."""
        wrong = (self.missing, self.twice, self.changed, self.stray, self.doubt, self.error)
        is_read = running and not self.is_outside
        return not any(wrong) and (is_read or not self.waiting)


class Auditor:
    """Compares files with the store, with the figures of the moment at which it is made.

    `steps` makes the steps that made rows of lines, by the `kept` in the proof of their block
    (None: of lines of which the ledger has no block any more, as by `kept` now). They tell the
    time of lines that may have passed `retention_days`, and which lines are dropped. `partial` says
    whether a last line without its newline waits to be read. While a pipeline is `running`, what is
    stored beyond a file's position is being written just now, and left alone. `framing` is that of
    what waits, and of blocks that the ledger has no more.
    """

    def __init__(
        self,
        accounts: Accounts,
        encoding: Encoding,
        steps: Callable[[str | None], Callable[[Taken], Parsed]],
        *,
        retention_days: int,
        longest: int,
        partial: bool,
        running: bool,
        framing: Framing | None = None,
        kept: str = "",
    ) -> None:
        self._framing = framing
        self._kept = kept
        self._steps = lru_cache(maxsize=8)(steps)
        self._accounts = accounts
        self._encoding = encoding
        days = timedelta(days=retention_days)
        self._expired_before = datetime.now(timezone.utc) - days if retention_days else None
        self._longest = longest
        self._partial = partial
        self._running = running
        self._sums = accounts.sums()

    def audit(
        self, file: KnownFile, stored: int, doubt: Sequence[Span]
    ) -> Iterator[int | FileAudit]:
        """Audit a file up to `stored`: bytes done, again and again, and at last what was found.

        `doubt` are the open blocks of the file, whose lines may be stored or not.
        """
        result = FileAudit(file.file_id, file.path, error=file.refused, is_outside=file.is_outside)
        for block in doubt:
            result.doubt.add(block.start, block.end, block.records)
        try:
            if not file.refused:
                with file.open() as data:
                    yield from self._audit(file, data, stored, doubt, result)
                    data.read(1, file.size)  # behind the last byte a damage shows
                    result.error = data.damage and f"cannot read it to its end: {data.damage}"
        except OSError as error:
            result.error = f"cannot read {file.path!r}: {error.strerror or error}"
        yield result

    def _audit(
        self,
        file: KnownFile,
        data: Content,
        stored: int,
        doubt: Sequence[Span],
        result: FileAudit,
    ) -> Iterator[int]:
        blocks = self._accounts.blocks(file.file_id) if file.file_id else NO_BLOCKS
        known = self._accounts.cuts(file.file_id) if file.file_id else NO_CUTS
        cuts = np.union1d(known, np.array([file.begins, stored], np.int64))
        framings = Framings.of(self._framing, blocks)
        meanings = Meanings(blocks)
        end = min(stored, file.size)
        ranges = LineRanges(data, self._encoding, end, cuts, framings, meanings)
        hashes = _Hashes(
            blocks.filter((pl.col("start") >= file.begins) & (pl.col("end") <= stored))
        )
        here: Sums = {}
        done = file.begins
        for line_starts, _ in ranges.lines(file.begins, hashes.see):
            _add(here, line_starts)
            result.lines += len(line_starts)
            done = min(done + CHUNK, ranges.end)
            yield done
        for start, end in hashes.changed():
            result.changed.add(start, end, 0)
        mine = self._sums.filter(pl.col("file_id") == file.file_id) if file.file_id else _NO_SUMS
        there = {row[0]: row[1:] for row in mine.drop("file_id").iter_rows()}
        if self._running:
            there = {bucket: row for bucket, row in there.items() if bucket * BUCKET < stored}
        optional = [(0, file.begins), *((block.start, block.end) for block in doubt)]
        differing = []
        for bucket in sorted(here.keys() | there.keys()):
            lines, dead, *sums = there.get(bucket, (0, 0, 0, 0))
            if here.get(bucket, (0, 0, 0)) == (lines, *sums):
                result.stored += lines - dead
                result.dead += dead
            else:
                differing.append((bucket, max(lines, here.get(bucket, (0,))[0])))
        for first, last in _runs(differing):
            self._compare(file, ranges, blocks, first, last, stored, optional, result)
            yield done
        yield from self._count_waiting(file, data, stored, meanings, result)

    def _compare(
        self,
        file: KnownFile,
        ranges: LineRanges,
        blocks: pl.DataFrame,
        first: int,
        last: int,
        stored: int,
        optional: Iterable[tuple[int, int]],
        result: FileAudit,
    ) -> None:
        """Line by line, for those that begin in [first, last)."""
        known_last = min(last, stored) if self._running else last
        found, dead = self._accounts.places(file.file_id, first, known_last)
        result.dead += int(dead.sum())
        result.stored += int((~dead).sum())
        starts, ends = ranges.lines_between(first, min(last, stored))
        offsets = self._behind_filler(ranges.data, found.astype(np.int64), starts)
        distinct, counts = np.unique(offsets, return_counts=True)
        at = np.searchsorted(starts, distinct)
        is_line = at < len(starts)
        is_line[is_line] = starts[at[is_line]] == distinct[is_line]
        for offset, count in zip(distinct[~is_line], counts[~is_line], strict=True):
            result.stray.add(int(offset), int(offset) + 1, int(count))
        result.twice.add_lines(starts, ends, at[is_line & (counts > 1)])
        absent = np.ones(len(starts), np.bool_)
        absent[at[is_line]] = False
        result.lines += int((~absent & (starts < file.begins)).sum())
        for begin, end in optional:
            absent &= ~((starts >= begin) & (starts < end))
        lost = np.flatnonzero(absent)
        missing = [lost[:0]]
        all_kept = _kept(blocks, starts[lost])
        for kept in dict.fromkeys(all_kept):
            mine = np.array([one == kept for one in all_kept], np.bool_)
            some = lost[mine]
            expired, dropped = self._explained(file, ranges, kept, starts[some], ends[some])
            result.expired += int(expired.sum())
            result.dropped += int(dropped.sum())
            missing.append(some[~(expired | dropped)])
        result.missing.add_lines(starts, ends, np.sort(np.concatenate(missing)))

    def _behind_filler(self, data: Content, offsets: Offsets, starts: Offsets) -> Offsets:
        """The offsets, less those of nothing but filler: earlier versions began lines with it."""
        newline = self._encoding.newline
        carriage_return = newline.replace(b"\n", b"\r")
        kept = []
        for offset in offsets[~np.isin(offsets, starts)].tolist():
            begin = offset
            while size := self._encoding.filler(data.read(CHUNK, begin)):
                begin += size
            is_empty = data.read(len(newline), begin) in (b"", newline, carriage_return)
            if begin == offset or not is_empty:
                kept.append(begin)
        return np.concatenate([offsets[np.isin(offsets, starts)], np.array(kept, np.int64)])

    def _explained(
        self,
        file: KnownFile,
        ranges: LineRanges,
        kept: str | None,
        starts: Offsets,
        ends: Offsets,
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which of these records are older than the retention, and which `kept` drops."""
        data = ranges.data
        expired = np.zeros(len(starts), np.bool_)
        dropped = np.zeros(len(starts), np.bool_)
        if not (self._expired_before or (self._kept if kept is None else kept)):
            return expired, dropped
        steps = self._steps(kept)
        numbers = np.flatnonzero(ends - starts <= self._longest)
        newline = self._encoding.newline
        while len(numbers):
            sizes = np.cumsum(ends[numbers] - starts[numbers])
            some = numbers[: max(1, int(np.searchsorted(sizes, BYTES_AT_ONCE)))]
            numbers = numbers[len(some) :]
            texts = [data.read(int(ends[n] - starts[n]), int(starts[n])) for n in some]
            texts = [text if text.endswith(newline) else text + newline for text in texts]
            places = np.cumsum([0, *map(len, texts)])
            pieces = []
            for evidence, which in ranges.meanings.runs(starts[some]):
                begin, text = int(places[which.start]), b"".join(texts[which])
                # Each text is a record.
                events = partial(Events.at, places[which] - begin)
                place = file.file_id, recorded(file.name), begin
                pieces.append(Piece.at(place, text, self._encoding, events, evidence))
            batch = taken(pieces, self._encoding, self._longest)
            found = steps(replace(batch, places=starts[some]))  # where they are in the file
            stored = found.rows["offset"].to_numpy().astype(np.int64)
            dead = found.rejected["offset"].to_numpy().astype(np.int64)
            dropped[some] = ~np.isin(starts[some], np.concatenate([stored, dead]))
            if self._expired_before and len(found.rows):
                old = (found.rows["timestamp"] < self._expired_before).to_numpy()
                expired[some] = np.isin(starts[some], stored[old])
        return expired, dropped

    def _count_waiting(
        self, file: KnownFile, data: Content, stored: int, meanings: Meanings, result: FileAudit
    ) -> Iterator[int]:
        framings = Framings(self._framing)
        rest = LineRanges(data, self._encoding, file.size, NO_CUTS, framings, meanings)
        done = stored
        last = stored
        for starts, ends in rest.lines(stored):
            result.waiting += len(starts)
            last = int(ends[-1]) if len(ends) else last
            done = min(done + CHUNK, file.size)
            yield done
        unit = self._encoding.unit
        unfinished = last == file.size and data.read(unit, last - unit) != self._encoding.newline
        if result.waiting and unfinished and not self._partial:
            result.waiting -= 1


class _Hashes:
    """Hashes the blocks of a file while it is read once."""

    def __init__(self, blocks: pl.DataFrame) -> None:
        hashes = ((*span, Evidence.of(proof).content_hash) for *span, proof in blocks.rows())
        self._pending = [block for block in hashes if block[-1]][::-1]
        self._open: list[tuple[int, int, int, xxh3_64]] = []
        self._changed: list[tuple[int, int]] = []

    def see(self, position: int, chunk: bytes) -> None:
        """The next bytes of the file."""
        behind = position + len(chunk)
        view = memoryview(chunk)
        while self._pending and self._pending[-1][0] < behind:
            self._open.append((*self._pending.pop(), xxh3_64()))
        for start, end, expected, hasher in self._open:
            hasher.update(view[max(start - position, 0) : end - position])
            if end <= behind and hasher.intdigest() != expected:
                self._changed.append((start, end))
        self._open = [block for block in self._open if block[1] > behind]

    def changed(self) -> list[tuple[int, int]]:
        """The blocks whose bytes are not what they were, or are not there any more."""
        cut_off = [block[:2] for block in (*self._open, *self._pending[::-1])]
        return [*self._changed, *cut_off]


_NO_SUMS = pl.DataFrame(
    schema=dict.fromkeys(
        ("file_id", "bucket", "lines", "dead_lines", "total", "squares"), pl.UInt64
    )
)


def _add(sums: Sums, starts: Offsets) -> None:
    if not len(starts):
        return
    buckets = starts // BUCKET
    for part in np.split(starts, np.flatnonzero(np.diff(buckets)) + 1):
        places = part.astype(np.uint64)
        bucket = int(part[0]) // BUCKET
        count, total, squares = sums.get(bucket, (0, 0, 0))
        sums[bucket] = (
            count + len(part),
            total + int(places.sum()) & _WRAP,
            squares + int((places * places).sum()) & _WRAP,
        )


def _kept(blocks: pl.DataFrame, starts: Offsets) -> list[str | None]:
    """Which rows are kept of the blocks in which these lines begin; None: of no block."""
    known = blocks.sort("start")
    begins, ends = (known[name].to_numpy().astype(np.int64) for name in ("start", "end"))
    kept = [Evidence.of(proof).kept for proof in known["proof"].to_list()]
    which = np.searchsorted(begins, starts, "right") - 1
    return [
        kept[number] if number >= 0 and start < ends[number] else None
        for number, start in zip(which.tolist(), starts.tolist(), strict=True)
    ]


def _runs(buckets: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Byte ranges of buckets (number, lines) that follow one another, not too many lines each."""
    run: list[int] = []
    total = 0
    for bucket, lines in buckets:
        if run and (
            bucket != run[-1] + 1 or total + lines > LINES_AT_ONCE or len(run) == BUCKETS_AT_ONCE
        ):
            yield run[0] * BUCKET, (run[-1] + 1) * BUCKET
            run, total = [], 0
        run.append(bucket)
        total += lines
    if run:
        yield run[0] * BUCKET, (run[-1] + 1) * BUCKET
