"""`python -m benchmarks [NAME ...]`: what Logwax costs, beside what it is measured by.

Without a name: two minutes of all that has a bound. With names, or `all`: in full. See
docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import (
    asked,
    enrichment,
    explain,
    files,
    latency,
    listeners,
    loss,
    memory,
    patterns,
    peers,
    query,
    scaling,
    throughput,
)
from benchmarks.chart import chart
from benchmarks.measure import Benchmark, BenchmarkError, Effort, Figure
from benchmarks.report import Noise, Report

BENCHMARKS: dict[str, Benchmark] = {
    "throughput": throughput.measure,
    "peers": peers.measure,
    "loss": loss.measure,
    "latency": latency.measure,
    "scaling": scaling.measure,
    "memory": memory.measure,
    "files": files.measure,
    "query": query.measure,
    "enrichment": enrichment.measure,
    "explain": explain.measure,
    "asked": asked.measure,
    "listeners": listeners.measure,
    "patterns": patterns.measure,
}
"""Name -> what measures it."""

_BRIEF, _FULL = Effort(600_000, 3, brief=True), Effort(4_000_000, 5)


def main() -> None:
    """Run the benchmarks that were asked for, print their table, write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = (*BENCHMARKS, "all")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--lines", type=int, help="of a run")
    parser.add_argument("--rounds", type=int, help="runs of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="write a chart (SVG) there")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where Loghub is")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(names)}")
    usual = _FULL if given.names else _BRIEF
    effort = Effort(
        given.lines or usual.lines,
        given.rounds or usual.rounds,
        usual.brief,
        given.data or usual.data,
    )
    wanted = set(given.names) or {"all"}
    noise, figures = Noise(), list[Figure]()
    try:
        figures.extend(_measure([name for name in BENCHMARKS if wanted & {name, "all"}], effort))
    except BenchmarkError as error:
        sys.exit(str(error))
    finally:  # also what was measured before a failure, or before somebody lost patience
        if figures:
            report = Report(figures, effort, noise.remark(figures))
            report.show()
            if given.json:
                given.json.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
            if given.chart:
                given.chart.write_text(chart(report.figures, report.circumstances))


def _measure(names: list[str], effort: Effort) -> Iterator[Figure]:
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="logwax-") as scratch:  # logs are made once for all
        for name in names:
            with console.status(name):
                for figure in BENCHMARKS[name](effort, Path(scratch)):
                    console.print(f"{name}: {figure.name}, {figure.beside}")
                    yield figure


if __name__ == "__main__":
    main()
