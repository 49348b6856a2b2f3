"""Who may write to a file whose name does not say so any more: as far as /proc tells, proc(5)."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator

Key = tuple[int, int]
"""Device and inode."""

RESCAN_SECONDS = 3.0
"""How long what was seen counts, at least."""

_SHARE = 50  # looking takes no more than so small a share of the time
_FIRST_NAMESPACE = 0xEFFFFFFC  # of processes: Linux, include/linux/proc_ns.h, PROC_PID_INIT_INO
_TOLD = {b"flag", b"ino:"}
_LOCAL = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "tmpfs", "vfat", "xfs", "zfs"}


class Writers:
    """The processes that have files open for writing, or mapped; seen every few seconds at most.

    Of other users' processes only root sees it, and from within a container nobody sees those
    outside; of a network file system, nobody sees other hosts.
    """

    def __init__(self) -> None:
        self._found: dict[Key, str] = {}
        self._asked: set[Key] = set()
        self._sees_all = False
        self._next = 0.0

    def write(self, key: Key, others: Collection[Key], now: float) -> bool | None:
        """Whether somebody has this file open for writing; None: that cannot be ruled out.

        `others` are files that are looked for as well if anything is.
        """
        self._look(key, others, now)
        if key in self._found:
            return True
        return False if key in self._asked and self._sees_all and _is_local(key[0]) else None

    def path(self, key: Key, others: Collection[Key], now: float) -> str | None:
        """Where a file can be opened that somebody has open for writing, though it has no name."""
        self._look(key, others, now)
        return self._found.get(key)

    def _look(self, key: Key, others: Collection[Key], now: float) -> None:
        if now < self._next:
            return
        began = time.thread_time()
        self._found, self._asked = {}, {key, *others}
        in_sight = os.geteuid() == 0 and os.stat("/proc/self/ns/pid").st_ino == _FIRST_NAMESPACE
        for process in filter(str.isdigit, os.listdir("/proc")):
            try:
                self._found.update(_written_by(process, self._asked))
            except PermissionError:
                in_sight = False
            except OSError:  # it has ended
                continue
        self._sees_all = in_sight
        cost = time.thread_time() - began
        self._next = now + max(RESCAN_SECONDS, _SHARE * cost)


def _written_by(process: str, keys: set[Key]) -> Iterator[tuple[Key, str]]:
    """Those of these files that a process has open, and where. Raises `OSError`."""
    inodes = {str(inode).encode() for _, inode in keys}
    with open(f"/proc/{process}/maps", "rb") as maps:
        for line in maps:
            fields = line.split(None, 5)  # addresses, rights, offset, device, inode, path
            if fields[4] in inodes and fields[1][1:4:2] == b"ws":
                path = f"/proc/{process}/map_files/{fields[0].decode()}"
                yield from ((key, path) for key in keys if str(key[1]).encode() == fields[4])
    for number in os.listdir(f"/proc/{process}/fd"):
        path = f"/proc/{process}/fd/{number}"
        try:
            if not os.readlink(path).startswith("/"):  # a socket, a pipe and the like
                continue
            with open(f"/proc/{process}/fdinfo/{number}", "rb") as lines:
                said = dict(line.split(None, 1) for line in lines if line[:4] in _TOLD)
            # Only a file that may be it is touched: its file system may not answer.
            if int(said[b"flags:"], 8) & os.O_ACCMODE == os.O_RDONLY or (
                b"ino:" in said and said[b"ino:"].strip() not in inodes  # since Linux 5.14
            ):
                continue
            found = os.stat(path)
            if (found.st_dev, found.st_ino) in keys:
                yield (found.st_dev, found.st_ino), path
        except FileNotFoundError:  # closed meanwhile
            continue


def _is_local(device: int) -> bool:
    """Whether a file system is of this host alone, as /proc/self/mountinfo says."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for mount in mounts:
            fields, _, kind = mount.partition(" - ")
            if fields.split()[2] == number:
                return kind.split()[0] in _LOCAL
    return False
