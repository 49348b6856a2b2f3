"""Writes numbered lines to files that it rotates as logrotate does, until SIGTERM.

`python -m tests.rotating_writer DIRECTORY`: the last thing it does is to print, as JSON, how many
lines each file got over all its rotations, and how often one was rotated. It deletes no line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import signal
import time
from io import FileIO
from pathlib import Path
from types import FrameType

LATE_SECONDS = 0.15
"""How long, at most, a file that was renamed goes on growing: until its writer reopens its log."""


def lines(file: str, first: int, count: int) -> bytes:
    """Lines `first` and following of a file; one of 1,000 is malformed, hence a dead letter."""
    return "".join(
        f"2026-11-01 10:00:00 {file} /seq/{number} 200 0.25\n"
        if number % 1000 != 999
        else f"broken {file} /seq/{number}\n"
        for number in range(first, first + count)
    ).encode()


class RotatedFile:
    """One log: `app3.log`, with its rotated `app3.log.1`, `app3.log.2.gz`, and so on."""

    def __init__(
        self, directory: Path, number: int, draw: random.Random, every: float, compress: bool
    ) -> None:
        self.name = f"file{number}"
        self.lines = 0
        self._path = str(directory / f"app{number}.log")
        self._draw = draw
        self._every = every
        self._compress = compress
        self._suffixes: list[str] = []  # of the rotated ones, the youngest first: "" or ".gz"
        self._pending = b""
        self._file = FileIO(self._path, "a")
        self._next = self._file  # where lines go once the log is reopened
        self._rotate_at = self._reopen_at = 0.0
        self._plan_rotation()

    @property
    def rotations(self) -> int:
        """How often it was rotated."""
        return len(self._suffixes)

    def write(self, count: int) -> None:
        """Write about so many lines, the last of them up to its middle; rotate when it is time."""
        now = time.monotonic()
        if self._next is not self._file and now >= self._reopen_at:
            self._reopen()
        elif self._next is self._file and now >= self._rotate_at:
            self._rotate()
        self._pending += lines(self.name, self.lines, count)
        self.lines += count
        cut = max(0, len(self._pending) - self._draw.randint(0, 60))
        self._file.write(self._pending[:cut])
        self._pending = self._pending[cut:]

    def close(self) -> None:
        """Write the end of the last line."""
        self._reopen()
        self._file.close()

    def _rotate(self) -> None:
        for number in range(len(self._suffixes), 0, -1):
            suffix = self._suffixes[number - 1]
            os.rename(f"{self._path}.{number}{suffix}", f"{self._path}.{number + 1}{suffix}")
        os.rename(self._path, f"{self._path}.1")
        self._suffixes.insert(0, "")
        self._next = FileIO(self._path, "a")
        self._reopen_at = time.monotonic() + self._draw.uniform(0, LATE_SECONDS)
        if self._compress and self._suffixes[1:2] == [""] and self._draw.random() < 0.5:
            self._gzip(f"{self._path}.2")
            self._suffixes[1] = ".gz"

    def _gzip(self, path: str) -> None:
        with open(path, "rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed)
        found = os.stat(path)
        os.utime(f"{path}.gz", ns=(found.st_atime_ns, found.st_mtime_ns))
        os.unlink(path)

    def _reopen(self) -> None:
        self._file.write(self._pending)  # no line is in two files
        self._pending = b""
        if self._next is not self._file:
            self._file.close()
            self._file = self._next
            self._plan_rotation()

    def _plan_rotation(self) -> None:
        self._rotate_at = time.monotonic() + self._draw.uniform(0.2, 2 * self._every)


def main() -> None:
    """Write until SIGTERM, or until whoever started this is gone."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--files", type=int, default=4)
    arguments.add_argument("--rate", type=int, default=40_000, help="lines a second, all files")
    arguments.add_argument("--rotate-every", type=float, default=4.0, help="seconds, on average")
    arguments.add_argument("--gzip", action="store_true", help="compress every other rotated file")
    arguments.add_argument("--seed", type=int, default=4)
    chosen = arguments.parse_args()
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    draw = random.Random(chosen.seed)
    chosen.directory.mkdir(parents=True, exist_ok=True)
    files = [
        RotatedFile(chosen.directory, number, draw, chosen.rotate_every, chosen.gzip)
        for number in range(chosen.files)
    ]
    parent, began = os.getppid(), time.monotonic()
    while not stopped and os.getppid() == parent:
        time.sleep(0.005)
        due = int((time.monotonic() - began) * chosen.rate) - sum(file.lines for file in files)
        for file in files:
            file.write(draw.randint(0, max(0, 2 * due // len(files))))
    for file in files:
        file.close()
    written = {file.name: file.lines for file in files}
    print(json.dumps({"lines": written, "rotations": sum(file.rotations for file in files)}))


if __name__ == "__main__":
    main()
