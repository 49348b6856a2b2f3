"""Files whose lines are mostly refused: the format of the settings is probably not theirs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from os.path import exists

from connectors.batch import Fit
from connectors.saying import say

ENOUGH = 3  # lines: fewer say nothing
RECENT = 1_000  # lines that count, so that a change of format soon shows
MOST_FILES, MOST_TOLD = 1_000, 10


class Refusals:
    """Says once a file that its lines are mostly refused; safe to use from any thread.

    Files are known by their path, so a file that takes the place of another takes back what was
    said of that one. It knows a bounded number of them.
    """

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._fits: dict[str, Fit] = {}  # of files with refused lines
        self._told: set[str] = set()

    def add(self, fits: Iterable[Fit]) -> None:
        """Learn how the lines of a batch fitted the format."""
        with self._lock:
            for fit in fits:
                known = self._fits.get(fit.path)
                if known or fit.refused:
                    self._judge(_together(known, fit) if known else fit)

    @property
    def problems(self) -> list[str]:
        """A sentence for each file that is there, as far as they are few."""
        with self._lock:
            poor = [fit for fit in self._fits.values() if _is_bad(fit) and exists(fit.path)]
        more = len(poor) - MOST_TOLD
        told = [_sentence(fit) for fit in poor[:MOST_TOLD]]
        return [*told, f"So are those of {more} more files."] if more > 0 else told

    def _judge(self, fit: Fit) -> None:
        self._fits[fit.path] = fit
        if len(self._fits) > MOST_FILES:
            del self._fits[next(iter(self._fits))]
        if _is_bad(fit) and fit.path not in self._told and len(self._told) <= MOST_TOLD:
            self._told.add(fit.path)
            is_one_more = len(self._told) > MOST_TOLD
            self._say("There are more such files." if is_one_more else _sentence(fit))


def _together(known: Fit, fit: Fit) -> Fit:
    """The newest lines of a file, and some of those before."""
    share = min(1.0, RECENT / known.lines)
    return replace(
        known,
        lines=fit.lines + round(known.lines * share),
        refused=fit.refused + round(known.refused * share),
        advise=known.advise or fit.advise,
    )


def _is_bad(fit: Fit) -> bool:
    return fit.lines >= ENOUGH and fit.is_poor


def _sentence(fit: Fit) -> str:
    return f"More than half of the lines of {fit.path!r} are refused: {fit.advice}"
