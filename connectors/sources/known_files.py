"""Which files there are, and how far the ledger says each has been handed out: for commands."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from connectors.batch import Segment
from connectors.encodings import Encoding
from connectors.sources.catalog import Positions
from connectors.sources.content import Content, open_content
from connectors.sources.evidence import REACH
from connectors.sources.names import Names
from connectors.sources.roster import Absent, Roster, recognise
from connectors.sources.tailed_file import Limits, TailedFile

_STEP = 1024 * 1024


@dataclass(frozen=True)
class KnownFile:
    """A file that the globs cover or the ledger knows.

    `path` is where it is now (empty: nowhere), `size` its plain bytes there. The ledger says that
    the bytes before `stored` were handed out, and that reading began at `begins`. `file_id` 0: the
    ledger does not know it, or only as a copy of what is stored.
    """

    file_id: int
    path: str
    size: int
    stored: int
    begins: int
    key: tuple[int, int] = field(default=(0, 0), repr=False)

    @contextmanager
    def open(self) -> Iterator[Content]:
        """Its bytes. Raises `OSError`, also if its path leads to another file by now."""
        content = open_content(self.path)
        try:
            if content.key != self.key:
                raise FileNotFoundError(0, "another file has taken its place", self.path)
            yield content
        finally:
            content.close()


def known_files(
    patterns: Sequence[str], positions: Positions, begins: Mapping[int, int]
) -> list[KnownFile]:
    """Every file that the globs cover or the ledger knows, sorted by path, then those not there.

    `begins` says for some files where reading began. A file that must not be read is like one that
    the ledger does not know. Nothing is recorded.
    """
    names, known = Names(patterns), positions.ledger().files
    roster = Roster(
        names,
        Limits(),
        Encoding(),
        _Untouched(positions),
        mint=lambda key, head, enough, is_taken: 0,
        say=lambda problem: None,
        follow=False,
    )
    roster.know(known)
    roster.look()
    found = {file.key: _known_file(file, begins) for file in roster}
    for path in names.expand():
        with suppress(OSError):  # files may vanish
            seen = os.stat(path)
            key = (seen.st_dev, seen.st_ino)
            if stat.S_ISREG(seen.st_mode) and seen.st_size:
                found.setdefault(key, KnownFile(0, path, seen.st_size, 0, 0, key))
    roster.close()
    there = {file.file_id for file in found.values()}
    gone = [
        KnownFile(segment.file_id, "", 0, segment.end, begins.get(segment.file_id, 0))
        for segment in known
        if segment.file_id not in there
    ]
    return [*sorted(found.values(), key=lambda file: file.path), *gone]


def _known_file(file: TailedFile, begins: Mapping[int, int]) -> KnownFile:
    begin = begins.get(file.file_id, 0) if file.file_id else file.position
    size = plain_size(file.content) if file.content and file.is_compressed else file.size
    return KnownFile(file.file_id, file.path, size, file.position, begin, file.key)


def plain_size(content: Content) -> int:
    """Bytes in a file; a compressed one is read for it, unless it says so itself."""
    at = 0
    while (size := content.size()) is None:
        at += len(content.read(_STEP, at))
    return size


def recognise_one(known: Iterable[Segment], content: Content, path: str) -> Segment | None:
    """The last segment of the file with this content, or None if the ledger does not know it."""
    absent, segments = Absent(), {segment.file_id: segment for segment in known}
    for segment in segments.values():
        absent.add(TailedFile.at(segment, Limits(), Encoding()))
    file = recognise(absent, content, content.read(REACH, 0), path)
    return segments[file.file_id] if file else None


def is_covered(patterns: Sequence[str], key: tuple[int, int]) -> bool:
    """Whether the globs lead to the file with this device and inode, under whatever name."""
    for path in Names(patterns).expand():
        with suppress(OSError):
            found = os.stat(path)
            if (found.st_dev, found.st_ino) == key:
                return True
    return False


class _Untouched:
    """Positions that are asked, and not changed."""

    def __init__(self, positions: Positions) -> None:
        self.before = positions.before
        self.offsets = positions.offsets

    def start_at(self, files: Sequence[Segment]) -> None:
        """It is not recorded."""
