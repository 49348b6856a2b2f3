"""The lines of a batch, addressed by number, without an object a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from connectors.encodings import UTF_8

NEWLINE, CARRIAGE_RETURN, QUOTE = 10, 13, 34

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_NONE: Numbers = np.zeros(0, np.int64)


def is_ascii(data: bytes) -> bool:
    """Whether no byte is above 127. `bytes.isascii` does not let other threads run meanwhile."""
    return bool(np.frombuffer(data, np.uint8).max(initial=0) < 128)


class Lines:
    """Whole lines of UTF-8; a last line may lack its newline.

    `text` is `data` in which every byte of a line that is not valid UTF-8 is a `?`, so that columns
    can be made of the others. `starts` holds where each line begins in both, and one entry more for
    where the last one ends.
    """

    def __init__(self, data: bytes, starts: Numbers | None = None) -> None:
        self.data = data
        if starts is None:
            ends = UTF_8.ends(data)
            if data and not data.endswith(b"\n"):
                ends = np.append(ends, len(data))
            starts = np.concatenate(([0], ends)).astype(np.int64)
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts) - 1

    def raw(self, number: int) -> bytes:
        """The bytes of one line, without its line end (LF or CRLF)."""
        return UTF_8.without_end(self.data[self.starts[number] : self.starts[number + 1]])

    def without(self, unwanted: Sequence[int]) -> tuple[Lines, Numbers | None]:
        """These lines less empty and unwanted ones, and the numbers of those kept (None: all)."""
        short = np.flatnonzero(np.diff(self.starts) <= len("\r\n"))
        dropped = [number for number in short.tolist() if not self.raw(number)]
        dropped += unwanted
        if not dropped:
            return self, None
        kept = np.delete(np.arange(len(self)), dropped)
        return self.only(kept), kept

    def only(self, numbers: Numbers) -> Lines:
        """The lines with these numbers."""
        sizes = np.diff(self.starts)[numbers]
        return Lines(self.join(numbers), np.concatenate(([0], np.cumsum(sizes))))

    def join(self, numbers: Numbers) -> bytes:
        """The bytes of the lines with these sorted numbers: those of neighbours at once."""
        gaps = np.flatnonzero(np.diff(numbers) > 1)
        lows = self.starts[numbers[np.concatenate(([0], gaps + 1))[: len(numbers)]]]
        highs = self.starts[numbers[np.concatenate((gaps, [-1]))[: len(numbers)]] + 1]
        view = memoryview(self.data)
        pieces = zip(lows.tolist(), highs.tolist(), strict=True)
        return b"".join(view[low:high] for low, high in pieces)

    def beginning_with(self, byte: int) -> Numbers:
        """The numbers of the lines that begin with this byte."""
        data = np.frombuffer(self.data, np.uint8)
        if not len(data):
            return _NONE
        return np.flatnonzero(data.take(self.starts[:-1], mode="clip") == byte)

    def having(self, byte: int) -> pl.Series:
        """Which lines, all of which have an end, have this byte."""
        is_it = np.frombuffer(self.data, np.uint8) == byte
        return pl.Series(np.logical_or.reduceat(is_it, self.starts[:-1]))

    def changed(self, change: Callable[[bytes], bytes]) -> Lines:
        """Each line as `change` makes it, which is told of one or more, and keeps their ends.

        What is not valid UTF-8 stays so: without some of its bytes it might be.
        """
        if np.array_equal(Lines(self.text).starts, self.starts):
            return Lines(change(self.text))
        begins, ends = self.starts[:-1].tolist(), self.starts[1:].tolist()
        found = [change(self.text[begin:end]) for begin, end in zip(begins, ends, strict=True)]
        return Lines(b"".join(found), np.concatenate(([0], np.cumsum([*map(len, found)]))))

    def texts(self) -> pl.Series:
        """The lines of `text`, without their ends."""
        array = pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(self.starts), pa.py_buffer(self.text)
        )
        return pl.Series(array).str.strip_suffix("\n").str.strip_suffix("\r")

    @cached_property
    def text(self) -> bytes:
        """`data`, with every line that is not valid UTF-8 masked by `?`."""
        return self.data if is_ascii(self.data) else UTF_8.to_utf8(self.data, self.starts)
