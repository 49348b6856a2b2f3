"""Lines a second with one worker and with two, on the same files, into the null store."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.measure import BenchmarkError, run

LINES = 4_000_000
"""Lines of each case, over all of its files."""

WANTED = {2: 1.6}
"""Number of files -> the least ratio wanted: lines a second of two workers / of one."""

_FILES = (1, 2, 16)


@dataclass(frozen=True)
class Result:
    """Medians; `ratio` is that of the ratios of neighbours."""

    files: int
    one_worker: float
    two_workers: float
    cores_of_one: float
    cores_of_two: float
    ratio: float
    ratios: list[float]


@dataclass(frozen=True)
class _Run:
    speed: float  # lines a second, from the first look at the settings to the end
    cores: float  # CPU seconds of a second, the start included


def main(lines: int, rounds: int, json_path: Path | None) -> None:
    """Run every number of files and print the table. Raises `BenchmarkError`."""
    console = Console(highlight=False)
    load = os.getloadavg()[0]
    results = []
    for files in _FILES:
        with console.status(f"{files} files"), tempfile.TemporaryDirectory() as scratch:
            results.append(measure(files, lines, rounds, Path(scratch)))
    table = Table(box=SIMPLE)
    for title in ("files", "-w 1, lines/s", "-w 2, lines/s", "cores", "ratio", "least", "most", ""):
        table.add_column(title, justify="right")
    for result in results:
        wanted = WANTED.get(result.files, 0)
        table.add_row(
            str(result.files),
            f"{result.one_worker:,.0f}",
            f"{result.two_workers:,.0f}",
            f"{result.cores_of_one:.2f}, {result.cores_of_two:.2f}",
            f"{result.ratio:.2f}",
            f"{min(result.ratios):.2f}",
            f"{max(result.ratios):.2f}",
            f"wanted: {wanted}{' (missed)' if result.ratio < wanted else ''}" if wanted else "",
        )
    console.print(table)
    console.print(
        f"{lines:,} json lines into the null store; medians of {rounds} runs of each in turn. Load "
        f"average {load:.2f} at the start, {os.cpu_count()} cores, Python {sys.version.split()[0]}."
    )
    if json_path:
        json_path.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def measure(files: int, lines: int, rounds: int, scratch: Path) -> Result:
    """One worker and two in turn, on so many files that hold `lines` together."""
    each = lines // files
    for number in range(files):
        settings = {
            "LOG_FILE_PATH": str(scratch / f"{number}.log"),
            "LOG_GENERATOR_FORMAT": "json",
            "LOG_GENERATOR_SEED": str(number),
            "LOG_INTERVAL_SECONDS": "0",
            "MAX_LOGS_TO_GENERATE": str(each),
        }
        run("-m", "log_generator", directory=scratch, settings=settings)
    runs = [(_run(1, each * files, scratch), _run(2, each * files, scratch)) for _ in range(rounds)]
    ratios = [two.speed / one.speed for one, two in runs]
    return Result(
        files=files,
        one_worker=median(one.speed for one, _ in runs),
        two_workers=median(two.speed for _, two in runs),
        cores_of_one=median(one.cores for one, _ in runs),
        cores_of_two=median(two.cores for _, two in runs),
        ratio=median(ratios),
        ratios=ratios,
    )


def _run(workers: int, lines: int, scratch: Path) -> _Run:
    settings = {
        "LOG_PATHS": str(scratch / "*.log"),
        "LOG_FORMAT": "json",
        "STORE": "null",
        "DATA_DIR": str(scratch / "data"),
        "FOLLOW": "false",
    }
    arguments = ("-m", "bytewax.run", "flows.main", "-w", str(workers))
    usage = run(*arguments, directory=scratch, settings=settings)
    found = re.search(rf"lines={lines} .* seconds=([\d.]+)", usage.stdout)
    if not found:
        raise BenchmarkError(f"{lines} lines were to come through, but it said: {usage.stdout!r}")
    return _Run(lines / float(found.group(1)), usage.cpu / usage.wall)
