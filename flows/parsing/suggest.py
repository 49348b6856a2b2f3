"""Which formats lines are of, for whoever does not know, or has named another one."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from connectors.errors import MalformedLine
from flows.parsing import ANY


def misfits(lines: Sequence[str], name: str, time_zone: str = "UTC") -> list[MalformedLine]:
    """Why lines, each without its end, are not of the format `name`: a refusal for each of them."""
    from flows.parsing.ranking import (  # they read by the parser, that imports this
        behind,
        format_of,
    )

    refused = []
    for header, some in behind(name, lines):
        form = format_of(name, ZoneInfo(time_zone), header)
        for line in some:
            try:
                form.line(line)
            except MalformedLine as refusal:
                # A copy, for its traceback would hold all that was read.
                refused.append(MalformedLine(refusal.reason, refusal.detail))
    return refused


def fitting(lines: Sequence[str], time_zone: str = "UTC") -> list[tuple[str, float]]:
    """The formats that take some of these lines, each with its share of them, the best first."""
    from flows.parsing.ranking import ranked

    return [(one.name, one.share) for one in ranked(lines, time_zone, but=(ANY,))]


def best_fit(lines: Sequence[str], *, other_than: str, time_zone: str = "UTC") -> str:
    """The format that takes most of these lines, if it takes more than half; empty if none does."""
    found = fitting(lines, time_zone) if lines else []
    others = [name for name, share in found if share > 0.5 and name != other_than]
    return others[0] if others else ""
