"""`logwax query`: a question in SQL; the answer is a table on a terminal, else lines of JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence

from cli.commands import Event
from cli.commands import run as run_command
from connectors.saying import say
from connectors.sinks.console.store import as_cell, as_table, escaped

MOST_ON_A_TERMINAL = 1_000
MOST = 100_000


def run(sql: str) -> int:
    """Print the answer; return the exit code."""
    most = MOST_ON_A_TERMINAL if sys.stdout.isatty() else MOST

    def show(events: Iterator[Event]) -> None:
        names: list[str] = []
        shown = 0
        for event in events:
            if event["event"] == "columns":
                names = [str(name) for name in event["names"]]
                continue
            rows = [[_readable(value) for value in row] for row in event["rows"]]
            shown += len(rows)
            if sys.stdout.isatty():
                print(_as_text(names, rows), end="")
            else:
                for row in rows:
                    line = json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
                    print(escaped(line))
        if shown == most:
            say(f"These are the first {most:,} rows, there may be more.")

    return run_command("query", show, {"sql": sql, "most": most})


def _as_text(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table if it fits into the terminal, else a line for every value."""
    cells = [[as_cell(value) for value in row] for row in (names, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 <= shutil.get_terminal_size().columns:
        return as_table(names, rows)
    widest = max(map(len, cells[0]))
    lines = []
    for number, row in enumerate(cells[1:], 1):
        lines.append(f"row {number}")
        lines += [f"  {name:{widest}}  {value}" for name, value in zip(cells[0], row, strict=True)]
    return "".join(f"{line}\n" for line in lines)


def _readable(value: object) -> object:
    """A text without surrogate escapes: bytes that are no UTF-8 stand as in Python."""
    if isinstance(value, str):
        return value.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return value
