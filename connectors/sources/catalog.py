"""Which files there are, and whose bytes make the next batch."""

from __future__ import annotations

import glob
import os
import secrets
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from connectors.batch import Batch, BlockId, Segment
from connectors.sources.evidence import REACH, digest
from connectors.sources.tailed_file import Limits, TailedFile
from connectors.sources.watcher import Watcher
from connectors.status import SourceStatus
from connectors.store import Ledger

SCAN_SECONDS = 2.0
"""How often all names and sizes are looked at, whatever the events say."""


class Positions(Protocol):
    """The part of a store that a file source needs."""

    def ledger(self) -> Ledger:
        """What is known of the files."""

    def start_at(self, files: Sequence[Segment]) -> None:
        """Record positions that were chosen, not read."""


class Catalog:
    """The files of one process, shared by its workers; every method may be called from any thread.

    A file is with one worker at a time, and its next bytes are handed out only after the last ones
    are stored, so that the blocks of a file are written in order. Files whose lines have waited
    longest go first. A file is known again by its content (`evidence.py`), whatever its path is by
    then.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        positions: Positions | None,
        limits: Limits,
        *,
        follow: bool,
        from_end: bool,
    ) -> None:
        self._patterns = patterns
        self._limits = limits
        self._follow = follow
        self._lock = threading.Lock()
        self._by_path: dict[str, TailedFile] = {}
        self._by_inode: dict[tuple[int, int], TailedFile] = {}
        self._absent: dict[tuple[int, int], list[TailedFile]] = {}
        self._problems: dict[str, str] = {}
        self._next_scan = 0.0
        self._watcher = Watcher() if follow else None
        ledger = positions.ledger() if positions else Ledger((), {}, True)
        for segment in ledger.files:
            self._miss(TailedFile.at(segment, limits, follow))
        self._in_doubt: dict[BlockId, Sequence[Segment]] = dict(ledger.in_doubt)
        self._look()
        if positions and ledger.is_new:
            positions.start_at(self._skip_what_is_there() if from_end else [])
        for missing in self._missing():
            print(missing, file=sys.stderr)

    def collect(self) -> Batch | None:
        """The next batch, read and claimed, or None if none is due yet."""
        with self._lock:
            if self._follow:
                self._look()
            doubtful = self._choose_in_doubt()
            files = doubtful[1] if doubtful else self._choose()
            for file in files:
                file.busy = True
        if not doubtful:
            return self._read_next(files)
        try:
            return self._read_again(*doubtful)
        except OSError as error:
            with self._lock:
                self._release(files)
                self._report(error)
            return None

    def due_in(self) -> float | None:
        """Seconds until a batch may be due by its age; None: nothing is waiting."""
        with self._lock:
            since = [
                when
                for file in self._by_path.values()
                if not file.busy
                and file.is_readable
                and (when := file.waiting_since(file.position)) is not None
            ]
        return max(0.0, min(since) + self._limits.seconds - time.monotonic()) if since else None

    def exhausted(self) -> bool:
        """Whether everything that was there is stored (when not following)."""
        with self._lock:
            return not any(file.busy or file.is_readable for file in self._by_path.values())

    def status(self) -> SourceStatus:
        """Files, and how far the store is behind them."""
        now = time.monotonic()
        with self._lock:
            behind = [file for file in self._by_path.values() if file.behind]
            return SourceStatus(
                files=len(self._by_path),
                lag_bytes=sum(file.behind for file in behind),
                lag_seconds=max(
                    (now - (file.waiting_since(file.stored) or now) for file in behind), default=0.0
                ),
                problems=(*self._problems.values(), *self._missing()),
            )

    def close(self) -> None:
        """Stop watching."""
        if self._watcher:
            self._watcher.close()

    # Looking: names, identities, sizes. With the lock held.

    def _look(self) -> None:
        now = time.monotonic()
        grown, renamed = self._watcher.take() if self._watcher else ({}, True)
        if renamed or now >= self._next_scan:
            self._next_scan = now + SCAN_SECONDS
            if self._watcher:
                self._watcher.watch(_directories(self._patterns))
            # Known names first: a file that was renamed is found under its new name only when its
            # old one has been given up.
            known = list(self._by_path)
            new = {path for pattern in self._patterns for path in _expand(pattern)}.difference(
                known
            )
            for path in (*known, *sorted(new)):
                self._look_at(path, now)
            return
        blind = self._watcher is None or self._watcher.blind
        for path, file in list(self._by_path.items()):
            if (
                blind or path in grown or file.is_link
            ):  # events of a link's target have another name
                self._look_at(path, grown.get(path, now))

    def _look_at(self, path: str, now: float) -> None:
        file = self._by_path.get(path)
        try:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "not a regular file", path)
        except OSError as error:
            self._report(error)
            return
        if file and (
            (file.device, file.inode) != (found.st_dev, found.st_ino) or found.st_size < file.size
        ):
            if not self._give_up(file):
                return
            file = None
        if file is None:
            try:
                file = self._recognise(path, found)
            except OSError as error:
                self._report(error)
        if file:
            file.grew(found.st_size, now)

    def _recognise(self, path: str, found: os.stat_result) -> TailedFile | None:
        """The file at `path`: one that was read before, or a new one.

        None for an empty file, and for a second name of a file that is read already.
        """
        key = (found.st_dev, found.st_ino)
        if key in self._by_inode or not found.st_size:
            return None
        fd = os.open(path, os.O_RDONLY)
        try:
            head = os.pread(fd, REACH, 0)
            heads = [(length, digest(head[:length])) for length in {n for n, _ in self._absent}]
            known = [
                (absent, file)
                for absent in heads
                for file in self._absent.get(absent, ())
                if file.position <= found.st_size and file.is_at(fd)
            ]
        finally:
            os.close(fd)
        if known:
            absent, file = max(
                known,
                key=lambda k: (k[1].inode == found.st_ino, k[1].path == path, k[1].position),
            )
            self._absent[absent].remove(file)
            file.path, (file.device, file.inode) = path, key
        else:
            file_id = secrets.randbits(63)
            file = TailedFile(file_id, path, *key, self._limits, self._follow)
        file.is_link = os.path.islink(path)
        self._problems.pop(path, None)
        self._by_path[path] = self._by_inode[key] = file
        return file

    def _give_up(self, file: TailedFile) -> bool:
        """The path leads to other content now, or nowhere. False: later, a batch is on its way."""
        if file.busy:
            self._next_scan = 0.0
            return False
        del self._by_path[file.path]
        del self._by_inode[file.device, file.inode]
        if file.position:
            self._miss(file)
        return True

    def _miss(self, file: TailedFile) -> None:
        """Wait for the content of `file` to turn up under some path."""
        assert file.evidence, "a position has evidence"
        file.size = file.scanned = file.complete = file.position
        file.lines = 0
        file.noticed.clear()
        head = (file.evidence.head_length, file.evidence.head_hash)
        self._absent.setdefault(head, []).append(file)

    def _report(self, error: OSError) -> None:
        """Say once, on stderr and in the status, what cannot be read; files may well vanish."""
        path = str(error.filename)
        gone = isinstance(error, FileNotFoundError)
        file = self._by_path.get(path)
        if file and (gone or not self._follow):
            self._give_up(file)
        if gone and self._follow:
            self._problems.pop(path, None)
            self._next_scan = 0.0
            return
        problem = f"cannot read {path!r}: {error.strerror}"
        if self._problems.get(path) != problem:
            self._problems[path] = problem
            print(problem, file=sys.stderr)

    def _missing(self) -> list[str]:
        """What cannot be settled, because the file is not there."""
        found = {file.file_id for file in self._by_path.values()}
        return [
            f"{segment.path!r} is not there, and it is not known whether its bytes from "
            f"{segment.start} to {segment.end} are stored"
            for segments in self._in_doubt.values()
            for segment in segments
            if segment.file_id not in found
        ]

    def _skip_what_is_there(self) -> list[Segment]:
        segments = []
        for file in self._by_path.values():
            try:
                segment = file.end_of_last_line()
            except OSError as error:
                self._report(error)
                continue
            if segment.end:
                file.move_to(segment)
                file.store(segment)
                segments.append(segment)
        return segments

    # Choosing, with the lock held, and reading, without

    def _choose(self) -> list[TailedFile]:
        """The files that make the next batch: those that are due, or all if they are enough."""
        now = time.monotonic()
        waiting: list[tuple[float, TailedFile]] = []
        for file in list(self._by_path.values()):
            if file.busy:
                continue
            try:
                file.count()
            except OSError as error:
                self._report(error)
                continue
            if file.is_readable:
                waiting.append((file.waiting_since(file.position) or now, file))
        waiting.sort(key=lambda item: item[0])
        due = [f for since, f in waiting if not self._follow or now - since >= self._limits.seconds]
        if due:
            return due
        files = sorted((file for _, file in waiting), key=lambda f: f.position - f.size)
        enough = (
            sum(file.size - file.position for file in files) >= self._limits.bytes
            or sum(file.lines for file in files) >= self._limits.lines
        )
        return files if enough else []

    def _choose_in_doubt(self) -> tuple[BlockId, list[TailedFile], Sequence[Segment]] | None:
        if not self._in_doubt:
            return None
        by_id = {file.file_id: file for file in self._by_path.values() if not file.busy}
        for block, segments in self._in_doubt.items():
            if all(segment.file_id in by_id for segment in segments):
                return block, [by_id[segment.file_id] for segment in segments], segments
        return None

    def _read_next(self, files: list[TailedFile]) -> Batch | None:
        parts: list[bytes] = []
        taken: list[tuple[TailedFile, Segment]] = []
        room_bytes, room_lines = self._limits.bytes, self._limits.lines
        failed: list[OSError] = []
        for file in files:
            if room_bytes <= 0 or room_lines <= 0:
                break
            try:
                found = file.read(room_bytes, room_lines)
            except OSError as error:
                failed.append(error)
                continue
            if found:
                data, segment = found
                parts.append(data)
                taken.append((file, segment))
                room_bytes -= len(data)
                room_lines -= segment.lines
        with self._lock:
            self._release(files)
            for file, segment in taken:
                file.move_to(segment)
                file.busy = True
            for failure in failed:
                self._report(failure)
        if not taken:
            return None
        segments = tuple(segment for _, segment in taken)
        return Batch(segments, b"".join(parts), acknowledge=self._when_stored(taken))

    def _when_stored(self, taken: list[tuple[TailedFile, Segment]]) -> Callable[[], None]:
        def acknowledge() -> None:
            with self._lock:
                for file, segment in taken:
                    file.store(segment)
                    file.busy = False

        return acknowledge

    def _read_again(
        self, block: BlockId, files: list[TailedFile], segments: Sequence[Segment]
    ) -> Batch:
        data = b"".join(
            file.read_again(segment) for file, segment in zip(files, segments, strict=True)
        )

        def acknowledge() -> None:
            with self._lock:
                self._release(files)
                self._in_doubt.pop(block, None)

        return Batch(tuple(segments), data, in_doubt=block, acknowledge=acknowledge)

    def _release(self, files: Iterable[TailedFile]) -> None:
        for file in files:
            file.busy = False


def _expand(pattern: str) -> Iterable[str]:
    return (os.path.abspath(path) for path in glob.iglob(pattern, recursive=True))


def _directories(patterns: Iterable[str]) -> dict[str, bool]:
    """The directories to watch, and whether those below them count."""
    directories: dict[str, bool] = {}
    for pattern in patterns:
        parent = os.path.dirname(pattern)
        deep = glob.has_magic(parent)
        while glob.has_magic(parent):
            parent = os.path.dirname(parent)
        parent = os.path.abspath(parent)
        directories[parent] = directories.get(parent, False) or deep
    return directories
