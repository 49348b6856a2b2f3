"""What a running pipeline says of itself: for `/health`, progress and the closing line."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import native
from connectors.answers import Answers
from connectors.file_rates import FileRates
from connectors.refusals import Refusals
from connectors.tail import Tail


@dataclass(frozen=True)
class SourceStatus:
    """How far reading is: files followed, and what of them is not stored yet.

    Of a source that is no files, `lag_records` are those that are not stored yet. Everything that
    was there at the time `complete_to` (seconds since 1970) is stored; None: nobody knows a time.
    """

    files: int = 0
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    problems: tuple[str, ...] = ()
    lag_records: int = 0
    files_behind: int = 0
    blocks_in_doubt: int = 0
    complete_to: float | None = None


@dataclass(frozen=True)
class FileStatus:
    """One file: its id, its `name` in the ledger, its `path` now, and bytes: there, and stored.

    `lag_bytes` are those of whole lines that are not stored, noticed `lag_seconds` ago. `format`:
    that of its lines, if it is its own, and `why`.
    """

    file_id: int
    name: str
    path: str
    size: int
    stored: int
    lag_bytes: int = 0
    lag_seconds: float = 0.0
    format: str = ""
    why: str = ""


class Status:
    """Counters of one process, shared by its workers and its API; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.started = time.monotonic()
        self.lines = 0
        self.stored = 0
        self.dead = 0
        self.filler = 0
        self.failures = 0
        self.misfits: Counter[str] = Counter()  # by column: values that are attributes instead
        self.dropped: Counter[str] = Counter()  # by setting: rows that are not stored
        self.refusals = Refusals()
        self.answers = Answers()
        self.tail = Tail()
        self.letter_counts = Answers()
        self.file_rates = FileRates()
        self.workers = 0
        self.demoted_tags: frozenset[str] = frozenset()
        self.store_problems: tuple[str, ...] = ()
        self.geoip_files: Mapping[str, str] = {}  # path -> day on which it was built
        self.geoip_problems: tuple[str, ...] = ()
        self._reasons: Counter[str] = Counter()
        self._errors: dict[object, str] = {}

    def add(
        self,
        *,
        lines: int,
        stored: int,
        dead: Mapping[str, int],
        filler: int = 0,
        misfits: Mapping[str, int] | None = None,
        dropped: Mapping[str, int] | None = None,
    ) -> None:
        """Count one batch that is stored; `dead` counts its dead letters by reason."""
        with self._lock:
            self.lines += lines
            self.stored += stored
            self.dead += sum(dead.values())
            self.misfits = self.misfits + Counter(misfits)  # a new one: others may look at the old
            self.dropped = self.dropped + Counter(dropped)
            self._reasons.update(dead)
            self.filler += filler

    def count_worker(self, change: int) -> None:
        """Count a worker that begins (1) or ends (-1)."""
        with self._lock:
            self.workers += change

    def report(self, error: str, trouble: object = None) -> None:
        """Keep the newest error for `/health`; `trouble` is what it can be `overcome` by."""
        with self._lock:
            self.failures += 1
            self._errors.pop(trouble, None)
            self._errors[trouble] = error

    @property
    def problems(self) -> list[str]:
        """One sentence for everything that somebody should put right, but what reading finds."""
        return [*native.problems(), *self.store_problems, *self.geoip_problems]

    def overcome(self, trouble: object) -> None:
        """Forget what was reported of `trouble`, if anything was."""
        with self._lock:
            self._errors.pop(trouble, None)

    @property
    def last_error(self) -> str:
        """The newest error that is not overcome; empty if there is none."""
        with self._lock:
            return next(reversed(self._errors.values()), "")

    def summary(self) -> str:
        """The closing line of a run: `lines=N stored=N dead=N seconds=S`, and what else was."""
        seconds = time.monotonic() - self.started
        reasons = ",".join(f"{name}:{count}" for name, count in self._reasons.most_common())
        dropped = sum(self.dropped.values())
        return (
            f"lines={self.lines} stored={self.stored} dead={self.dead} seconds={seconds:.2f}"
            + (f" reasons={reasons}" if reasons else "")
            + (f" dropped={dropped}" if dropped else "")
        )
