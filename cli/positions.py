"""`logwax positions`: every known file, one row a line."""

from __future__ import annotations

from collections.abc import Iterator

from cli.commands import Event
from cli.commands import run as run_command
from connectors.saying import shown

_COLUMNS = ("file_id", "size", "stored", "lag", "path")


def run() -> int:
    """Print the table; return the exit code."""
    return run_command("positions", _show)


def _show(events: Iterator[Event]) -> None:
    rows = [_COLUMNS, *(_row(event) for event in events)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    for *numbers, path in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths, strict=True)]
        print(*cells, shown(path), sep="  ")


def _row(file: Event) -> tuple[str, ...]:
    shown = file | {
        "file_id": file["file_id"] or "-",
        "path": file["path"] or f"(not there) {file['name']}",
    }
    return tuple(str(shown[name]) for name in _COLUMNS)
