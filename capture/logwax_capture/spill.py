"""Entries in files of a directory, for as long as they cannot go where they belong."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

SUFFIX = ".spill"


def state_directory(name: str) -> Path:
    """Where programs keep what outlives a start: the XDG Base Directory Specification."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "logwax" / name


class Spill:
    """One file a process, a line of JSON an entry; what a process leaves, another one takes up.

    A process holds a lock on its file (flock), which ends with it, however it ends. Whoever gets
    the lock of a file empties it and deletes it. An entry may be handed out twice, if a process
    dies between the two: so entries carry an id. Several threads may use it. Raises `OSError`.

    `damaged` counts lines that are none any more: the machine stopped in the midst of one.
    """

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self.damaged = 0
        self._directory = directory
        self._most = most_bytes
        self._lock = threading.Lock()
        self._open: tuple[int, Path] | None = None
        self._is_emptied = False

    def has_own(self) -> bool:
        """Whether entries of this process are in it that nobody has taken to the end."""
        return self._open is not None or self._is_emptied

    def append(self, entries: Sequence[Entry]) -> bool:
        """Write the entries, which are in the kernel then; False: there is no room for them."""
        lines = "".join(f"{json.dumps(entry, default=str)}\n" for entry in entries).encode()
        with self._lock:
            self._open = self._open or self._make()
            file, _ = self._open
            size = os.fstat(file).st_size
            if size + len(lines) > self._most:
                return False
            try:
                while lines:
                    lines = lines[os.write(file, lines) :]
            except OSError:
                os.ftruncate(file, size)  # no half line, to which another one is appended
                raise
        return True

    def take(self, most: int) -> Iterator[list[Entry]]:
        """The entries of this process and of those that died, at most so many at a time.

        A file is deleted when the caller asks for what comes behind it.
        """
        with self._lock:
            self._is_emptied = self._open is not None
            own, self._open = self._open, None
        if own is not None:
            yield from self._empty(*own, most)
            self._is_emptied = False
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            file = _locked(path)
            if file is not None:
                yield from self._empty(file, path, most)

    def forget(self) -> None:
        """In a forked process: the file is the parent's."""
        inherited, self._open, self._lock = self._open, None, threading.Lock()
        self._is_emptied = False
        if inherited is not None:
            os.close(inherited[0])

    def _make(self) -> tuple[int, Path]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        return file, path

    def _empty(self, file: int, path: Path, most: int) -> Iterator[list[Entry]]:
        with os.fdopen(file, "rb") as lines:
            lines.seek(0)
            entries: list[Entry] = []
            for line in lines:
                try:
                    entries.append(json.loads(line))
                except ValueError:
                    self.damaged += 1
                if len(entries) >= most:
                    yield entries
                    entries = []
            if entries:
                yield entries
            path.unlink(missing_ok=True)


def _locked(path: Path) -> int | None:
    """The open file, with its lock; None: it is another process's, or gone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass  # it is in use, or was emptied just now
    os.close(file)
    return None
