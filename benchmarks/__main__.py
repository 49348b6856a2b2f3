"""`python -m benchmarks`: what a line costs, what workers and files add: docs/performance.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import files, query, scaling, throughput
from benchmarks.measure import BenchmarkError


def main() -> None:
    """Run the benchmark that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    benchmarks = parser.add_subparsers(required=True, metavar="benchmark")
    lines = benchmarks.add_parser("throughput", help="lines per CPU second and wall, and memory")
    lines.add_argument(
        "--lines",
        type=int,
        default=throughput.LINES,
        help="lines of the largest case, the others in proportion (default: %(default)s); startup "
        "counts in every figure, so that small runs look slow",
    )
    lines.add_argument("--rounds", type=int, default=3, help="runs of each (default: %(default)s)")
    lines.add_argument("--json", type=Path, metavar="PATH", help="write the figures there, too")
    lines.set_defaults(run=lambda given: throughput.main(given.lines, given.rounds, given.json))
    workers = benchmarks.add_parser("scaling", help="-w 2 beside -w 1, on 1, 2 and 16 files")
    workers.add_argument(
        "--lines", type=int, default=scaling.LINES, help="of each case (default: %(default)s)"
    )
    workers.add_argument(
        "--rounds", type=int, default=5, help="runs of each (default: %(default)s)"
    )
    workers.add_argument("--json", type=Path, metavar="PATH", help="write the figures there, too")
    workers.set_defaults(run=lambda given: scaling.main(given.lines, given.rounds, given.json))
    answers = benchmarks.add_parser("query", help="statistics and searches, as the store grows")
    answers.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=query.ROWS,
        help="rows in the store when it is asked (default: 1, 10 and 100 million)",
    )
    answers.add_argument(
        "--rounds", type=int, default=200, help="answers to each question (default: %(default)s)"
    )
    answers.add_argument("--json", type=Path, metavar="PATH", help="write the figures there, too")
    answers.set_defaults(run=lambda given: query.main(given.rows, given.rounds, given.json))
    many = benchmarks.add_parser("files", help="2,000 quiet files; a line of 2 GiB")
    many.set_defaults(run=lambda given: files.main())
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except BenchmarkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
