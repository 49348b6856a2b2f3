"""The lines of a batch, addressed by number, without an object a line."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

NEWLINE, CARRIAGE_RETURN = 10, 13

Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Lines:
    """Whole lines of bytes; a last line may lack its newline.

    `data` is what the batch holds; `text` the same as UTF-8, in which every byte of a line that is
    not valid UTF-8 is a `?`, so that columns can be made of the others. `starts` holds where each
    line begins in `data`, and one entry more for where the last one ends.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE) + 1
        if data and not data.endswith(b"\n"):
            ends = np.append(ends, len(data))
        self.starts: Numbers = np.concatenate(([0], ends)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def raw(self, number: int) -> bytes:
        """The bytes of one line, without its line end (LF or CRLF)."""
        line = self.data[self.starts[number] : self.starts[number + 1]]
        return line.removesuffix(b"\n").removesuffix(b"\r")

    def without_empty(self) -> tuple[Lines, Numbers | None]:
        """These lines less the empty ones, and the numbers of those kept (None: all are)."""
        short = np.flatnonzero(np.diff(self.starts) <= len("\r\n"))
        empty = [number for number in short.tolist() if not self.raw(number)]
        if not empty:
            return self, None
        kept = np.delete(np.arange(len(self)), empty)
        return Lines(self.join(kept)), kept

    def join(self, numbers: Numbers) -> bytes:
        """The bytes of the lines with these numbers, one after another."""
        chosen = np.zeros(len(self), np.bool_)
        chosen[numbers] = True
        everywhere = np.repeat(chosen, np.diff(self.starts))
        return np.frombuffer(self.data, np.uint8)[everywhere].tobytes()

    @cached_property
    def text(self) -> bytes:
        """`data`, with every line that is not valid UTF-8 masked by `?`."""
        if self.data.isascii():
            return self.data
        masked = memoryview(self.data)
        position = 0
        while True:
            try:
                str(masked[position:], "utf-8")
            except UnicodeDecodeError as error:
                number = int(np.searchsorted(self.starts, position + error.start, "right")) - 1
                begin = int(self.starts[number])
                end = begin + len(self.raw(number))
                if masked.readonly:
                    masked = memoryview(bytearray(self.data))
                masked[begin:end] = b"?" * (end - begin)
                position = int(self.starts[number + 1])
            else:
                return bytes(masked) if not masked.readonly else self.data

    @cached_property
    def series(self) -> pl.Series:
        """The lines of `text` as strings, each still with its line end."""
        array = pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(self.starts), pa.py_buffer(self.text)
        )
        return pl.Series(pl.from_arrow(array))
