"""The commands on an open store, each a stream of events: run beside a pipeline, or instead of one.

Every event is a JSON object with its kind under `event`; the last one is `end`, with `ok`.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from connectors.accounts import FRAGMENTS, Accounts, ChangeableAccounts
from connectors.batch import BlockId, Parsed, Span, Stream, Taken
from connectors.encodings import Encoding
from connectors.errors import LogwaxError, MalformedLine
from connectors.sources.binary import looks_binary
from connectors.sources.content import Content, open_content
from connectors.sources.evidence import REACH, Evidence, observe
from connectors.sources.files import FileSource
from connectors.sources.known_files import (
    KnownFile,
    end_of_last_line,
    is_covered,
    known_files,
    plain_size,
    recognise_one,
)
from connectors.sources.names import Names
from connectors.sources.samples import sample as sample_of
from connectors.sources.sense import headers_of
from connectors.store import Ledger, Store
from flows.audit import Auditor, FileAudit
from flows.backfill import Backfilled, TimeRange, backfill
from flows.choosing import Choices
from flows.keeping import recorded, settings_of
from flows.line_ranges import NO_BLOCKS, NO_CUTS, Framings, LineRanges, Meanings, Offsets
from flows.parsing.ranking import known_headers
from flows.parsing.times import iso
from flows.redrive import Redriven, redrive
from flows.steps import framing, header_of, parse_and_enrich, rules_of
from settings import Settings

Event = dict[str, Any]
Command = Callable[..., Iterator[Event]]

_ROWS_OF_AN_EVENT = 1000
_SOURCES_SHOWN = 10

FIGURES = ("lines", "stored", "dead", "dropped", "expired", "waiting")
FINDINGS = ("missing", "twice", "changed", "stray", "doubt")


@dataclass(frozen=True)
class Running:
    """The pipeline in this process: its source, and the blocks in doubt when it started."""

    source: FileSource
    doubted: frozenset[BlockId]


class Commands:
    """The commands over one store; `running` is the pipeline beside them, if there is one."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        accounts: Accounts,
        running: Running | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._accounts = accounts
        self._running = running
        self._encoding = Encoding(settings.log_encoding)

    def by_name(self) -> Mapping[str, Command]:
        """What can be run, each with its own keyword arguments."""
        return {
            "audit": self.audit,
            "positions": self.positions,
            "redrive": self.redrive,
            "backfill": self.backfill,
            "query": self.query,
            "dead": self.dead,
        }

    def query(self, sql: str, most: int) -> Iterator[Event]:
        """Answer a question of a person's own, which can change nothing: up to `most` rows."""
        answer = self._accounts.select(sql, most)
        yield {"event": "columns", "names": answer.names}
        for start in range(0, len(answer.rows), _ROWS_OF_AN_EVENT):
            yield {"event": "rows", "rows": answer.rows[start : start + _ROWS_OF_AN_EVENT]}
        yield {"event": "end", "ok": True, "whole": answer.is_whole}

    def dead(self, reason: str = "") -> Iterator[Event]:
        """How many dead letters there are of each reason, or of this one, and the newest of each.

        Raises `LogwaxError` if there are none of that reason.
        """
        counts = self._accounts.reasons()
        if reason and reason not in counts:
            there = f"; there are {', '.join(counts)}" if counts else ""
            raise LogwaxError(f"There is no dead letter with the reason {reason!r}{there}.")
        for name in [reason] if reason else counts:
            samples = self._accounts.samples(name, 20 if reason else 3).to_dicts()
            for sample in samples:
                sample["raw"] = sample["raw"].decode(errors="surrogateescape")
            yield {"event": "reason", "reason": name, "count": counts[name], "newest": samples}
        yield {"event": "end", "ok": True}

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
                "name": file.name,
                "size": file.size,
                "stored": position,
                "lag": max(0, file.size - position) if file.path else 0,
            }
        yield {"event": "end", "ok": True}

    def audit(self) -> Iterator[Event]:
        """Prove that every line of the files on disk is stored exactly once."""
        files = self._files()
        doubt = self._doubt(self._store.ledger().of("file"))
        stored = self._stored()  # after the ledger, before the sums: it must not be ahead of them
        running = self._running is not None
        auditor = Auditor(
            self._accounts,
            self._encoding,
            self._steps,
            retention_days=self._settings.retention_days,
            longest=self._settings.log_max_line_bytes,
            partial=not self._settings.follow,
            running=running,
            framing=framing(self._settings),
            kept=recorded(self._settings),
        )
        there = [file for file in files if file.path]
        total = sum(file.size - min(file.begins, file.size) for file in there)
        sums = dict.fromkeys((*FIGURES, *FINDINGS), 0)
        well = True
        before = 0
        for file in there:
            blocks = [span for span in doubt if span.stream.id == file.file_id]
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
        gone = {file.file_id: file for file in files if not file.path}
        for lost in gone.values():
            yield {
                "event": "gone",
                "file_id": lost.file_id,
                "path": lost.name,
                "stored": lost.stored,
            }
        for gap in self._running.source.gaps() if self._running else ():
            well = False
            yield {"event": "gap", "detail": gap}
        for span in doubt:  # of files that are not there any more, too
            if span.stream.id in gone:
                well = False
                sums["doubt"] += span.records
                found = FileAudit(span.stream.id, span.stream.name, error="not there any more")
                found.doubt.add(span.start, span.end, span.records)
                yield {"event": "file", **asdict(found)}
        yield {"event": "total", "files": len(there), "gone": len(gone), **sums}
        if not there and not Names(self._settings.patterns).expand():
            raise LogwaxError(
                f"No file fits {', '.join(self._settings.patterns)}: nothing was looked at."
            )
        yield {"event": "end", "ok": well}

    def _steps(self, kept: str | None) -> Callable[[Taken], Parsed]:
        """What made rows of lines whose block in the ledger says this; None: as it is now."""
        found = self._settings if kept is None else settings_of(self._settings, kept)
        return parse_and_enrich(found)

    def redrive(self, dry_run: bool = False, reason: str = "", source: str = "") -> Iterator[Event]:
        """Send dead letters through the parser and the enrichers again.

        Only those with this `reason`; only those of files whose path is, or fits, `source`.
        """
        if reason in FRAGMENTS:
            raise LogwaxError(f"Dead letters with the reason {reason!r} are no whole lines.")
        accounts = self._changeable()
        reasons = accounts.reasons()
        if reason and reasons and reason not in reasons:
            raise LogwaxError(
                f"There is no dead letter with the reason {reason!r}; there are "
                f"{', '.join(reasons)}."
            )
        known = accounts.sources() if source else []
        sources = [path for path in known if path == source or fnmatchcase(path, source)]
        if known and not sources:
            raise LogwaxError(
                f"There is no dead letter of a file {source!r}; there are of "
                f"{', '.join(sorted(known)[:_SOURCES_SHOWN])}."
            )
        counts = Redriven()
        if sources or not source:
            for counts in redrive(
                accounts,
                parse_and_enrich(settings_of(self._settings, "")),  # whatever DROP says
                lru_cache(maxsize=1)(lambda file_id: Meanings(self._accounts.blocks(file_id))),
                Choices(self._settings).again,
                self._encoding,
                self._settings.log_max_line_bytes,
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

    def backfill(self, path: str, first: str = "", last: str = "") -> Iterator[Event]:
        """Store the lines of one old file whose times are from `first` to before `last`.

        What the tail is going to read of it is left to the tail. Of a damaged file the whole lines
        before the damage are stored; then a `LogwaxError` is raised.
        """
        within = self._time_range(first, last)
        accounts = self._changeable()
        try:
            content = open_content(path)
        except OSError as error:
            raise LogwaxError(f"Cannot read {path!r}: {error.strerror}.") from error
        with closing(content):
            size = plain_size(content)
            if content.damage:
                size = end_of_last_line(content, size, self._encoding)
            shown = os.fsencode(path).decode(errors="backslashreplace")
            ledger = self._store.ledger().of("file")
            known = recognise_one(ledger.files, self._store, content, shown)
            if known:
                file_id, end, cuts = self._known(known, content, size, ledger)
            else:
                self._refuse(path, content, size, ledger)
                file_id, end, cuts = secrets.randbits(63), size, NO_CUTS
            if end > (known.end if known else -1):
                evidence = observe(content, content.key[1], end)
                chosen = Span(Stream(file_id, shown), end, end, 0, 0, evidence.proof)
                self._choose_position(accounts, chosen)
            counts = Backfilled()
            for counts in backfill(
                accounts,
                parse_and_enrich(self._settings),
                self._ranges(known, content, shown, end, cuts),
                file_id,
                shown,
                within,
                self._settings.log_max_line_bytes,
                partial(rules_of(self._settings).letters, encoding=self._encoding),
            ):
                yield {"event": "progress", "done": counts.done, "total": end}
        yield {"event": "counts", "file_id": file_id, "rest": size - end, **asdict(counts)}
        if content.damage:
            raise LogwaxError(
                f"{path!r} is damaged: {content.damage}. The lines before that place are stored."
            )
        yield {"event": "end", "ok": True}

    def _time_range(self, first: str, last: str) -> TimeRange:
        zone = ZoneInfo(self._settings.log_timezone)
        chosen = TimeRange(_time(first, zone), _time(last, zone))
        if chosen.first and chosen.last and chosen.first >= chosen.last:
            raise LogwaxError(f"No time is from {first!r} to before {last!r}.")
        return chosen

    def _known(
        self, known: Span, content: Content, size: int, ledger: Ledger
    ) -> tuple[int, int, Offsets]:
        """The id of a known file, up to where its lines are not the tail's, and its cuts."""
        settled = self._settled(known, ledger)
        if settled > size:  # these are its first bytes
            settled = end_of_last_line(content, size, self._encoding)
        begins = self._accounts.begins().get(known.stream.id, 0)
        cuts = np.union1d(
            self._accounts.cuts(known.stream.id), np.array([begins, settled], np.int64)
        )
        is_mine = settled == known.end and not any(
            file.file_id == known.stream.id and file.path and not file.is_outside
            for file in self._files()
        )
        return known.stream.id, size if is_mine else settled, cuts

    def _ranges(
        self, known: Span | None, content: Content, shown: str, end: int, cuts: Offsets
    ) -> LineRanges:
        usual = framing(self._settings)
        lines = sample_of(content, 0, end, self._encoding)
        form = Choices(self._settings).again(
            shown, lines, "", known_headers(content, 0, self._encoding)
        )
        meant = Evidence(seen=min(time.time_ns() // 1000, content.changed_at()), format=form)
        blocks = self._accounts.blocks(known.stream.id) if known else NO_BLOCKS
        meanings = Meanings(blocks, meant)
        begins = header_of(form or self._settings.log_format)
        if begins is not None:
            headers = headers_of(content, begins, end, self._encoding)
            meanings = meanings.behind(((0, begins), *headers), end)
        return LineRanges(content, self._encoding, end, cuts, Framings.of(usual, blocks), meanings)

    def _changeable(self) -> ChangeableAccounts:
        if isinstance(self._accounts, ChangeableAccounts):
            return self._accounts
        raise LogwaxError(f"STORE={self._settings.store} cannot change what it has stored.")

    def _choose_position(self, accounts: ChangeableAccounts, chosen: Span) -> None:
        """Nothing before the end of this span is the tail's to read from now on."""
        accounts.choose_position(chosen)
        if self._running:
            self._running.source.know([chosen])

    def _settled(self, known: Span, ledger: Ledger) -> int:
        """Up to where it is certain what is stored of a file; the rest is the tail's."""
        stored = self._stored().get(known.stream.id, known.end)
        doubtful = [s.start for s in self._doubt(ledger) if s.stream.id == known.stream.id]
        return min(known.end, stored, *doubtful)

    def _refuse(self, path: str, content: Content, size: int, ledger: Ledger) -> None:
        """Refuse an unknown file of which nothing can, or must, be stored.

        Nothing may be chosen for one that the tail is about to read, or before it began.
        """
        if not size:
            because = content.damage or "it has no lines"
            raise LogwaxError(f"Nothing of {path!r} can be stored: {because}.")
        looks = looks_binary(content.read(REACH, 0), self._encoding)
        if looks:
            raise LogwaxError(f"Cannot read {path!r}: it is not text, it looks like {looks}.")
        if ledger.is_new and self._settings.log_start == "end":
            raise LogwaxError("LOG_START=end was not heeded yet: start the pipeline once before.")
        if self._running and is_covered(self._settings.patterns, content.key):
            raise LogwaxError(f"{path!r} is one of the files that the running pipeline reads.")

    def _files(self) -> list[KnownFile]:
        return known_files(
            self._settings.patterns,
            self._store,
            self._accounts.begins(),
            self._settings.archives,
        )

    def _stored(self) -> Mapping[int, int]:
        files = self._running.source.files() if self._running else []
        return {file.file_id: file.stored for file in files}

    def _doubt(self, ledger: Ledger) -> list[Span]:
        """What nobody has said is stored; blocks of the pipeline in this process are under way."""
        return [
            span
            for block, spans in ledger.in_doubt.items()
            if self._running is None or block in self._running.doubted
            for span in spans
        ]


def _time(text: str, zone: ZoneInfo) -> datetime | None:
    if not text:
        return None
    is_day = re.fullmatch(r"\d{4}-\d\d-\d\d", text)
    try:
        return iso(f"{text} 00:00:00" if is_day else text, zone)
    except MalformedLine as error:
        raise LogwaxError(
            f"{text!r} is not a time such as 2026-11-22T20:15:05Z: {error.detail}."
        ) from error
