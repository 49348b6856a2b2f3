"""`logwax tap`: rows as the running pipeline stores them, by the route `/logs/tail`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import httpx

from cli.asking import found, watch
from connectors.errors import LogwaxError
from connectors.saying import say, shown
from connectors.sinks.console.store import escaped


def run(*, where: str) -> int:
    """Print rows until Ctrl-C, or until the pipeline ends; return the exit code."""
    return watch(partial(_print, where))


def _print(where: str, client: httpx.Client) -> None:
    is_terminal = sys.stdout.isatty()
    with client.stream("GET", "/logs/tail", params={"filter": where}, timeout=None) as answer:
        if answer.status_code != 200:
            answer.read()
            found(answer)
        say("Rows are shown as they are stored; Ctrl-C ends it.", level="info")
        for kind, told in _events(answer.iter_lines()):
            if kind == "gap":
                missed = told["missed"]
                say(f"{'Some' if missed is None else f'{missed:,}'} rows are missing here.")
            else:
                for row in told:
                    print(as_line(row) if is_terminal else escaped(json.dumps(row)))
                sys.stdout.flush()
    raise LogwaxError("The pipeline has ended.")


def as_line(row: Mapping[str, Any]) -> str:
    """A row in a line, as a terminal may have it."""
    code = row.get("status_code") or ""
    request = (row.get("method"), row.get("request_path"), code, _duration(row))
    words = (row["timestamp"][:23], row.get("level"), row.get("host"), *request, row.get("message"))
    return " ".join(shown(word) for word in words if word)


def _duration(row: Mapping[str, Any]) -> str:
    seconds = row.get("duration")
    return "" if seconds is None else f"{1000 * seconds:.1f}ms"


def _events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The kind of each server-sent event, and its data."""
    kind = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)
