"""The commands on an open store, each a stream of events: run beside a pipeline, or instead of one.

Every event is a JSON object with its kind under `event`; the last one is `end`, with `ok`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from connectors.batch import BlockId, Segment
from connectors.encodings import Encoding
from connectors.errors import LogwaxError
from connectors.sinks.clickhouse_accounts import FRAGMENTS, ClickHouseAccounts
from connectors.sources.known_files import KnownFile, Tail, known_files
from connectors.store import Ledger, Store
from flows.again import parse_and_enrich, parse_step
from flows.audit import Auditor, FileAudit
from flows.redrive import Redriven, redrive
from settings import Settings

Event = dict[str, Any]
Command = Callable[..., Iterator[Event]]

FIGURES = ("lines", "stored", "dead", "expired", "waiting")
FINDINGS = ("missing", "twice", "changed", "stray", "doubt")


@dataclass(frozen=True)
class Running:
    """The pipeline in this process: its source, and the blocks in doubt when it started."""

    tail: Tail
    doubted: frozenset[BlockId]


class Commands:
    """The commands over one store; `running` is the pipeline beside them, if there is one."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        accounts: ClickHouseAccounts,
        running: Running | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._accounts = accounts
        self._running = running

    def by_name(self) -> Mapping[str, Command]:
        """What can be run, each with its own keyword arguments."""
        return {
            "audit": self.audit,
            "positions": self.positions,
            "redrive": self.redrive,
        }

    def positions(self) -> Iterator[Event]:
        """Every known file: where it is, and how far it is stored."""
        files = self._files()
        stored = self._stored()
        for file in files:
            position = stored.get(file.file_id, file.stored)
            yield {
                "event": "file",
                "file_id": file.file_id,
                "path": file.path,
                "size": file.size,
                "stored": position,
                "lag": max(0, file.size - position) if file.path else 0,
            }
        yield {"event": "end", "ok": True}

    def audit(self) -> Iterator[Event]:
        """Prove that every line of the files on disk is stored exactly once."""
        files = self._files()
        doubt = self._doubt(self._store.ledger())
        stored = self._stored()  # after the ledger, before the sums: it must not be ahead of them
        running = self._running is not None
        auditor = Auditor(
            self._accounts,
            Encoding(self._settings.log_encoding),
            parse_step(self._settings),
            retention_days=self._settings.retention_days,
            longest=self._settings.log_max_line_bytes,
            partial=not self._settings.follow,
            running=running,
        )
        there = [file for file in files if file.path]
        total = sum(file.size - min(file.begins, file.size) for file in there)
        sums = dict.fromkeys((*FIGURES, *FINDINGS), 0)
        well = True
        before = 0
        for file in there:
            blocks = [segment for segment in doubt if segment.file_id == file.file_id]
            position = stored.get(file.file_id, file.stored)
            for found in auditor.audit(file, position, blocks):
                if isinstance(found, FileAudit):
                    well &= found.is_well(running)
                    for name in FIGURES:
                        sums[name] += getattr(found, name)
                    for name in FINDINGS:
                        sums[name] += getattr(found, name).lines or len(getattr(found, name).found)
                    yield {"event": "file", **asdict(found)}
                else:
                    done = before + max(found - file.begins, 0)
                    yield {"event": "progress", "done": done, "total": total}
            before += file.size - min(file.begins, file.size)
        gone = [file.file_id for file in files if not file.path]
        for segment in doubt:  # of files that are not there any more, too
            if segment.file_id in gone:
                well = False
                sums["doubt"] += segment.lines
                lost = FileAudit(segment.file_id, segment.path, error="not there any more")
                lost.doubt.add(segment.start, segment.end, segment.lines)
                yield {"event": "file", **asdict(lost)}
        yield {"event": "total", "files": len(there), "gone": len(gone), **sums}
        yield {"event": "end", "ok": well}

    def redrive(self, dry_run: bool = False, reason: str = "", source: str = "") -> Iterator[Event]:
        """Send dead letters through the parser and the enrichers again.

        Only those with this `reason`; only those of files whose path is, or fits, `source`.
        """
        if reason in FRAGMENTS:
            raise LogwaxError(f"Dead letters with the reason {reason!r} are no whole lines.")
        sources = [
            path
            for path in self._accounts.sources()
            if source and (path == source or fnmatchcase(path, source))
        ]
        counts = Redriven()
        if sources or not source:
            for counts in redrive(
                self._accounts,
                parse_and_enrich(self._settings),
                Encoding(self._settings.log_encoding).newline,
                reason=reason,
                sources=sources,
                dry_run=dry_run,
            ):
                yield {"event": "progress", "done": sum(counts.tried.values()), "total": None}
        for name, tried in sorted(counts.tried.items()):
            stored = counts.stored[name]
            yield {
                "event": "counts",
                "reason": name,
                "tried": tried,
                "stored": stored,
                "dead": tried - stored,
            }
        yield {"event": "end", "ok": True}

    def _files(self) -> list[KnownFile]:
        return known_files(self._settings.patterns, self._store, self._accounts.begins())

    def _stored(self) -> Mapping[int, int]:
        return self._running.tail.stored() if self._running else {}

    def _doubt(self, ledger: Ledger) -> list[Segment]:
        """What nobody has said is stored; blocks of the pipeline in this process are under way."""
        return [
            segment
            for block, segments in ledger.in_doubt.items()
            if self._running is None or block in self._running.doubted
            for segment in segments
        ]
