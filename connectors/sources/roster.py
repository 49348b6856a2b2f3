"""Which files there are, and where each of them is now: names, identities, sizes."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from connectors.batch import Span
from connectors.descriptors import share
from connectors.encodings import Encoding
from connectors.errors import LogwaxError
from connectors.saying import say
from connectors.sources.binary import looks_binary
from connectors.sources.claims import ClaimError, IsTaken, Key
from connectors.sources.content import Content, may_become_compressed, open_content
from connectors.sources.endings import Endings
from connectors.sources.evidence import REACH, Evidence, digest, fits
from connectors.sources.names import Names, beside, hops
from connectors.sources.tailed_file import FIRST, Limits, TailedFile, read_head
from connectors.sources.watcher import Watcher
from connectors.sources.writers import Writers

SCAN_SECONDS = 2.0
"""How often all names and sizes are looked at, whatever the events say."""

STILL_SECONDS = 2.0
"""How long a file that is like another one must not have changed to be a file of its own."""

LINGER_SECONDS = 5.0
"""How long a file that has left its name is waited for after it grew last, at least."""

GRACE_SECONDS = 10.0
"""How long a file that is gone with unread bytes may take to turn up under another name."""

HANDLES = 256
"""Files that are kept open, if a quarter of all descriptors is as many."""


class Known(Protocol):
    """What a roster asks of what is stored."""

    def before(self, file_id: int, end: int) -> Span | None:
        """The last recorded span of a file that ends at or before `end`."""

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""

    def start_at(self, files: Sequence[Span]) -> None:
        """Record positions that were chosen, not read."""


@dataclass
class Copy:
    """A file that is like others: it may be about to take the place of one of them."""

    size: int
    since: float
    likes: set[int]


@dataclass(frozen=True)
class Refusal:
    """Why nothing of a file is read that is in this state."""

    state: tuple[int, ...]
    problem: str


class Roster:
    """The files that are followed, and those that are known but not there.

    A file is known again by its content (`evidence.py`), whatever its path is by then: also when it
    has been renamed to where no glob leads, compressed, or copied and truncated. One that has left
    its name is read to its end through its open handle: for as long as somebody has it open for
    writing, else for `linger` seconds after it grew last if that cannot be ruled out. Bytes that
    are gone before they could be read are a gap: it is printed, and stands in `problems`.

    Not safe for use by several threads at once.
    """

    def __init__(
        self,
        names: Names,
        limits: Limits,
        encoding: Encoding,
        known: Known,
        mint: Callable[[Key, bytes, int, IsTaken], int],
        *,
        follow: bool,
        linger: float = 300.0,
        archives: Path | None = None,
        say: Callable[[str], None] = say,
    ) -> None:
        self._names = names
        self._limits = limits
        self._encoding = encoding
        self._known = known
        self._mint = mint
        self._say = say
        self._follow = follow
        self._endings = Endings(archives, say)
        self._linger = linger
        self._writers = Writers()
        self._by_key: dict[Key, TailedFile] = {}
        self._by_path: dict[str, TailedFile] = {}
        self._by_id: dict[int, TailedFile] = {}
        self._absent = Absent()
        self._firsts: dict[bytes, set[TailedFile]] = {}
        self._first_lengths: set[int] = set()
        self._handles: OrderedDict[TailedFile, None] = OrderedDict()
        self._moved: set[TailedFile] = set()
        self._lost: dict[int, TailedFile] = {}  # with unread bytes, by id
        self._unmet: dict[Key, str] = {}  # among the names of this look
        self._copies: dict[Key, Copy] = {}
        self._strangers: dict[Key, tuple[int, int]] = {}
        self._searched: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self._renewed: set[str] = set()  # what shows a problem in this look
        self._of_reading: set[str] = set()  # what shows it only when it is read
        self._unclaimed: dict[str, set[TailedFile]] = {}  # by where claims cannot be written
        self._refused: dict[str, Refusal] = {}  # at the last look at all names
        self._damaged: dict[TailedFile, str] = {}
        self._gaps: list[str] = []
        self._next_scan = 0.0
        self._watcher = Watcher() if follow else None

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, file_ids: Collection[int]) -> dict[int, TailedFile]:
        """Those of these files that are there."""
        return {id: self._by_id[id] for id in file_ids if id in self._by_id}

    @property
    def absent(self) -> Collection[int]:
        """The ids of known files that the globs cover, and that are not there."""
        return [file.file_id for file in self._absent if self._names.cover(file.name)]

    @property
    def problems(self) -> tuple[str, ...]:
        """What cannot be read, and what could not."""
        return (*self._problems.values(), *self._damaged.values(), *self._gaps[-20:])

    @property
    def gaps(self) -> tuple[str, ...]:
        """Bytes that were gone before they could be read."""
        return tuple(self._gaps)

    @property
    def refused(self) -> dict[str, str]:
        """Covered files of which nothing is read, by path, and why."""
        return {path: refusal.problem for path, refusal in self._refused.items()}

    def know(self, spans: Iterable[Span]) -> None:
        """Take over what a ledger says of files; those that a batch is on its way of are left."""
        for span in spans:
            file = self._by_id.get(span.stream.id)
            if file is None:
                known = self._absent.get(span.stream.id)
                if known is None or known.position < span.end:
                    self._miss(TailedFile.at(span, self._limits, self._encoding))
            elif span.end > file.position and not file.busy:
                file.move_to(span)
                file.store(span)

    def identify(self, content: Content, path: str) -> int:
        """The id of the known file that this is, or of which it is the beginning; 0: of none."""
        head = read_head(content, self._encoding)
        file = recognise(self._absent, content, head, path)
        size = content.size()
        if not file and size:
            likes = self._like(content, head)
            file = next((like for like in likes if self._is_stump(content, size, like)), None)
        return file.file_id if file else 0

    def forget(self, file_ids: Iterable[int]) -> None:
        """These files are not known any more."""
        for file_id in file_ids:
            self._absent.remove(file_id)

    def close(self) -> None:
        """Stop watching, close all files."""
        if self._watcher:
            self._watcher.close()
        for file in self._moved if self._follow else ():
            self._report_end(file)
        for file in list(self._handles):
            file.close()

    # Looking

    def look(self, refresh: Callable[[], None] = lambda: None) -> None:
        """See which files grew, moved, came or went; `refresh` is called before new ones get ids.

        Without events to go by, and every `SCAN_SECONDS`, all names are looked at.
        """
        now = time.monotonic()
        grown, renamed = self._watcher.take() if self._watcher else ({}, True)
        if renamed or now >= self._next_scan:
            self._next_scan = now + SCAN_SECONDS
            self._scan(now, refresh)
        else:
            blind = self._watcher is None or self._watcher.blind
            if any(p not in self._by_path and self._names.cover(p) for p in grown):
                self.look_soon()  # an empty file, or another name of a known one
            for path, file in list(self._by_path.items()):
                # The target of a link has another name; bytes in a mapping are no event.
                if blind or path in grown or file.is_link or file.is_padded:
                    self._look_at(file, grown.get(path, now))
        for file in list(self._moved):
            self._look_after(file, now)
        for file in list(self._lost.values()):
            if now - file.lost_at > GRACE_SECONDS or not self._follow:
                self._report_gap(file, refresh)

    def look_soon(self) -> None:
        """Look at all names at the next look."""
        self._next_scan = 0.0

    def _scan(self, now: float, refresh: Callable[[], None]) -> None:
        self._renewed.clear()
        self._watch()
        there: dict[str, os.stat_result] = {}
        names = self._names.expand(self.report)
        for path in names:
            try:
                found = os.stat(path)
                if not stat.S_ISREG(found.st_mode):
                    raise OSError(0, "not a regular file", path)
                there[path] = found
            except OSError as error:
                if not isinstance(error, FileNotFoundError):  # which files may well be
                    self.report(error)
        paths = {(found.st_dev, found.st_ino): path for path, found in sorted(there.items())}
        # Known files first: what they leave behind may be the beginning of a new one.
        for file in self:
            self._look_at(file, now, paths)
        self._refused = {
            path: refusal
            for path, refusal in self._refused.items()
            if path in there and refusal.state == _state(there[path])
        }
        unknown = {
            key: path
            for key, path in paths.items()
            if key not in self._by_key
            and path not in self._refused
            and _has_bytes(path, there[path], self._encoding)
        }
        self._unmet = dict(unknown)
        self._copies = {key: copy for key, copy in self._copies.items() if key in unknown}
        if unknown:
            refresh()
        for path in sorted(unknown.values()):
            self._meet(path, there[path], now)
        for path, refusal in self._refused.items():
            self._keep_problem(path, refusal.problem)
        self._search(now, names)
        for path in self._problems.keys() - self._renewed:
            waiting = any(file.file_id in self._by_id for file in self._unclaimed.get(path, ()))
            unreadable = path in self._of_reading and self._is_still_unreadable(path)
            if not waiting and not unreadable:
                self._overcome(path)

    def _watch(self) -> None:
        if not self._watcher:
            return
        self._watcher.watch(self._names.directories())
        if self._watcher.trouble:
            self._keep_problem(
                "",
                f"cannot get file system events: {self._watcher.trouble}. Files are looked at "
                "all the time instead.",
            )

    def _is_still_unreadable(self, path: str) -> bool:
        """Whether a problem of reading goes on, as far as that can be said without reading."""
        file = self._by_path.get(path)
        if not file or file.busy or file.is_compressed or file.is_readable:
            return file is not None
        try:
            file.count(time.monotonic())
            file.open().read(1, file.position)
        except OSError:
            return True
        self.opened(file)
        self.limit_handles()
        return False

    def _look_at(self, file: TailedFile, when: float, paths: dict[Key, str] | None = None) -> None:
        """See whether a file is still where it was, and how large it is."""
        try:
            found = os.stat(file.path)
        except OSError as error:
            is_gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            if not is_gone and not (paths and file.key in paths):  # nobody knows: nothing is lost
                self.report(error)
                if file.content and not file.is_compressed:
                    file.grew(file.content.size() or 0, when)
                return
            found = None
        if found and (found.st_dev, found.st_ino) == file.key:
            if file.is_compressed:
                self._look_at_compressed(file, found)
            elif found.st_size >= file.size:
                file.is_padded = False
                if found.st_size > file.size and self._keep_open(file):
                    self._grow(file, found.st_size, when)
            elif not file.busy:
                self._lose(file, when)
            else:
                self.look_soon()
            return
        if paths is None or file.busy:
            self.look_soon()
            return
        self._unname(file)
        moved_to = paths.get(file.key)
        if moved_to:
            file.path = moved_to
            self._by_path[moved_to] = file
            self._left_its_name(file, when)
        elif file.content or self._find_again(file, when):
            self._left_its_name(file, when)
        else:
            self._lose(file, when)

    def _grow(self, file: TailedFile, size: int, when: float) -> None:
        """Note how far the bytes of an open file go, of `size` with what may be filler."""
        if file.content and self._see_end(file, file.content, when):
            file.is_padded = size > file.size
            if file.path != file.name:  # so that its last line is taken some time
                self._left_its_name(file, when)

    def _see_end(self, file: TailedFile, content: Content, when: float) -> bool:
        """Note where the bytes of a file end; False: that cannot be read now, which is said."""
        try:
            file.grew(file.end_of(content), when)
        except OSError as error:
            error.filename = file.path
            self.report(error, file)
            return False
        return True

    def _find_again(self, file: TailedFile, now: float) -> bool:
        """Open a file that is gone, and was not open, where somebody writes to it."""
        path = self._follow and self._writers.path(file.key, self._by_key, now)
        if not path:
            return False
        try:
            content = open_content(path)
            file.content = content
            if content.key != file.key or not file.is_at(content):
                raise FileNotFoundError
        except FileNotFoundError:  # it has been closed, and its inode may have been used again
            file.close()
            return False
        except OSError as error:
            file.close()
            self._report(
                f"{file.name!r} was moved or deleted while it was not open, somebody goes on "
                f"writing to it, and {path!r} cannot be read: {error.strerror}; what comes after "
                f"its byte {file.position} is lost"
            )
            return False
        self.opened(file)
        return True

    def _look_at_compressed(self, file: TailedFile, found: os.stat_result) -> None:
        state = found.st_size, found.st_mtime_ns
        if state == file.compressed or file.busy:
            return
        file.compressed = state
        file.close()
        self._overcome(file.path)
        # Until its end has been seen again, behind filler that was looked through.
        file.size = max(file.position, file.scanned) + self._limits.bytes

    def _unname(self, file: TailedFile) -> None:
        if self._by_path.get(file.path) is file:
            del self._by_path[file.path]

    def _left_its_name(self, file: TailedFile, when: float) -> None:
        if file not in self._moved:
            file.moved_at = when
            self._moved.add(file)

    def _look_after(self, file: TailedFile, now: float) -> None:
        """Read a file that has left its name to its end; give up its handle when that was it."""
        is_named = self._by_path.get(file.path) is file
        if file.content and not file.is_compressed:  # by its handle: it may have other names by now
            if (file.content.size() or 0) < file.size and not file.busy:
                self._lose(file, now)
                return
            if not self._see_end(file, file.content, now):
                return
        if file.busy:
            return
        quiet = now - max(file.grown_at, file.moved_at)
        may_grow = self._may_grow(file, quiet, now)
        file.expect_end(may_grow)
        if is_named and (not may_grow or file.position == file.size):
            self._moved.discard(file)
        elif not is_named and not file.content:
            self._lose(file, now)
        elif not (is_named or may_grow) and file.start >= file.size:
            # Whoever opens it by another name is seen only when they have written.
            is_late = quiet >= self._linger or file.is_copied or not self._follow
            if is_late or not file.links:
                self._lose(file, now)

    def _may_grow(self, file: TailedFile, quiet: float, now: float) -> bool:
        """Whether somebody may write to a file that has left its name, and been quiet so long."""
        if not self._follow or quiet < LINGER_SECONDS or file.is_compressed:
            return self._follow and quiet < LINGER_SECONDS
        writes = self._writers.write(file.key, self._by_key, now)
        is_unknown = quiet < self._linger and not file.is_copied
        return is_unknown if writes is None else writes

    def _report_end(self, file: TailedFile) -> None:
        """Say what nobody can read any more once this process has ended."""
        if file.content and not (file.is_compressed or file.links):
            now = time.monotonic()
            rest = file.end_of(file.content) - file.stored
            if rest or self._writers.write(file.key, self._by_key, now):
                self._report(
                    f"{file.name!r} is deleted and was still being read: {rest} bytes from "
                    f"{file.stored} on, and what is written to it from now on, are lost"
                )

    def _lose(self, file: TailedFile, now: float) -> None:
        """Its content is not there any more; it may turn up elsewhere."""
        file.close()
        self._handles.pop(file, None)
        self._moved.discard(file)
        del self._by_key[file.key]
        self._by_id.pop(file.file_id, None)
        self._unname(file)
        self._firsts[file.first].discard(file)
        self._damaged.pop(file, None)
        file.lost_at = now
        if file.size > file.position:
            self._lost[file.file_id] = file
        elif not file.position:
            return  # nothing of it is known to anybody
        else:
            file.forget_size()
        self._miss(file)
        self.look_soon()

    def _miss(self, file: TailedFile) -> None:
        self._absent.add(file)
        self._searched.clear()
        self._strangers.clear()

    def _report_gap(self, file: TailedFile, refresh: Callable[[], None]) -> None:
        refresh()
        del self._lost[file.file_id]
        known = self._absent.get(file.file_id)
        end = file.position + 1 if file.is_compressed else file.size  # whose size may be unknown
        if known and known.position >= end:  # another process has read them
            return
        to = "on" if file.is_compressed else f"to {file.size}"
        gap = (
            f"{file.name!r} was truncated or deleted: its bytes from {file.position} {to} "
            "were gone before they could be read"
        )
        if file.size > file.position:
            self._report(gap)
        file.forget_size()
        if not file.position:
            self._absent.remove(file.file_id)

    def _report(self, gap: str) -> None:
        self._gaps.append(gap)
        self._say(gap)

    # Meeting files

    def _meet(self, path: str, found: os.stat_result, now: float) -> None:
        """Say which file is at a covered path: a known one, a copy, or a new one."""
        key = (found.st_dev, found.st_ino)
        try:
            content = open_content(path)
        except OSError as error:
            self.report(error)
            return
        if content.key != key:  # renamed since it was looked at
            content.close()
            self.look_soon()
            return
        try:
            self._endings.recall(content)
            head = read_head(content, self._encoding)
            file = recognise(self._absent, content, head, path) if head else None
            size = found.st_size if content.is_compressed else content.end(self._encoding.unit)
            if not file and not self._wait_for(content, head, size, now):
                if problem := self._objection(content, head):
                    said = f"cannot read {path!r}: {problem}"
                    self._refused[path] = Refusal(_state(found), said)
                elif head:
                    file = self._begin(content, head, path)
        except ClaimError as error:
            self.cannot_claim(error)
            if not self._follow:  # nobody comes back to it
                raise LogwaxError(self._problems[str(error.filename)]) from error
            file = None
        except OSError as error:
            error.filename = path
            self.report(error)
            file = None
        if file is None:
            content.close()
            return
        self._follow_at(file, path, key, content, found, now)

    def _objection(self, content: Content, head: bytes) -> str:
        """Why nothing of an unknown file is read; empty: there is no reason."""
        if not head:
            return content.damage
        looks = looks_binary(head, self._encoding)
        return looks and f"it is not text, it looks like {looks}"

    def _follow_at(
        self,
        file: TailedFile,
        path: str,
        key: Key,
        content: Content,
        found: os.stat_result,
        now: float,
    ) -> None:
        self._absent.remove(file.file_id)
        file.path, file.key, file.content = path, key, content
        file.see(content)
        file.is_final = content.is_compressed or not self._follow
        file.place, file.is_link = self._names.place(path)
        file.is_padded = False
        self._by_key[key] = self._by_path[path] = self._by_id[file.file_id] = file
        self._firsts.setdefault(file.first, set()).add(file)
        self._first_lengths.add(len(file.first))
        self._overcome(path)
        self._lost.pop(file.file_id, None)
        self._copies.pop(key, None)
        file.forget_size()
        self._handles[file] = None
        if path != file.name:
            self._left_its_name(file, now)
        if file.is_compressed:
            file.compressed = found.st_size, found.st_mtime_ns
            file.look_for_end(content, file.position)
            file.noticed.append((1 << 62, now))
            self.opened(file)
        else:
            self._grow(file, found.st_size, now)
        self.limit_handles()

    def _wait_for(self, content: Content, head: bytes, size: int, now: float) -> bool:
        """Whether this may be a copy that is about to take the place of another file.

        Where logs are rotated by copying or compressing, the copy is complete before the original
        is truncated or deleted: it is left alone until it has been still for a while.
        """
        if not self._follow:
            return False
        if not content.is_compressed and may_become_compressed(head):
            return True
        likes = list(self._find_like(content, head, size)) if head else []
        if not content.is_compressed and not likes:
            return False
        copy = self._copies.get(content.key)
        if copy is None or copy.size != size:
            copy = self._copies[content.key] = Copy(size, now, set())
        copy.likes = {file_id for file_id, _ in likes if file_id} or copy.likes
        waits = now - copy.since < STILL_SECONDS or not all(is_named for _, is_named in likes)
        if waits:
            self._next_scan = min(self._next_scan, now + 0.5)
        return waits

    def _find_like(self, content: Content, head: bytes, size: int) -> Iterator[tuple[int, bool]]:
        """Files with the same bytes, as far as both have them, and whether they have a name.

        The id is 0 if the file does not have all bytes of `content`.
        """
        for file in self._with_beginning(head[:FIRST]):
            if file.is_compressed and file.busy:
                continue
            if file.busy and not file.content:  # it cannot be compared now: wait
                yield 0, False
                continue
            common = min(len(head) if content.is_compressed else size, file.size)
            reach = min(common, REACH)
            try:
                other, is_named = file.open(), self._by_path.get(file.path) is file
                if is_named and _is_longer(content, size, file, other):
                    continue
                if all(
                    other.read(reach, at) == content.read(reach, at) for at in (0, common - reach)
                ):
                    is_within = not content.is_compressed and size <= file.size
                    file.is_copied = True
                    yield file.file_id * is_within, is_named
            except OSError:  # it has changed or cannot be read: wait until that has been seen
                yield 0, False
            finally:
                self.opened(file)
                self.limit_handles()

    def _with_beginning(self, start: bytes) -> list[TailedFile]:
        """The files of which one begins as the other, as far as both are that long."""
        if len(start) == FIRST:
            firsts = [start[:length] for length in self._first_lengths]
        else:
            firsts = [first for first in self._firsts if first.startswith(start)]
            firsts += [start[:length] for length in range(1, len(start))]
        return [file for first in firsts for file in self._firsts.get(first, ())]

    def _begin(self, content: Content, head: bytes, path: str) -> TailedFile:
        """A new file; one that is the beginning of what is stored already starts at its end."""
        self._unmet.pop(content.key, None)
        enough = FIRST if content.is_compressed else REACH  # plain files may share a first line
        if not head.strip(b"\0"):
            enough = REACH + 1  # filler is no sign of anything
        file_id = self._mint(content.key, head, enough, self._is_taken)
        file = TailedFile(file_id, path, path, content.key, self._limits, self._encoding)
        size = content.size() if content.is_compressed else file.end_of(content)
        if size and any(
            self._is_stump(content, size, other) for other in self._like(content, head)
        ):
            file.see(content)
            file.size = size
            whole = file.span(content, size, 0, 0, start=size)
            self._known.start_at([whole])
            file.move_to(whole)
            file.store(whole)
        return file

    def _is_taken(self, file_id: int, key: Key, head: bytes) -> bool:
        """Whether another file has this id, which may be one that is still to be met in this look.

        Raises `FileNotFoundError` if that cannot be said now.
        """
        if file_id in self._by_id or self._absent.get(file_id):
            return True
        path = self._unmet.get(key)
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

    def _like(self, content: Content, head: bytes) -> Iterator[TailedFile]:
        yield from self._absent.like(head)
        if content.key in self._copies:
            lost = map(self._absent.get, self._copies[content.key].likes)
            yield from (file for file in lost if file)

    def _is_stump(self, content: Content, size: int, file: TailedFile) -> bool:
        """Whether these are the first `size` bytes of a file that is stored beyond them."""
        if size >= file.position:
            return False
        copy = self._copies.get(content.key)
        if copy and copy.size == size and file.file_id in copy.likes:
            return True
        stored = self._known.before(file.file_id, size)
        if stored and not fits(content, Evidence.of(stored.proof), stored.end):
            return False
        first = stored.end if stored else 0
        data = content.read(size - first, first)
        ends = [0, *self._encoding.ends(data).tolist(), len(data)]
        lines = {
            first + start + filler
            for start, end in itertools.pairwise(ends)
            for filler in [self._encoding.filler(data[start:end])]
            if self._encoding.without_end(data[start + filler : end])
        }
        return lines == self._known.offsets(file.file_id, first, size)

    def _search(self, now: float, names: Collection[str]) -> None:
        """Look for known files under names that no glob covers.

        That is beside the names that one does, and, since a link says nothing of a file that is
        rotated behind it, beside all that these lead to, on the way and in the end.
        """
        missed = [file for file in self._absent if self._names.cover(file.name)]
        if not missed:
            return
        links = [file.path for file in self if file.is_link]
        links += [name for name in names if name not in self._by_path and os.path.islink(name)]
        places = {place for file in missed for place in (file.name, file.path, file.place)}
        places.update(hop for link in links for hop in (*hops(link), os.path.realpath(link)))
        directories = {os.path.dirname(place) for place in places if place}
        for directory in directories:
            try:
                changed = os.stat(directory).st_ctime_ns  # new rights count, too
            except OSError:
                continue
            if self._searched.get(directory) == changed:
                continue
            self._searched[directory] = changed
            for path, found in beside([directory], self.report):
                key, state = (found.st_dev, found.st_ino), (found.st_size, found.st_ctime_ns)
                if key in self._by_key or self._strangers.get(key) == state or not found.st_size:
                    continue
                if self._names.cover(path):
                    continue
                self._strangers[key] = state
                self._meet_stranger(path, key, found, now)

    def _meet_stranger(self, path: str, key: Key, found: os.stat_result, now: float) -> None:
        try:
            content = open_content(path)
        except OSError:  # it is none of ours, as far as anybody knows
            return
        file = None
        with suppress(OSError):
            if content.key == key:  # else it was renamed since it was looked at
                self._endings.recall(content)
                head = read_head(content, self._encoding)
                file = recognise(self._absent, content, head, path)
        if file and self._names.cover(file.name):
            self._follow_at(file, path, key, content, found, now)
        else:
            content.close()

    # Handles and reports

    def _keep_open(self, file: TailedFile) -> bool:
        """Hold on to a file that grew: its name may be taken away. False: it is another one."""
        if not file.busy:
            try:
                file.open()
            except OSError as error:
                self.report(error, file)
                return not isinstance(error, FileNotFoundError)
            self.opened(file)
            self.limit_handles()
        return True

    def limit_handles(self) -> None:
        """Close the files that have been quiet for longest, if too many are open."""
        too_many = len(self._handles) - share(1 / 4, at_most=HANDLES)
        if too_many <= 0:
            return
        quiet = (f for f in self._handles if not f.busy and self._by_path.get(f.path) is f)
        for file in list(itertools.islice(quiet, too_many)):
            del self._handles[file]
            file.close()

    def opened(self, file: TailedFile) -> None:
        """A file may have been opened to be read; a compressed one is done with at its end."""
        if file.damage:
            problem = f"cannot read {file.path!r} to its end: {file.damage}"
            if self._damaged.get(file) != problem:
                self._damaged[file] = problem
                self._say(problem)
        else:
            self._damaged.pop(file, None)
        is_done = file.start >= file.size or (file.damage and not file.is_readable)
        if file.content and file.is_compressed and is_done and not file.busy:
            self._endings.learn(file.content)
            self._handles.pop(file, None)
            file.close()
        elif file.content:
            self._handles[file] = None
            self._handles.move_to_end(file)

    def report(self, error: OSError, file: TailedFile | None = None) -> None:
        """Say once, on stderr and in the status, what cannot be read; give up what has changed."""
        path = str(error.filename)
        gone = isinstance(error, FileNotFoundError)
        if file and not file.busy and (gone or not self._follow):
            self._lose(file, time.monotonic())
        if gone and self._follow:
            self._overcome(path)
            self.look_soon()
            return
        if file or not error.errno:
            self._of_reading.add(path)
        self._keep_problem(path, f"cannot read {path!r}: {error.strerror}")

    def cannot_claim(self, error: ClaimError, file: TailedFile | None = None) -> None:
        """Say that files have to wait, until `claimed` says of `file` that it need not any more."""
        where = str(error.filename)
        if file:
            self._unclaimed.setdefault(where, set()).add(file)
        self._keep_problem(
            where,
            f"cannot claim files in {where!r}: {error.strerror}; those that need it are read when "
            "there is room, and the right to write, there",
        )

    def claimed(self, file: TailedFile) -> None:
        """The claim of a file could be written."""
        for waiting in self._unclaimed.values():
            waiting.discard(file)

    def was_read(self, file: TailedFile) -> None:
        """What could not be read of a file was read."""
        self._overcome(file.path)

    def _overcome(self, path: str) -> None:
        self._problems.pop(path, None)
        self._of_reading.discard(path)
        self._unclaimed.pop(path, None)

    def _keep_problem(self, path: str, problem: str) -> None:
        self._renewed.add(path)
        if self._problems.get(path) != problem:
            self._problems[path] = problem
            self._say(problem)


class Absent:
    """Known files that are not there, found by their first bytes."""

    def __init__(self) -> None:
        self._by_id: dict[int, TailedFile] = {}
        self._by_print: dict[int, dict[int, dict[int, TailedFile]]] = {}

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(list(self._by_id.values()))

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def get(self, file_id: int) -> TailedFile | None:
        """The file with this id."""
        return self._by_id.get(file_id)

    def add(self, file: TailedFile) -> None:
        """Miss a file; what was known of it under its id is forgotten."""
        self.remove(file.file_id)
        self._by_id[file.file_id] = file
        length, expected = file.fingerprint
        self._by_print.setdefault(length, {}).setdefault(expected, {})[file.file_id] = file

    def remove(self, file_id: int) -> None:
        """Do not miss a file any more."""
        file = self._by_id.pop(file_id, None)
        if file:
            length, expected = file.fingerprint
            self._by_print.get(length, {}).get(expected, {}).pop(file_id, None)

    def like(self, head: bytes) -> list[TailedFile]:
        """The files that begin with what `head` begins with, as far as it is known of them."""
        return [
            file
            for length, by_hash in self._by_print.items()
            if 0 < length <= len(head)
            for file in by_hash.get(digest(head[:length]), {}).values()
        ]


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def recognise(absent: Absent, content: Content, head: bytes, path: str) -> TailedFile | None:
    """The known file, of those that are not there, whose content this is."""
    return max(
        (file for file in absent.like(head) if _reaches(content, file)),
        key=lambda file: (file.key[1] == content.key[1], file.path == path, file.position),
        default=None,
    )


def _is_longer(content: Content, size: int, file: TailedFile, other: Content) -> bool:
    """Whether this has more bytes than a plain file has by now, which no copy of it can have.

    Somebody may go on with a copy, but only in the place of the file.
    """
    if content.is_compressed or other.is_compressed:
        return False
    return size > (other.size() or 0) >= file.size  # unless that was truncated since it was seen


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


def _reaches(content: Content, file: TailedFile) -> bool:
    """Whether `content` begins with all that has been read of `file`."""
    size = content.size()
    if size is None:
        content.read(1, file.position)  # by what is behind the position, its end may show
        return file.is_at(content)
    return size >= file.position and file.is_at(content)
