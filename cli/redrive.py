"""`logwax redrive`: dead letters through the parser again; counts by the reason they had."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from cli.commands import Event
from cli.commands import run as run_command
from cli.waiting import with_progress
from connectors.saying import shown


def run(*, dry_run: bool, reason: str, source: str) -> int:
    """Print the counts; return the exit code."""
    if source and (os.path.exists(source) or glob.has_magic(source)):
        source = os.path.abspath(source)  # as paths are stored
    arguments = {"dry_run": dry_run, "reason": reason, "source": source}

    def show(events: Iterator[Event]) -> None:
        total = dict.fromkeys(("tried", "stored", "dead"), 0)
        for counts in with_progress(events, "redriving", "lines"):
            print(f"{shown(counts['reason'])}: {_figures(counts)}")
            for name in total:
                total[name] += counts[name]
        print(f"{'dry run, nothing is changed' if dry_run else 'total'}: {_figures(total)}")

    return run_command("redrive", show, arguments)


def _figures(counts: Event) -> str:
    return f"tried={counts['tried']} stored={counts['stored']} dead={counts['dead']}"
