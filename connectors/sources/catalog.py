"""Whose bytes make the next batch: choosing, claiming and reading files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from connectors.batch import BlockId, Span, Taken
from connectors.descriptors import share
from connectors.encodings import Encoding
from connectors.saying import say
from connectors.sources.claims import ClaimError, Claims, NoClaims
from connectors.sources.evidence import REACH
from connectors.sources.names import Names
from connectors.sources.records import Piece, taken
from connectors.sources.roster import GRACE_SECONDS, Known, Roster
from connectors.sources.tailed_file import Limits, TailedFile, read_head
from connectors.status import FileStatus, SourceStatus
from connectors.store import Ledger

RETRY_SECONDS = 0.25
"""When a file that another process has is asked for again."""

PUT_OFF_SECONDS = 2.0
"""When a claim that could not be written is tried again."""

FILES_AT_ONCE = 128
"""Files in a batch, at most, as each takes two descriptors; fewer where there are few of these."""

UNREADABLE_SECONDS = 30.0
"""When the bytes of a block in doubt that could not be read are asked for again."""

HOUSEKEEPING_SECONDS = 3600.0
"""How often it is noted which of the known files are gone."""


class Positions(Known, Protocol):
    """The part of a store that a file source needs."""

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        """What is known of these files (None: of all)."""

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        """Note which files are there and which are gone; the ids that were forgotten."""


class Catalog:
    """The files of one process, shared by its workers; every method may be called from any thread.

    A file is with one worker at a time, and its next bytes are handed out only after the last ones
    are stored, so that the blocks of a file are written in order. Files whose lines have waited
    longest go first. Which files there are: see `Roster`. With a `claims` directory, processes
    that name the same one share the files: a file is with one worker of one process at a time.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        positions: Positions,
        limits: Limits,
        *,
        encoding: Encoding,
        follow: bool,
        from_end: bool,
        claims: Path | None,
        archives: Path | None,
        linger: float,
    ) -> None:
        self._positions = positions
        self._limits = limits
        self._encoding = encoding
        self._follow = follow
        self._lock = threading.Lock()
        self._claims = Claims(claims) if claims else NoClaims()
        self._roster = Roster(
            Names(patterns),
            limits,
            encoding,
            positions,
            self._claims.mint,
            follow=follow,
            archives=archives,
            linger=linger,
        )
        self._started = time.monotonic()
        self._next_housekeeping = 0.0
        ledger = positions.ledger()
        self._roster.know(ledger.files)
        self._in_doubt: dict[BlockId, Sequence[Span]] = dict(ledger.in_doubt)
        self._settled_in_part: set[BlockId] = set()
        self._last_status = SourceStatus()
        self._unreadable: dict[tuple[BlockId, int], float] = {}  # until when not to try again
        self._roster.look()
        if ledger.is_new:
            positions.start_at(self._skip_what_is_there() if from_end else [])
        for missing in self._missing():
            say(missing)

    def collect(self) -> Taken | None:
        """The next batch, read and claimed, or None if none is due yet."""
        self._keep_house()
        with self._lock:
            if self._follow:
                self._roster.look(self._refresh)
            block, files = self._choose_in_doubt() or (None, self._claim(self._choose()))
        try:
            stale = [file for file in files if not self._claims.is_fresh(file.file_id)]
            if stale and self._is_shared:
                self._catch_up(stale)
            unmarked = [file for file in files if not self._mark(file)]
            if unmarked:
                files = [file for file in files if file not in unmarked]
                if block:
                    with self._lock:
                        self._release(files)
                    return None
            return self._read_again(block, files) if block else self._read_next(files)
        except ClaimError as error:
            with self._lock:
                for file in files:
                    self._put_off(file, error)
            return None
        except BaseException:
            with self._lock:
                self._release(files)
            raise

    def due_in(self) -> float | None:
        """Seconds until a batch may be due by its age; None: nothing is waiting."""
        now = time.monotonic()
        with self._lock:
            since = [
                max(when + self._limits.seconds, file.again_at)
                for file in self._roster
                if file.size > file.position
                and not file.busy
                and file.is_readable
                and (when := file.waiting_since(file.position)) is not None
            ]
        return max(0.0, min(since) - now) if since else None

    def exhausted(self) -> bool:
        """Whether everything that was there is stored (when not following)."""
        with self._lock:
            now = time.monotonic()
            return not any(f.busy or f.is_readable or f.again_at > now for f in self._roster)

    def status(self) -> SourceStatus:
        """Files, and how far the store is behind them."""
        if not self._lock.acquire(timeout=1.0):  # held while something is asked that is away
            problems = (*self._last_status.problems, "Reading waits for the store or the disk.")
            return replace(self._last_status, problems=problems)
        try:
            self._last_status = self._status()
        finally:
            self._lock.release()
        return self._last_status

    def _status(self) -> SourceStatus:
        now = time.monotonic()
        behind = [file for file in self._roster if file.behind]
        return SourceStatus(
            files=len(self._roster),
            lag_bytes=sum(file.behind for file in behind),
            lag_seconds=max(
                (now - (file.waiting_since(file.stored) or now) for file in behind), default=0.0
            ),
            problems=(*self._roster.problems, *self._missing()),
        )

    def files(self) -> list[FileStatus]:
        """Every file that is there: identity, place, size, and how far it is stored."""
        with self._lock:
            return [
                FileStatus(file.file_id, file.name, file.path, file.size, file.stored)
                for file in self._roster
            ]

    def gaps(self) -> tuple[str, ...]:
        """Bytes that were gone before they could be read."""
        with self._lock:
            return self._roster.gaps

    def know(self, spans: Sequence[Span]) -> None:
        """Know files from now on whose positions were chosen, should they turn up."""
        with self._lock:
            self._roster.know(spans)

    def close(self) -> None:
        """Stop watching, close all files."""
        self._roster.close()

    # Sharing files with other processes

    @property
    def _is_shared(self) -> bool:
        return isinstance(self._claims, Claims)

    def _refresh(self) -> None:
        """Learn what other processes have recorded, before anything is taken for new or lost."""
        if not self._is_shared:
            return
        ledger = self._positions.ledger()
        # Files that are here move under their claim only: what another left in doubt shows then.
        here = {file.file_id for file in self._roster}
        self._roster.know(span for span in ledger.files if span.stream.id not in here)
        for block in self._in_doubt.keys() - ledger.in_doubt.keys():
            del self._in_doubt[block]

    def _claim(self, files: Iterable[TailedFile]) -> list[TailedFile]:
        """Those of these files that this process can have; busy from now on. With the lock held."""
        claimed = []
        for file in files:
            try:
                if self._claims.take(file.file_id):
                    file.busy = True
                    claimed.append(file)
                else:
                    file.again_at = time.monotonic() + RETRY_SECONDS
            except ClaimError as error:
                self._put_off(file, error)
        return claimed

    def _mark(self, file: TailedFile) -> bool:
        try:
            self._claims.mark(file.file_id)
        except ClaimError as error:
            with self._lock:
                self._put_off(file, error)
            return False
        return True

    def _put_off(self, file: TailedFile, error: ClaimError) -> None:
        """A claim cannot be written: its file has to wait. With the lock held."""
        file.again_at = time.monotonic() + PUT_OFF_SECONDS
        self._roster.cannot_claim(error, file)
        self._release([file])

    def _release(self, files: Iterable[TailedFile]) -> None:
        """With the lock held."""
        for file in files:
            file.busy = False
            self._claims.release(file.file_id, file.stored)

    def _catch_up(self, files: Sequence[TailedFile]) -> None:
        """Learn how far others have come with claimed files, and what they left in doubt."""
        by_id = {file.file_id: file for file in files}
        ledger = self._positions.ledger(by_id)
        # What was recorded behind the place where the last holder left a file is of one that died,
        # perhaps long before: a server may execute late what it was sent.
        dropped = {s.stream.id for s in ledger.files if s.end > self._claims.left_at(s.stream.id)}
        with self._lock:
            for span in ledger.files:
                file = by_id[span.stream.id]
                if span.end > file.position:
                    file.move_to(span)
                    file.store(span)
            for block, spans in ledger.in_doubt.items():
                if dropped.intersection(span.stream.id for span in spans):
                    self._in_doubt[block] = spans
            for block in self._in_doubt.keys() - ledger.in_doubt.keys():
                if any(span.stream.id in by_id for span in self._in_doubt[block]):
                    del self._in_doubt[block]  # another process has settled it

    def _keep_house(self) -> None:
        with self._lock:
            if time.monotonic() < self._next_housekeeping:
                return
            self._next_housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS
            found, absent = [file.file_id for file in self._roster], self._roster.absent
        forgotten = self._positions.keep(found, absent)
        with self._lock:
            self._roster.forget(forgotten)
            for file_id in forgotten:
                try:
                    self._claims.forget(file_id)
                except ClaimError as error:
                    self._roster.cannot_claim(error)

    # Blocks in doubt

    def _missing(self) -> list[str]:
        """What cannot be settled, because the file is not there."""
        wanted = {s.stream.id for spans in self._in_doubt.values() for s in spans}
        found = self._roster.find(wanted) if wanted else {}
        unreadable = self._unreadable.keys()
        return [
            f"{span.stream.name!r} is not there as it was, and it is not known whether its bytes "
            f"from {span.start} to {span.end} are stored"
            for block, spans in self._in_doubt.items()
            for span in spans
            if span.stream.id not in found or (block, span.stream.id) in unreadable
        ]

    def _choose_in_doubt(self) -> tuple[BlockId, list[TailedFile]] | None:
        """A block whose files are there: all of them, or after a while those that are."""
        now = time.monotonic()
        is_late = not self._is_too_early()
        for block, spans in self._in_doubt.items():
            wanted = {span.stream.id for span in spans}
            found = {
                id: file
                for id, file in self._roster.find(wanted).items()
                if self._unreadable.get((block, id), now) <= now
            }
            if len(found) < len(wanted) and (
                not found or not is_late or block in self._settled_in_part
            ):
                continue
            files = list(found.values())
            if any(file.busy or file.again_at > now for file in files):
                continue
            claimed = self._claim(files)
            if len(claimed) == len(files):
                return block, claimed
            self._release(claimed)
        return None

    def _read_again(self, block: BlockId, files: list[TailedFile]) -> Taken | None:
        """The bytes of a block in doubt, as far as they are there."""
        with self._lock:
            spans = self._in_doubt.get(block)
            if spans is None:  # another process has settled it
                self._release(files)
                return None
        by_id = {file.file_id: file for file in files}
        again: list[Piece] = []
        for span in spans:
            file = by_id.get(span.stream.id)
            if file is None:
                continue
            try:
                again.append(file.read_again(span))
                self._unreadable.pop((block, file.file_id), None)
            except OSError:
                with self._lock:
                    self._release([file])
                    files.remove(file)
                    until = time.monotonic() + UNREADABLE_SECONDS
                    self._unreadable[block, file.file_id] = until
        is_whole = len(again) == len(spans)
        if not again or (not is_whole and self._is_too_early()):
            with self._lock:
                self._release(files)
                return None

        def acknowledge() -> None:
            with self._lock:
                self._release(files)
                for file in files:
                    self._roster.claimed(file)
                    self._roster.opened(file)
                if is_whole:
                    self._in_doubt.pop(block, None)
                else:
                    self._settled_in_part.add(block)

        return taken(
            again,
            self._encoding,
            self._limits.line_bytes,
            in_doubt=block,
            is_whole=is_whole,
            acknowledge=acknowledge,
        )

    def _is_too_early(self) -> bool:
        return self._follow and time.monotonic() - self._started <= GRACE_SECONDS

    # Choosing, with the lock held, and reading, without

    def _choose(self) -> list[TailedFile]:
        """The files that make the next batch, if a line is due or there are enough of them."""
        now = time.monotonic()
        waiting: list[tuple[float, TailedFile]] = []
        for file in self._roster:
            if file.size <= file.position or file.busy or file.again_at > now:
                continue
            try:
                file.count(now)
                self._roster.opened(file)
                self._roster.limit_handles()
            except OSError as error:
                self._roster.report(error, file)
                continue
            if file.is_readable:
                waiting.append((file.waiting_since(file.position) or now, file))
        # A file with a long backlog goes behind those that have waited since it was read last.
        waiting.sort(key=lambda item: max(item[0], item[1].served_at))
        files = [file for _, file in waiting]
        is_due = any(
            not self._follow or now - since >= self._limits.seconds for since, _ in waiting
        )
        if not is_due:
            files.sort(key=lambda file: file.position - file.size)
            is_due = (
                sum(file.size - file.position for file in files) >= self._limits.bytes
                or sum(file.lines for file in files) >= self._limits.lines
            )
        return self._as_many_as_fit(files) if is_due else []

    def _as_many_as_fit(self, files: Sequence[TailedFile]) -> list[TailedFile]:
        """No more files than one batch has room for: the others are for other workers."""
        room, chosen = self._limits.bytes, list[TailedFile]()
        most = share(1 / 16, at_most=FILES_AT_ONCE)
        for file in files:
            if room <= 0 or len(chosen) == most:
                break
            chosen.append(file)
            room -= file.size - file.position
        return chosen

    def _read_next(self, files: list[TailedFile]) -> Taken | None:
        filler = 0
        read: list[tuple[TailedFile, Piece]] = []
        room_bytes, room_lines = self._limits.bytes, self._limits.lines
        failed: list[tuple[OSError, TailedFile]] = []
        for file in files:
            if room_bytes <= 0 or room_lines <= 0:
                break
            try:
                piece = file.read(room_bytes, room_lines)
                if piece and not piece.span.start:
                    self._learn_beginning(file)
            except ClaimError as error:
                with self._lock:
                    self._put_off(file, error)
                continue
            except OSError as error:
                failed.append((error, file))
                continue
            if piece:
                if piece.missing and read:
                    continue  # an over-long line makes a batch of its own
                read.append((file, piece))
                filler += piece.span.start - file.position
                room_bytes -= len(piece.data)
                room_lines -= piece.span.records
                if piece.missing:
                    break
        with self._lock:
            busy = {file for file, _ in read}
            self._release(file for file in files if file not in busy)
            for file, piece in read:
                file.move_to(piece.span)
                file.served_at = time.monotonic()
                self._roster.was_read(file)
            for file in files:
                self._roster.opened(file)
            for failure, file in failed:
                self._roster.report(failure, file)
        if not read:
            return None
        return taken(
            [piece for _, piece in read],
            self._encoding,
            self._limits.line_bytes,
            filler=filler,
            acknowledge=self._when_stored([(file, piece.span) for file, piece in read]),
        )

    def _learn_beginning(self, file: TailedFile) -> None:
        """Until its first block is recorded, a file is known by its first bytes alone."""
        if file.content and file.head[0] < REACH:
            head = read_head(file.content, file.encoding)
            if len(head) > file.head[0] and head.strip(b"\0"):
                self._claims.learn(file.key, file.file_id, head)

    def _when_stored(self, read: list[tuple[TailedFile, Span]]) -> Callable[[], None]:
        def acknowledge() -> None:
            with self._lock:
                for file, span in read:
                    file.store(span)
                    self._roster.claimed(file)
                self._release(file for file, _ in read)
                for file, _ in read:
                    self._roster.opened(file)
                self._roster.limit_handles()

        return acknowledge

    def _skip_what_is_there(self) -> list[Span]:
        spans = []
        for file in self._roster:
            try:
                span = file.end_of_last_line()
            except OSError as error:
                self._roster.report(error, file)
                continue
            if span.end:
                span = replace(span, continued=False)
                file.move_to(span)
                file.store(span)
                spans.append(span)
            self._roster.opened(file)
        return spans
