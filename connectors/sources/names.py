"""Names in directories: which of them the globs cover, and what stands beside them.

A path is never a pattern here, and a pattern never a path: what was found is used as it was found.
"""

from __future__ import annotations

import errno
import glob
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

Report = Callable[[OSError], None]
"""What to do with a name that cannot be looked at."""

_ONE = re.compile(r"\[([^]!.])\]")  # a class of one character stands for that character
_NO_DIRECTORY = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Names:
    """The names that globs cover.

    `**` crosses directories, also by links, each directory once: under its name without links if
    it has one, else under the first of those with the fewest. A link that leads to where the glob
    itself is below is not followed. `..` is what the system takes it for. A name that is spelt
    like the glob is covered by it, be there brackets in it or not.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._found: set[str] = set()
        self._places: dict[str, tuple[str, bool]] = {}
        self.use(patterns)

    def use(self, patterns: Sequence[str]) -> None:
        """Cover what these globs do, and nothing else; from any thread."""
        here = glob.escape(os.getcwd())
        self._globs = [_split(os.path.join(here, pattern)) for pattern in patterns]
        self._spelt = [
            _split(os.path.join(here, glob.escape(pattern)))
            for pattern in patterns
            if glob.has_magic(pattern)
        ]

    def expand(self, report: Report = lambda error: None) -> set[str]:
        """The absolute paths that are covered and there, whatever they lead to.

        `report` is called with what may hide others: directories that cannot be read.
        """
        look = _Look(report)
        self._places.clear()
        self._found = {
            path
            for base, rest in (*self._globs, *self._spelt)
            for path in look.below(_resolve(base), rest)
        }
        return self._found

    def cover(self, path: str) -> bool:
        """Whether an absolute path is covered, be it there or not."""
        return path in self._found or any(
            _covers([*_plain(base), *rest], path.split("/")[1:])
            for base, rest in (*self._globs, *self._spelt)
        )

    def directories(self) -> dict[str, bool]:
        """The directories in which covered names may appear, and whether those below count."""
        directories: dict[str, bool] = {}
        for base, rest in self._globs:
            parent = _resolve(base)
            deep = len(rest) > 1 or rest == ["**"]
            directories[parent] = directories.get(parent, False) or deep
        return directories

    def place(self, path: str) -> tuple[str, bool]:
        """Where a path leads, and whether a link is on the way from the directory that is watched.

        What happens behind such a link is not seen in that directory.
        """
        if os.path.islink(path):
            return os.path.realpath(path), True
        directory, name = os.path.split(path)
        if directory not in self._places:
            self._places[directory] = self._place(directory)
        real, is_linked = self._places[directory]
        return os.path.join(real, name), is_linked

    def _place(self, directory: str) -> tuple[str, bool]:
        real = os.path.realpath(directory)
        above = [d.rstrip("/") for d in self.directories()]
        above = [d for d in above if f"{directory}/".startswith(f"{d}/")]
        watched = max(above, key=len, default=None)
        if watched is None:
            return real, True
        seen = os.path.realpath(f"{watched}/").rstrip("/") + directory[len(watched) :]
        return real, real != seen


class _Look:
    """One look at directories, each of which is listed once."""

    def __init__(self, report: Report = lambda error: None) -> None:
        self._report = report
        self._listed: dict[str, list[os.DirEntry[str]]] = {}

    def _has(self, path: str) -> bool:
        try:
            os.lstat(path)
        except OSError as error:
            self._cannot(error)
            return False
        return True

    def below(self, directory: str, parts: Sequence[str]) -> Iterator[str]:
        """The paths in `directory` that these parts of a pattern cover."""
        part, rest = parts[0], parts[1:]
        if part == "**":
            for path in self._tree(directory):
                if rest:
                    yield from self.below(path, rest)
                else:
                    yield from (e.path for e in self._list(path) if not self._is_directory(e))
        elif _literal(part) is not None:
            path = _step(directory, part)
            if rest:
                yield from self.below(path, rest)
            elif self._has(path):
                yield path
        else:
            for entry in self._list(directory):
                if not _fits(entry.name, part):
                    continue
                if not rest:
                    yield entry.path
                elif self._is_directory(entry):
                    yield from self.below(entry.path, rest)

    def _tree(self, directory: str) -> Iterator[str]:
        """A directory and those below it, each once; nearer ones and those without links first."""
        entered = _keys_above(directory)
        real, linked = deque([directory]), deque[str]()
        while real or linked:
            path = (real or linked).popleft()
            try:
                found = os.stat(path)
            except OSError as error:
                self._cannot(error)
                continue
            key = found.st_dev, found.st_ino
            if key in entered:
                continue
            entered.add(key)
            yield path
            below = [e for e in self._list(path) if e.name[0] != "." and self._is_directory(e)]
            for entry in sorted(below, key=lambda entry: entry.name):
                (linked if entry.is_symlink() else real).append(entry.path)

    def _list(self, directory: str) -> list[os.DirEntry[str]]:
        entries = self._listed.get(directory)
        if entries is None:
            try:
                with os.scandir(directory) as found:
                    entries = list(found)
            except OSError as error:
                error.filename = directory  # reading does not say of which
                self._cannot(error)
                entries = []
            self._listed[directory] = entries
        return entries

    def _is_directory(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError as error:
            error.filename = entry.path
            self._cannot(error)
            return False

    def _cannot(self, error: OSError) -> None:
        if error.errno not in _NO_DIRECTORY:
            self._report(error)


def beside(
    directories: Iterable[str], report: Report = lambda error: None
) -> Iterator[tuple[str, os.stat_result]]:
    """All regular files in these directories, and those that links in them lead to.

    `report` is called for directories that are not readable; files that cannot be looked at are
    left out.
    """
    for directory in directories:
        try:
            with os.scandir(directory) as listed:
                entries = list(listed)
        except OSError as error:
            error.filename = directory
            if error.errno not in _NO_DIRECTORY:
                report(error)
            continue
        for entry in entries:
            try:
                if entry.is_file():
                    yield entry.path, entry.stat()
            except OSError:
                continue


def hops(path: str) -> Iterator[str]:
    """A path, and if it is a link the path that it leads to, and so on."""
    for _ in range(40):  # as many links as Linux follows: path_resolution(7)
        yield path
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))
        except OSError:  # it is no link, or is gone
            return


def recorded(path: str) -> str:
    """A path as it is recorded and shown: a byte that is not UTF-8 as its hex digits."""
    plain = _LOOKS_ESCAPED.sub(r"\\x5c\1", path)
    return os.fsencode(plain).decode(errors="backslashreplace")


def of_record(text: str) -> str:
    """The path that is recorded as `text`."""
    data = _ESCAPED.sub(lambda byte: bytes([int(byte[1], 16)]), text.encode())
    return os.fsdecode(data)


_LOOKS_ESCAPED = re.compile(r"\\(x[0-9a-f]{2})")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def _split(pattern: str) -> tuple[list[str], list[str]]:
    """The parts of a pattern that lead to one directory, and those from there on, one at least."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")] or [""]
    base = 0
    while base < len(parts) - 1 and _literal(parts[base]) is not None:
        base += 1
    return parts[:base], parts[base:]


def _resolve(parts: Sequence[str]) -> str:
    """The directory that literal parts of a pattern lead to, from the root on."""
    path = "/"
    for part in parts:
        path = _step(path, part)
    return path


def _plain(parts: Sequence[str]) -> list[str]:
    """The same parts without `..`."""
    if ".." not in parts:
        return list(parts)
    return [glob.escape(part) for part in _resolve(parts).split("/") if part]


def _literal(part: str) -> str | None:
    """The one name that a part of a pattern stands for, if it is one."""
    return None if glob.has_magic(_ONE.sub("", part)) else _ONE.sub(r"\1", part)


def _step(directory: str, part: str) -> str:
    """Where a literal part of a pattern leads to from `directory`."""
    if part == "..":  # of the directory that a link leads to, not of the one that has the link
        is_link = os.path.islink(directory)
        return os.path.dirname(os.path.realpath(directory) if is_link else directory)
    return os.path.join(directory, _ONE.sub(r"\1", part))


def _keys_above(directory: str) -> set[tuple[int, int]]:
    """Device and inode of the directories that a directory is in."""
    keys, path = set(), os.path.realpath(directory)
    while path != "/":
        path = os.path.dirname(path)
        try:
            found = os.stat(path)
        except OSError:  # then no link can be told to lead there
            continue
        keys.add((found.st_dev, found.st_ino))
    return keys


def _fits(name: str, part: str) -> bool:
    if name[0] == "." != part[0]:  # hidden names have to be asked for
        return False
    return fnmatchcase(name, part)


def _covers(pattern: list[str], path: list[str]) -> bool:
    if not pattern or not path:
        return not path and all(part == "**" for part in pattern)
    first = pattern[0]
    if first == "**" and (
        _covers(pattern[1:], path) or (not path[0].startswith(".") and _covers(pattern, path[1:]))
    ):
        return True
    return first != "**" and _fits(path[0], first) and _covers(pattern[1:], path[1:])
