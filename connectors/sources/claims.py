"""Who has a file: claims that hold between the processes of a host, and end with them."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from connectors.sources.evidence import digest

_MINTED = struct.Struct("<QQQHQ")  # device, inode, file_id, length and hash of the first bytes

Key = tuple[int, int]

IsTaken = Callable[[int, Key, bytes], bool]
"""Whether this id, minted for a file with this key and these first bytes, is another file's."""


_NOTE = 24  # bytes of a note; zeros: the file was marked


class ClaimError(OSError):
    """A claim cannot be written: no room, no right, no descriptor. Its file has to wait."""


class Claims:
    """Claims on files, one lock (flock) each, in `directory`.

    A lock is free the moment its process dies. What a lock file holds is a note of its last holder:
    how far the file was stored by then. The same note as one's own says that nobody else has had
    the file since. A note is written over in place, since that needs no room on a full disk. Who
    cannot have a file touches its lock file: its holder sees that by the time of the last change,
    and nothing is left of who asked and died.

    Every method may raise `ClaimError`, except `is_wanted` and `release`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[int, int] = {}
        self._notes: dict[int, bytes] = {}
        self._marked: dict[int, int] = {}  # when, as the lock file says
        self._self = secrets.token_bytes(8)
        self._count = 0

    def take(self, file_id: int) -> bool:
        """Claim a file; False: another process has it, and is asked for it."""
        lock = self._lock(str(file_id), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is None:
            return False
        self._held[file_id] = lock
        return True

    def is_fresh(self, file_id: int) -> bool:
        """Whether nobody else has had a claimed file since this process had it last."""
        return self._note(file_id) == self._notes.get(file_id)

    def left_at(self, file_id: int) -> int:
        """How far a claimed file was stored when its last holder released it.

        -1: the last holder died with it, or is not known.
        """
        note = self._note(file_id)
        return int.from_bytes(note[-8:], "little") if note.strip(b"\0") else -1

    def mark(self, file_id: int) -> None:
        """Say that something is about to happen to a claimed file."""
        with self._trouble():
            lock = self._held[file_id]
            _write(lock, bytes(_NOTE), 0)
            self._marked[file_id] = os.fstat(lock).st_mtime_ns

    def is_wanted(self, file_id: int) -> bool:
        """Whether another process has asked for a file since it was marked; False: it is not."""
        with suppress(KeyError, OSError):
            return os.fstat(self._held[file_id]).st_mtime_ns != self._marked[file_id]
        return False

    def release(self, file_id: int, stored: int) -> None:
        """Let others have a file, if it is claimed, which is `stored` up to there."""
        lock = self._held.pop(file_id, None)
        if lock is None:
            return
        try:
            if self._marked.pop(file_id, None) is not None:
                self._count += 1
                count, end = (number.to_bytes(8, "little") for number in (self._count, stored))
                note = self._self + count + end
                self._notes.pop(file_id, None)
                with suppress(OSError):  # it stays marked: the next holder asks the ledger
                    _write(lock, note, 0)
                    self._notes[file_id] = note
        finally:
            os.close(lock)

    def forget(self, file_id: int) -> None:
        """Remove what was kept for a file that is known no more, unless somebody has it."""
        if self.take(file_id):
            try:
                with self._trouble():
                    (self._directory / str(file_id)).unlink()
            finally:
                self._notes.pop(file_id, None)
                os.close(self._held.pop(file_id))

    def mint(self, key: Key, head: bytes, enough: int, is_taken: IsTaken) -> int:
        """The id of a new file, the same for every process that sees it.

        A file that any process knows under the same `key`, or elsewhere with `enough` of the same
        first bytes, is this one: it was copied or compressed since. The ledger may not know it yet,
        for its bytes may be on their way to the store. `is_taken` knows files that are others:
        inodes are used again, and first bytes may be equal.
        """
        with self._minted() as (lock, whole):
            begins = cache(lambda length: digest(head[:length]))
            like = [
                ((device, inode), file_id)
                for device, inode, file_id, length, said in _MINTED.iter_unpack(whole)
                if ((device, inode) == key or length >= enough)
                and length <= len(head)
                and begins(length) == said
                and not is_taken(file_id, (device, inode), head[:length])
            ]
            if like:  # the youngest, if its key does not say which
                return int(max(reversed(like), key=lambda found: found[0] == key)[1])
            file_id = new_id()
            with self._trouble():
                _write(lock, _entry(key, file_id, head), len(whole))
            return file_id

    def learn(self, key: Key, file_id: int, head: bytes) -> None:
        """Know a file by these first bytes, too: there were fewer when its id was minted."""
        with self._minted() as (lock, whole), self._trouble():
            _write(lock, _entry(key, file_id, head), len(whole))

    @contextmanager
    def _minted(self) -> Iterator[tuple[int, bytes]]:
        """The file of all ids and its whole entries, for this process alone."""
        lock = self._lock("minted", fcntl.LOCK_EX)
        assert lock is not None, "it was waited for"
        try:
            with self._trouble():
                data = os.pread(lock, os.fstat(lock).st_size, 0)
            yield lock, data[: len(data) // _MINTED.size * _MINTED.size]
        finally:
            os.close(lock)

    def _note(self, file_id: int) -> bytes:
        with self._trouble():
            return os.pread(self._held[file_id], 64, 0)

    def _lock(self, name: str, how: int) -> int | None:
        with self._trouble():
            while True:
                self._directory.mkdir(parents=True, exist_ok=True)  # it may be deleted at any time
                lock = os.open(self._directory / name, os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    fcntl.flock(lock, how)
                    if os.fstat(lock).st_nlink:  # else somebody has deleted it meanwhile
                        return lock
                except BlockingIOError:
                    try:
                        os.utime(lock)
                    finally:
                        os.close(lock)
                    return None
                except OSError:
                    os.close(lock)
                    raise
                os.close(lock)

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ClaimError(error.errno, error.strerror, str(self._directory)) from error


class NoClaims:
    """The same for a store that one process has for itself."""

    def take(self, file_id: int) -> bool:
        """Nobody else is there."""
        return True

    def is_fresh(self, file_id: int) -> bool:
        """Nobody else is there."""
        return True

    def left_at(self, file_id: int) -> int:
        """Nobody else is there."""
        return 0

    def mark(self, file_id: int) -> None:
        """Nobody needs to know."""

    def is_wanted(self, file_id: int) -> bool:
        """Nobody else is there."""
        return False

    def release(self, file_id: int, stored: int) -> None:
        """Nobody waits."""

    def forget(self, file_id: int) -> None:
        """Nothing is kept."""

    def mint(self, key: Key, head: bytes, enough: int, is_taken: IsTaken) -> int:
        """A new id."""
        return new_id()

    def learn(self, key: Key, file_id: int, head: bytes) -> None:
        """Nobody asks."""


def _write(lock: int, data: bytes, at: int) -> None:
    """Write all of `data`, or raise `OSError`."""
    if os.pwrite(lock, data, at) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _entry(key: Key, file_id: int, head: bytes) -> bytes:
    return _MINTED.pack(*key, file_id, len(head), digest(head))


def new_id() -> int:
    """A file id that no other file has, as good as certainly."""
    return secrets.randbits(63) or 1
