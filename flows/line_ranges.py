"""The records of a file that may be larger than memory: where they begin and end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.encodings import Encoding
from connectors.sources.content import Content
from connectors.sources.evidence import Evidence
from connectors.sources.framing import BEGINS, MOST_BYTES, Framing, Kinds, frame
from connectors.sources.sense import HEADER_BYTES, is_directive

CHUNK = 4 * 1024 * 1024
Offsets = npt.NDArray[np.int64]

NO_CUTS: Offsets = np.empty(0, np.int64)
NO_BLOCKS = pl.DataFrame(schema={"start": pl.UInt64, "end": pl.UInt64, "proof": pl.String})


class Meanings:
    """How the lines of a file are meant, by the `blocks` of it (see `Accounts.blocks`).

    Lines that no block has are meant as those of the next one, without any as `usual` says.
    """

    def __init__(self, blocks: pl.DataFrame | None = None, usual: Evidence | None = None) -> None:
        rows = [] if blocks is None else sorted(blocks.rows())
        self._blocks = rows
        self._usual = usual or Evidence()
        ends = np.array([end for _, end, _ in rows], np.int64)
        self._ends = np.maximum.accumulate(ends)  # blocks may overlap
        self._found = [Evidence.of(proof) for _, _, proof in rows] or [self._usual]

    def behind(self, headers: Iterable[tuple[int, str]], end: int) -> Meanings:
        """The same, where the lines up to `end` that no block has are behind these headers.

        Each has the place where it is; they are in order.
        """
        rows, covered = [], 0
        blocks = pl.DataFrame(self._blocks, NO_BLOCKS.schema, orient="row")
        gaps = []
        for low, high, _ in [*self._blocks, (end, end, "")]:
            gaps.append((covered, low))
            covered = max(covered, high)
        runs = pairwise([*headers, (end, "")])
        for (begin, header), (stop, _) in runs:
            proof = replace(self._usual, header=header).proof
            rows += [
                (max(begin, low), min(stop, high), proof)
                for low, high in gaps
                if max(begin, low) < min(stop, high)
            ]
        return Meanings(blocks.vstack(pl.DataFrame(rows, blocks.schema, orient="row")))

    def at(self, offset: int) -> Evidence:
        """Of the line at this offset."""
        return self._found[self._number(offset)]

    def _number(self, offset: int) -> int:
        found = int(np.searchsorted(self._ends, offset, "right"))
        return min(found, len(self._found) - 1)

    def runs(self, starts: Offsets) -> Iterator[tuple[Evidence, slice]]:
        """Which of the lines at these sorted offsets are meant how, all of a block at once."""
        numbers = np.minimum(np.searchsorted(self._ends, starts, "right"), len(self._found) - 1)
        edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(starts)]
        for first, last in pairwise(edges):
            if first < last:
                yield self._found[int(numbers[first])], slice(first, last)

    @cached_property
    def have_headers(self) -> bool:
        """Whether some of the lines may name columns, and are no rows."""
        return any(evidence.header for evidence in self._found)


@dataclass(frozen=True)
class Framings:
    """Which lines of a file are one record: those of some ranges by a framing of their own."""

    usual: Framing | None = None
    others: tuple[tuple[int, int, Framing | None], ...] = ()

    @classmethod
    def of(cls, usual: Framing | None, blocks: pl.DataFrame) -> Framings:
        """As the `blocks` of a file were read (see `Accounts.blocks`); the rest as `usual`."""
        others: list[tuple[int, int, Framing | None]] = []
        for start, end, proof in blocks.rows():
            framing = Framing.of(Evidence.of(proof).framing)
            if framing != usual:
                is_next = others and others[-1][1:] == (start, framing)
                others.append((others.pop()[0] if is_next else start, end, framing))
        return cls(usual, tuple(others))

    @property
    def are_lines(self) -> bool:
        """Whether each line is a record."""
        return not (self.usual or any(framing for _, _, framing in self.others))

    def kinds(self, text: bytes, at: int, ends: Offsets, encoding: Encoding) -> Kinds:
        """The kinds of the lines of `text`, which begins at `at` of the file."""

        def by(framing: Framing | None) -> Kinds:
            if framing:
                return framing.kinds(text, ends, encoding, at % encoding.unit)
            return np.full(len(ends), BEGINS, np.uint8)

        kinds = by(self.usual)
        starts = at + np.concatenate(([0], ends[:-1]))
        for first, last, framing in self.others:
            if first < at + len(text) and at < last:
                kinds = np.where((starts >= first) & (starts < last), by(framing), kinds)
        return kinds


LINES = Framings()
"""Each line is a record."""


@dataclass(frozen=True)
class LineRanges:
    """The non-empty records of a file up to `end`, in chunks; a long line is never loaded.

    A line is what ends with a newline, at one of the sorted `cuts`, or at `end`; it begins behind
    its NULs, which are filler. Of a line with nothing but its line end (LF or CRLF) nothing is
    stored, so it does not count; nor does one that names columns, by the `meanings`. A record is a
    line, or what the `framings` say; one ends at each of the `cuts`.
    """

    data: Content
    encoding: Encoding
    end: int
    cuts: Offsets
    framings: Framings = LINES
    meanings: Meanings = field(default_factory=Meanings)

    def lines(
        self, first: int, see: Callable[[int, bytes], None] = lambda position, chunk: None
    ) -> Iterator[tuple[Offsets, Offsets]]:
        """Where records begin and end, chunk by chunk; the first of them begins at `first`.

        `see` is shown every chunk, with its position.
        """
        every = self._lines(first, see)
        for starts, ends, chunk, position in (
            every if self.framings.are_lines else self._events(every)
        ):
            yield self._rows(*self._not_empty(starts, ends, chunk, position))

    def _lines(
        self, first: int, see: Callable[[int, bytes], None]
    ) -> Iterator[tuple[Offsets, Offsets, bytes, int]]:
        """The lines, those that are empty, too; with the chunk in which they end."""
        begun = position = first
        while position < self.end and (
            chunk := self.data.read(min(CHUNK, self.end - position), position)
        ):
            see(position, chunk)
            ends = self.encoding.ends(chunk) + position
            behind = position + len(chunk)
            low, high = np.searchsorted(self.cuts, (position, behind), "right")
            if low < high:
                ends = np.union1d(ends, self.cuts[low:high])
            starts = self._behind_filler(np.concatenate(([begun], ends)), chunk, position)
            begun, starts = int(starts[-1]), starts[:-1]
            yield starts, ends, chunk, position
            position = behind
        if begun < position:
            yield np.array([begun]), np.array([position]), b"", position

    def _events(
        self, lines: Iterator[tuple[Offsets, Offsets, bytes, int]]
    ) -> Iterator[tuple[Offsets, Offsets, bytes, int]]:
        """Lines put together; the last event of a chunk may go on in the next one."""
        rest = NO_CUTS, NO_CUTS, np.zeros(0, np.uint8)
        chunk, position = b"", 0
        for starts, ends, chunk, position in lines:
            kinds = self._kinds(starts, ends, chunk, position) if len(starts) else rest[2][:0]
            starts = np.concatenate([rest[0], starts])
            ends = np.concatenate([rest[1], ends])
            kinds = np.concatenate([rest[2], kinds])
            found = frame(kinds, starts, ends, self.cuts)
            yield *_records(found.firsts, found.open, starts, ends), chunk, position
            rest = starts[found.open :], ends[found.open :], kinds[found.open :]
        starts, ends, kinds = rest
        firsts = frame(kinds, starts, ends, self.cuts).firsts
        yield *_records(firsts, len(starts), starts, ends), chunk, position

    def _kinds(self, starts: Offsets, ends: Offsets, chunk: bytes, position: int) -> Kinds:
        """Of lines that end in this chunk, or with the file; the first may have begun before."""
        first = int(starts[0])
        if first < position:  # that of a line that is longer than any event does not count
            head = self.data.read(min(int(ends[0]) - first, MOST_BYTES), first)
            kinds = self.framings.kinds(head, first, np.array([len(head)]), self.encoding)
            if len(starts) == 1:
                return kinds
            return np.concatenate([kinds, self._kinds(starts[1:], ends[1:], chunk, position)])
        text = chunk[first - position : int(ends[-1]) - position]
        return self.framings.kinds(text, first, ends - first, self.encoding)

    def _rows(self, starts: Offsets, ends: Offsets) -> tuple[Offsets, Offsets]:
        """The records less those that name columns."""
        if not self.meanings.have_headers:
            return starts, ends
        are_rows = np.ones(len(starts), np.bool_)
        for evidence, which in self.meanings.runs(starts):
            for number in range(which.start, which.stop) if evidence.header else ():
                size = min(int(ends[number] - starts[number]), HEADER_BYTES)
                raw = self.encoding.without_end(self.data.read(size, int(starts[number])))
                line = raw.decode(self.encoding.name, "replace").removeprefix("\ufeff")
                are_rows[number] = not is_directive(line, evidence.header)
        return starts[are_rows], ends[are_rows]

    def lines_between(self, first: int, last: int) -> tuple[Offsets, Offsets]:
        """Where the records begin and end that begin in [first, last), wherever one begins."""
        parts = [(NO_CUTS, NO_CUTS)]
        for starts, ends in self.lines(self._begin_before(first)):
            wanted = (starts >= first) & (starts < last)
            parts.append((starts[wanted], ends[wanted]))
            if len(ends) and ends[-1] >= last:
                break
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _begin_before(self, first: int) -> int:
        """Where a record begins, at `first` or not far before."""
        if not self.framings.are_lines:
            return int(self.cuts[: np.searchsorted(self.cuts, first, "right")].max(initial=0))
        unit = self.encoding.unit
        before = max(0, first - unit)  # a newline there makes a line begin at first
        while before and self.data.read(unit, before) == b"\0" * unit:  # filler, if from its begin
            piece = self.data.read(min(CHUNK, before), max(0, before - CHUNK))
            kept = len(piece.rstrip(b"\0"))
            before = max(0, before - CHUNK) + max(0, -(-kept // unit) * unit - unit)
        return before

    def _behind_filler(self, starts: Offsets, chunk: bytes, position: int) -> Offsets:
        """The starts of lines, moved behind the NULs with which this chunk begins them."""
        places = starts - position
        is_filler = (places >= 0) & (places < len(chunk))
        is_filler[is_filler] = self.encoding.begin_with_filler(chunk, places[is_filler])
        if is_filler.any():
            starts = starts.copy()
            for number in np.flatnonzero(is_filler).tolist():
                end = places[number + 1] if number + 1 < len(starts) else len(chunk)
                starts[number] += self.encoding.filler(chunk[places[number] : end])
        return starts

    def _not_empty(
        self, starts: Offsets, ends: Offsets, chunk: bytes, position: int
    ) -> tuple[Offsets, Offsets]:
        unit = self.encoding.unit
        lengths = ends - starts
        short = np.flatnonzero((lengths <= 2 * unit) & (starts >= position))
        empty = np.zeros(len(starts), np.bool_)
        if len(short):
            kind = {1: "u1", 2: "<u2" if self.encoding.newline[0] else ">u2"}[unit]
            units = np.frombuffer(memoryview(chunk)[: len(chunk) // unit * unit], kind)
            first = units[(starts[short] - position) // unit]
            last = units[(ends[short] - position - 1) // unit]
            empty[short] = np.where(
                lengths[short] <= unit, (first == 10) | (first == 13), (first == 13) & (last == 10)
            )
        # The first line may have begun in an earlier chunk.
        if len(starts) and starts[0] < position and lengths[0] <= 2 * unit:
            text = self.data.read(int(lengths[0]), int(starts[0]))
            line_end = self.encoding.newline
            empty[0] = not text.removesuffix(line_end).removesuffix(line_end.replace(b"\n", b"\r"))
        if not empty.any():
            return starts, ends
        return starts[~empty], ends[~empty]


def _records(firsts: Offsets, open: int, starts: Offsets, ends: Offsets) -> tuple[Offsets, Offsets]:
    """Where the records of the lines before number `open` begin, and the lines before the next."""
    firsts = firsts[firsts < open]
    return starts[firsts], ends[np.append(firsts[1:], open)[: len(firsts)] - 1]
