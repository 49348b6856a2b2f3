"""Where lines end in bytes of a given encoding, and the same lines as UTF-8."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Encoding:
    """How text is written in files: `name` is a value of `LOG_ENCODING`.

    Lines end with U+000A. In UTF-16 that is two bytes, of which the first must be at an even
    offset in the file: all data given to these methods has to start at one.
    """

    def __init__(self, name: str = "utf-8") -> None:
        self.name = name
        self.newline = "\n".encode(name)

    @property
    def unit(self) -> int:
        """Bytes of a newline: 1, or 2 in UTF-16."""
        return len(self.newline)

    def ends(self, data: bytes) -> npt.NDArray[np.int64]:
        """For every line that ends in `data`: the position behind its newline."""
        kind = {1: "u1", 2: "<u2" if self.newline[0] else ">u2"}[self.unit]
        whole = memoryview(data)[: len(data) // self.unit * self.unit]
        return (np.flatnonzero(np.frombuffer(whole, kind) == 10) + 1) * self.unit

    def last_end(self, data: bytes) -> int:
        """Where the last whole line of `data` ends; 0 if none does."""
        if self.unit == 1:
            return data.rfind(self.newline) + 1
        ends = self.ends(data)
        return int(ends[-1]) if len(ends) else 0

    def count(self, data: bytes) -> int:
        """How many lines end in `data`."""
        return data.count(self.newline) if self.unit == 1 else len(self.ends(data))
