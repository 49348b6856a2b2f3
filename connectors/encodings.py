"""Where lines end in bytes of a given encoding, and the same lines as UTF-8."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

import native
from native.lines import count_newlines, find_newlines


class Encoding:
    """How text is written in files: `name` is a value of `LOG_ENCODING`.

    Lines end with U+000A. In UTF-16 that is two bytes, of which the first must be at an even
    offset in the file: all data given to these methods has to start at one.
    """

    def __init__(self, name: str = "utf-8") -> None:
        self.name = name
        self.newline = "\n".encode(name)
        self.carriage_return = "\r".encode(name)
        self.mark = "\ufeff".encode(name, "ignore")  # empty if the encoding has none

    @property
    def unit(self) -> int:
        """Bytes of a newline: 1, or 2 in UTF-16."""
        return len(self.newline)

    @property
    def is_utf8(self) -> bool:
        """Whether text is stored as it is in the files."""
        return self.name == "utf-8"

    def is_marked(self, data: bytes, begin: int, end: int) -> bool:
        """Whether a file whose bytes are these begins with a byte order mark."""
        return bool(self.mark) and data.startswith(self.mark, begin, end)

    def ends(self, data: bytes | memoryview) -> npt.NDArray[np.int64]:
        """For every line that ends in `data`: the position behind its newline."""
        if self.unit == 1 and native.library:
            return find_newlines(data)
        return (np.flatnonzero(self._is_newline(data)) + 1) * self.unit

    def last_end(self, data: bytes) -> int:
        """Where the last whole line of `data` ends; 0 if none does."""
        if self.unit == 1:
            return data.rfind(self.newline) + 1
        ends = self.ends(data)
        return int(ends[-1]) if len(ends) else 0

    def count(self, data: bytes) -> int:
        """How many lines end in `data`."""
        if self.unit == 1 and native.library:
            return count_newlines(data)
        return int(np.count_nonzero(self._is_newline(data)))

    def _is_newline(self, data: bytes | memoryview) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self._units(data) == 10
        return found

    def _units(self, data: bytes | memoryview) -> npt.NDArray[np.unsignedinteger[npt.NBitBase]]:
        kind = {1: "u1", 2: "<u2" if self.newline[0] else ">u2"}[self.unit]
        return np.frombuffer(memoryview(data)[: len(data) // self.unit * self.unit], kind)

    def filler(self, data: bytes) -> int:
        """How many bytes of U+0000 `data` begins with."""
        if not data.startswith(b"\0" * self.unit):
            return 0
        return (len(data) - len(data.lstrip(b"\0"))) // self.unit * self.unit

    def begin_with_filler(
        self, data: bytes, places: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """At which of these places in `data` a U+0000 is."""
        every = np.frombuffer(data, np.uint8)
        found: npt.NDArray[np.bool_] = every.take(places, mode="clip") == 0
        if self.unit > 1:
            found &= every.take(places + 1, mode="clip") == 0
        return found

    def find_filler(self, data: bytes, first: int = 0) -> int:
        """Where the first U+0000 from `first` on is; the length of `data` if there is none."""
        if self.unit == 1:
            found = data.find(b"\0", first)
            return len(data) if found < 0 else found
        where = np.flatnonzero(self._units(memoryview(data)[first:]) == 0)
        return first + int(where[0]) * self.unit if len(where) else len(data)

    def without_end(self, line: bytes) -> bytes:
        """One line without its line end (LF or CRLF)."""
        if len(line) % self.unit:
            return line  # cut within a character: what looks like a newline may be two halves
        return line.removesuffix(self.newline).removesuffix(self.carriage_return)

    def to_utf8(self, data: bytes, starts: npt.NDArray[np.int64]) -> bytes:
        """Lines as UTF-8; of one that is not of this encoding, each byte but its end is a `?`.

        `starts` holds where each line begins in `data`, and where the last one ends.
        """
        return b"".join(self._pieces(data, starts))

    def _pieces(self, data: bytes, starts: npt.NDArray[np.int64]) -> Iterator[bytes]:
        piece = data[starts[0] : starts[-1]]
        text = self._decoded(piece)
        if text is not None:
            yield piece if self.is_utf8 else text.encode()
        elif len(starts) == 2:
            raw = self.without_end(piece)
            yield b"?" * len(raw) + piece[len(raw) :].decode(self.name).encode()
        else:
            # Halving: a few bad lines cost little more than none, and many not their square.
            middle = len(starts) // 2
            yield from self._pieces(data, starts[: middle + 1])
            yield from self._pieces(data, starts[middle:])

    def _decoded(self, piece: bytes) -> str | None:
        try:
            return piece.decode(self.name)
        except UnicodeDecodeError:
            return None


UTF_8 = Encoding()
