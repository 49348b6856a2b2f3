"""Which files there are, and how far the ledger says each has been handed out: for commands."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from connectors.batch import Span
from connectors.encodings import Encoding
from connectors.sources.catalog import Positions
from connectors.sources.content import Content, open_content
from connectors.sources.endings import Endings
from connectors.sources.file_list import Files
from connectors.sources.names import Names, of_record
from connectors.sources.tailed_file import Limits, TailedFile

_STEP = 1024 * 1024


@dataclass(frozen=True)
class KnownFile:
    """A file that the globs cover or the ledger knows.

    `path` is where it is now (empty: nowhere), `size` its plain bytes there. The ledger says that
    the bytes before `stored` were handed out, and that reading began at `begins`. `file_id` 0: the
    ledger does not know it, or only as a copy of what is stored. `name` is what the ledger calls
    it. `refused`: why nothing of it is read. `is_outside`: no glob covers it.
    """

    file_id: int
    path: str
    size: int
    stored: int
    begins: int
    key: tuple[int, int] = field(default=(0, 0), repr=False)
    name: str = ""
    refused: str = ""
    is_outside: bool = False

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
    patterns: Sequence[str],
    positions: Positions,
    begins: Mapping[int, int],
    archives: Path | None = None,
) -> list[KnownFile]:
    """Every file that the globs cover or the ledger knows, sorted by path, then those not there.

    `begins` says for some files where reading began; `archives` is that of the source. A file that
    must not be read is like one that the ledger does not know. One that no glob covers is there if
    it is where it was when it was read. Nothing is recorded.
    """
    names, known = Names(patterns), positions.ledger().of("file").files
    files = _file_list(names, positions, archives)
    files.know(known)
    files.poll()
    endings = Endings(archives, say=lambda problem: None)
    found = {file.key: _known_file(file, begins, endings) for file in files}
    refused = files.refused
    for path in names.expand():
        with suppress(OSError):  # files may vanish
            seen = os.stat(path)
            key = (seen.st_dev, seen.st_ino)
            if stat.S_ISREG(seen.st_mode) and seen.st_size:
                size = 0 if path in refused else seen.st_size
                other = KnownFile(0, path, size, 0, 0, key, path, refused.get(path, ""))
                found.setdefault(key, other)
    files.close()
    there = {file.file_id for file in found.values()}
    gone = []
    for span in known:
        if span.stream.id not in there:
            begin = begins.get(span.stream.id, 0)
            covered = names.cover(of_record(span.stream.name))
            file = None if covered else _outside(span, begin, endings)
            if file:
                found.setdefault(file.key, file)
            else:
                lost = KnownFile(span.stream.id, "", 0, span.end, begin, name=span.stream.name)
                gone.append(lost)
    return [*sorted(found.values(), key=lambda file: file.path), *gone]


def _file_list(names: Names, positions: Positions, archives: Path | None) -> Files:
    return Files(
        names,
        Limits(),
        Encoding(),
        _Untouched(positions),
        mint=lambda key, head, enough, is_taken: 0,
        say=lambda problem: None,
        follow=False,
        archives=archives,
    )


def _known_file(file: TailedFile, begins: Mapping[int, int], endings: Endings) -> KnownFile:
    begin = begins.get(file.file_id, 0) if file.file_id else file.position
    size = file.size
    if file.is_compressed:
        with suppress(OSError), closing(open_content(file.path)) as content:
            size = plain_size(content, endings)
    return KnownFile(file.file_id, file.path, size, file.position, begin, file.key, file.name)


def _outside(span: Span, begin: int, endings: Endings) -> KnownFile | None:
    """A known file that no glob covers, where it was when it was read; None: it is not there."""
    file = TailedFile.at(span, Limits(), Encoding())
    try:
        with closing(open_content(file.path)) as content:
            endings.recall(content)
            if not file.is_at(content):
                return None
            size = plain_size(content, endings)
            return KnownFile(
                file.file_id,
                file.path,
                size,
                file.position,
                begin,
                content.key,
                file.name,
                is_outside=True,
            )
    except OSError:
        return None


def plain_size(content: Content, endings: Endings | None = None) -> int:
    """Bytes in a file; a compressed one is read for it, if it is not known where it ends."""
    if endings:
        endings.recall(content)
    at = 0
    while (size := content.size()) is None:
        at += len(content.read(_STEP, at))
    if endings:
        endings.learn(content)
    return size


def recognise_one(
    known: Sequence[Span], positions: Positions, content: Content, path: str
) -> Span | None:
    """The last span of the file with this content; None: the ledger does not know it.

    Also of one of which this is the beginning only.
    """
    files = _file_list(Names([]), positions, None)
    files.know(known)
    file_id = files.identify(content, path)
    return next((span for span in known if span.stream.id == file_id), None)


def end_of_last_line(content: Content, size: int, encoding: Encoding) -> int:
    """Where the last whole line in the first `size` bytes ends; 0: nowhere."""
    end = size
    while end:
        start = max(0, (end - _STEP) // encoding.unit * encoding.unit)
        last = encoding.last_end(content.read(end - start, start))
        end = start + last
        if last:
            break
    return end


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

    def start_at(self, files: Sequence[Span]) -> None:
        """It is not recorded."""
