"""Which file is at a path: by its bytes, never by its name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from connectors.encodings import Encoding
from connectors.sources.absent import Absent
from connectors.sources.binary import looks_binary
from connectors.sources.claims import IsTaken, Key
from connectors.sources.content import Content, open_content
from connectors.sources.copies import Copies, Known
from connectors.sources.endings import Endings
from connectors.sources.evidence import REACH
from connectors.sources.tailed_file import FIRST, Limits, TailedFile, read_head


class Recogniser:
    """Says which file is at a path: a known one, a copy, a new one, or one that is refused.

    `mint` makes the id of a new file; `is_there` says whether a file with this id is followed.
    """

    def __init__(
        self,
        limits: Limits,
        encoding: Encoding,
        known: Known,
        mint: Callable[[Key, bytes, int, IsTaken], int],
        absent: Absent,
        copies: Copies,
        endings: Endings,
        *,
        is_there: Callable[[int], bool],
        may_be_copies: bool,
    ) -> None:
        self._limits = limits
        self._encoding = encoding
        self._known = known
        self._mint = mint
        self._absent = absent
        self._copies = copies
        self._endings = endings
        self._is_there = is_there
        self._may_be_copies = may_be_copies
        self._unknown: dict[Key, str] = {}  # of the names of this poll, those without a file
        self._refused: dict[str, _Refusal] = {}

    @property
    def refused(self) -> dict[str, str]:
        """Paths of which nothing is read, and why."""
        return {path: refusal.problem for path, refusal in self._refused.items()}

    def identify(self, content: Content, path: str) -> TailedFile | None:
        """The absent file that this is, or of which it is the beginning. Raises `OSError`."""
        head = read_head(content, self._encoding)
        size = content.size()
        file = self._absent.recognise(content, head, path)
        return file or (self._copies.original(content, head, size) if size else None)

    def begin(
        self, unknown: Mapping[Key, str], there: Mapping[str, os.stat_result]
    ) -> Collection[str]:
        """Those of the paths without a known file that are worth opening."""
        self._refused = {
            path: refusal
            for path, refusal in self._refused.items()
            if path in there and refusal.state == _state(there[path])
        }
        self._unknown = {
            key: path
            for key, path in unknown.items()
            if path not in self._refused and _has_bytes(path, there[path], self._encoding)
        }
        self._copies.keep(self._unknown)
        return list(self._unknown.values())

    def recognise(
        self, path: str, found: os.stat_result, now: float
    ) -> tuple[TailedFile, Content] | None:
        """The file at a covered path, open; None: it is waited for, or refused.

        Raises `OSError`; `ClaimError` if its id cannot be agreed upon.
        """
        with _opened(path, found) as opened:
            content = opened.content
            self._endings.recall(content)
            head = read_head(content, self._encoding)
            file = self._absent.recognise(content, head, path) if head else None
            size = found.st_size if content.is_compressed else content.end(self._encoding.unit)
            if not file and not self._wait_for(content, head, size, now):
                if problem := _objection(content, head, self._encoding):
                    said = f"cannot read {path!r}: {problem}"
                    self._refused[path] = _Refusal(_state(found), said)
                elif head:
                    file = self._begin(content, head, path)
            return opened.keep(file)

    def recall(self, path: str, found: os.stat_result) -> tuple[TailedFile, Content] | None:
        """The absent file at any path, open; None: there is none. Raises `OSError`."""
        with _opened(path, found) as opened:
            self._endings.recall(opened.content)
            head = read_head(opened.content, self._encoding)
            return opened.keep(self._absent.recognise(opened.content, head, path))

    def _wait_for(self, content: Content, head: bytes, size: int, now: float) -> bool:
        """Whether this may be a copy that is about to take the place of another file."""
        return self._may_be_copies and self._copies.wait_for(content, head, size, now)

    def _begin(self, content: Content, head: bytes, path: str) -> TailedFile:
        """A new file; one that is the beginning of what is stored already starts at its end."""
        self._unknown.pop(content.key, None)
        enough = FIRST if content.is_compressed else REACH  # plain files may share a first line
        if not head.strip(b"\0"):
            enough = REACH + 1  # filler is no sign of anything
        file_id = self._mint(content.key, head, enough, self._is_taken)
        file = TailedFile(file_id, path, path, content.key, self._limits, self._encoding)
        size = content.size() if content.is_compressed else file.end_of(content)
        if size and self._copies.original(content, head, size):
            file.see(content)
            file.size = size
            whole = file.span(content, size, 0, 0, start=size)
            self._known.start_at([whole])
            file.move_to(whole)
            file.store(whole)
        return file

    def _is_taken(self, file_id: int, key: Key, head: bytes) -> bool:
        """Whether another file has this id, which may be one that this poll has still to recognise.

        Raises `FileNotFoundError` if that cannot be said now.
        """
        if self._is_there(file_id) or self._absent.get(file_id):
            return True
        path = self._unknown.get(key)
        if path is None:
            return False
        try:
            content = open_content(path)
        except PermissionError:
            return True  # as likely as not
        try:
            if content.key != key:
                raise FileNotFoundError(0, "renamed since it was looked at", path)
            return content.read(len(head), 0) == head  # else its inode was used again
        finally:
            content.close()


class _opened:  # noqa: N801 - read as a function
    """The content at a path, closed at the end unless somebody keeps it."""

    def __init__(self, path: str, found: os.stat_result) -> None:
        self.content = open_content(path)
        self._is_kept = False
        if self.content.key != (found.st_dev, found.st_ino):
            self.content.close()
            raise FileNotFoundError(errno.ENOENT, "renamed since it was looked at", path)

    def __enter__(self) -> _opened:
        return self

    def keep(self, file: TailedFile | None) -> tuple[TailedFile, Content] | None:
        """The file with its content, which stays open for it."""
        self._is_kept = file is not None
        return (file, self.content) if file else None

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            self.content.close()


@dataclass(frozen=True)
class _Refusal:
    """Why nothing of a file is read that is in this state."""

    state: tuple[int, ...]
    problem: str


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _objection(content: Content, head: bytes, encoding: Encoding) -> str:
    """Why nothing of an unknown file is read; empty: there is no reason."""
    if not head:
        return content.damage
    looks = looks_binary(head, encoding)
    return looks and f"it is not text, it looks like {looks}"


def _has_bytes(path: str, found: os.stat_result, encoding: Encoding) -> bool:
    """Whether a file has any, other than filler; true if that cannot be told."""
    if not found.st_size:
        return False
    try:
        content = open_content(path)
    except OSError:
        return True
    try:
        return content.is_compressed or bool(read_head(content, encoding))
    except OSError:
        return True
    finally:
        content.close()
