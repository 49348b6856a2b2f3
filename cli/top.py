"""`logwax top`: what the running pipeline does, in the terminal; in a pipe, once."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import httpx

from cli.asking import found, watch
from connectors.errors import LogwaxError
from connectors.saying import shown

_SECONDS = 2.0
_FILES, _VALUES = 10, 10
_ALTERNATE, _USUAL, _HOME, _REST = (
    "\x1b[?1049h\x1b[?25l\x1b[?7l",  # no line goes on in the next one, whatever its width
    "\x1b[?7h\x1b[?25h\x1b[?1049l",
    "\x1b[H",
    "\x1b[J",
)


def run() -> int:
    """Show it until Ctrl-C, or once; return the exit code."""
    return watch(_draw if sys.stdout.isatty() else _print)


def _print(client: httpx.Client) -> None:
    print("\n".join(screen(client)))


def _draw(client: httpx.Client) -> None:
    """Draw it anew for ever; the terminal is left as it was."""
    sys.stdout.write(_ALTERNATE)
    try:
        while True:
            width, height = shutil.get_terminal_size()
            lines = [f"\x1b[K{line[:width]}" for line in screen(client)[: height - 1]]
            sys.stdout.write(_HOME + "\r\n".join(lines) + "\r\n" + _REST)
            sys.stdout.flush()
            time.sleep(_SECONDS)
    finally:
        sys.stdout.write(_USUAL)
        sys.stdout.flush()


def screen(client: httpx.Client) -> list[str]:
    """What is to be seen now, line by line."""
    health = client.get("/health").json()  # a 503 tells as much
    if "lines_in" not in health:
        raise LogwaxError(str(health.get("detail", "No pipeline is in this process.")))
    reading = found(client.get("/pipeline", params={"limit": 1000}))
    rate = sum(file["lines_per_second"] for file in reading["files"])
    dropped = sum(health["dropped"].values())
    return [
        f"{health['status']}  {rate:,.0f} lines/s  lag {_bytes(reading['lag_bytes'])}"
        f" {reading['lag_seconds']:.1f} s  files {reading['total']:,}",
        f"lines {health['lines_in']:,}  rows {health['lines_stored']:,}  dropped {dropped:,}"
        f"  dead letters in the store {_count(health['dead_letters'])}",
        *(f"! {shown(one)}" for one in [health["last_error"], *health["problems"]] if one),
        "",
        *_files(reading["files"]),
        *_values(client),
    ]


def _files(files: list[Mapping[str, Any]]) -> list[str]:
    busiest = sorted(files, key=lambda file: (-file["lag_bytes"], -file["lines_per_second"]))
    lines = [f"{'lines/s':>10} {'lag':>10} {'dead':>7}  file"]
    for file in busiest[:_FILES]:
        dead = file["dead_letter_share"]
        lines.append(
            f"{file['lines_per_second']:>10,.0f} {_bytes(file['lag_bytes']):>10}"
            f" {'-' if dead is None else f'{dead:.1%}':>7}  {shown(file['path'])}"
        )
    if len(files) > _FILES:
        lines.append(f"{'':>30}and {len(files) - _FILES:,} files more")
    return lines


def _values(client: httpx.Client) -> list[str]:
    """The most frequent values of the newest hour; nothing, where the store cannot tell."""
    names = {"status_class": "status", "level": "level", "endpoint": "endpoint"}
    asked = {"columns": ",".join(names), "limit": str(_VALUES)}
    answer = client.get("/logs/facets", params=asked)
    if answer.status_code == 501:
        return []
    facets = found(answer)["facets"]
    counts = {
        column: [(one["value"], one["count"]) for one in facets[column]["values"] if one["value"]]
        for column in names
    }
    lines = ["", "the newest hour"]
    for column in ("status_class", "level"):
        if counts[column]:
            told = "  ".join(f"{shown(value)} {count:,}" for value, count in counts[column])
            lines.append(f"{names[column]:>8}  {told}")
    if counts["endpoint"]:
        lines += ["", f"{'rows':>10}  endpoint"]
        lines += [f"{count:>10,}  {shown(value)}" for value, count in counts["endpoint"]]
    return lines


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
