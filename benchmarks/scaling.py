"""Lines a second of wall time: two workers beside one, on the same 1, 2 and 16 files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.job import EMBEDDED, NULL, Log, make_log, run_job, seconds_of
from benchmarks.measure import Effort, Figure, Wanted

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
            one: list[float] = []
            two: list[float] = []
            for _ in range(effort.rounds):
                for workers, speeds in ((1, one), (2, two)):
                    seconds = seconds_of(run_job(store, log, scratch, workers))
                    speeds.append(log.lines / seconds)
            name = f"json -> {store}, {files} file{'s' if files > 1 else ''}, -w 2"
            wanted = _WANTED.get((store, files), [])
            yield Figure("scaling", name, "lines/s", two, "-w 1", one, wanted)
        shutil.rmtree(directory)
