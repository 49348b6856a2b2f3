"""Names in directories: which of them the globs cover, and what stands beside them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase


class Names:
    """The names that globs cover; `**` crosses directories."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        here = glob.escape(os.getcwd())
        self._parts = [
            os.path.normpath(os.path.join(here, pattern)).split("/") for pattern in patterns
        ]

    def expand(self) -> set[str]:
        """The absolute paths that are covered and there, whatever they lead to."""
        return {
            os.path.abspath(path)
            for pattern in self._patterns
            for path in glob.iglob(pattern, recursive=True)
        }

    def cover(self, path: str) -> bool:
        """Whether an absolute path is covered, be it there or not."""
        return any(_covers(parts, path.split("/")) for parts in self._parts)

    def directories(self) -> dict[str, bool]:
        """The directories in which covered names may appear, and whether those below count."""
        directories: dict[str, bool] = {}
        for pattern in self._patterns:
            parent = os.path.dirname(pattern)
            deep = glob.has_magic(parent)
            while glob.has_magic(parent):
                parent = os.path.dirname(parent)
            parent = os.path.abspath(parent)
            directories[parent] = directories.get(parent, False) or deep
        return directories


def beside(directories: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """All regular files in these directories; what cannot be looked at is left out."""
    for directory in directories:
        try:
            entries = list(os.scandir(directory))
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_file(follow_symlinks=False):
                    yield entry.path, entry.stat(follow_symlinks=False)
            except OSError:
                continue


def _covers(pattern: list[str], path: list[str]) -> bool:
    if not pattern or not path:
        return not path and all(part == "**" for part in pattern)
    first = pattern[0]
    if first == "**" and (
        _covers(pattern[1:], path) or (not path[0].startswith(".") and _covers(pattern, path[1:]))
    ):
        return True
    if path[0].startswith(".") > first.startswith("."):  # hidden names have to be asked for
        return False
    return first != "**" and fnmatchcase(path[0], first) and _covers(pattern[1:], path[1:])
