"""The lines of a file that may be larger than memory: where they begin and end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from connectors.encodings import Encoding
from connectors.sources.content import Content

CHUNK = 4 * 1024 * 1024
Offsets = npt.NDArray[np.int64]

NO_CUTS: Offsets = np.empty(0, np.int64)


@dataclass(frozen=True)
class LineRanges:
    """The non-empty lines of a file up to `end`, in chunks; a line itself is never loaded.

    A line is what ends with a newline, at one of the sorted `cuts`, or at `end`; it begins behind
    its NULs, which are filler. Of a line with nothing but its line end (LF or CRLF) nothing is
    stored, so it does not count.
    """

    data: Content
    encoding: Encoding
    end: int
    cuts: Offsets

    def lines(
        self, first: int, see: Callable[[int, bytes], None] = lambda position, chunk: None
    ) -> Iterator[tuple[Offsets, Offsets]]:
        """Where lines begin and end, chunk by chunk; the first of them begins at `first`.

        `see` is shown every chunk, with its position.
        """
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
            yield self._not_empty(starts, ends, chunk, position)
            position = behind
        if begun < position:
            yield self._not_empty(np.array([begun]), np.array([position]), b"", position)

    def lines_between(self, first: int, last: int) -> tuple[Offsets, Offsets]:
        """Where the lines begin and end that begin in [first, last), wherever a line begins."""
        unit = self.encoding.unit
        before = max(0, first - unit)  # a newline there makes a line begin at first
        while before and self.data.read(unit, before) == b"\0" * unit:  # filler, if from its begin
            piece = self.data.read(min(CHUNK, before), max(0, before - CHUNK))
            kept = len(piece.rstrip(b"\0"))
            before = max(0, before - CHUNK) + max(0, -(-kept // unit) * unit - unit)
        parts = [(NO_CUTS, NO_CUTS)]
        for starts, ends in self.lines(before):
            wanted = (starts >= first) & (starts < last)
            parts.append((starts[wanted], ends[wanted]))
            if len(ends) and ends[-1] >= last:
                break
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

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
