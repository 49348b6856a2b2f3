"""Lines per CPU second of one worker, a process of its own, beside the limits and the naive way."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.measure import BenchmarkError, Usage, run
from benchmarks.sink_server import SinkServer

LINES = 4_000_000
"""Lines of the largest case."""

_SEED = 1
_MB = 1_000_000
_QUIET_SPREAD = 1.15
_WIDTH = 120

Run = Callable[[str, Path, Path], Usage]
"""What can be measured: `run(format, file, empty directory)`."""


@dataclass(frozen=True)
class Rival:
    """What a case is compared with, and the least ratio wanted: its CPU seconds / ours."""

    name: str
    run: Run
    wanted: float | None = None
    bad_ratio: float = 0


@dataclass(frozen=True)
class Case:
    """A run of the pipeline: its share of `LINES`, and the peak of memory wanted, in MB."""

    name: str
    form: str
    run: Run
    share: float
    peak: float
    rivals: tuple[Rival, ...]
    bad_ratio: float = 0


@dataclass(frozen=True)
class Comparison:
    """What one rival needed, beside the pipeline."""

    rival: str
    cpu_us_per_line: float
    spread: float
    ratio: float
    wanted: float | None


@dataclass(frozen=True)
class Result:
    """What a case needed: medians of the runs; `spread` is the most CPU seconds / the fewest."""

    case: str
    lines: int
    cpu_us_per_line: float
    lines_per_cpu_second: float
    lines_per_second: float
    spread: float
    peak_mb: float
    peak_wanted_mb: float
    comparisons: list[Comparison]


def pipeline(store: str, **more: str) -> Run:
    """The main job into `store`: CPU seconds of the whole process, from its start to its exit."""

    def measured(form: str, file: Path, directory: Path) -> Usage:
        settings = {
            "LOG_PATHS": str(file),
            "LOG_FORMAT": form,
            "STORE": store,
            "DATA_DIR": str(directory / "data"),
            "FOLLOW": "false",
            **more,
        }
        usage = run("-m", "bytewax.run", "flows.main", directory=directory, settings=settings)
        _expect(usage, r"lines=(\d+) ", _count(file))
        return usage

    return measured


def over_http(form: str, file: Path, directory: Path) -> Usage:
    """The main job as line protocol to a server that answers 204, by itself."""
    with SinkServer() as server:
        usage = pipeline("influxdb", INFLUXDB_URL=server.url, INSTANCE="benchmark")(
            form, file, directory
        )
        if server.counts()["lines"] < _count(file):
            raise BenchmarkError(f"Of {_count(file)} lines {server.counts()['lines']} were sent.")
    return usage


def naive(form: str, file: Path, directory: Path) -> Usage:
    """The naive flow into embedded ClickHouse: CPU seconds of the whole process, likewise."""
    target = f"benchmarks.naive:flow({form!r}, {str(file)!r}, {str(directory / 'naive')!r})"
    usage = run("-m", "bytewax.run", target, directory=directory)
    _expect(usage, r"rows=(\d+)", _count(file))
    return usage


def limit(library: str) -> Run:
    """A limit: CPU seconds of the one call alone, without starting and importing."""

    def measured(form: str, file: Path, directory: Path) -> Usage:
        settings = {"POLARS_MAX_THREADS": "1", "DATA_DIR": str(directory / "data")}
        arguments = ("-m", "benchmarks.limits", library, form, str(file))
        usage = run(*arguments, directory=directory, settings=settings)
        _expect(usage, r"rows=(\d+)", _count(file))
        cpu = float(usage.stdout.rpartition("cpu=")[2])
        return Usage(cpu, usage.wall, usage.peak, usage.stdout)

    return measured


_NAIVE = "naive flow"
_IMPORT = "ClickHouse's import"
_READ = "Polars reading, 1 thread"

CASES = [
    Case("json, null", "json", pipeline("null"), 1, 300, (Rival(_READ, limit("polars"), 0.45),)),
    Case(
        "json, 1 bad in 1000, null",
        "json",
        pipeline("null"),
        1,
        300,
        (Rival("clean run", pipeline("null"), 1 / 2.5),),
        bad_ratio=0.001,
    ),
    Case(
        "combined, null", "combined", pipeline("null"), 0.25, 300, (Rival(_READ, limit("polars")),)
    ),
    Case("json, line protocol", "json", over_http, 1, 450, (Rival(_READ, limit("polars"), 0.36),)),
    Case(
        "combined, line protocol", "combined", over_http, 1, 450, (Rival(_READ, limit("polars")),)
    ),
    Case(
        "json, embedded",
        "json",
        pipeline("embedded"),
        0.25,
        900,
        (Rival(_NAIVE, naive, 5), Rival(_IMPORT, limit("clickhouse"))),
    ),
    Case(
        "combined, embedded",
        "combined",
        pipeline("embedded"),
        0.25,
        900,
        (Rival(_IMPORT, limit("clickhouse"), 1), Rival(_NAIVE, naive)),
    ),
]


def main(lines: int, rounds: int, json_path: Path | None) -> None:
    """Run every case, `lines` in the largest, and print the tables. Raises `BenchmarkError`."""
    console = Console(highlight=False, width=max(_WIDTH, Console().width))
    load = os.getloadavg()[0]
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="logwax-benchmark-") as scratch:
        for case in CASES:
            size = max(1000, int(lines * case.share))
            with console.status(f"{case.name}, {size:,} lines"):
                results.append(measure(case, size, rounds, Path(scratch)))
    console.print(_figures(results), _comparisons(results))
    console.print(
        f"Medians of {rounds} runs; {os.cpu_count()} cores, Python {sys.version.split()[0]}. CPU "
        "time: user and system, of all threads, from the start of a process to its exit; of Polars "
        "and ClickHouse, the one call alone. Ratio: CPU time of what is beside / of Logwax, run in "
        "turn. Peak: largest resident set; 1 MB is 1,000,000 bytes."
    )
    spreads = [result.spread for result in results]
    spreads += [other.spread for result in results for other in result.comparisons]
    if load > 0.1 * (os.cpu_count() or 1) or max(spreads) > _QUIET_SPREAD:
        console.print(
            f"The machine was not quiet: load average {load:.2f} at the start, CPU time of equal "
            f"runs up to {max(spreads) - 1:.0%} apart. Trust the ratios more than the figures."
        )
    if json_path:
        json_path.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def measure(case: Case, lines: int, rounds: int, scratch: Path) -> Result:
    """The case and its rivals in turn, `rounds` times."""
    file = log_file(scratch, case.form, lines, case.bad_ratio)
    ours: list[Usage] = []
    theirs: list[list[Usage]] = [[] for _ in case.rivals]
    for _ in range(rounds):
        ours.append(_in_empty(scratch, case.run, case.form, file))
        for rival, usages in zip(case.rivals, theirs, strict=True):
            rival_file = log_file(scratch, case.form, lines, rival.bad_ratio)
            usages.append(_in_empty(scratch, rival.run, case.form, rival_file))
    cpu = median(usage.cpu for usage in ours)
    return Result(
        case=case.name,
        lines=lines,
        cpu_us_per_line=cpu / lines * 1e6,
        lines_per_cpu_second=lines / cpu,
        lines_per_second=lines / median(usage.wall for usage in ours),
        spread=_spread(ours),
        peak_mb=max(usage.peak for usage in ours) / _MB,
        peak_wanted_mb=case.peak,
        comparisons=[
            Comparison(
                rival=rival.name,
                cpu_us_per_line=median(usage.cpu for usage in usages) / lines * 1e6,
                spread=_spread(usages),
                ratio=median(its.cpu / our.cpu for its, our in zip(usages, ours, strict=True)),
                wanted=rival.wanted,
            )
            for rival, usages in zip(case.rivals, theirs, strict=True)
        ],
    )


def log_file(scratch: Path, form: str, lines: int, bad_ratio: float) -> Path:
    """Generated lines, the same ones on every machine; made once."""
    file = scratch / f"{form}-{bad_ratio}-{lines}.log"
    if not file.exists():
        settings = {
            "LOG_FILE_PATH": str(file),
            "LOG_GENERATOR_FORMAT": form,
            "LOG_GENERATOR_BAD_RATIO": str(bad_ratio),
            "LOG_GENERATOR_SEED": str(_SEED),
            "LOG_INTERVAL_SECONDS": "0",
            "MAX_LOGS_TO_GENERATE": str(lines),
        }
        run("-m", "log_generator", directory=scratch, settings=settings)
    return file


def _count(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _expect(usage: Usage, pattern: str, lines: int) -> None:
    """A run that lost lines measures nothing. Raises `BenchmarkError`."""
    found = re.search(pattern, usage.stdout)
    if not found or int(found.group(1)) != lines:
        raise BenchmarkError(f"{lines} lines were to come through, but it said: {usage.stdout!r}")


def _in_empty(scratch: Path, run_once: Run, form: str, file: Path) -> Usage:
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        return run_once(form, file, Path(directory))


def _spread(usages: list[Usage]) -> float:
    return max(usage.cpu for usage in usages) / min(usage.cpu for usage in usages)


def _figures(results: list[Result]) -> Table:
    table = _table("Logwax", "lines", "lines/CPU s", "lines/s", "CPU us/line", "peak MB", "wanted")
    for result in results:
        table.add_row(
            result.case,
            f"{result.lines:,}",
            f"{result.lines_per_cpu_second:,.0f}",
            f"{result.lines_per_second:,.0f}",
            f"{result.cpu_us_per_line:.2f}",
            f"{result.peak_mb:.0f}",
            f"<= {result.peak_wanted_mb:.0f}",
            "missed" if result.peak_mb > result.peak_wanted_mb else "",
        )
    return table


def _comparisons(results: list[Result]) -> Table:
    table = _table("Logwax", "CPU us/line", "beside", "CPU us/line", "ratio", "wanted")
    for result in results:
        for other in result.comparisons:
            table.add_row(
                result.case,
                f"{result.cpu_us_per_line:.2f}",
                other.rival,
                f"{other.cpu_us_per_line:.2f}",
                f"{other.ratio:.2f}",
                "" if other.wanted is None else f">= {other.wanted:.2f}",
                "missed" if other.ratio < (other.wanted or 0) else "",
            )
    return table


def _table(*titles: str) -> Table:
    """A table of figures; the last column has no title and says what was missed."""
    table = Table(box=SIMPLE)
    for title in (*titles, ""):
        is_name = title in ("Logwax", "beside", "")
        table.add_column(title, justify="left" if is_name else "right", no_wrap=True)
    return table
