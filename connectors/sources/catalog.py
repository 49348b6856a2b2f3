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
from connectors.sources.around import FileLine, lines_around
from connectors.sources.claims import ClaimError, Claims, NoClaims
from connectors.sources.copies import Known
from connectors.sources.evidence import REACH
from connectors.sources.file_list import GRACE_SECONDS, Files
from connectors.sources.names import Names
from connectors.sources.records import Piece, taken
from connectors.sources.sense import Sense
from connectors.sources.tailed_file import Limits, TailedFile, read_head
from connectors.sources.turns import Turn
from connectors.status import FileStatus, SourceStatus
from connectors.store import Ledger

RETRY_SECONDS = 0.25
"""When a file that another process has is asked for again."""

TENURE_SECONDS = 1.0
"""How long a process may read on in a file that another asks for."""

PUT_OFF_SECONDS = 2.0
"""When a claim that could not be written is tried again."""

FILES_AT_ONCE = 128
"""Files in a batch, at most, as each takes two descriptors; fewer where there are few of these."""

FIRST_LINES = 10_000
"""Lines in the first batch, at most: whoever has just started sees the first rows sooner."""

SLOW_SECONDS = 1.0
"""How long a poll may take before others look at the files that it does not have at the moment."""

UNREADABLE_SECONDS = 30.0
"""When the bytes of a block in doubt that could not be read are asked for again."""

PATIENCE_SECONDS = 10.0
"""How much longer lines of a file wait of which a whole batch waits than those of a quiet one."""

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

    A file is read by one worker at a time. Its next bytes are handed out while the last ones are on
    their way to the store, and its blocks are recorded in order all the same. Files whose lines
    have waited longest go first, short backlogs before long ones. Which files there are: see
    `Files`. With a `claims` directory, processes that name the same one share the files: a file is
    with one process at a time, until what it has read is stored. Who has one that others ask for
    gives it up now and then.
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
        self._most_lines = min(limits.lines, FIRST_LINES)
        self._encoding = encoding
        self._follow = follow
        self._polling = threading.Lock()
        self._poll_began = 0.0
        self._polled_to = 0.0  # when the last poll began that has ended
        self._lock = threading.Lock()  # of what is in doubt; never held over input or output
        self._claims = Claims(claims) if claims else NoClaims()
        self._names = Names(patterns)
        self._files = Files(
            self._names,
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
        ledger = positions.ledger().of("file")
        self._files.know(ledger.files)
        self._in_doubt: dict[BlockId, Sequence[Span]] = dict(ledger.in_doubt)
        self._unread: list[TailedFile] = []  # when somebody chose of them last
        self._settled_in_part: set[BlockId] = set()
        self._unreadable: dict[tuple[BlockId, int], float] = {}  # until when not to try again
        self._files.poll()
        self._saw_all = time.monotonic()
        if ledger.is_new:
            positions.start_at(self._skip_what_is_there() if from_end else [])
        for missing in self._missing():
            say(missing)

    def collect(self) -> Taken | None:
        """The next batch, read and claimed, or None if none is due yet."""
        self._poll()
        block, files = self._choose_in_doubt() or (None, self._claim(self._choose()))
        try:
            new = [file for file in files if not file.is_joined]
            stale = [file for file in new if not self._claims.is_fresh(file.file_id)]
            if stale:
                self._catch_up(stale)
            unmarked = [file for file in new if not self._mark(file)]
            if unmarked:
                files = [file for file in files if file not in unmarked]
                if block:
                    self._release(files)
                    return None
            return self._reread(block, files) if block else self._read_next(files)
        except ClaimError as error:
            for file in files:
                self._put_off(file, error)
            return None
        except BaseException:
            self._release(file for file in files if file.is_read)
            raise

    def _poll(self) -> None:
        """One worker polls at a time. The others do not wait for it, but take what is due."""
        if not self._polling.acquire(blocking=False):
            if self._poll_takes_long():
                self._files.see_growth()
            return
        try:
            self._poll_began = time.monotonic()
            self._keep_house()
            if self._follow:
                self._files.poll(self._refresh)
            else:
                self._files.take_back()
            self._polled_to = self._poll_began
        finally:
            self._polling.release()

    def _poll_takes_long(self) -> bool:
        return self._polling.locked() and time.monotonic() - self._poll_began > SLOW_SECONDS

    def read(self, patterns: Sequence[str]) -> None:
        """Cover what these globs do; those who poll look at all names every few seconds."""
        self._names.use(patterns)

    def due_in(self) -> float | None:
        """Seconds until a batch may be due by its age; None: nothing is waiting."""
        since = [
            max(when + self._limits.seconds, file.not_before)
            for file in self._unread
            if file.size > file.position
            and (file.on_way or not file.is_read)  # who reads on is soon done
            and file.is_readable
            and (when := file.waiting_since(file.position)) is not None
        ]
        return max(0.0, min(since) - time.monotonic()) if since else None

    def exhausted(self) -> bool:
        """Whether everything that was there is stored (when not following)."""
        now = time.monotonic()
        return not any(f.is_held or f.is_readable or f.not_before > now for f in self._files)

    def status(self) -> SourceStatus:
        """Files, and how far the store is behind them; waits for nothing."""
        now = time.monotonic()
        files = list(self._files)
        polled_to = self._polled_to  # before it is asked what is behind
        behind = [file.waiting_since(file.stored) for file in files if file.behind]
        with self._lock:
            in_doubt = len(self._in_doubt)
        waits = ["Reading waits for the store or the disk."] if self._poll_takes_long() else []
        return SourceStatus(
            files=len(files),
            lag_bytes=sum(file.behind for file in files),
            lag_seconds=max((now - (since or now) for since in behind), default=0.0),
            problems=(*self._files.problems.all, *self._missing(), *waits),
            files_behind=len(behind),
            blocks_in_doubt=in_doubt,
            complete_to=None if in_doubt else self._complete_to([polled_to, *behind]),
        )

    def _complete_to(self, times: Sequence[float | None]) -> float | None:
        """The first of these, since 1970; None: since when lines wait that were there first."""
        first = min(when or 0.0 for when in times)
        return time.time() - time.monotonic() + first if first > self._saw_all else None

    def files(self) -> list[FileStatus]:
        """Every file that is there: identity, place, size, and how far it is stored."""
        now = time.monotonic()
        found = []
        for file in self._files:
            behind = file.behind
            since = file.waiting_since(file.stored) if behind else None
            lag = now - since if since else 0.0
            place = (file.file_id, file.name, file.path, file.size, file.stored)
            sense = file.sense or Sense(file.format)
            found.append(FileStatus(*place, behind, lag, sense.format, sense.why))
        return found

    def around(self, file_id: int, offset: int, most: int) -> Sequence[FileLine] | None:
        """See `lines_around`; of a file only that the globs cover where it is now."""
        file = self._files.find([file_id]).get(file_id)
        if not file or not self._names.cover(file.path):
            return None
        return lines_around(file, offset, most)

    def gaps(self) -> tuple[str, ...]:
        """Bytes that were gone before they could be read."""
        return self._files.problems.gaps

    def know(self, spans: Sequence[Span]) -> None:
        """Know files from now on whose positions were chosen, should they turn up."""
        with self._polling:
            self._files.know(spans)

    def close(self) -> None:
        """Stop watching, close all files."""
        self._files.close()

    # Sharing files with other processes

    @property
    def _is_shared(self) -> bool:
        return isinstance(self._claims, Claims)

    def _refresh(self) -> None:
        """Learn what other processes have recorded, before anything is taken for new or lost."""
        if not self._is_shared:
            return
        with self._lock:
            before = set(self._in_doubt)
        ledger = self._positions.ledger().of("file")
        # A followed file moves on only under its claim, which shows what another left in doubt.
        here = {file.file_id for file in self._files}
        self._files.know(span for span in ledger.files if span.stream.id not in here)
        with self._lock:
            for block in before - ledger.in_doubt.keys():
                self._in_doubt.pop(block, None)

    def _claim(self, files: Iterable[TailedFile], *, to_read: bool = True) -> list[TailedFile]:
        """Those of these files that this process and worker can have, and reads from now on.

        `to_read`: only those in which a line still waits.
        """
        claimed = []
        for file in files:
            if to_read and self._join(file):
                if file.is_readable:
                    claimed.append(file)
                else:
                    self._leave(file)
                continue
            if not file.hold():
                continue
            is_due = file.is_readable and file.not_before <= time.monotonic()
            if not file.is_followed or (to_read and not is_due):
                file.let_go()
                continue
            try:
                if self._claims.take(file.file_id):
                    file.claim()
                    claimed.append(file)
                else:
                    file.not_before = time.monotonic() + RETRY_SECONDS
                    file.let_go()
            except ClaimError as error:
                self._put_off(file, error)
        return claimed

    def _mark(self, file: TailedFile) -> bool:
        try:
            self._claims.mark(file.file_id)
        except ClaimError as error:
            self._put_off(file, error)
            return False
        return True

    def _put_off(self, file: TailedFile, error: ClaimError) -> None:
        """A claim cannot be written: its file has to wait."""
        file.not_before = time.monotonic() + PUT_OFF_SECONDS
        self._files.problems.cannot_claim(error, file)
        self._release([file])

    def _join(self, file: TailedFile) -> bool:
        """Read on in a file of which batches are on their way, and that no other process wants."""
        if not file.on_way:
            return False
        with self._lock:
            if any(s.stream.id == file.file_id for spans in self._in_doubt.values() for s in spans):
                return False
        if file.join():
            if not self._is_wanted(file):
                return True
            self._leave(file)
        return False

    def _is_wanted(self, file: TailedFile) -> bool:
        """Whether a file that cannot be let go meanwhile was here for long, and others ask."""
        is_late = time.monotonic() - file.had_since > TENURE_SECONDS
        return is_late and self._claims.is_wanted(file.file_id)

    def _release(self, files: Iterable[TailedFile]) -> None:
        """Read these files no more."""
        for file in files:
            self._leave(file)

    def _leave(self, file: TailedFile) -> None:
        if file.leave():
            self._let_go(file)

    def _let_go(self, file: TailedFile) -> None:
        """Let other processes have a file, of which nothing is on its way: one that asks, first."""
        self._files.handles.opened(file)
        if self._is_wanted(file):
            file.had_since = time.monotonic()
            file.not_before = file.had_since + 2 * RETRY_SECONDS
        self._claims.release(file.file_id, file.stored)
        file.let_go()

    def _catch_up(self, files: Sequence[TailedFile]) -> None:
        """Learn how far others have come with claimed files, and what they left in doubt."""
        by_id = {file.file_id: file for file in files}
        for file in files:
            file.had_since = time.monotonic()
        with self._lock:
            before = set(self._in_doubt)
        ledger = self._positions.ledger(by_id)
        # A process that died recorded what lies behind the place where the last holder left a file:
        # perhaps long before, since a server may execute late what it was sent.
        dropped = {s.stream.id for s in ledger.files if s.end > self._claims.left_at(s.stream.id)}
        for span in ledger.files:
            file = by_id[span.stream.id]
            if span.end > file.position:
                file.move_to(span)
                file.store(span)
        with self._lock:
            for block, spans in ledger.in_doubt.items():
                if dropped.intersection(span.stream.id for span in spans):
                    self._in_doubt[block] = spans
            for block in before - ledger.in_doubt.keys():
                if any(span.stream.id in by_id for span in self._in_doubt.get(block, ())):
                    del self._in_doubt[block]  # another process has settled it

    def _keep_house(self) -> None:
        """Note now and then which of the known files are gone."""
        if time.monotonic() < self._next_housekeeping:
            return
        self._next_housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS
        found = [file.file_id for file in self._files]
        forgotten = self._positions.keep(found, self._files.absent)
        self._files.forget(forgotten)
        for file_id in forgotten:
            try:
                self._claims.forget(file_id)
            except ClaimError as error:
                self._files.problems.cannot_claim(error)

    # Blocks in doubt

    def _missing(self) -> list[str]:
        """What cannot be settled, because the file is not there."""
        with self._lock:
            in_doubt, unreadable = dict(self._in_doubt), set(self._unreadable)
        wanted = {s.stream.id for spans in in_doubt.values() for s in spans}
        found = self._files.find(wanted) if wanted else {}
        return [
            f"{span.stream.name!r} is not there as it was, and it is not known whether its bytes "
            f"from {span.start} to {span.end} are stored"
            for block, spans in in_doubt.items()
            for span in spans
            if span.stream.id not in found or (block, span.stream.id) in unreadable
        ]

    def _choose_in_doubt(self) -> tuple[BlockId, list[TailedFile]] | None:
        """A block whose files are there: all of them, or after a while those that are."""
        now = time.monotonic()
        is_late = not self._is_too_early()
        with self._lock:
            in_doubt, unreadable = dict(self._in_doubt), dict(self._unreadable)
        for block, spans in in_doubt.items():
            wanted = {span.stream.id for span in spans}
            found = {
                id: file
                for id, file in self._files.find(wanted).items()
                if unreadable.get((block, id), now) <= now
            }
            if len(found) < len(wanted) and (
                not found or not is_late or block in self._settled_in_part
            ):
                continue
            if self._has_to_wait(block):
                continue
            files = list(found.values())
            if any(file.is_held or file.not_before > now for file in files):
                continue
            claimed = self._claim(files, to_read=False)
            if len(claimed) == len(files):
                return block, claimed
            self._release(claimed)
        return None

    def _reread(self, block: BlockId, files: list[TailedFile]) -> Taken | None:
        """The bytes of a block in doubt, as far as they are there."""
        with self._lock:
            spans = self._in_doubt.get(block)
        # Another process or worker has settled it, or its claim has shown a later one.
        if spans is None or self._has_to_wait(block):
            self._release(files)
            return None
        by_id = {file.file_id: file for file in files}
        pieces: list[Piece] = []
        for span in spans:
            file = by_id.get(span.stream.id)
            if file is None:
                continue
            try:
                pieces.append(file.reread(span))
                with self._lock:
                    self._unreadable.pop((block, file.file_id), None)
            except OSError:
                with self._lock:
                    until = time.monotonic() + UNREADABLE_SECONDS
                    self._unreadable[block, file.file_id] = until
                self._release([file])
                files.remove(file)
        is_whole = len(pieces) == len(spans)
        if not pieces or (not is_whole and self._is_too_early()):
            self._release(files)
            return None

        def acknowledge() -> None:
            with self._lock:
                if is_whole:
                    self._in_doubt.pop(block, None)
                else:
                    self._settled_in_part.add(block)
            for file in files:
                self._files.problems.claimed(file)
            self._release(files)

        return taken(
            pieces,
            self._encoding,
            self._limits.line_bytes,
            in_doubt=block,
            is_whole=is_whole,
            acknowledge=acknowledge,
        )

    def _has_to_wait(self, block: BlockId) -> bool:
        """Whether a later block, which is not settled yet, has some of its bytes: see `Ledger`."""
        with self._lock:
            mine = self._in_doubt.get(block, ())
            later = [
                spans
                for other, spans in self._in_doubt.items()
                if other.sequence > block.sequence and other not in self._settled_in_part
            ]
        return any(one.overlaps(other) for spans in later for one in spans for other in mine)

    def _is_too_early(self) -> bool:
        return self._follow and time.monotonic() - self._started <= GRACE_SECONDS

    # Choosing and reading

    def _choose(self) -> list[TailedFile]:
        """The files that make the next batch, if a line is due or there are enough of them."""
        now = time.monotonic()
        waiting: list[tuple[float, TailedFile]] = []
        self._unread = self._files.unread()
        for file in self._unread:
            if file.not_before > now:
                continue
            if self._join(file):
                self._look_again(file, now)
                if file.is_readable:
                    waiting.append((file.waiting_since(file.position) or now, file))
                self._leave(file)
                continue
            if file.size <= file.position or not file.hold():
                continue
            try:
                if file.is_followed:
                    file.count(now)
                    self._files.handles.opened(file)
            except OSError as error:
                self._files.failed(error, file)
                continue
            except BaseException:
                file.let_go()
                raise
            if file.is_followed and file.is_readable:
                waiting.append((file.waiting_since(file.position) or now, file))
            file.let_go()
            if file.content:
                self._files.handles.limit()
        # A file with a long backlog goes behind those that have waited since it was read last, and
        # for a while behind those with a short one.
        waiting.sort(key=lambda item: max(item[0], item[1].served_at) + self._patience(item[1]))
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

    def _patience(self, file: TailedFile) -> float:
        """Seconds by which others may come later and still go first: it has them for its length."""
        return PATIENCE_SECONDS * min(1.0, (file.size - file.position) / self._limits.bytes)

    def _look_again(self, file: TailedFile, now: float) -> None:
        """See what has come to a file of which batches are on their way: no poll looks at it."""
        try:
            if not file.is_compressed:
                file.grew(file.end_of(file.open()), now)
            file.count(now)
        except OSError:  # a poll says why, when all is stored
            file.not_before = now + RETRY_SECONDS

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
        room_bytes, room_lines = self._limits.bytes, self._most_lines
        self._most_lines = self._limits.lines
        failed: list[tuple[OSError, TailedFile]] = []
        put_off: set[TailedFile] = set()
        for file in files:
            if room_bytes <= 0 or room_lines <= 0:
                break
            try:
                piece = file.read(room_bytes, room_lines)
                if piece and not piece.span.start:
                    self._learn_beginning(file)
            except ClaimError as error:
                put_off.add(file)
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
        with_lines = {file for file, _ in read}
        turn = Turn(file.turn for file, _ in read if file.turn)
        for file, piece in read:
            file.move_to(piece.span)
            file.served_at = time.monotonic()
            self._files.problems.overcome(file.path)
            self._files.handles.opened(file)
            file.send(piece.span, turn)
        for failure, file in failed:
            if file.leave():
                self._claims.release(file.file_id, file.stored)
                self._files.failed(failure, file)
            else:  # the next poll says why, when all is stored
                file.not_before = time.monotonic() + RETRY_SECONDS
        others = with_lines | {file for _, file in failed} | put_off
        self._release(file for file in files if file not in others)
        if not read:
            return None
        return taken(
            [piece for _, piece in read],
            self._encoding,
            self._limits.line_bytes,
            filler=filler,
            in_order=turn.take,
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
            for file, span in read:
                self._files.problems.claimed(file)
                if file.arrive(span):
                    self._let_go(file)
            self._files.handles.limit()

        return acknowledge

    def _skip_what_is_there(self) -> list[Span]:
        spans = []
        for file in self._files:
            file.hold(wait=True)
            try:
                span = file.end_of_last_line()
            except OSError as error:
                self._files.failed(error, file)
                continue
            if span.end:
                span = replace(span, continued=False)
                file.move_to(span)
                file.store(span)
                spans.append(span)
            self._files.handles.opened(file)
            file.let_go()
        return spans
