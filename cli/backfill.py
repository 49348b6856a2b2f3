"""`logwax backfill`: the lines of one old file, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cli.commands import Event
from cli.commands import run as run_command
from cli.waiting import with_progress


def run(path: Path, *, first: str, last: str) -> int:
    """Print the counts; return the exit code."""
    arguments = {"path": str(path.absolute()), "first": first, "last": last}
    return run_command("backfill", _show, arguments)


def _show(events: Iterator[Event]) -> None:
    for counts in with_progress(events, "storing"):
        before = counts["within"] - counts["stored"] - counts["dead"]
        print(
            f"lines={counts['lines']} in_span={counts['within']} stored={counts['stored']} "
            f"dead={counts['dead']} stored_before={before}"
        )
        if counts["rest"]:
            print(f"The last {counts['rest']:,} bytes are left to the pipeline that reads it.")
