"""CPU time of a line: every format into every store, one worker, beside the limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.job import (
    EMBEDDED,
    LINE_PROTOCOL,
    NULL,
    STORES,
    Log,
    cost_of_a_line,
    expect,
    make_log,
    run_job,
)
from benchmarks.limits import IMPORTS
from benchmarks.measure import Cost, Effort, Figure, Wanted, new_directory, run
from log_generator.formats import FORMATS

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

Rival = Callable[[Log, Path], Cost]
"""What the same lines cost, in CPU seconds: `rival(log, scratch)`."""

Rivals = dict[str, tuple[Rival, float | None]]
"""Name -> what runs it, and the most wanted of the ratio."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """Each format and store beside its limits."""
    for form, store, rivals in cases(effort.brief):
        log = make_log(scratch, form, effort.lines)
        yield from compare("throughput", form, store, log, rivals, effort, scratch)
    if not effort.brief:
        bad = make_log(scratch, "json", effort.lines, bad_ratio=0.001)
        clean: Rivals = {"no bad line": (_clean, 2.5)}
        name = "json, 1 bad in 1000"
        yield from compare("throughput", name, NULL, bad, clean, effort, scratch)


def cases(brief: bool) -> Iterator[tuple[str, str, Rivals]]:
    """Format, store and limits; `brief`: only the limits that have a bound."""
    for form in FORMATS:
        for store in STORES:
            limits: dict[str, Rival] = {READING: _reading}
            if store == EMBEDDED and form in IMPORTS:
                limits[IMPORT] = importing
            bounds = {name: _WANTED.get((form, store, name)) for name in limits}
            rivals = {
                name: (limit, bounds[name])
                for name, limit in limits.items()
                if bounds[name] or not brief
            }
            if rivals:
                yield form, store, rivals


def compare(
    benchmark: str,
    name: str,
    store: str,
    log: Log,
    rivals: Rivals,
    effort: Effort,
    scratch: Path,
) -> Iterator[Figure]:
    """What a line of `log` costs into `store`, and its rivals, in turn, `rounds` times."""
    ours: list[Cost] = []
    theirs: dict[str, list[Cost]] = {rival: [] for rival in rivals}
    for _ in range(effort.rounds):
        for rival, (spend, _) in rivals.items():
            theirs[rival].append(spend(log, scratch))
        ours.append(_job(store, log, scratch))
    for rival, (_, bound) in rivals.items():
        yield Figure(
            benchmark,
            f"{name} -> {store}",
            UNIT,
            [cost.line * 1e6 for cost in ours],
            rival,
            [cost.line * 1e6 for cost in theirs[rival]],
            [Wanted(bound)] if bound else [],
            [cost.start for cost in ours],
        )


def importing(log: Log, scratch: Path) -> Cost:
    """ClickHouse's import of the log, the call alone."""
    return _limit("clickhouse", log, scratch)


def _reading(log: Log, scratch: Path) -> Cost:
    return _limit("polars", make_log(scratch, "json", log.lines), scratch)


def _clean(log: Log, scratch: Path) -> Cost:
    return _job(NULL, make_log(scratch, "json", log.lines), scratch)


def _job(store: str, log: Log, scratch: Path) -> Cost:
    return cost_of_a_line(lambda log, scratch: run_job(store, log, scratch).cpu, log, scratch)


def _limit(library: str, log: Log, scratch: Path) -> Cost:
    directory = new_directory(scratch)
    settings = {"POLARS_MAX_THREADS": "1", "DATA_DIR": str(directory / "data")}
    arguments = ("-m", "benchmarks.limits", library, log.form, log.paths)
    usage = run(*arguments, directory=directory, settings=settings)
    expect(usage, r"rows=(\d+)", log.lines)
    return Cost(float(usage.stdout.rpartition("cpu=")[2]) / log.lines, 0.0)
