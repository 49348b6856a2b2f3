"""CPU time of a line: every format into every store, one worker, beside the limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.job import EMBEDDED, LINE_PROTOCOL, NULL, STORES, Log, expect, make_log, run_job
from benchmarks.limits import IMPORTS
from benchmarks.measure import Effort, Figure, Wanted, new_directory, run
from flows.parsing import FORMATS

UNIT = "CPU us/line"
READING = "Polars reading JSON"
IMPORT = "ClickHouse's own import"

_WANTED = {
    ("json", LINE_PROTOCOL, READING): 1.9,
    ("combined", LINE_PROTOCOL, READING): 2.2,
    ("logfmt", LINE_PROTOCOL, READING): 1.6,
    ("json", EMBEDDED, READING): 2.6,
    ("combined", EMBEDDED, IMPORT): 0.5,
}
"""Format, store and limit -> the most wanted of the ratio."""

Run = Callable[[Log, Path], float]
"""CPU seconds that the lines cost: `run(log, directory)`."""


@dataclass(frozen=True)
class _Case:
    log: Log
    store: str
    rivals: dict[str, Run]
    wanted: dict[str, float]
    remark: str = ""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """Each case and its limits in turn, `rounds` times."""
    for case in _cases(effort, scratch):
        ours: list[float] = []
        theirs: dict[str, list[float]] = {name: [] for name in case.rivals}
        for _ in range(effort.rounds):
            for name, rival in case.rivals.items():
                theirs[name].append(rival(case.log, scratch) / case.log.lines * 1e6)
            ours.append(run_job(case.store, case.log, scratch).cpu / case.log.lines * 1e6)
        for name, costs in theirs.items():
            wanted = [Wanted(case.wanted[name])] if name in case.wanted else []
            title = f"{case.log.form}{case.remark} -> {case.store}"
            yield Figure("throughput", title, UNIT, ours, name, costs, wanted)


def _cases(effort: Effort, scratch: Path) -> Iterator[_Case]:
    as_json = make_log(scratch, "json", effort.lines)
    limits: dict[str, Run] = {
        READING: lambda log, scratch: _limit("polars", as_json, scratch),
        IMPORT: lambda log, scratch: _limit("clickhouse", log, scratch),
    }
    for form in FORMATS:
        log = make_log(scratch, form, effort.lines)
        for store in STORES:
            rivals = dict(limits)
            if store != EMBEDDED or form not in IMPORTS:
                del rivals[IMPORT]
            bounds = {name: _WANTED.get((form, store, name)) for name in rivals}
            wanted = {name: bound for name, bound in bounds.items() if bound}
            if effort.brief:
                rivals = {name: rivals[name] for name in wanted}
            if rivals:
                yield _Case(log, store, rivals, wanted)
    if not effort.brief:
        bad = make_log(scratch, "json", effort.lines, bad_ratio=0.001)
        clean: dict[str, Run] = {
            "no bad line": lambda log, scratch: run_job(NULL, as_json, scratch).cpu
        }
        yield _Case(bad, NULL, clean, {"no bad line": 2.5}, ", 1 bad in 1000")


def _limit(library: str, log: Log, scratch: Path) -> float:
    """CPU seconds of the one call alone, without starting and importing."""
    directory = new_directory(scratch)
    settings = {"POLARS_MAX_THREADS": "1", "DATA_DIR": str(directory / "data")}
    arguments = ("-m", "benchmarks.limits", library, log.form, log.paths)
    usage = run(*arguments, directory=directory, settings=settings)
    expect(usage, r"rows=(\d+)", log.lines)
    return float(usage.stdout.rpartition("cpu=")[2])
