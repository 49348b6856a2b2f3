"""Which files are kept open, how many, and for how long without a name."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Collection

from connectors.descriptors import share
from connectors.sources.claims import Key
from connectors.sources.endings import Endings
from connectors.sources.problems import Problems
from connectors.sources.tailed_file import TailedFile
from connectors.sources.writers import Writers

LINGER_SECONDS = 5.0
"""How long a file that has left its name is waited for after it grew last, at least."""

HANDLES = 256
"""Files that are kept open, if a quarter of all descriptors is as many."""


class Handles:
    """The open files, those that grew last behind; safe to use from any thread."""

    def __init__(self, endings: Endings, problems: Problems) -> None:
        self._endings = endings
        self._problems = problems
        self._lock = threading.Lock()
        self._open: OrderedDict[TailedFile, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, file: TailedFile) -> None:
        """A held file may have been opened to be read; a compressed one is done with at its end."""
        self._problems.damaged(file)
        is_done = file.start >= file.size or (file.damage and not file.is_readable)
        if file.content and file.is_compressed and is_done and not (file.is_read or file.on_way):
            self._endings.learn(file.content)
            self.close(file)
        elif file.content:
            with self._lock:
                self._open[file] = None
                self._open.move_to_end(file)

    def close(self, file: TailedFile) -> None:
        """Close a held file."""
        with self._lock:
            self._open.pop(file, None)
        file.close()

    def limit(self) -> None:
        """Close the files that have been quiet for longest, if too many are open."""
        with self._lock:
            too_many = len(self._open) - share(1 / 4, at_most=HANDLES)
            if too_many <= 0:
                return
            quiet = (file for file in self._open if file.is_named and file.hold())
            closed = list(itertools.islice(quiet, too_many))
        for file in closed:
            self.close(file)
            file.let_go()

    def close_all(self) -> None:
        """Close all files."""
        with self._lock:
            files = list(self._open)
        for file in files:
            file.close()


def may_grow(
    file: TailedFile,
    quiet: float,
    now: float,
    *,
    writers: Writers,
    others: Collection[Key],
    linger: float,
) -> bool:
    """Whether somebody may write to a file that has left its name, and been quiet so long."""
    if quiet < LINGER_SECONDS or file.is_compressed:
        return quiet < LINGER_SECONDS
    writes = writers.write(file.key, others, now)
    is_unknown = quiet < linger and not file.is_copied
    return is_unknown if writes is None else writes
