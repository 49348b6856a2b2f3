"""Lines a second of wall time: two workers beside one, on the same 1, 2 and 16 files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.job import EMBEDDED, NULL, Log, cost_of_a_line, make_log, run_job, seconds_of
from benchmarks.measure import Cost, Effort, Figure, Wanted

_WANTED = {
    (NULL, 2): [Wanted(1.6, at_least=True), Wanted(1_200_000, "lines/s", at_least=True)],
    (EMBEDDED, 2): [Wanted(750_000, "lines/s", at_least=True)],
}
"""Store and number of files -> the bounds."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """One worker and two in turn, on so many files that hold twice `lines` together."""
    for files in (2,) if effort.brief else (1, 2, 16):
        directory = scratch / f"{files} files"
        directory.mkdir()
        each = 2 * effort.lines // files
        for number in range(files):
            make_log(directory, "json", each, seed=number)
        log = Log("json", each * files, str(directory / "*.log"))
        for store in (NULL, EMBEDDED):
            costs: dict[int, list[Cost]] = {1: [], 2: []}
            for _ in range(effort.rounds):
                for workers, taken in costs.items():
                    job = partial(_seconds, store, workers)
                    taken.append(cost_of_a_line(job, log, scratch))
            one, two = ([1 / cost.line for cost in taken] for taken in costs.values())
            name = f"json -> {store}, {files} file{'s' if files > 1 else ''}, -w 2"
            wanted = _WANTED.get((store, files), [])
            starts = [cost.start for cost in costs[2]]
            yield Figure("scaling", name, "lines/s", two, "-w 1", one, wanted, starts)
        shutil.rmtree(directory)


def _seconds(store: str, workers: int, log: Log, scratch: Path) -> float:
    return seconds_of(run_job(store, log, scratch, workers))
