"""How fast the lines of each file are stored, and how many of them are dead letters."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from connectors.batch import Span

SECONDS = 30.0
"""Lines count the less for the rate the longer ago they were stored: after so long 1/e."""

_MOST = 20_000  # files; those that were read longest ago are forgotten


@dataclass
class FileRate:
    """Of one file since the start of this process: lines, dead letters, lines a second by now."""

    lines: int = 0
    dead: int = 0
    rate: float = 0.0
    when: float = 0.0

    def at(self, now: float) -> float:
        """The rate at a moment of `time.monotonic`."""
        return self.rate * math.exp((self.when - now) / SECONDS)


class FileRates:
    """Those of all files, counted batch by batch; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[int, FileRate] = OrderedDict()

    def add(self, spans: Iterable[Span], letters: pl.DataFrame) -> None:
        """Count a batch that is stored, and its dead letters."""
        now = time.monotonic()
        with self._lock:
            for span in spans:
                found = self._files.setdefault(span.stream.id, FileRate(when=now))
                found.rate = found.at(now) + span.records / SECONDS
                found.when = now
                found.lines += span.records
                self._files.move_to_end(span.stream.id)
            if len(letters):
                for file_id, count in letters["file_id"].value_counts().iter_rows():
                    self._files.setdefault(file_id, FileRate(when=now)).dead += count
            while len(self._files) > _MOST:
                self._files.popitem(last=False)

    def of(self, file_id: int) -> FileRate:
        """Those of one file, as of now; zeros if it was not read."""
        with self._lock:
            found = self._files.get(file_id, FileRate())
            now = time.monotonic()
            return FileRate(found.lines, found.dead, found.at(now), now)
