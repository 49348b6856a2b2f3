"""Bytes of files as records: what belongs to a line, and which lines no format is asked about.

A line ends with its newline, or with its span. It begins behind its NULs, which are filler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from connectors.batch import BlockId, DeadLetter, Numbers, Span, Stream, Taken
from connectors.encodings import UTF_8, Encoding
from connectors.errors import MalformedLine

KEPT_OF_LONG = 1024
"""Bytes of a line that is too long that its dead letter has."""

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Piece:
    """The bytes of a span, and for each line that ends there the position behind its newline.

    Of a line that is longer than a batch the bytes are the first ones only.
    """

    span: Span
    data: bytes
    ends: Numbers

    @classmethod
    def of(cls, span: Span, data: bytes, encoding: Encoding) -> Piece:
        """A piece whose newlines nobody has looked for yet."""
        return cls(span, data, line_ends(data, span.start, encoding))

    @classmethod
    def at(cls, place: tuple[int, str, int], data: bytes, encoding: Encoding) -> Piece:
        """Lines from anywhere: of the file with this id and name, from this offset on."""
        file_id, name, start = place
        span = Span(Stream(file_id, name), start, start + len(data), 0, 0)
        return cls.of(span, data, encoding)

    @property
    def missing(self) -> int:
        """Bytes of an over-long line that are not here."""
        return self.span.end - self.span.start - len(self.data)


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
    in_doubt: BlockId | None = None,
    is_whole: bool = True,
    acknowledge: Callable[[], None] = lambda: None,
) -> Taken:
    """The lines of these pieces as one batch; none that is longer than `longest` is a record."""
    lines = [_Lines.of(piece, encoding) for piece in pieces]
    data = b"".join(some.data for some in lines)
    before = np.cumsum([0, *(len(some.data) for some in lines)]).tolist()
    starts = np.concatenate(
        [some.starts[:-1] + at for some, at in zip(lines, before, strict=False)]
        + [np.array(before[-1:], np.int64)]
    )
    return Taken(
        tuple(some.span for some in lines),
        data,
        starts,
        np.concatenate([_NONE, *(some.places for some in lines)]),
        encoding,
        _text(lines, encoding),
        tuple(_unfit(lines, longest)),
        filler=filler + sum(some.filler for some in lines),
        in_doubt=in_doubt,
        is_whole=is_whole,
        acknowledge=acknowledge,
    )


@dataclass(frozen=True)
class _Lines:
    """The lines of one piece, without filler; the first may be the rest of a stored line."""

    span: Span
    data: bytes
    starts: Numbers
    places: Numbers
    encoding: Encoding
    missing: int
    filler: int = 0
    continued: bool = False

    @classmethod
    def of(cls, piece: Piece, encoding: Encoding) -> _Lines:
        span, data, ends = piece.span, piece.data, piece.ends
        if piece.missing or (data and not (len(ends) and ends[-1] == len(data))):
            ends = np.append(ends, len(data))
        starts = np.concatenate(([0], ends)) if span.end > span.start else np.zeros(1, np.int64)
        span = replace(span, records=len(starts) - 1)
        continued = span.continued or bool(span.start % encoding.unit)
        lines = cls(
            span, data, starts, starts[:-1] + span.start, encoding, piece.missing, 0, continued
        )
        return lines if piece.missing else lines._without_filler()

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
            places=self.places + filler,
            filler=int(filler.sum()),
            continued=self.continued and not is_filler[0],
        )

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
        """The bytes of one line, without its line end."""
        line = self.data[self.starts[number] : self.starts[number + 1]]
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
    """What no format is asked about: lines that are too long, and rests of earlier lines."""
    first = 0
    for some in lines:
        sizes = np.diff(some.starts)
        sizes[-1:] += some.missing
        # A line that is not here whole cannot be parsed, whatever the limit.
        is_long = sizes > (0 if some.missing else longest)
        for number in np.flatnonzero(is_long).tolist():
            raw = some.raw(number)
            if some.missing or len(raw) > longest:
                yield first + number, raw[:KEPT_OF_LONG], too_long(int(sizes[number]), longest)
            else:
                is_long[number] = False
        if some.continued and len(sizes) and not is_long[0] and (raw := some.raw(0)):
            detail = "the rest of a line whose beginning was stored as a line of its own"
            yield first, raw, MalformedLine("continued", detail)
        first += len(sizes)
