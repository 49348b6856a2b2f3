"""Resident memory with the defaults: at its peak, and at the end of a long run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.job import EMBEDDED, LINE_PROTOCOL, NULL, make_log, run_job
from benchmarks.measure import MB, Effort, Figure, Wanted

_WANTED = {NULL: 250, LINE_PROTOCOL: 300, EMBEDDED: 800}
"""Store -> the most wanted at the peak, in MB."""

_FORMS = ("json", "combined")

_LONG = 5
"""Times `lines` of a long run: with 4,000,000, what 5,600 lines a second write in an hour."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """The larger peak of two formats, of each store; the end of a long run beside its beginning."""
    for store, bound in _WANTED.items():
        least = run_job(store, make_log(scratch, "json", 1), scratch)
        peaks = [
            run_job(store, make_log(scratch, form, effort.lines), scratch).peak for form in _FORMS
        ]
        yield Figure(
            "memory",
            f"{store}, peak",
            "MB",
            [max(peaks) / MB],
            "of one line",
            [least.peak / MB],
            [Wanted(bound, "MB")],
        )
    if effort.brief:
        return
    log = make_log(scratch, "json", effort.lines, repeated=_LONG)
    for store, bound in _WANTED.items():
        resident = run_job(store, log, scratch).resident
        tenth = len(resident) // 10
        begins, ends = resident[tenth : 2 * tenth], resident[-2 * tenth : -tenth]
        name = f"{store}, in the ninth tenth of {log.lines:,} lines"
        ours, theirs = ([median(part or resident) / MB] for part in (ends, begins))
        wanted = [Wanted(bound, "MB")]
        yield Figure("memory", name, "MB", ours, "in the second tenth", theirs, wanted)
