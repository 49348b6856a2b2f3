"""`logwax dead`: how many dead letters there are of each reason, and the newest of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cli.commands import Event
from cli.commands import run as run_command
from connectors.saying import shown

_LONGEST = 500


def run(*, reason: str) -> int:
    """Print counts and samples; return the exit code."""

    def show(events: Iterator[Event]) -> None:
        there = False
        for event in events:
            there = True
            print(f"{shown(event['reason'])}: {event['count']:,}")
            for letter in event["newest"]:
                letter["raw"] = letter["raw"].encode(errors="surrogateescape")
                print(as_letter(letter))
        if not there:
            print("There are no dead letters.")

    return run_command("dead", show, {"reason": reason})


def as_letter(letter: Mapping[str, object]) -> str:
    """One dead letter: its place, what was found, and its bytes."""
    return "\n".join(
        (
            f"  {shown(letter['source'])} at byte {letter['offset']}",
            f"    {shown(letter['detail'])}",
            f"    {shown(letter['raw'])[:_LONGEST]}",
        )
    )
