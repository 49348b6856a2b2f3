"""One growing file: how far it has been read, and which whole lines wait in it."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from connectors.batch import Evidence, Segment
from connectors.sources.evidence import fits, observe

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """When a batch is complete: `lines` or `bytes` are there, or one has waited `seconds`."""

    lines: int = 100_000
    bytes: int = 12 * 1024 * 1024
    seconds: float = 1.0


@dataclass(eq=False)
class TailedFile:
    """A file and the state of reading it; not safe for use by several threads at once.

    Everything before `position` has been handed out, everything before `stored` is in the store. Up
    to `scanned` newlines have been counted: `complete` is where the last whole line ends, `lines`
    how many wait before it. `evidence` belongs to `position`. While `busy`, a batch of it is on its
    way.
    """

    file_id: int
    path: str
    device: int
    inode: int
    limits: Limits
    follow: bool
    position: int = 0
    line: int = 0
    evidence: Evidence | None = None
    stored: int = 0
    size: int = 0
    scanned: int = 0
    complete: int = 0
    lines: int = 0
    busy: bool = False
    is_link: bool = False
    noticed: deque[tuple[int, float]] = field(default_factory=deque)

    @classmethod
    def at(cls, segment: Segment, limits: Limits, follow: bool) -> TailedFile:
        """The file that a ledger knows by its last segment, before it has been found again."""
        file = cls(segment.file_id, segment.path, 0, segment.evidence.inode, limits, follow)
        file.move_to(segment)
        file.stored = segment.end
        return file

    @property
    def is_full(self) -> bool:
        """Whether so much is unread that lines need not be counted before they are read."""
        return self.size - self.position >= self.limits.bytes > self.scanned - self.position

    @property
    def is_readable(self) -> bool:
        """Whether a whole line waits."""
        return self.complete > self.position or self.is_full

    @property
    def behind(self) -> int:
        """Bytes of whole lines that are not stored yet."""
        return max(0, (self.size if self.is_full else self.complete) - self.stored)

    def waiting_since(self, position: int) -> float | None:
        """When the first byte after `position` was noticed (`time.monotonic`)."""
        return next((when for size, when in self.noticed if size > position), None)

    def grew(self, size: int, when: float) -> None:
        """Note that the file has `size` bytes now."""
        if size > self.size:
            self.size = size
            self.noticed.append((size, when))

    def move_to(self, segment: Segment) -> None:
        """Continue behind `segment`."""
        self.position = segment.end
        self.line = segment.first_line + segment.lines
        self.evidence = segment.evidence
        self.lines = max(0, self.lines - segment.lines)
        self.complete = max(self.complete, self.position)
        if self.scanned <= self.position:
            self.scanned = self.complete = self.position
            self.lines = 0

    def store(self, segment: Segment) -> None:
        """Note that `segment` is in the store."""
        self.stored = segment.end
        while self.noticed and self.noticed[0][0] <= segment.end:
            self.noticed.popleft()

    def count(self) -> None:
        """Count the whole lines that wait, up to a batch's worth; seek the end of a longer line.

        Raises `OSError` if the file cannot be read.
        """
        if self.is_full or self.scanned >= self.size:
            return
        with self.open() as fd:
            self._scan(fd)

    def _scan(self, fd: int) -> None:
        while self.scanned < self.size and (
            self.scanned < self.position + self.limits.bytes or self.complete <= self.position
        ):
            chunk = os.pread(fd, min(_CHUNK, self.size - self.scanned), self.scanned)
            if not chunk:
                break
            self.lines += chunk.count(b"\n")
            last = chunk.rfind(b"\n") + 1
            if last:
                self.complete = self.scanned + last
            self.scanned += len(chunk)
        if not self.follow and self.scanned == self.size > self.complete:
            # Nobody is going to write the end of the last line.
            self.complete = self.size
            self.lines += 1

    def read(self, room_bytes: int, room_lines: int) -> tuple[bytes, Segment] | None:
        """The next whole lines, as many as there is room for; None if there is none. Does not move.

        A line that is longer than a batch is read whole, when all of a batch's room is left. Raises
        `OSError`.
        """
        with self.open() as fd:
            end = self.size if self.is_full else self.complete
            data = os.pread(fd, min(room_bytes, end - self.position), self.position)
            if self.position + len(data) != self.complete:
                data = data[: data.rfind(b"\n") + 1]
            if not data and room_bytes >= self.limits.bytes:
                # A single line is longer than a batch.
                self.scanned = max(self.scanned, min(self.size, self.position + room_bytes))
                self._scan(fd)
                data = os.pread(fd, self.complete - self.position, self.position)
            if not data:
                return None
            is_newline = np.frombuffer(data, np.uint8) == ord("\n")
            lines = int(np.count_nonzero(is_newline)) + (not data.endswith(b"\n"))
            if lines > room_lines:
                lines = room_lines
                data = data[: int(np.flatnonzero(is_newline)[lines - 1]) + 1]
            return data, self._segment(fd, self.position + len(data), lines)

    def read_again(self, segment: Segment) -> bytes:
        """The bytes of an earlier segment. Raises `OSError`, also if they are gone."""
        with self.open() as fd:
            data = os.pread(fd, segment.end - segment.start, segment.start)
        if len(data) < segment.end - segment.start:
            raise _replaced(self.path)
        return data

    def end_of_last_line(self) -> Segment:
        """An empty segment behind the last whole line. Raises `OSError`."""
        with self.open() as fd:
            end = self.size
            while end:
                start = max(0, end - _CHUNK)
                last = os.pread(fd, end - start, start).rfind(b"\n") + 1
                end = start + last
                if last:
                    break
            return self._segment(fd, end, 0, start=end)

    @contextmanager
    def open(self) -> Iterator[int]:
        """A descriptor of this very file. Raises `OSError`, also if its path leads to another."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != (self.device, self.inode) or not self.is_at(fd):
                raise _replaced(self.path)
            yield fd
        except OSError as error:
            error.filename = self.path  # reading does not say of which file
            raise
        finally:
            os.close(fd)

    def is_at(self, fd: int) -> bool:
        """Whether an open file has, before `position`, what has been read of this one."""
        return self.evidence is None or fits(fd, self.evidence, self.position)

    def _segment(self, fd: int, end: int, lines: int, start: int | None = None) -> Segment:
        shown = os.fsencode(self.path).decode(errors="backslashreplace")
        begin = self.position if start is None else start
        evidence = observe(fd, self.inode, end)
        return Segment(self.file_id, shown, begin, end, self.line, lines, evidence)


def _replaced(path: str) -> OSError:
    return FileNotFoundError(errno.ENOENT, "other content has taken its place", path)
