"""Which files there are, and where each of them is now: names, identities, sizes."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from connectors.batch import Span
from connectors.encodings import Encoding
from connectors.errors import LogwaxError
from connectors.saying import say
from connectors.sources.absent import Absent
from connectors.sources.claims import ClaimError, IsTaken, Key
from connectors.sources.content import Content, open_content
from connectors.sources.copies import Copies, Known
from connectors.sources.elsewhere import Elsewhere
from connectors.sources.endings import Endings
from connectors.sources.handles import Handles, may_grow
from connectors.sources.names import Names
from connectors.sources.problems import Problems
from connectors.sources.recognising import Recogniser
from connectors.sources.tailed_file import Limits, State, TailedFile
from connectors.sources.watcher import Watcher
from connectors.sources.writers import Writers

SCAN_SECONDS = 2.0
"""How often all names and sizes are looked at, whatever the events say; less often if it costs."""

GRACE_SECONDS = 10.0
"""How long a file that is gone with unread bytes may take to turn up under another name."""

_SHARE = 50  # looking takes no more than so small a share of the time, where events are seen
_LONGEST = 8.0  # seconds between two looks, all the same: not all file systems have events


class Files:
    """The files that are followed, and those that are known but not there.

    A file is known again by its content (`evidence.py`), whatever its path is by then: also when it
    has been renamed to where no glob leads, compressed, or copied and truncated. One that has left
    its name is read to its end through its open handle: for as long as somebody has it open for
    writing, else for `linger` seconds after it grew last if that cannot be ruled out. Bytes that
    are gone before they could be read are a gap: it is printed, and stands in `problems`.

    One thread at a time may `poll`, `know`, `identify` or `forget`; everything else may be called
    from any thread meanwhile, and waits for nothing. What a poll does with a file it does while it
    holds it, so that workers have all the others.
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
        self._follow = follow
        self._linger = linger
        self._endings = Endings(archives, say)
        self._writers = Writers()
        self.problems = Problems(say)
        self.handles = Handles(self._endings, self.problems)
        self._by_key: dict[Key, TailedFile] = {}
        self._by_path: dict[str, TailedFile] = {}
        self._by_id: dict[int, TailedFile] = {}
        self._absent = Absent()
        self._copies = Copies(encoding, known, self._absent, self.handles)
        self._recogniser = Recogniser(
            limits,
            encoding,
            known,
            mint,
            self._absent,
            self._copies,
            self._endings,
            is_there=self._by_id.__contains__,
            may_be_copies=follow,
        )
        self._elsewhere = Elsewhere(names)
        self._lost: dict[int, TailedFile] = {}  # with unread bytes, by id
        self._moved: set[TailedFile] = set()  # and read on, some that have been found again
        self._failed: list[tuple[OSError, TailedFile]] = []  # held since reading them failed
        self._postponed: dict[str, float] = {}  # what grew while it was held, and when
        self._pause = SCAN_SECONDS
        self._next_scan = 0.0
        self._watcher = Watcher() if follow else None

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(list(self._by_key.values()))  # at once: a poll may change them

    def __len__(self) -> int:
        return len(self._by_key)

    def unread(self) -> list[TailedFile]:
        """Those with bytes that nobody has read, and those of which batches are on their way.

        Of thousands of quiet files each costs a fraction of a microsecond here, in every poll.
        """
        return [file for file in self if file.size > file.position or file.on_way]

    def find(self, file_ids: Collection[int]) -> dict[int, TailedFile]:
        """Those of these files that are there."""
        found = {id: self._by_id.get(id) for id in file_ids}
        return {id: file for id, file in found.items() if file}

    @property
    def absent(self) -> Collection[int]:
        """The ids of known files that the globs cover, and that are not there."""
        return [file.file_id for file in self._absent if self._names.cover(file.name)]

    @property
    def refused(self) -> dict[str, str]:
        """Covered files of which nothing is read, by path, and why."""
        return self._recogniser.refused

    def know(self, spans: Iterable[Span]) -> None:
        """Take over what a ledger says of files; those that a batch is on its way of are left."""
        for span in spans:
            file = self._by_id.get(span.stream.id)
            if file is None:
                known = self._absent.get(span.stream.id)
                if known is None or known.position < span.end:
                    self._miss(TailedFile.at(span, self._limits, self._encoding))
            elif span.end > file.position and file.hold():
                file.move_to(span)
                file.store(span)
                file.let_go()

    def identify(self, content: Content, path: str) -> int:
        """The id of the known file that this is, or of which it is the beginning; 0: of none."""
        file = self._recogniser.identify(content, path)
        return file.file_id if file else 0

    def forget(self, file_ids: Iterable[int]) -> None:
        """These files are not known any more."""
        for file_id in file_ids:
            self._absent.remove(file_id)

    def failed(self, error: OSError, file: TailedFile) -> None:
        """A held file cannot be read. The next poll sees why, and lets it go."""
        self._failed.append((error, file))

    def close(self) -> None:
        """Stop watching, close all files."""
        if self._watcher:
            self._watcher.close()
        for file in self:
            if self._follow and file.has_moved:
                self._report_end(file)
        self.handles.close_all()

    # A poll

    def poll(self, refresh: Callable[[], None] = lambda: None) -> None:
        """See which files grew, moved, came or went; `refresh` is called before new ones get ids.

        Without events to go by, and every `SCAN_SECONDS` or later, all names are looked at.
        """
        now = time.monotonic()
        # 1. What could not be read.
        self.take_back()
        # 2. What events say.
        grown, renamed = self._watcher.take() if self._watcher else ({}, True)
        grown = {**grown, **self._postponed}
        self._postponed.clear()
        # 3. All names, or the files that grew.
        if renamed or now >= self._next_scan:
            self._next_scan = now + self._pause
            self._scan(now, refresh)
        else:
            self._look_at_growth(grown, now)
        # 4. Files that have left their names.
        self._moved = {file for file in self._moved if file.has_moved}
        for file in tuple(self._moved):
            self._look_after(file, now)
        # 5. Files that are gone, and do not turn up.
        for file in list(self._lost.values()):
            if now - file.lost_at > GRACE_SECONDS or not self._follow:
                self._report_gap(file, refresh)

    def take_back(self) -> None:
        """See why files could not be read, and let them go."""
        while self._failed:
            error, file = self._failed.pop(0)
            self._report(error, file)
            file.let_go()

    def poll_soon(self) -> None:
        """Look at all names in the next poll."""
        self._next_scan = 0.0

    def see_growth(self) -> None:
        """See which files grew that are where they were: while a poll takes its time elsewhere."""
        now = time.monotonic()
        for file in self:
            if file.is_named and not file.is_compressed and file.hold():
                try:
                    found = os.stat(file.path)
                    if (found.st_dev, found.st_ino) == file.key and found.st_size > file.size:
                        file.grew(file.end_of(file.open()), now)
                except OSError:  # the next poll says why
                    self.poll_soon()
                finally:
                    self.handles.opened(file)
                    file.let_go()

    @property
    def _is_blind(self) -> bool:
        """Whether no events tell of what happens to files."""
        return self._watcher is None or self._watcher.blind

    def _look_at_growth(self, grown: dict[str, float], now: float) -> None:
        blind = self._is_blind
        if any(p not in self._by_path and self._names.cover(p) for p in grown):
            self.poll_soon()  # an empty file, or another name of a known one
        # The target of a link has another name; bytes in a mapping are no event.
        for path, file in [
            (path, file)
            for path, file in self._by_path.items()
            if blind or file.is_link or file.is_padded or path in grown
        ]:
            self._look_at(file, grown.get(path, now))

    def _scan(self, now: float, refresh: Callable[[], None]) -> None:
        """Look at all names."""
        began = time.thread_time()
        self.problems.begin()
        self._watch()
        # 1. What is there.
        there: dict[str, os.stat_result] = {}
        names = self._names.expand(self._report)
        for path in names:
            try:
                found = os.stat(path)
                if not stat.S_ISREG(found.st_mode):
                    raise OSError(0, "not a regular file", path)
                there[path] = found
            except OSError as error:
                if not isinstance(error, FileNotFoundError):  # which files may well be
                    self._report(error)
        keys = {path: (found.st_dev, found.st_ino) for path, found in there.items()}
        paths = {keys[path]: path for path in sorted(there)}
        cost = 0.0 if self._is_blind else time.thread_time() - began
        self._pause = max(SCAN_SECONDS, min(_SHARE * cost, _LONGEST))
        # 2. Known files first: what they leave behind may be the beginning of a new one.
        for file in self:
            if keys.get(file.path) != file.key or not file.is_as_it_was(there[file.path]):
                self._look_at(file, now, paths)
        # 3. The others.
        unknown = self._recogniser.begin(
            {key: path for key, path in paths.items() if key not in self._by_key}, there
        )
        if unknown:
            refresh()
        for path in sorted(unknown):
            self._recognise(path, there[path], now)
        if self._copies:
            self._next_scan = min(self._next_scan, now + 0.5)
        # 4. Names that no glob covers.
        self._search(names, now)
        # 5. Problems that are none any more.
        for path, problem in self._recogniser.refused.items():
            self.problems.keep(path, problem)
        for path, of_reading in self.problems.not_renewed():
            if not (of_reading and self._is_still_unreadable(path)):
                self.problems.overcome(path)

    def _watch(self) -> None:
        if not self._watcher:
            return
        self._watcher.watch(self._names.directories())
        if self._watcher.trouble:
            self.problems.keep(
                "",
                f"cannot get file system events: {self._watcher.trouble}. Files are looked at "
                "all the time instead.",
            )

    def _is_still_unreadable(self, path: str) -> bool:
        """Whether a problem of reading goes on, as far as that can be said without reading."""
        file = self._by_path.get(path)
        if not file or not file.hold():
            return file is not None
        try:
            if file.is_compressed or file.is_readable:
                return True
            file.count(time.monotonic())
            file.open().read(1, file.position)
            self.handles.opened(file)
        except OSError:
            return True
        finally:
            file.let_go()
        self.handles.limit()
        return False

    def _look_at(self, file: TailedFile, when: float, paths: dict[Key, str] | None = None) -> None:
        """See whether a file is still where it was, and how large it is; not while it is held."""
        if file.hold():
            try:
                self._look_at_held(file, when, paths)
            finally:
                file.let_go()
            if file.content:
                self.handles.limit()
        else:
            self._postponed.setdefault(file.path, when)

    def _look_at_held(self, file: TailedFile, when: float, paths: dict[Key, str] | None) -> None:
        try:
            found = os.stat(file.path)
        except OSError as error:
            is_gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            if not is_gone and not (paths and file.key in paths):  # nobody knows: nothing is lost
                self._report(error)
                if file.content and not file.is_compressed:
                    self._see_end(file, file.content, when)
                return
            found = None
        if found and (found.st_dev, found.st_ino) == file.key:
            if file.is_compressed:
                self._look_at_compressed(file, found)
            elif found.st_size >= file.size:
                file.is_padded = False
                if found.st_size > file.size and self._keep_open(file):
                    self._grow(file, found.st_size, when)
            else:
                self._lose(file, when)
            return
        if paths is None:
            self.poll_soon()
            return
        self._unname(file)
        moved_to = paths.get(file.key)
        if moved_to:
            self._name(file, moved_to)
            self._move(file, State.RENAMED, when)
        elif file.content or self._find_again(file, when):
            self._move(file, State.UNNAMED, when)
        else:
            self._lose(file, when)

    def _grow(self, file: TailedFile, size: int, when: float) -> None:
        """Note how far the bytes of an open file go, of `size` with what may be filler."""
        if file.content and self._see_end(file, file.content, when):
            file.is_padded = size > file.size
            if file.path != file.name and file.is_named:  # so that its last line is taken some time
                self._move(file, State.RENAMED, when)

    def _see_end(self, file: TailedFile, content: Content, when: float) -> bool:
        """Note where the bytes of a file end; False: that cannot be read now, which is said."""
        try:
            file.grew(file.end_of(content), when)
        except OSError as error:
            error.filename = file.path
            self._report(error, file)
            return False
        return True

    def _keep_open(self, file: TailedFile) -> bool:
        """Hold on to a file that grew: its name may be taken away. False: it is another one."""
        try:
            file.open()
        except OSError as error:
            self._report(error, file)
            return not isinstance(error, FileNotFoundError)
        self.handles.opened(file)
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
            self.problems.gap(
                f"{file.name!r} was moved or deleted while it was not open, somebody goes on "
                f"writing to it, and {path!r} cannot be read: {error.strerror}; what comes after "
                f"its byte {file.position} is lost"
            )
            return False
        self.handles.opened(file)
        return True

    def _look_at_compressed(self, file: TailedFile, found: os.stat_result) -> None:
        state = found.st_size, found.st_mtime_ns
        if state == file.compressed:
            return
        file.compressed = state
        file.close()
        self.problems.overcome(file.path)
        # Until its end has been seen again, behind filler that was looked through.
        file.size = max(file.position, file.scanned) + self._limits.bytes

    def _name(self, file: TailedFile, path: str) -> None:
        file.path = path
        self._by_path[path] = file

    def _unname(self, file: TailedFile) -> None:
        if self._by_path.get(file.path) is file:
            del self._by_path[file.path]

    def _move(self, file: TailedFile, state: State, when: float) -> None:
        if not file.has_moved:
            file.moved_at = when
        file.state = state
        self._moved.add(file)

    def _look_after(self, file: TailedFile, now: float) -> None:
        """Read a file that has left its name to its end; give up its handle when that was it."""
        if file.hold():
            try:
                self._look_after_held(file, now)
            finally:
                file.let_go()

    def _look_after_held(self, file: TailedFile, now: float) -> None:
        if file.content and not file.is_compressed:  # by its handle: it may have other names by now
            if (file.content.size() or 0) < file.size:
                self._lose(file, now)
                return
            if not self._see_end(file, file.content, now):
                return
        quiet = now - max(file.grown_at, file.moved_at)
        grows = self._follow and may_grow(
            file,
            quiet,
            now,
            writers=self._writers,
            others=self._by_key,
            linger=self._linger,
        )
        file.expect_end(grows)
        if file.is_named and (not grows or file.position == file.size):
            file.state = State.FOLLOWED
        elif not file.is_named and not file.content:
            self._lose(file, now)
        elif not (file.is_named or grows) and file.start >= file.size:
            # Whoever opens it by another name is seen only when they have written.
            is_late = quiet >= self._linger or file.is_copied or not self._follow
            if is_late or not file.links:
                self._lose(file, now)

    def _report_end(self, file: TailedFile) -> None:
        """Say what nobody can read any more once this process has ended."""
        if file.content and not (file.is_compressed or file.links):
            now = time.monotonic()
            rest = file.end_of(file.content) - file.stored
            if rest or self._writers.write(file.key, self._by_key, now):
                self.problems.gap(
                    f"{file.name!r} is deleted and was still being read: {rest} bytes from "
                    f"{file.stored} on, and what is written to it from now on, are lost"
                )

    def _lose(self, file: TailedFile, now: float) -> None:
        """The content of a held file is not there any more; it may turn up elsewhere."""
        self.handles.close(file)
        file.state = State.LOST if file.size > file.position else State.ABSENT
        del self._by_key[file.key]
        self._by_id.pop(file.file_id, None)
        self._unname(file)
        self._copies.discard(file)
        self.problems.damaged(file)
        file.lost_at = now
        if file.state is State.LOST:
            self._lost[file.file_id] = file
        elif not file.position:
            return  # nothing of it is known to anybody
        else:
            file.forget_size()
        self._miss(file)
        self.poll_soon()

    def _miss(self, file: TailedFile) -> None:
        self._absent.add(file)
        self._elsewhere.search_all()

    def _report_gap(self, file: TailedFile, refresh: Callable[[], None]) -> None:
        refresh()
        del self._lost[file.file_id]
        file.state = State.ABSENT
        known = self._absent.get(file.file_id)
        end = file.position + 1 if file.is_compressed else file.size  # whose size may be unknown
        if known and known.position >= end:  # another process has read them
            return
        to = "on" if file.is_compressed else f"to {file.size}"
        if file.size > file.position:
            self.problems.gap(
                f"{file.name!r} was truncated or deleted: its bytes from {file.position} {to} "
                "were gone before they could be read"
            )
        file.forget_size()
        if not file.position:
            self._absent.remove(file.file_id)

    # Recognising files

    def _recognise(self, path: str, found: os.stat_result, now: float) -> None:
        """Follow the file that is at a covered path, if it can be said which that is."""
        try:
            recognised = self._recogniser.recognise(path, found, now)
        except ClaimError as error:
            problem = self.problems.cannot_claim(error)
            if not self._follow:  # nobody comes back to it
                raise LogwaxError(problem) from error
        except OSError as error:
            error.filename = path
            self._report(error)
        else:
            if recognised:
                self._follow_at(*recognised, path, found, now)

    def _follow_at(
        self, file: TailedFile, content: Content, path: str, found: os.stat_result, now: float
    ) -> None:
        """Follow a file that is new, or has turned up again, at this path."""
        file.hold(wait=True)  # a worker may be about to see that it was not followed
        self._absent.remove(file.file_id)
        file.key, file.content = content.key, content
        file.see(content)
        file.is_final = content.is_compressed or not self._follow
        file.place, file.is_link = self._names.place(path)
        file.is_padded = False
        file.state = State.FOLLOWED
        self._name(file, path)
        self._by_key[file.key] = self._by_id[file.file_id] = file
        self._copies.add(file)
        self.problems.overcome(path)
        self._lost.pop(file.file_id, None)
        file.forget_size()
        if path != file.name:
            self._move(file, State.RENAMED, now)
        if file.is_compressed:
            file.compressed = found.st_size, found.st_mtime_ns
            file.look_for_end(content, file.position)
            file.noticed.append((1 << 62, now))
        self.handles.opened(file)
        if not file.is_compressed:
            self._grow(file, found.st_size, now)
        file.let_go()
        self.handles.limit()

    def _search(self, names: Collection[str], now: float) -> None:
        """Look for known files under names that no glob covers."""
        missing = [file for file in self._absent if self._names.cover(file.name)]
        if not missing:
            return
        links = [file.path for file in self if file.is_link]
        links += [name for name in names if name not in self._by_path and os.path.islink(name)]
        is_known = self._by_key.__contains__
        for path, found in self._elsewhere.look(missing, links, is_known, self._report):
            self._recognise_elsewhere(path, found, now)

    def _recognise_elsewhere(self, path: str, found: os.stat_result, now: float) -> None:
        with suppress(OSError):  # it is none of ours, as far as anybody knows
            recognised = self._recogniser.recall(path, found)
            if recognised and self._names.cover(recognised[0].name):
                self._follow_at(*recognised, path, found, now)
            elif recognised:
                recognised[1].close()

    def _report(self, error: OSError, file: TailedFile | None = None) -> None:
        """Say once, on stderr and in the status, what cannot be read; give up what has changed.

        A file is one that the caller holds.
        """
        path = str(error.filename)
        gone = isinstance(error, FileNotFoundError)
        if file and file.is_followed and (gone or not self._follow):
            self._lose(file, time.monotonic())
        if gone and self._follow:
            self.problems.overcome(path)
            self.poll_soon()
            return
        problem = f"cannot read {path!r}: {error.strerror}"
        self.problems.keep(path, problem, of_reading=bool(file or not error.errno))
