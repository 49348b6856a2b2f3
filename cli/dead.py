"""`logwax dead`: how many dead letters there are of each reason, and the newest of them."""

from __future__ import annotations

from collections.abc import Iterator

from cli.commands import Event
from cli.commands import run as run_command
from connectors.sinks.console import printable


def run(*, reason: str) -> int:
    """Print counts and samples; return the exit code."""

    def show(events: Iterator[Event]) -> None:
        there = False
        for event in events:
            there = True
            print(f"{event['reason']}: {event['count']:,}")
            for letter in event["newest"]:
                raw = letter["raw"].encode(errors="surrogateescape")
                print(f"  {printable(letter['source'])} at byte {letter['offset']}")
                print(f"    {printable(letter['detail'])}")
                print(f"    {printable(raw)}")
        if not there:
            print("There are no dead letters.")

    return run_command("dead", show, {"reason": reason})
