"""What cannot be read, and what could not: said once, and kept for `/health`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from connectors.sources.claims import ClaimError
from connectors.sources.tailed_file import TailedFile

_GAPS_SHOWN = 20


class Problems:
    """Each problem by its path, until it is overcome; safe to use from any thread."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._problems: dict[str, str] = {}
        self._renewed: set[str] = set()  # what has shown itself since `begin`
        self._of_reading: set[str] = set()  # what shows only when a file is read
        self._unclaimed: dict[str, set[TailedFile]] = {}  # by where claims cannot be written
        self._damaged: dict[TailedFile, str] = {}
        self._gaps: list[str] = []

    @property
    def all(self) -> tuple[str, ...]:
        """What cannot be read, and what could not, in sentences."""
        with self._lock:
            return (*self._problems.values(), *self._damaged.values(), *self._gaps[-_GAPS_SHOWN:])

    @property
    def gaps(self) -> tuple[str, ...]:
        """Bytes that were gone before they could be read."""
        with self._lock:
            return tuple(self._gaps)

    def begin(self) -> None:
        """All names are looked at: what is a problem still is going to show."""
        with self._lock:
            self._renewed.clear()

    def not_renewed(self) -> list[tuple[str, bool]]:
        """Problems that have not shown since `begin`, and whether they show in reading only.

        Those of claims that files wait for are left out.
        """
        with self._lock:
            return [
                (path, path in self._of_reading)
                for path in self._problems.keys() - self._renewed
                if not any(file.is_followed for file in self._unclaimed.get(path, ()))
            ]

    def keep(self, path: str, problem: str, *, of_reading: bool = False) -> None:
        """Note a problem, and say it if it is news."""
        with self._lock:
            self._renewed.add(path)
            if of_reading:
                self._of_reading.add(path)
            is_news = self._problems.get(path) != problem
            self._problems[path] = problem
        if is_news:
            self._say(problem)

    def overcome(self, path: str) -> None:
        """A path has no problem any more."""
        with self._lock:
            self._problems.pop(path, None)
            self._of_reading.discard(path)
            self._unclaimed.pop(path, None)

    def damaged(self, file: TailedFile) -> None:
        """Note whether a compressed file is damaged; a file that is gone is not."""
        problem = f"cannot read {file.path!r} to its end: {file.damage}"
        with self._lock:
            before = self._damaged.pop(file, "")
            if not (file.damage and file.is_followed):
                return
            self._damaged[file] = problem
        if problem != before:
            self._say(problem)

    def gap(self, gap: str) -> None:
        """Say what is gone before it could be read."""
        with self._lock:
            self._gaps.append(gap)
        self._say(gap)

    def cannot_claim(self, error: ClaimError, file: TailedFile | None = None) -> str:
        """Say that files have to wait, until `claimed` says of `file` that it need not any more."""
        where = str(error.filename)
        if file:
            with self._lock:
                self._unclaimed.setdefault(where, set()).add(file)
        problem = (
            f"cannot claim files in {where!r}: {error.strerror}; those that need it are read when "
            "there is room, and the right to write, there"
        )
        self.keep(where, problem)
        return problem

    def claimed(self, file: TailedFile) -> None:
        """The claim of a file could be written."""
        with self._lock:
            for waiting in self._unclaimed.values():
                waiting.discard(file)
