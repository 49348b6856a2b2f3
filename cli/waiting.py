"""A progress bar on stderr, for a person who waits at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cli.commands import Event


def with_progress(events: Iterator[Event], what: str, unit: str = "bytes") -> Iterator[Event]:
    """The events less those of progress, which move a bar of bytes, or of something else."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if unit == "bytes" else TextColumn("{task.completed:,} " + unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else what is printed would go where the bar is
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None)
        for event in events:
            if event["event"] == "progress":
                bar.update(task, completed=event["done"], total=event["total"])
            else:
                yield event
