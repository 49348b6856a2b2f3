"""The ledger of an InfluxDB store: how far each file is written, and which tags were given up.

Measurement `logwax_positions`. A file has two series there, by the tag `kind`: `stored` is its
position, recorded after a block is written; `begun` is recorded before, and says how far lines may
have been written already, and which tags were fields by then. What lies beyond the position is
read and written again after a crash, in the same way, and so overwrites itself.

Points stand at the beginning of the day (UTC), each overwriting the one before, so that a file
costs two points a day, and what is needed is never older than a bucket keeps. What housekeeping
copies to a new day and notes of files that are gone stands a nanosecond later each, and so never
overwrites a position that another process has just recorded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connectors.batch import BlockId, Span, Stream
from connectors.saying import say
from connectors.sinks.influxdb.line_protocol import point
from connectors.sinks.influxdb.server import InfluxError, InfluxServer, lasting
from connectors.sinks.ledger import LAST, Entry, LedgerStore
from connectors.sinks.retry import Retry
from settings import Settings

POSITIONS = "logwax_positions"

NO_EVENT = -(2**63) + 1
"""No row yet: earlier than any time."""

_DAY = 86_400 * 10**9  # nanoseconds
_COPIED, _MARKED = 1, 2  # nanoseconds after the beginning of the day

_MANY = 128  # files that are asked for by name, at most
_OURS = f'SELECT * FROM "{POSITIONS}" WHERE "instance" = $instance'
_STARTED = f'SELECT "started" FROM "{POSITIONS}" WHERE "instance" = $instance LIMIT 1'
_DEMOTED = f'SELECT "demoted" FROM "{POSITIONS}" WHERE "column" != \'\' GROUP BY "column"'
_FORGET = f'DELETE FROM "{POSITIONS}" WHERE "instance" = $instance AND "file_id" = $file'
_FORGET_OLD = f'DELETE FROM "{POSITIONS}" WHERE "instance" = $instance AND time < $before'


@dataclass(frozen=True)
class Position:
    """How far a file is stored: its last block, and the time of its last row (microseconds).

    `gone_since` is in nanoseconds; 0: the file is there. `time` is the point's own.
    """

    span: Span
    last_event: int = NO_EVENT
    gone_since: int = 0
    time: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """The highest is the newest: positions only grow, whatever the clock does."""
        return self.span.end, self.time


@dataclass(frozen=True)
class Begun:
    """Lines before `reach` may have been written, with the columns `demoted` as fields.

    `born` is when the file was begun first, in nanoseconds; `time` the point's own. Reading began
    at `begins`.
    """

    reach: int
    demoted: frozenset[str]
    born: int
    time: int = 0
    begins: int = 0


@dataclass(frozen=True)
class Plan:
    """How lines of a file are to be written: which tags are fields, and the last row before."""

    demoted: frozenset[str]
    event_before: int
    born: int


class InfluxLedger(LedgerStore):
    """The ledger of one instance; safe in any thread. Repeats until the server has taken it."""

    def __init__(self, server: InfluxServer, settings: Settings, retry: Retry) -> None:
        self._server = server
        self._instance = settings.instance
        self._keep = settings.ledger_keep_days * _DAY
        self._retry = retry
        # Positions can be lost: files that are known must not pass for those of a first start.
        self._was_here = (settings.data_dir / "claims" / "minted").exists()
        self._lock = threading.Lock()
        self._beginning = threading.Lock()  # so that the furthest is recorded last
        self._stored: dict[int, Position] = {}
        self._begun: dict[int, Begun] = {}

    def open(self) -> None:
        """Write and read: whether this may be done shows before any file is read, and all is known.

        Raises `InfluxError` at once if not.
        """
        self._server.write(self._opened()[0])
        self._read(None)

    def check(self) -> None:
        """Write a point that is good for sure; waits until the server takes it."""
        self._send(self._opened)

    def _newest(self, file_ids: Collection[int] | None = None, end: int = LAST) -> Iterable[Entry]:
        stored, _ = self._retry(lambda: self._read(file_ids), lasting)
        before = time.time_ns() - self._keep
        return [
            Entry(one.span, "gone" if one.gone_since else "stored", one.gone_since < before)
            for one in stored.values()
            if one.span.end <= end
        ]

    def _is_empty(self) -> bool:
        return not (self._stored or self._was_here or self._has_started())

    def start_at(self, files: Sequence[Span]) -> None:
        """Record chosen positions, and that there was a first start."""
        now = time.time_ns()
        chosen = {span.stream.id: Position(span) for span in files}
        begun = {span.stream.id: Begun(span.end, frozenset(), now, 0, span.end) for span in files}
        with self._lock:
            self._begun.update(begun)
        self._send(lambda: self._points(chosen, begun))
        self._send(lambda: self._note({"started": True}))

    def _append(self, kind: str, spans: Sequence[Span], block: BlockId | None = None) -> None:
        since = time.time_ns() if kind == "gone" else 0
        with self._lock:
            known = {span.stream.id: self._stored[span.stream.id] for span in spans}
        marked = {id: replace(one, gone_since=since) for id, one in known.items()}
        self._send(lambda: self._points(marked, {}, _MARKED))

    def begin(
        self,
        spans: Sequence[Span],
        demoted: frozenset[str],
        in_order: Callable[[], object] = lambda: None,
    ) -> dict[int, Plan]:
        """Record how far lines are about to be written; returns how, for each file.

        `demoted` holds from where nobody has written yet: before, it is as it was then. `in_order`
        returns when all before is stored: it is waited for where `demoted` is new, since what is
        recorded of a file is the same for all that is not stored.
        """
        with self._beginning:
            is_new = any(self._is_new(span, demoted) for span in spans)
            if not is_new:
                return self._begin(spans, demoted)
        in_order()
        with self._beginning:
            return self._begin(spans, demoted)

    def _is_new(self, span: Span, demoted: frozenset[str]) -> bool:
        with self._lock:
            before = self._begun.get(span.stream.id, _NOTHING)
        is_behind = self._end_of(span.stream.id) < before.reach <= span.start
        return is_behind and before.demoted != demoted

    def _begin(self, spans: Sequence[Span], demoted: frozenset[str]) -> dict[int, Plan]:
        now, plans, begun = time.time_ns(), {}, {}
        with self._lock:
            for span in spans:
                file_id, reach = span.stream.id, span.end
                before = self._begun.get(file_id)
                columns, born = demoted, before.born if before else now
                if before and span.start < before.reach:
                    columns, reach = before.demoted, max(reach, before.reach)
                stored = self._stored.get(file_id)
                begins = before.begins if before else 0
                begun[file_id] = Begun(reach, columns, born, 0, begins)
                plans[file_id] = Plan(columns, stored.last_event if stored else NO_EVENT, born)
            self._begun.update(begun)
        self._send(lambda: self._points({}, begun))
        return plans

    def finish(self, spans: Sequence[Span], events: Mapping[int, int]) -> None:
        """Record that blocks are stored; `events`: the time of each file's last row, or none."""
        stored = {}
        with self._lock:
            for span in spans:
                before = self._stored.get(span.stream.id)
                last = before.last_event if before else NO_EVENT
                event = events.get(span.stream.id, last)
                stored[span.stream.id] = Position(span, event)
            self._stored.update(stored)
        self._send(lambda: self._points(stored, {}))

    def begins(self) -> dict[int, int]:
        """Where reading began in the files in which it did not begin at 0."""
        _, begun = self._retry(lambda: self._read(None), lasting)
        return {file_id: one.begins for file_id, one in begun.items() if one.begins}

    def demoted(self) -> set[str]:
        """The columns that anybody has made a field of."""
        return {row["column"] for row in self._ask(_DEMOTED)}

    def demote(self, column: str) -> None:
        """Record that a column is a field from now on."""
        self._send(lambda: self._demotion(column))

    def _forget(self, file_ids: Collection[int]) -> Collection[int]:
        today = _today(time.time_ns())
        positions, begun = self._retry(lambda: self._read(None), lasting)
        copied = {id: one for id, one in positions.items() if one.time < today}
        old = {id: one for id, one in begun.items() if id in positions and one.time < today}
        self._send(lambda: self._points(copied, old, _COPIED))
        for column in self.demoted():
            self.demote(column)
        if self._has_started():
            self._send(lambda: self._note({"started": True}))
        forgotten = [
            id for id in file_ids if begun.get(id, _NOTHING).reach <= positions[id].span.end
        ]
        try:  # once: it only saves room
            for file_id in forgotten:
                self._server.ask(_FORGET, file=str(file_id), instance=self._instance)
            if any(position.time < today - _DAY for position in positions.values()):
                self._server.ask(_FORGET_OLD, instance=self._instance, before=today)
        except InfluxError as error:
            say(f"Old positions stay in the bucket: {error}")
            return ()
        with self._lock:
            for file_id in forgotten:
                self._stored.pop(file_id, None)
                self._begun.pop(file_id, None)
        return forgotten

    def _read(
        self, file_ids: Collection[int] | None
    ) -> tuple[dict[int, Position], dict[int, Begun]]:
        """The newest of both of each file; they are remembered for blocks to come."""
        statement, values = _OURS, {"instance": self._instance}
        if file_ids is not None and len(file_ids) <= _MANY:
            names = {f"file{number}": str(id) for number, id in enumerate(file_ids)}
            either = " OR ".join(f'"file_id" = ${name}' for name in names) or "false"
            statement, values = f"{statement} AND ({either})", {**values, **names}
        stored: dict[int, Position] = {}
        begun: dict[int, Begun] = {}
        for row in self._server.ask(statement, **values):
            file_id = int(row.get("file_id") or 0)
            if file_ids is not None and file_id not in file_ids:
                continue
            if row.get("kind") == "stored":
                position = _position(file_id, row)
                if file_id not in stored or stored[file_id].rank < position.rank:
                    stored[file_id] = position
            elif row.get("kind") == "begun":
                one = _begun(row)
                if file_id not in begun or begun[file_id].reach < one.reach:
                    begun[file_id] = one
        with self._lock:  # which may know newer ones by now
            for file_id, position in stored.items():
                if position.span.end >= self._end_of(file_id):
                    self._stored[file_id] = position
            for file_id, one in begun.items():
                if one.reach >= self._begun.get(file_id, _NOTHING).reach:
                    self._begun[file_id] = one
        return stored, begun

    def _end_of(self, file_id: int) -> int:
        return self._stored[file_id].span.end if file_id in self._stored else 0

    def _has_started(self) -> bool:
        return bool(self._ask(_STARTED, instance=self._instance))

    def _points(
        self, stored: Mapping[int, Position], begun: Mapping[int, Begun], shift: int = 0
    ) -> list[bytes]:
        when = _today(time.time_ns()) + shift
        tags = {"instance": self._instance}
        points = [
            point(POSITIONS, {**tags, "file_id": str(id), "kind": "stored"}, _fields(one), when)
            for id, one in stored.items()
        ]
        for id, one in begun.items():
            fields: Mapping[str, str | int] = {
                "reach": one.reach,
                "demoted": ",".join(sorted(one.demoted)) or "-",
                "born": one.born,
                "begins": one.begins,
            }
            points.append(
                point(POSITIONS, {**tags, "file_id": str(id), "kind": "begun"}, fields, when)
            )
        return points

    def _note(self, fields: Mapping[str, int | bool]) -> list[bytes]:
        return [point(POSITIONS, {"instance": self._instance}, fields, _today(time.time_ns()))]

    def _opened(self) -> list[bytes]:
        return self._note({"opened": time.time_ns()})

    def _demotion(self, column: str) -> list[bytes]:
        tags = {"instance": self._instance, "column": column}
        return [point(POSITIONS, tags, {"demoted": column}, _today(time.time_ns()))]

    def _send(self, points: Callable[[], list[bytes]]) -> None:
        """Write points, made anew at each attempt: the bucket may drop yesterday's.

        In halves of halves where that is too much at a time; again does no harm.
        """

        def write() -> None:
            parts = [points()]
            while parts:
                part = parts.pop()
                try:
                    if part:
                        self._server.write(b"".join(part))
                except InfluxError as error:
                    if error.status != 413 or len(part) == 1:
                        raise
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]

        self._retry(write, lasting)

    def _ask(self, statement: str, **values: object) -> list[dict[str, Any]]:
        return self._retry(lambda: self._server.ask(statement, **values), lasting)


_NOTHING = Begun(0, frozenset(), 0)

# What earlier versions wrote in the place of a proof.
_FORMER_PROOF = ("inode", "head_length", "head_hash", "tail_hash", "content_hash")


def _today(now: int) -> int:
    return now // _DAY * _DAY


def _fields(position: Position) -> Mapping[str, str | int]:
    return {
        **position.span.entry,
        "last_event": position.last_event,
        "gone_since": position.gone_since,
    }


def _position(file_id: int, row: Mapping[str, Any]) -> Position:
    span = Span(
        Stream(file_id, row["path"] or "", row.get("stream") or "file"),
        row["start"],
        row["end"],
        row["first_line"],
        row["lines"],
        row.get("proof") or " ".join(str(row[name]) for name in _FORMER_PROOF),
    )
    return Position(span, row["last_event"], row["gone_since"], row["time"])


def _begun(row: Mapping[str, Any]) -> Begun:
    demoted = frozenset(row["demoted"].split(",")) - {"-"}
    return Begun(row["reach"], demoted, row["born"], row["time"], row.get("begins") or 0)
