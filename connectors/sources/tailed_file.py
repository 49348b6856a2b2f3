"""One growing file: how far it has been read, and which whole lines wait in it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from xxhash import xxh3_64_intdigest

from connectors.batch import Numbers, Span, Stream
from connectors.encodings import Encoding
from connectors.saying import say
from connectors.sources.content import Content, open_content
from connectors.sources.evidence import REACH, Evidence, digest, fits, observe
from connectors.sources.framing import (
    LONG_LINES,
    MOST_BYTES,
    MOST_LINES,
    QUIET_SECONDS,
    Framing,
)
from connectors.sources.names import of_record, recorded
from connectors.sources.records import KEPT_OF_LONG, Events, Piece, line_ends, with_last
from connectors.sources.sense import Chooser, Sense, header_before, headers_in
from connectors.sources.turns import Turn

FIRST = 64
"""Bytes of a file's beginning that are kept in memory."""

FILL_SECONDS = 2.0
"""How long NULs before other bytes are left alone: who writes in pieces may fill them yet."""

_CHUNK = 1024 * 1024
_AT_ONCE = 3  # bytes: a byte order mark, or the end of an empty line
_PATIENCE = 64 * _CHUNK  # bytes that are looked through for a newline at a time
_LAST = 64 * 1024  # bytes in which most lines end
_ROOM = 2 * MOST_BYTES  # in which an event ends, or the line behind it is seen not to belong to it


@dataclass(frozen=True)
class Limits:
    """When a batch is complete: `lines` or `bytes` are there, or one has waited `seconds`.

    A line of more than `line_bytes` that does not fit into a batch is cut. `framing` says which
    lines are one record (None: each is one); then `lines` are records, and one that does not fit
    into a batch makes one of its own. `header` is how lines begin that name columns (see `Sense`).
    The `chooser` says instead of each file how its lines are meant. `kept` goes into the evidence
    of every span.
    """

    lines: int = 100_000
    bytes: int = 12 * 1024 * 1024
    seconds: float = 1.0
    line_bytes: int = 1024 * 1024
    framing: Framing | None = None
    kept: str = ""
    header: str | None = None
    chooser: Chooser | None = None

    @property
    def sense(self) -> Sense:
        """How lines are meant of which no `chooser` says it."""
        return Sense(framing=self.framing, header=self.header)


class State(Enum):
    """Where a file is: docs/files.md says what moves it from one state to the next."""

    FOLLOWED = "under a name that the globs cover"
    RENAMED = "under another name than before"
    UNNAMED = "without a name, read through its handle"
    LOST = "gone with unread bytes; it may turn up"
    ABSENT = "known, and not there"


@dataclass(eq=False)
class TailedFile:
    """A file and the state of reading it.

    Whoever opens it, or changes anything of it, has to `hold` it; everybody may look at it. It is
    held until all batches of it that are on their way are stored; meanwhile workers may `join`, one
    at a time, and read on.

    `name` is the path by which the globs covered it first, `path` where it is now, `place` the same
    without links at first sight, `key` its device and inode. Everything before `position` has been
    handed out, everything before `stored` is in the store. Up to `scanned` newlines have been
    counted: `complete` is where the last whole line ends, `lines` how many wait before it; no line
    ends between `start` and `no_end_before`. Of events the last whole line ends at `ended`, and the
    last event begins at `opened` if it counts as whole although it may go on. `evidence` belongs to
    `position`, `head` is that of the first look. While a worker reads it, it `is_read`, and
    `is_joined` if batches were on their way already; `turn` is that of the last one, and `on_way`
    are those that are, each with whether it is stored, and one before it not. Reading goes on at
    `start`: behind the position and the filler that `begin` says is skipped. NULs before `settled`
    stay, and `held` is where others begin. `is_final`: nobody is going to end its last line.
    `is_padded`: NULs follow its `size`. `is_copied`: another file has its bytes. `compressed`: size
    and time of the last change of a compressed file; `damage`: why it ends at `size` too early.
    `moved_at`: when it left its name; `lost_at`: when it was gone; `grown_at`, `served_at`: when it
    grew and was read last; it is not asked `not_before` then. `had_since`: when this process got it
    of another, or gave it up. `has_cut`: it was said that an event was cut. `sense`: how its lines
    are meant (None: nobody has said yet); `format` and `header` are what the last span was read by.
    """

    file_id: int
    name: str
    path: str
    key: tuple[int, int]
    limits: Limits
    encoding: Encoding
    position: int = 0
    line: int = 0
    evidence: Evidence | None = None
    head: tuple[int, int] = (0, 0)
    first: bytes = b""
    stored: int = 0
    size: int = 0
    begin: int = 0
    settled: int = 0
    held: int = -1
    peeked: int = -1
    scanned: int = 0
    no_end_before: int = 0
    complete: int = 0
    opened: int = -1
    ended: int = -1
    lines: int = 0
    is_read: bool = False
    is_joined: bool = False
    turn: Turn | None = None
    state: State = State.ABSENT
    is_link: bool = False
    is_final: bool = False
    is_padded: bool = False
    is_copied: bool = False
    has_cut: bool = False
    is_compressed: bool = False
    compressed: tuple[int, int] = (0, 0)
    damage: str = ""
    moved_at: float = 0.0
    lost_at: float = 0.0
    not_before: float = 0.0
    served_at: float = 0.0
    had_since: float = 0.0
    grown_at: float = 0.0
    place: str = ""
    content: Content | None = None
    noticed: deque[tuple[int, float]] = field(default_factory=deque)
    on_way: deque[tuple[Span, bool]] = field(default_factory=deque)
    sense: Sense | None = None
    format: str = ""
    header: str = ""
    _holding: threading.Lock = field(default_factory=threading.Lock)
    _sending: threading.Lock = field(default_factory=threading.Lock)  # of what is on its way

    @classmethod
    def at(cls, span: Span, limits: Limits, encoding: Encoding) -> TailedFile:
        """The file that a ledger knows by its last span, before it has been found again."""
        key = (0, Evidence.of(span.proof).inode)
        path = of_record(span.stream.name)
        file = cls(span.stream.id, path, path, key, limits, encoding)
        file.move_to(span)
        file.stored = span.end
        return file

    def hold(self, *, wait: bool = False) -> bool:
        """Have the file for oneself; False: somebody else has it."""
        return self._holding.acquire(blocking=wait)

    def let_go(self) -> None:
        """Let others have the file; not only the thread that holds it may say so."""
        self._holding.release()

    def claim(self) -> None:
        """Begin to read a file that is held."""
        self.is_read, self.is_joined = True, False

    def join(self) -> bool:
        """Read on while batches are on their way; False: none is, or somebody else reads."""
        with self._sending:
            if self.is_read or not self.on_way:
                return False
            self.is_read = self.is_joined = True
            return True

    def send(self, span: Span, turn: Turn) -> None:
        """What is read is on its way to the store; others may read on."""
        with self._sending:
            self.on_way.append((span, False))
            self.turn = turn
            self.is_read = False

    def leave(self) -> bool:
        """End reading; whether nothing is on its way: then the file is to be let go."""
        with self._sending:
            self.is_read = False
            return not self.on_way

    def arrive(self, span: Span) -> bool:
        """Note that a batch is stored; whether it was the last, and nobody reads on.

        What is stored is counted up to the first that is not.
        """
        with self._sending:
            self.on_way = deque((sent, there or sent is span) for sent, there in self.on_way)
            while self.on_way and self.on_way[0][1]:
                self.store(self.on_way.popleft()[0])
            return not (self.on_way or self.is_read)

    @property
    def is_followed(self) -> bool:
        """Whether it is there."""
        return self.state not in (State.LOST, State.ABSENT)

    @property
    def is_named(self) -> bool:
        """Whether `path` leads to it."""
        return self.state in (State.FOLLOWED, State.RENAMED)

    def has_its_name(self) -> bool:
        """Whether `path` leads to it now: nobody looks at a file that somebody else has."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self.key

    def is_as_it_was(self, found: os.stat_result) -> bool:
        """Whether what is found where it is has nothing new."""
        if self.is_compressed:
            return self.compressed == (found.st_size, found.st_mtime_ns)
        return self.size == found.st_size

    @property
    def has_moved(self) -> bool:
        """Whether it has left the name that it had, so that nobody may write to it any more."""
        return self.state in (State.RENAMED, State.UNNAMED)

    @property
    def is_held(self) -> bool:
        """Whether somebody has it."""
        return self._holding.locked()

    def expect_end(self, ends: bool) -> None:
        """Whether somebody may yet end the last line."""
        if ends and self.is_final and not self.is_compressed:
            self.is_final = False
            self.recount()  # the last line may have been counted as it was
        elif not ends:
            self.is_final = True

    @property
    def fingerprint(self) -> tuple[int, int]:
        """Length and hash of its first bytes."""
        if self.evidence and self.evidence.head_length:
            return self.evidence.head_length, self.evidence.head_hash
        return self.head

    @property
    def start(self) -> int:
        """Where reading goes on."""
        return max(self.position, self.begin)

    @property
    def links(self) -> int:
        """How many names it has, as far as an open file tells; 0: it is deleted."""
        return self.content.links() if self.content else 1

    @property
    def is_full(self) -> bool:
        """Whether so much is unread that lines need not be counted before they are read."""
        start = self.start
        return self.held < 0 and self.size - start >= self.limits.bytes > self.scanned - start

    @property
    def is_readable(self) -> bool:
        """Whether a whole line waits."""
        return self.complete > self.start or self.is_full

    @property
    def behind(self) -> int:
        """Bytes of whole lines that are not stored yet."""
        end = self.size if self.is_full else self.complete
        return max(0, end - max(self.stored, self.begin))

    def waiting_since(self, position: int) -> float | None:
        """When the first byte after `position` was noticed (`time.monotonic`)."""
        noticed = tuple(self.noticed)  # at once: its holder may add to it
        return next((when for size, when in noticed if size > position), None)

    def grew(self, size: int, when: float) -> None:
        """Note that the file has `size` bytes now."""
        if size > self.size:
            self.size = size
            self.grown_at = when
            self.noticed.append((size, when))

    def move_to(self, span: Span) -> None:
        """Continue behind `span`."""
        self.position = span.end
        self.line = span.first + span.records
        self.evidence = Evidence.of(span.proof)
        self.format, self.header = self.evidence.format, self.evidence.header
        self.lines = max(0, self.lines - span.records)
        self.complete = max(self.complete, self.position)
        self.no_end_before = max(self.no_end_before, self.position)
        if self.position > self.opened:
            self.opened = -1
        if self.scanned <= self.position:
            self.scanned = self.complete = self.position
            self.lines = 0

    def store(self, span: Span) -> None:
        """Note that `span` is in the store."""
        self.stored = max(self.stored, span.end)
        while self.noticed and self.noticed[0][0] <= span.end:
            self.noticed.popleft()

    def forget_size(self) -> None:
        """Forget what was seen behind the position: it may be elsewhere by now."""
        self.size = self.begin = self.position
        self.noticed.clear()
        self.recount()

    def recount(self) -> None:
        """Forget what was counted behind the position."""
        self.scanned = self.complete = self.no_end_before = self.start
        self.lines = 0
        self.held = self.peeked = self.opened = self.ended = -1

    # Opening and closing

    def open(self) -> Content:
        """Its content, opened if it is not. Raises `OSError`, also if other bytes are there now."""
        try:
            if not self.content:
                content = open_content(self.path)
                if content.key != self.key:
                    content.close()
                    raise _replaced(self.path)
                self.content = content
            if not self.is_at(self.content):
                raise _replaced(self.path)
            return self.content
        except OSError as error:
            error.filename = self.path  # reading does not say of which file
            raise

    def close(self) -> None:
        """Close it, if it is open."""
        if self.content:
            self.content.close()
            self.content = None

    def is_at(self, content: Content) -> bool:
        """Whether `content` has, before the position, what has been read of this file."""
        if self.evidence and self.evidence.head_length:
            return fits(content, self.evidence, self.position)
        length, expected = self.head
        return digest(content.read(length, 0)) == expected

    def see(self, content: Content) -> None:
        """Remember its first bytes."""
        head = read_head(content, self.encoding)
        sign = head if head.strip(b"\0") else b""  # of a hole, there may be many alike
        self.head = len(sign), digest(sign)
        self.first = head[:FIRST]
        self.is_compressed = content.is_compressed
        self.is_final |= content.is_compressed

    def end_of(self, content: Content) -> int:
        """Where the bytes of a plain file end by now."""
        return content.end(self.encoding.unit, self.size)

    # Counting and reading

    def count(self, now: float) -> None:
        """Count the whole lines that wait, up to a batch's worth; seek the end of a longer line.

        Raises `OSError` if the file cannot be read.
        """
        self._settle(now)
        if self.size <= self.start or not (sense := self._meaning()):
            return
        if self.peeked != self.start:
            self._skip_filler()
        if self.is_full or self.held == self.start:
            return
        if self.scanned < self.size:
            self._go_on()
            framing = sense.framing
            self._scan_events(self.open(), framing) if framing else self._scan(self.open())
        self._end(now)

    def _meaning(self) -> Sense | None:
        """How its lines are meant; None: nobody knows as yet."""
        if not (chooser := self.limits.chooser):
            self.sense = self.sense or self.limits.sense
            return self.sense
        before, self.sense = self.sense, chooser.choose(self)
        if before and self.sense and before.framing != self.sense.framing:
            self.recount()
        return self.sense

    def _settle(self, now: float) -> None:
        """Learn which NULs are not going to be filled: those before what was noticed long ago."""
        old = (size for size, when in reversed(self.noticed) if when <= now - FILL_SECONDS)
        self.settled = self.size if self.is_final else next(old, self.position)
        if self.held >= 0 and (self.settled > self.held or not self._is_filler(self.held)):
            self.held = -1

    def _is_filler(self, at: int) -> bool:
        return bool(self.encoding.filler(self.open().read(self.encoding.unit, at)))

    def _skip_filler(self) -> None:
        """Go on behind the NULs that come next, if they are not going to be filled."""
        content, at = self.open(), self.start
        if not self._is_filler(at):
            self.peeked = at
            return
        if at >= self.settled:
            self.held = at
            return
        patience = at + _PATIENCE
        while at < min(self.size, patience):
            after = content.skip_hole(at) // self.encoding.unit * self.encoding.unit
            if after > at:
                at = min(after, self.size)
                patience = at + _PATIENCE
                continue
            chunk = self._chunk(content, at)
            filler = self.encoding.filler(chunk)
            at += filler
            if self.is_compressed:
                self.look_for_end(content, at)
            if not filler or filler < len(chunk):
                break
        self.begin = at
        self.recount()

    def _seen(self, chunk: bytes, at: int) -> bytes:
        """The bytes of a chunk before the first NUL that may be filled yet."""
        if self.is_final or at + len(chunk) <= self.settled:
            return chunk
        first = max(0, self.settled - at) // self.encoding.unit * self.encoding.unit
        found = self.encoding.find_filler(chunk, first)
        if found < len(chunk):
            self.held = at + found
        return chunk[:found]

    def _scan(self, content: Content) -> None:
        patience = self.scanned + _PATIENCE
        while self.scanned < min(self.size, patience) and (
            self.scanned < self.start + self.limits.bytes or self.complete <= self.start
        ):
            chunk = self._seen(self._chunk(content, self.scanned), self.scanned)
            if not chunk:
                break
            last = self.encoding.last_end(chunk)
            if self.complete <= self.start:
                self.no_end_before = self.scanned + (0 if last else len(chunk))
            if last:
                self.complete = self.scanned + last
                self.lines += self.encoding.count(chunk)
            self.scanned += len(chunk)

    def _scan_events(self, content: Content, framing: Framing) -> None:
        """The same for events; the last one may go on, so it is looked at again."""
        patience = self.scanned + _PATIENCE
        while self.scanned < min(self.size, patience) and (
            self.scanned < self.start + self.limits.bytes or self.complete <= self.start
        ):
            begin = max(self.complete, self.start)
            data = self._seen(self._chunk(content, begin, _ROOM), begin)
            ends = line_ends(data, begin, self.encoding)
            if not len(ends):
                if begin == self.start:
                    self._scan_long_line(content, begin + len(data))
                elif len(data) < _ROOM:  # a line that nobody has ended yet
                    self.scanned = begin + len(data)
                break
            found = Events.of(framing, data, ends, self.encoding).frame
            whole = found.open
            if whole:
                self.complete = begin + int(ends[whole - 1])
                self.lines += int(np.searchsorted(found.firsts, whole))
            self.scanned = begin + len(data)
            self.ended = begin + int(ends[-1])

    def _scan_long_line(self, content: Content, at: int) -> None:
        """Look for the end of a line that begins where reading goes on, and has none before `at`.

        It is longer than any event.
        """
        at = max(at, self.no_end_before)
        patience = at + _PATIENCE
        while at < min(self.size, patience):
            chunk = self._seen(self._chunk(content, at), at)
            ends = self.encoding.ends(chunk)
            if len(ends):
                self.complete = self.scanned = at + int(ends[0])
                self.lines += 1
                return
            if not chunk:
                break
            at += len(chunk)
        self.no_end_before = self.scanned = at

    def _chunk(self, content: Content, at: int, most: int = _CHUNK) -> bytes:
        """Some bytes of whole characters."""
        chunk = content.read(min(most, self.size - at), at)
        return chunk[: len(chunk) // self.encoding.unit * self.encoding.unit]

    def _end(self, now: float) -> None:
        is_scanned = self.size - self.scanned < self.encoding.unit
        if self.is_final and not self.damage and is_scanned and self.size > self.complete:
            # Nobody is going to write the end of the last line.
            self.complete = self.size
            self.lines += 1
        elif self.ended == self.size > self.complete and now - self.grown_at >= QUIET_SECONDS:
            self.opened, self.complete = max(self.complete, self.start), self.size
            self.lines += 1

    def _go_on(self) -> None:
        """The file grew: an event that was taken as whole may not be."""
        if self.opened >= 0:
            self.complete, self.opened = self.opened, -1
            self.lines = max(0, self.lines - 1)

    def read(self, room_bytes: int, room_lines: int) -> Piece | None:
        """The next whole lines, as many as there is room for; None if there is none. Does not move.

        A line that is longer than a batch is read when all of a batch's room is left: whole up to
        `Limits.line_bytes`, else its first 1 KiB only, in bounded memory. Raises `OSError`.
        """
        content, sense = self.open(), self._meaning()
        if not sense:
            return None
        if sense.framing:
            return self._read_events(sense.framing, room_bytes, room_lines)
        room = room_bytes // self.encoding.unit * self.encoding.unit
        start, end = self.start, self.size if self.is_full else self.complete
        data = content.read(self._whole(content, min(room, end - start)), start)
        if self.is_compressed:
            self.look_for_end(content, start + len(data))
        data = self._seen(data, start)
        if sense.header is not None:
            data = self._up_to_header(content, sense, sense.header, data)
        at_end = self.is_final and start + len(data) == self.size and not self.damage
        ends = line_ends(data, start, self.encoding)
        last = int(ends[-1]) if len(ends) else 0
        if not at_end:
            data = data[:last]
        if self.encoding.filler(data):
            return None  # it is skipped when lines are counted
        if not data:
            return self._read_long_line(content) if room_bytes >= self.limits.bytes else None
        lines = len(ends) + (last < len(data))
        if lines > room_lines:
            lines, ends = room_lines, ends[:room_lines]
            data = data[: int(ends[-1])]
        span = self.span(content, start + len(data), lines, xxh3_64_intdigest(data))
        return Piece(span, data, ends)

    def _read_events(self, framing: Framing, room_bytes: int, room: int) -> Piece | None:
        """The same for events; one that is longer than a batch makes a batch of its own."""
        content, start = self.open(), self.start
        is_alone = room_bytes >= self.limits.bytes
        most = max(room_bytes, _ROOM) if is_alone else room_bytes
        end = self.size if self.is_full else self.complete
        size = min(most // self.encoding.unit * self.encoding.unit, end - start)
        data = content.read(size, start)
        if self.is_compressed:
            self.look_for_end(content, start + len(data))
        data = self._seen(data, start)
        if self.encoding.filler(data):
            return None  # it is skipped when lines are counted
        at_end = self.is_final and start + len(data) == self.size and not self.damage
        ends = line_ends(data, start, self.encoding)
        if at_end:
            ends = with_last(ends, data)
        if not len(ends):
            return self._read_long_line(content) if is_alone else None
        events = Events.of(framing, data, ends, self.encoding, start % self.encoding.unit)
        whole = events.frame.open
        if at_end or start + len(data) == self.complete:
            whole = len(ends)
        if not whole and is_alone:
            self.scanned = max(self.scanned, start + len(data))
            self.ended = start + int(ends[-1])
        bounds = events.frame.bounds[events.frame.bounds <= whole]
        if self.limits.chooser:  # who looks first at what begins with a long event
            firsts = np.append(events.firsts, len(ends))
            long = firsts[1:-1][np.diff(firsts[1:]) >= LONG_LINES]
            bounds = bounds[bounds <= (long[0] if len(long) else whole)]
        fit = (np.searchsorted(events.firsts, bounds) <= room) & (ends[bounds - 1] <= room_bytes)
        bounds = bounds[: max(int(fit.sum()), is_alone)]
        if not len(bounds):
            return None
        ends = ends[: bounds[-1]]
        data = data[: int(ends[-1])]
        events = events.up_to(int(bounds[-1]))
        self._say_rest(events, ends)
        count, digest = len(events.firsts), xxh3_64_intdigest(data)
        span = self.span(content, start + len(data), count, digest)
        return Piece(span, data, ends, events)

    def _up_to_header(self, content: Content, sense: Sense, begins: str, data: bytes) -> bytes:
        """The bytes before the next line that names columns; learns those of these bytes."""
        is_known = self.header and self.header.startswith(begins)
        if not is_known or self.format != sense.format:
            found = header_before(content, begins, self.start, self.encoding)
            self.header = found or begins  # as if it named none
        for place, header in headers_in(data, begins, self.encoding) if begins else ():
            if place > _AT_ONCE:
                return data[:place]
            self.header = header
        return data

    def _say_rest(self, events: Events, ends: Numbers) -> None:
        """Say once that an event was cut."""
        rests = events.firsts[events.is_rest]
        begins = [self.start + int(ends[first - 1]) if first else self.start for first in rests]
        if self.has_cut or not any(begins):
            return
        self.has_cut = True
        say(
            f"{self.path!r}: the event before byte {max(begins)} was cut there: it has more than "
            f"{MOST_LINES:,} lines or {MOST_BYTES:,} bytes, or went on after {QUIET_SECONDS:g} "
            "seconds. The rest is a dead letter (continued). This is said once a file."
        )

    def _whole(self, content: Content, size: int) -> int:
        """How many of the `size` bytes from `start` on are whole lines, if that is soon found.

        Bytes that are read without the beginning of another line need no copy to cut that off.
        """
        start = self.start
        end = start + size
        if size < _CHUNK or self.is_compressed or (self.is_final and end == self.size):
            return size
        before = (size - _LAST) // self.encoding.unit * self.encoding.unit
        last = self.encoding.last_end(content.read(size - before, start + before))
        return before + last if last else size

    def _read_long_line(self, content: Content) -> Piece | None:
        end = None
        start = self.start
        at = max(start, self.no_end_before)
        while end is None and at < self.size:
            chunk = self._seen(self._chunk(content, at), at)
            if not chunk:
                break
            ends = self.encoding.ends(chunk)
            if len(ends):
                end = at + int(ends[0])
            at += len(chunk)
            if self.is_compressed:
                self.look_for_end(content, at)
        if end is None:
            self.no_end_before = self.scanned = max(self.scanned, at)
            is_all = self.size - at < self.encoding.unit and self.size > start
            if not (self.is_final and is_all and not self.damage):
                self.complete, self.lines = start, 0
                return None
            end = self.size
        self.complete = max(self.complete, end)
        self.scanned = max(self.scanned, end)
        self.lines = max(self.lines, 1)
        if end - start <= self.limits.line_bytes + self.encoding.unit:
            data = content.read(end - start, start)
            span = self.span(content, end, 1, xxh3_64_intdigest(data))
        else:
            data = content.read(KEPT_OF_LONG, start)
            span = self.span(content, end, 1, 0)
        return Piece.of(span, data, self.encoding, self.sense.framing if self.sense else None)

    def reread(self, span: Span) -> Piece:
        """The bytes of an earlier span. Raises `OSError`, also if they are gone."""
        content = self.open()
        length = span.end - span.start
        evidence = Evidence.of(span.proof)
        content_hash = evidence.content_hash
        is_cut = span.records == 1 and length > self.limits.bytes and not content_hash
        data = content.read(KEPT_OF_LONG if is_cut else length, span.start)
        if not is_cut and (
            len(data) < length or (content_hash and xxh3_64_intdigest(data) != content_hash)
        ):
            raise _replaced(self.path)
        framing = Framing.of(evidence.framing)  # whatever LOG_MULTILINE says by now
        meant = self._continued(content, evidence.meant(span))
        return Piece.of(meant, data, self.encoding, framing)

    def end_of_last_line(self) -> Span:
        """An empty span behind the last whole line. Raises `OSError`."""
        content = self.open()
        while self.is_compressed and content.size() is None:
            self.look_for_end(content, self.size + len(content.read(_CHUNK, self.size)))
        end = self.size
        while end:
            start = max(0, (end - _CHUNK) // self.encoding.unit * self.encoding.unit)
            last = self.encoding.last_end(content.read(end - start, start))
            end = start + last
            if last:
                break
        return self.span(content, end, 0, 0, start=end)

    def look_for_end(self, content: Content, seen: int) -> None:
        """Learn the size of a compressed file from what has been read of it, up to `seen`."""
        known = content.size()
        self.size = seen + self.limits.bytes if known is None else known
        self.damage = content.damage

    def span(
        self, content: Content, end: int, lines: int, content_hash: int, start: int | None = None
    ) -> Span:
        """The bytes up to `end`, from where reading goes on or `start`, with their evidence."""
        begin = self.start if start is None else start
        sense = self.sense or self.limits.sense
        evidence = replace(
            observe(content, self.key[1], end),
            content_hash=content_hash,
            framing=sense.framing.text if sense.framing else "",
            kept=self.limits.kept,
            seen=min(time.time_ns() // 1000, content.changed_at()),
            format=sense.format,
            header="" if sense.header is None else self.header,
        )
        stream = Stream(self.file_id, recorded(self.name))
        span = Span(stream, begin, end, self.line, lines, evidence.proof)
        return self._continued(content, evidence.meant(span))

    def _continued(self, content: Content, span: Span) -> Span:
        unit = self.encoding.unit
        if not span.start or not span.records:
            return span
        before = content.read(unit, span.start - unit)
        is_filler = not before.strip(b"\0")
        return replace(span, continued=before != self.encoding.newline and not is_filler)


def read_head(content: Content, encoding: Encoding) -> bytes:
    """The first bytes of a file, without filler behind the last; empty if there are none."""
    head = content.read(REACH, 0)
    if content.is_compressed or not head.endswith(b"\0" * encoding.unit):
        return head
    return head[: content.end(encoding.unit)]


def _replaced(path: str) -> OSError:
    return FileNotFoundError(errno.ENOENT, "other content has taken its place", path)
