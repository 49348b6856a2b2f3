"""The lines of a batch as they are in their files, and which of them no format is asked about."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from connectors.batch import NONE_REJECTED, REJECTED, Fit, Span, Taken
from connectors.encodings import UTF_8, Encoding
from connectors.errors import MalformedLine
from flows.parsing.lines import Lines, Numbers

KEPT_OF_LONG = 1024

DeadLetter = tuple[int, bytes, MalformedLine]
"""A line's number, what is kept of its bytes, and why it is no row."""


@dataclass(frozen=True)
class _Part:
    """A span, where its bytes begin in the data, and its lines, from `first` to before `end`.

    `marked`: a byte order mark comes first. `stray`: so many bytes come before the first whole
    character, since a continued line may go on in the midst of one.
    """

    span: Span
    begin: int
    first: int
    end: int
    marked: bool
    stray: int


class FileLines:
    """The lines of a batch, as bytes in the encoding of their files.

    A line ends with its newline, or with its span, and begins behind its NULs, of which there
    are `filler` bytes in all. Lines have the same numbers here as in `lines`, which is their text.
    """

    def __init__(self, batch: Taken, encoding: Encoding) -> None:
        self._encoding = encoding
        self._lay_out(batch.data, batch.spans)
        pieces = self._without_filler()
        self.filler = 0
        if pieces:
            self._lay_out(b"".join(data for data, _ in pieces), [span for _, span in pieces])
            self.filler = len(batch.data) - len(self._data)

    def _lay_out(self, data: bytes, spans: Sequence[Span]) -> None:
        self._data = data
        encoding = self._encoding
        self._parts: list[_Part] = []
        begin = first = 0
        starts: list[Numbers] = [np.zeros(1, np.int64)]
        for span in spans:
            stray, size = span.start % encoding.unit, span.end - span.start
            ends = encoding.ends(memoryview(self._data)[begin + stray : begin + size])
            ends += begin + stray
            if size and (not len(ends) or ends[-1] < begin + size):
                ends = np.append(ends, min(begin + size, len(self._data)))
            marked = span.start == 0 and encoding.is_marked(self._data, begin, begin + size)
            self._parts.append(_Part(span, begin, first, first + len(ends), marked, stray))
            starts.append(ends)
            begin += size
            first += len(ends)
        self._starts: Numbers = np.concatenate(starts)
        self._missing = begin - len(self._data)
        self._strays = {part.first: part.stray for part in self._parts if part.stray}
        self._marked = {part.first for part in self._parts if part.marked}

    def _without_filler(self) -> list[tuple[bytes, Span]]:
        """The bytes and spans that are left without filler; empty if there is none."""
        if self._missing:  # of a line that is not here whole, which is its batch's only one
            return []
        starts = self._starts[:-1]
        is_filler = self._encoding.begin_with_filler(self._data, starts)
        if not is_filler.any():
            return []
        pieces: list[tuple[bytes, Span]] = []
        for part in self._parts:
            span, shift = part.span, part.span.start - part.begin
            first, last = part.first, part.end
            numbers = (np.flatnonzero(is_filler[first:last]) + first).tolist()
            places = [int(starts[number]) for number in numbers]
            begins = [part.begin]
            for number, at in zip(numbers, places, strict=True):
                line = self._data[at : self._starts[number + 1]]
                begins.append(at + self._encoding.filler(line))
            ends = [*places, part.begin + span.end - span.start]
            edges = itertools.pairwise([first, *numbers, last])
            for begin, end, (number, behind) in zip(begins, ends, edges, strict=True):
                if begin < end:
                    some = replace(
                        span,
                        start=begin + shift,
                        end=end + shift,
                        first=span.first + number - first,
                        records=behind - number,
                        continued=span.continued and begin == part.begin,
                    )
                    pieces.append((self._data[begin:end], some))
        return pieces

    def raw(self, number: int) -> bytes:
        """The bytes of one line, without its line end."""
        line = self._data[self._starts[number] : self._starts[number + 1]]
        stray = self._strays.get(number, 0)
        return line[:stray] + self._encoding.without_end(line[stray:])

    def text(self, number: int) -> tuple[str, bool]:
        """One line without its line end, and whether that is all of it.

        What is not of the encoding is U+FFFD.
        """
        raw, name = self.raw(number), self._encoding.name
        try:
            text, is_all = raw.decode(name), True
        except UnicodeDecodeError:
            text, is_all = raw.decode(name, "replace"), False
        return (text[1:] if number in self._marked else text), is_all

    @cached_property
    def lines(self) -> Lines:
        """The lines as UTF-8, less the byte order marks at the beginning of files."""
        inner_ends = [part.begin for part in self._parts[1:]]
        whole = all(self._data.endswith(b"\n", 0, end) for end in inner_ends)
        if self._encoding.is_utf8 and whole and not self._marked:
            return Lines(self._data, self._starts)
        return Lines(b"".join(map(self._as_utf8, self._parts)))

    @cached_property
    def identity(self) -> pl.DataFrame:
        """`file_id`, `offset`, `line` and `source` of every line."""
        spans = [part.span for part in self._parts]
        counts = [part.end - part.first for part in self._parts]
        shift = np.array([part.span.start - part.begin for part in self._parts], np.int64)
        order = np.array([part.span.first - part.first for part in self._parts], np.int64)
        numbers = np.arange(len(self._starts) - 1) + np.repeat(order, counts)
        which = pl.Series(np.repeat(np.arange(len(counts), dtype=np.uint32), counts))
        return pl.DataFrame(
            {
                "file_id": pl.Series([s.stream.id for s in spans], dtype=pl.UInt64)[which],
                "offset": (self._starts[:-1] + np.repeat(shift, counts)).astype(np.uint64),
                "line": numbers.astype(np.uint64),
                "source": pl.Series([s.stream.name for s in spans], dtype=pl.String)[which],
            }
        )

    def fits(
        self,
        asked: Numbers | None,
        refused: list[DeadLetter],
        advise: Callable[[str, MalformedLine], str],
    ) -> Iterator[Fit]:
        """How the lines that a format was asked about (None: all) fitted it; both are in order.

        `advise` is told the first line that was refused of a file of which most were, and why.
        """
        edges = [*(part.first for part in self._parts), len(self._starts) - 1]
        lines = edges if asked is None else np.searchsorted(asked, edges).tolist()
        wrong = np.searchsorted([number for number, _, _ in refused], edges).tolist()
        for at, part in enumerate(self._parts):
            fit = Fit(part.span.stream.name, lines[at + 1] - lines[at], wrong[at + 1] - wrong[at])
            if fit.is_poor:
                number, _, why = refused[wrong[at]]
                fit = replace(fit, advice=advise(self.text(number)[0], why))
            yield fit

    def unfit(self, max_line_bytes: int) -> list[DeadLetter]:
        """What no format is asked about: lines that are too long, and rests of earlier lines."""
        found = {letter[0]: letter for letter in self._continued()}
        found |= {letter[0]: letter for letter in self._too_long(max_line_bytes)}
        return list(found.values())

    def dead_letters(self, letters: list[DeadLetter]) -> pl.DataFrame:
        """These lines as the store has them."""
        if not letters:
            return NONE_REJECTED
        refused = pl.DataFrame(
            [(raw, why.reason, why.detail) for _, raw, why in letters],
            schema={name: REJECTED[name] for name in ("raw", "reason", "detail")},
            orient="row",
        )
        numbers = [number for number, _, _ in letters]
        return self.identity[numbers].hstack(refused).select(*REJECTED)

    def _too_long(self, limit: int) -> Iterator[DeadLetter]:
        sizes = np.diff(self._starts)
        sizes[-1:] += self._missing
        # Of a line that is not here whole nothing can be parsed, whatever the limit.
        for number in np.flatnonzero(sizes > (0 if self._missing else limit)).tolist():
            raw = self.raw(number)
            if self._missing or len(raw) > limit:
                detail = f"{sizes[number]} bytes with its line end; LOG_MAX_LINE_BYTES is {limit}"
                yield number, raw[:KEPT_OF_LONG], MalformedLine("too_long", detail)

    def _continued(self) -> Iterator[DeadLetter]:
        for part in self._parts:
            if part.span.continued and (raw := self.raw(part.first)):
                detail = "the rest of a line whose beginning was stored as a line of its own"
                yield part.first, raw, MalformedLine("continued", detail)

    def _as_utf8(self, part: _Part) -> bytes:
        """The lines of one span, each with a line end."""
        starts = self._starts[part.first : part.end + 1].copy()
        starts[0] += part.stray
        text = self._encoding.to_utf8(self._data, starts)
        if part.marked:
            text = text.removeprefix(UTF_8.mark)
        unfinished = part.first < part.end and not text.endswith(b"\n")
        return text + b"\n" if unfinished else text
