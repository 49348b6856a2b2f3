"""The ledger of an InfluxDB store: how far each file is written, and which tags were given up.

Measurement `logwax_positions`. A file's series has the tags `instance` and `file_id`; its newest
block overwrites the one before at the first nanosecond of the day (UTC), so that a file costs one
point a day, and what is needed is never older than the bucket keeps. A block is recorded before
it is written, with `stored` false, and again when it is. What housekeeping copies to a new day and
notes of files that are gone stands a nanosecond later each, and so never overwrites a position that
another process has just recorded.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors.batch import BlockId, Evidence, Segment
from connectors.sinks.influxdb_server import InfluxError, InfluxServer, lasting
from connectors.sinks.line_protocol import point
from connectors.sinks.retry import Retry
from connectors.store import Ledger

POSITIONS = "logwax_positions"

_DAY = 86_400 * 10**9  # nanoseconds
_COPIED, _MARKED = 1, 2  # nanoseconds after the beginning of the day

_ALL = f'SELECT * FROM "{POSITIONS}" WHERE "instance" = $instance'
_DEMOTED = f'SELECT "demoted" FROM "{POSITIONS}" WHERE "column" != \'\' GROUP BY "column"'
_FORGET = f'DELETE FROM "{POSITIONS}" WHERE "instance" = $instance AND "file_id" = $file'
_FORGET_OLD = f'DELETE FROM "{POSITIONS}" WHERE "instance" = $instance AND time < $before'

NO_EVENT = -(2**63) + 1
"""No row yet: earlier than any time."""

_HERE = 0
"""The `file_id` of the point that says that this instance was here."""


@dataclass(frozen=True)
class Record:
    """The last block of a file: when it was begun (nanoseconds), with which columns demoted.

    `event_before` and `event_last` are the times (microseconds) of the file's last row before the
    block, and in it or before, or `NO_EVENT`. `gone_since` is in nanoseconds; 0: the file is
    there. `time` is the point's own.
    """

    segment: Segment
    block: BlockId
    begun: int
    event_before: int = NO_EVENT
    event_last: int = NO_EVENT
    demoted: frozenset[str] = frozenset()
    stored: bool = False
    gone_since: int = 0
    time: int = 0

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The highest is the last: positions only grow, whatever the clock does."""
        return self.segment.end, self.stored, self.time


class Positions:
    """The ledger of one instance; safe in any thread. Repeats until the server has taken it."""

    def __init__(self, server: InfluxServer, instance: str, retry: Retry) -> None:
        self._server = server
        self._instance = instance
        self._retry = retry
        self._lock = threading.Lock()
        self._events: dict[int, tuple[int, int]] = {}  # of a file: its position, `event_last`

    def open(self) -> None:
        """Write and read: whether this may be done shows before any file is read.

        Raises `InfluxError` at once if not.
        """
        self._server.write(self._here(time.time_ns()))
        self._server.ask(_ALL, instance=self._instance)

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        """What is known of these files (None: of all)."""
        records = self._records(file_ids)
        in_doubt: dict[BlockId, list[Segment]] = {}
        for record in records.values():
            if not record.stored:
                in_doubt.setdefault(record.block, []).append(record.segment)
        known = [record.segment for record in records.values()]
        return Ledger(known, in_doubt, is_new=not known and not self._has_started())

    def start(self, segments: Iterable[Segment]) -> None:
        """Record chosen positions, and that there was a first start."""
        now = time.time_ns()
        nobody = BlockId(0, 0)
        self._write([Record(segment, nobody, now, stored=True) for segment in segments])
        self._send(self._here(now, started=True))

    def begin(
        self,
        block: BlockId,
        segments: Iterable[Segment],
        events: Mapping[int, int],
        demoted: frozenset[str],
    ) -> list[Record]:
        """Record a block that is about to be written; `events`: the last one of each file in it."""
        now = time.time_ns()
        records = []
        for segment in segments:
            with self._lock:
                _, before = self._events.get(segment.file_id, (0, NO_EVENT))
                last = events.get(segment.file_id, before)
                self._events[segment.file_id] = segment.end, last
            records.append(Record(segment, block, now, before, last, demoted))
        self._write(records)
        return records

    def begun(self, block: BlockId, segments: Iterable[Segment]) -> list[Record]:
        """What was recorded of a block in doubt, for these of its files."""
        segments = list(segments)
        known = self._records({segment.file_id for segment in segments})
        unknown = Record(segments[0], block, time.time_ns())
        records = [known.get(segment.file_id, unknown) for segment in segments]
        return [
            replace(record if record.block == block else unknown, segment=segment)
            for record, segment in zip(records, segments, strict=True)
        ]

    def finish(self, records: Iterable[Record]) -> None:
        """Record that a block, or these files' part of it, is stored."""
        self._write([replace(record, stored=True) for record in records])

    def demoted(self) -> set[str]:
        """The columns that anybody has made a field of."""
        return {row["column"] for row in self._ask(_DEMOTED)}

    def demote(self, column: str) -> None:
        """Record that a column is a field from now on."""
        tags = {"instance": self._instance, "column": column}
        self._send(point(POSITIONS, tags, {"demoted": column}, _today(time.time_ns())))

    def keep(self, found: Collection[int], gone: Collection[int], days: int) -> Collection[int]:
        """See `Store.keep`: refresh what is needed, delete what is not."""
        now = time.time_ns()
        records = self._records(None)
        for file_id, record in records.items():
            since = record.gone_since
            wanted = since or now if file_id in gone else 0 if file_id in found else since
            if wanted != since:
                self._write([replace(record, gone_since=wanted)], shift=_MARKED)
            elif record.time < _today(now):
                self._write([record], shift=_COPIED)
        self._refresh_notes(now)
        forgotten = [
            file_id
            for file_id, record in records.items()
            if file_id in gone
            and record.stored
            and record.gone_since
            and now - record.gone_since > days * _DAY
        ]
        try:
            for file_id in forgotten:
                self._server.ask(_FORGET, file=str(file_id), instance=self._instance)
            with self._lock:
                for file_id in forgotten:
                    self._events.pop(file_id, None)
            if any(record.time < _today(now) - _DAY for record in records.values()):
                self._server.ask(_FORGET_OLD, instance=self._instance, before=_today(now))
        except InfluxError as error:
            print(f"Old positions stay in the bucket: {error}", file=sys.stderr, flush=True)
            return ()
        return forgotten

    def _refresh_notes(self, now: int) -> None:
        for column in self.demoted():
            self.demote(column)
        self._send(self._here(now, started=self._has_started()))

    def _records(self, file_ids: Collection[int] | None) -> dict[int, Record]:
        """The last record of each file."""
        found: dict[int, Record] = {}
        for row in self._ask(_ALL, instance=self._instance):
            file_id = int(row.get("file_id") or _HERE)
            if file_id == _HERE or (file_ids is not None and file_id not in file_ids):
                continue
            record = _record(file_id, row)
            if file_id not in found or found[file_id].rank < record.rank:
                found[file_id] = record
        with self._lock:
            for file_id, record in found.items():
                reached = record.segment.end, record.event_last
                self._events[file_id] = max(reached, self._events.get(file_id, reached))
        return found

    def _has_started(self) -> bool:
        rows = self._ask(_ALL, instance=self._instance)
        return any(row.get("started") for row in rows)

    def _here(self, now: int, *, started: bool = False) -> bytes:
        tags = {"instance": self._instance, "file_id": str(_HERE)}
        fields = {"started": True} if started else {"opened": now}
        return point(POSITIONS, tags, fields, _today(now))

    def _write(self, records: Iterable[Record], shift: int = 0) -> None:
        when = _today(time.time_ns()) + shift
        self._send(b"".join(_point(self._instance, record, when) for record in records))

    def _send(self, points: bytes) -> None:
        if points:
            self._retry(lambda: self._server.write(points), lasting)

    def _ask(self, statement: str, **values: object) -> list[dict[str, Any]]:
        return self._retry(lambda: self._server.ask(statement, **values), lasting)


def _today(now: int) -> int:
    return now // _DAY * _DAY


def _point(instance: str, record: Record, when: int) -> bytes:
    segment, evidence = record.segment, record.segment.evidence
    tags = {"instance": instance, "file_id": str(segment.file_id)}
    fields: Mapping[str, str | int | bool] = {
        "path": segment.path,
        "start": segment.start,
        "end": segment.end,
        "first_line": segment.first_line,
        "lines": segment.lines,
        # Texts, since its integers have a sign.
        "content_hash": str(segment.content_hash),
        "inode": str(evidence.inode),
        "head_length": evidence.head_length,
        "head_hash": str(evidence.head_hash),
        "tail_hash": str(evidence.tail_hash),
        "writer": str(record.block.writer),
        "sequence": record.block.sequence,
        "begun": record.begun,
        "event_before": record.event_before,
        "event_last": record.event_last,
        "demoted": ",".join(sorted(record.demoted)) or "-",
        "stored": record.stored,
        "gone_since": record.gone_since,
    }
    return point(POSITIONS, tags, fields, when)


def _record(file_id: int, row: Mapping[str, Any]) -> Record:
    segment = Segment(
        file_id,
        row["path"] or "",
        row["start"],
        row["end"],
        row["first_line"],
        row["lines"],
        Evidence(
            int(row["inode"]), row["head_length"], int(row["head_hash"]), int(row["tail_hash"])
        ),
        int(row["content_hash"]),
    )
    return Record(
        segment,
        BlockId(int(row["writer"]), row["sequence"]),
        row["begun"],
        row["event_before"],
        row["event_last"],
        frozenset(row["demoted"].split(",")) - {"-"},
        row["stored"],
        row["gone_since"],
        row["time"],
    )
