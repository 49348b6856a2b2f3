"""Bytes of files as records: what belongs to one, and which ones no format is asked about.

A line ends with its newline, or with its span. It begins behind its NULs, which are filler. A
record is a line, or the lines of one event (see `Framing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.batch import DeadLetter, Numbers, Span, Stream, Taken
from connectors.encodings import UTF_8, Encoding
from connectors.errors import MalformedLine
from connectors.sources.evidence import Evidence
from connectors.sources.framing import (
    MOST_BYTES,
    MOST_LINES,
    NO_CUTS,
    Frame,
    Framing,
    Kinds,
    frame,
    is_rest,
)

KEPT_OF_LONG = 1024
"""Bytes of a line that is too long that its dead letter has."""

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Events:
    """Records of several lines.

    `is_rest` says of which the beginning was stored as a record of its own.
    """

    frame: Frame
    is_rest: npt.NDArray[np.bool_]

    @property
    def firsts(self) -> Numbers:
        """The number of the line that each begins with."""
        return self.frame.firsts

    @classmethod
    def of(
        cls,
        framing: Framing,
        data: bytes,
        ends: Numbers,
        encoding: Encoding,
        stray: int = 0,
    ) -> Events:
        """The events of `data`, whose first byte begins one; `ends` are those of all its lines.

        The first `stray` bytes are half a character.
        """
        return cls.of_kinds(framing.kinds(data, ends, encoding, stray), ends, size=len(data))

    @classmethod
    def of_kinds(
        cls, kinds: Kinds, ends: Numbers, cuts: Numbers = NO_CUTS, size: int = 0
    ) -> Events:
        """The events of lines of these kinds; others begin at the `cuts`, too."""
        found = frame(kinds, np.concatenate(([0], ends[:-1])), ends, cuts, size)
        return cls(found, is_rest(kinds, found.firsts))

    @classmethod
    def at(cls, begins: Numbers, ends: Numbers) -> Events:
        """The events in which these places of bytes are whose lines end at `ends`."""
        firsts = np.searchsorted(ends, begins, "right")
        bounds = np.append(firsts[1:], len(ends))
        return cls(Frame(firsts, bounds, len(ends)), np.zeros(len(firsts), np.bool_))

    def up_to(self, bound: int) -> Events:
        """Those of the lines before one of the bounds."""
        found, count = self.frame, int(np.searchsorted(self.firsts, bound))
        order = None if found.order is None else found.order[:bound]
        bounds = found.bounds[found.bounds <= bound]
        return Events(Frame(self.firsts[:count], bounds, bound, order), self.is_rest[:count])


@dataclass(frozen=True)
class Piece:
    """The bytes of a span, and for each line that ends there the position behind its newline.

    Of a line that is longer than a batch the bytes are the first ones only. No `events`: each line
    is a record.
    """

    span: Span
    data: bytes
    ends: Numbers
    events: Events | None = None

    @classmethod
    def of(
        cls, span: Span, data: bytes, encoding: Encoding, framing: Framing | None = None
    ) -> Piece:
        """A piece whose newlines nobody has looked for yet."""
        ends = line_ends(data, span.start, encoding)
        if not framing or span.end - span.start > len(data):
            return cls(span, data, ends)
        ends, stray = with_last(ends, data), span.start % encoding.unit
        return cls(span, data, ends, Events.of(framing, data, ends, encoding, stray))

    @classmethod
    def at(
        cls,
        place: tuple[int, str, int],
        data: bytes,
        encoding: Encoding,
        events: Callable[[Numbers], Events] | None = None,
        evidence: Evidence | None = None,
    ) -> Piece:
        """Records from anywhere: of the file with this id and name, from this offset on.

        `events` is told where the lines end. They are meant as the `evidence` says.
        """
        file_id, name, start = place
        span = Span(Stream(file_id, name), start, start + len(data), 0, 0)
        span = evidence.meant(span) if evidence else span
        ends = with_last(line_ends(data, start, encoding), data)
        return cls(span, data, ends, events(ends) if events else None)

    @property
    def missing(self) -> int:
        """Bytes of an over-long line that are not here."""
        return self.span.end - self.span.start - len(self.data)


def with_last(ends: Numbers, data: bytes) -> Numbers:
    """The ends of all lines of `data`, of a last one without its newline, too."""
    has_rest = len(data) > (int(ends[-1]) if len(ends) else 0)
    return np.append(ends, len(data)) if has_rest else ends


def line_ends(data: bytes, start: int, encoding: Encoding) -> Numbers:
    """The positions behind the newlines of bytes that begin at `start` of their file."""
    stray = start % encoding.unit  # the rest of a line may begin within a character
    return encoding.ends(memoryview(data)[stray:]) + stray if stray else encoding.ends(data)


def too_long(size: int, limit: int) -> MalformedLine:
    """Why a line of `size` bytes is no record."""
    detail = f"{size} bytes with its line end; LOG_MAX_LINE_BYTES is {limit}"
    return MalformedLine("too_long", detail)


def taken(
    pieces: Sequence[Piece],
    encoding: Encoding,
    longest: int,
    *,
    filler: int = 0,
    **of_block: Any,
) -> Taken:
    """The records of these pieces as one batch; no line that is longer than `longest` is one.

    `of_block`: other fields of it, see `Block`.
    """
    lines = [_Lines.of(piece, encoding) for piece in pieces]
    data = b"".join(some.data for some in lines)
    before = np.cumsum([0, *(len(some.data) for some in lines)]).tolist()
    starts = np.concatenate(
        [some.records[:-1] + at for some, at in zip(lines, before, strict=False)]
        + [np.array(before[-1:], np.int64)]
    )
    has_events = any(some.has_events for some in lines)
    return Taken(
        tuple(some.span for some in lines),
        data,
        starts,
        np.concatenate([_NONE, *(some.places for some in lines)]),
        encoding,
        _text(lines, encoding),
        tuple(_unfit(lines, longest)),
        np.concatenate([some.counts for some in lines]) if has_events else None,
        filler=filler + sum(some.filler for some in lines),
        **of_block,
    )


@dataclass(frozen=True)
class _Lines:
    """The lines of one piece, without filler; the first may be the rest of a stored line.

    `starts` are those of lines, `places` those of records.
    """

    span: Span
    data: bytes
    starts: Numbers
    places: Numbers
    encoding: Encoding
    missing: int
    events: Events | None
    filler: int = 0
    continued: bool = False

    @classmethod
    def of(cls, piece: Piece, encoding: Encoding) -> _Lines:
        span, data, ends = piece.span, piece.data, piece.ends
        if piece.missing or (data and not (len(ends) and ends[-1] == len(data))):
            ends = np.append(ends, len(data))
        starts = np.concatenate(([0], ends)) if span.end > span.start else np.zeros(1, np.int64)
        firsts = slice(-1) if piece.events is None else piece.events.firsts
        places = starts[firsts] + span.start
        span = replace(span, records=len(places))
        continued = span.continued or bool(span.start % encoding.unit)
        lines = cls(
            *(span, data, starts, places, encoding, piece.missing, piece.events),
            continued=continued,
        )
        return lines if piece.missing else lines._without_filler()._in_order()

    def _in_order(self) -> _Lines:
        """The same with the lines of each record one after another."""
        if self.events is None or (order := self.events.frame.order) is None:
            return self
        starts = self.starts.tolist()
        lines = [self.data[starts[number] : starts[number + 1]] for number in order.tolist()]
        newline = self.encoding.newline
        lines = [line if line.endswith(newline) else line + newline for line in lines]
        firsts = np.flatnonzero(np.isin(order, self.events.firsts))
        frame = replace(self.events.frame, firsts=firsts, order=None)
        return replace(
            self,
            data=b"".join(lines),
            starts=np.cumsum([0, *map(len, lines)]),
            events=replace(self.events, frame=frame),
        )

    def _without_filler(self) -> _Lines:
        begins = self.starts[:-1]
        is_filler = self.encoding.begin_with_filler(self.data, begins)
        if self.stray:
            is_filler[:1] = False  # it begins within a character, so two NULs are halves of two
        if not is_filler.any():
            return self
        filler = np.zeros(len(begins), np.int64)
        for number in np.flatnonzero(is_filler).tolist():
            line = self.data[self.starts[number] : self.starts[number + 1]]
            filler[number] = self.encoding.filler(line)
        ends = self.starts[1:]
        kept = b"".join(
            self.data[begin:end]
            for begin, end in zip((begins + filler).tolist(), ends.tolist(), strict=True)
        )
        return replace(
            self,
            data=kept,
            starts=np.concatenate(([0], np.cumsum(ends - begins - filler))),
            places=self.places + (filler if self.events is None else filler[self.events.firsts]),
            filler=int(filler.sum()),
            continued=self.continued and not is_filler[0],
        )

    @property
    def has_events(self) -> bool:
        """Whether some record has several lines."""
        return len(self.starts) - 1 > len(self.places)

    @property
    def records(self) -> Numbers:
        """Where each record begins, and the last one ends."""
        if self.events is None:
            return self.starts
        return np.append(self.starts[self.events.firsts], self.starts[-1])

    @property
    def counts(self) -> Numbers:
        """How many lines each record has."""
        if self.events is None:
            return np.ones(len(self.places), np.int64)
        return np.diff(self.events.firsts, append=len(self.starts) - 1)

    @property
    def stray(self) -> int:
        """Bytes before the first whole character."""
        return self.span.start % self.encoding.unit if self.continued else 0

    @property
    def is_marked(self) -> bool:
        """Whether a byte order mark comes first."""
        mark = self.encoding.mark
        return bool(mark and len(self.places)) and not self.places[0] and self.data.startswith(mark)

    @property
    def is_whole(self) -> bool:
        """Whether the last line has its end."""
        return not len(self.places) or self.data.endswith(
            self.encoding.newline, int(self.starts[-2])
        )

    def raw(self, number: int) -> bytes:
        """The bytes of one record, without its line end."""
        line = self.data[self.records[number] : self.records[number + 1]]
        stray = 0 if number else self.stray
        return line[:stray] + self.encoding.without_end(line[stray:])

    def as_utf8(self) -> bytes:
        """The lines, each with a line end."""
        if not len(self.places):
            return b""
        starts = self.starts.copy()
        starts[0] += min(self.stray, starts[1])
        text = self.encoding.to_utf8(self.data, starts)
        if self.is_marked:
            text = text.removeprefix(UTF_8.mark)
        last = self.data[starts[-2] : starts[-1]]
        is_cut = len(last) % self.encoding.unit or not last.endswith(self.encoding.newline)
        return text + b"\n" if is_cut else text


def _text(lines: Sequence[_Lines], encoding: Encoding) -> bytes | None:
    """All lines as UTF-8, if that is not what they are; the last one may lack its line end."""
    is_utf8 = encoding.is_utf8 and not any(some.is_marked for some in lines)
    if is_utf8 and all(some.is_whole for some in lines[:-1]):
        return None
    return b"".join(some.as_utf8() for some in lines)


def _unfit(lines: Sequence[_Lines], longest: int) -> Iterator[DeadLetter]:
    """What no format is asked about: lines that are too long, and rests of earlier records."""
    first = 0
    for some in lines:
        sizes = np.diff(some.records)
        sizes[-1:] += some.missing
        # A line that is not here whole cannot be parsed, whatever the limit.
        is_long = sizes > (0 if some.missing else longest)
        if some.has_events:
            is_long &= some.counts == 1  # an event has a limit of its own
        for number in np.flatnonzero(is_long).tolist():
            raw = some.raw(number)
            if some.missing or len(raw) > longest:
                yield first + number, raw[:KEPT_OF_LONG], too_long(int(sizes[number]), longest)
            else:
                is_long[number] = False
        if some.continued and len(sizes) and not is_long[0] and (raw := some.raw(0)):
            detail = "the rest of a line whose beginning was stored as a line of its own"
            yield first, raw, MalformedLine("continued", detail)
            is_long[0] = True
        if some.events:
            is_rest = some.events.is_rest & ~is_long & (some.places > 0)
            for number in np.flatnonzero(is_rest).tolist():
                yield first + number, some.raw(number), MalformedLine("continued", _REST)
        first += len(sizes)


_REST = (
    f"an event has {MOST_LINES} lines and {MOST_BYTES} bytes at most, and ends when nothing was "
    "written for some seconds; its beginning is a record of its own"
)
