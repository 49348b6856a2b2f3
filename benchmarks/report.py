"""What a run found: one table, the same as JSON, and what was not quiet."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

import psutil
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Effort, Figure

_WIDTH = 190
_TITLES = ("", "Logwax", " ", "beside", "  ", "ratio", "least, most", "wanted", "start")
_QUIET_SHARE, _QUIET_SPREAD = 0.05, 1.15


class Noise:
    """What others did on this machine, since this was made."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._all, self._busy, self._own = _cpu_seconds()

    def share(self) -> float:
        """Which part of the machine's CPU time went to processes that are not ours."""
        every, busy, own = _cpu_seconds()
        others = (busy - self._busy) - (own - self._own)
        return max(0.0, others / max(every - self._all, 1e-9))

    def remark(self, figures: Iterable[Figure]) -> str:
        """A sentence if it was not quiet, else nothing."""
        samples = [
            values for figure in figures for values in (figure.ours, figure.theirs) if any(values)
        ]
        spread = max((max(values) / min(filter(None, values)) for values in samples), default=1.0)
        if self.share() <= _QUIET_SHARE and spread <= _QUIET_SPREAD:
            return ""
        return (
            f"The machine was not quiet: others took {self.share():.0%} of its CPU time, load "
            f"average {self._load:.1f} at the start, equal runs up to {spread - 1:.0%} apart. "
            "Trust the ratios more than the figures."
        )


@dataclass(frozen=True)
class Report:
    """Figures, and how they were taken."""

    figures: list[Figure]
    effort: Effort
    remark: str

    @property
    def circumstances(self) -> str:
        """When and where, in one sentence."""
        return (
            f"{date.today()}, {os.cpu_count()} cores, CPython {sys.version.split()[0]}, "
            f"{self.effort.lines:,} lines a run, medians of {self.effort.rounds}"
        )

    def show(self) -> None:
        """Print the table."""
        table = Table(box=MARKDOWN)
        for title in _TITLES:
            is_text = title in ("", " ", "beside", "wanted")
            table.add_column(title, justify="left" if is_text else "right", no_wrap=True)
        for figure in self.figures:
            table.add_row(
                f"{figure.benchmark}: {figure.name}",
                _number(figure.ours),
                figure.unit,
                figure.beside,
                _number(figure.theirs),
                "" if figure.ratio is None else f"{figure.ratio:.2f}",
                ", ".join(f"{ratio(figure.ratios):.2f}" for ratio in (min, max) if figure.ratios),
                ", ".join(
                    f"{bound} (missed)" if bound in figure.missed else str(bound)
                    for bound in figure.wanted
                ),
                f"{_number(figure.start)} s" if figure.start else "",
            )
        console = Console(highlight=False, width=max(_WIDTH, Console().width))
        console.print(table)
        console.print(
            f"{self.circumstances}. A ratio is Logwax / what is beside it, taken in turn; the one "
            "shown is the median of all. CPU us/line and lines/s are of a run less one of a single "
            "line, which is the start of Logwax. CPU time is user and system, of all threads and "
            "the whole process; of Polars and ClickHouse of the one call. 1 MB is 1,000,000 bytes."
        )
        if self.remark:
            console.print(self.remark)

    def as_dict(self) -> dict[str, Any]:
        """All there is, for JSON."""
        figures = [
            {
                **asdict(figure),
                "wanted": list(map(str, figure.wanted)),
                "ratio": figure.ratio,
                "missed": list(map(str, figure.missed)),
            }
            for figure in self.figures
        ]
        return {"circumstances": self.circumstances, "remark": self.remark, "figures": figures}


def _number(values: list[float]) -> str:
    if not values:
        return "-"
    value = median(values)
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _cpu_seconds() -> tuple[float, float, float]:
    """So far: those of the machine, those that were used, and those used by us."""
    times = psutil.cpu_times()._asdict()
    # A guest's time is in the user's already.
    every = sum(times.values()) - times.get("guest", 0) - times.get("guest_nice", 0)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(usage.ru_utime + usage.ru_stime for usage in used)
    return every, every - times["idle"] - times.get("iowait", 0), own
