"""Which files there are, and how far the ledger says each has been handed out: for commands.

The one place where commands touch what the tail is made of.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from connectors.batch import Evidence, Segment
from connectors.sources.catalog import Catalog, Positions, _expand
from connectors.sources.evidence import REACH, digest
from connectors.sources.files import FileSource
from connectors.sources.tailed_file import TailedFile


class PlainBytes(Protocol):
    """An open file, as the bytes that were written to it, whatever it is compressed by."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; less only at the end. Raises `OSError`."""


@dataclass(frozen=True)
class KnownFile:
    """A file that the globs cover or the ledger knows.

    `path` is where it is now (empty: nowhere), `size` its bytes there. The ledger says that the
    bytes before `stored` were handed out, and that reading began at `begins`. `file_id` 0: the
    ledger does not know it.
    """

    file_id: int
    path: str
    size: int
    stored: int
    begins: int
    place: tuple[int, int] = field(default=(0, 0), repr=False)

    @contextmanager
    def open(self) -> Iterator[PlainBytes]:
        """Its bytes. Raises `OSError`, also if its path leads to another file by now."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != self.place:
                raise FileNotFoundError(0, "another file has taken its place", self.path)
            yield Descriptor(fd)
        finally:
            os.close(fd)


@dataclass(frozen=True)
class Descriptor:
    """`PlainBytes` of a file that is not compressed."""

    fd: int

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; less only at the end. Raises `OSError`."""
        return os.pread(self.fd, size, offset)


def known_files(
    patterns: Sequence[str], positions: Positions, begins: Mapping[int, int]
) -> list[KnownFile]:
    """Every file that the globs cover or the ledger knows, sorted by path, then those not there.

    `begins` says for some files where reading began. A file that must not be read is like one that
    the ledger does not know.
    """
    known = positions.ledger().files
    recognise = Recogniser(known)
    candidates = {path: None for pattern in patterns for path in _expand(pattern)}
    candidates |= {os.fsdecode(segment.path): None for segment in known}
    found: dict[tuple[int, int], KnownFile] = {}
    for path in candidates:
        try:
            seen = os.stat(path)
            place = (seen.st_dev, seen.st_ino)
            if place in found or not stat.S_ISREG(seen.st_mode) or not seen.st_size:
                continue
            fd = os.open(path, os.O_RDONLY)
        except PermissionError:
            found[place] = KnownFile(0, path, seen.st_size, 0, 0, place)
            continue
        except OSError:
            continue
        try:
            segment = recognise(Descriptor(fd), seen.st_size, seen.st_ino, path)
        finally:
            os.close(fd)
        file_id, stored = (segment.file_id, segment.end) if segment else (0, 0)
        found[place] = KnownFile(file_id, path, seen.st_size, stored, begins.get(file_id, 0), place)
    there = {file.file_id for file in found.values()}
    gone = [
        KnownFile(segment.file_id, "", 0, segment.end, begins.get(segment.file_id, 0))
        for segment in known
        if segment.file_id not in there
    ]
    return [*sorted(found.values(), key=lambda file: file.path), *gone]


def is_covered(patterns: Sequence[str], status: os.stat_result) -> bool:
    """Whether the globs lead to the file with this status, under whatever name."""
    place = (status.st_dev, status.st_ino)
    for pattern in patterns:
        for path in _expand(pattern):
            with suppress(OSError):
                found = os.stat(path)
                if (found.st_dev, found.st_ino) == place:
                    return True
    return False


class Recogniser:
    """Finds the ledger's last segment of a file by its content; each segment once."""

    def __init__(self, known: Iterable[Segment]) -> None:
        self._by_head: dict[tuple[int, int], list[Segment]] = {}
        for segment in known:
            head = (segment.evidence.head_length, segment.evidence.head_hash)
            self._by_head.setdefault(head, []).append(segment)

    def __call__(self, data: PlainBytes, size: int, inode: int, path: str) -> Segment | None:
        """The last segment of this file, or None if the ledger does not know it."""
        start = data.pread(REACH, 0)
        heads = [(n, digest(start[:n])) for n in {length for length, _ in self._by_head}]
        same_head = [s for head in heads for s in self._by_head.get(head, ()) if s.end <= size]
        same_head.sort(key=lambda s: s.end)  # a compressed file is read forwards
        fitting = [
            s
            for s in same_head
            if digest(data.pread(s.evidence.head_length, s.end - s.evidence.head_length))
            == s.evidence.tail_hash
        ]
        if not fitting:
            return None
        best = max(fitting, key=lambda s: (s.evidence.inode == inode, s.path == path, s.end))
        self._by_head[best.evidence.head_length, best.evidence.head_hash].remove(best)
        return best


def observe(data: PlainBytes, inode: int, position: int) -> Evidence:
    """The evidence of a file up to `position`."""
    length = min(REACH, position)
    head, tail = data.pread(length, 0), data.pread(length, position - length)
    return Evidence(inode, length, digest(head), digest(tail))


class Tail:
    """What the commands need of the source that runs in the same process."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def stored(self) -> dict[int, int]:
        """How far each file is stored and acknowledged, not merely recorded."""
        with self._catalog._lock:
            files = [*self._catalog._by_path.values()]
            return {file.file_id: file.stored for file in files}

    def expect(self, segment: Segment) -> None:
        """From now on know a file whose position was chosen, should it turn up."""
        catalog = self._catalog
        with catalog._lock:
            catalog._miss(TailedFile.at(segment, catalog._limits, catalog._follow))


def tail_of(source: FileSource) -> Tail:
    """The tail of a source that is made."""
    return Tail(source._catalog)
