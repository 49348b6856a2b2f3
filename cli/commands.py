"""Runs a command, in the pipeline that has the store open or with the store itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from connectors.errors import LogwaxError
from settings import Settings, load

Event = dict[str, Any]


def run(
    name: str,
    show: Callable[[Iterator[Event]], None],
    arguments: Mapping[str, object] | None = None,
) -> int:
    """Run a command and show its events; return the exit code: 0 if its end is `ok`."""
    ok = False

    def watched(events: Iterator[Event]) -> Iterator[Event]:
        nonlocal ok
        for event in events:
            if event["event"] == "end":
                ok = bool(event["ok"])
            elif event["event"] == "error":
                raise LogwaxError(str(event["detail"]))
            else:
                yield event

    try:
        show(watched(_events(load(), name, arguments or {})))
    except (LogwaxError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if ok else 1


def _events(settings: Settings, name: str, arguments: Mapping[str, object]) -> Iterator[Event]:
    # Imported here: `logwax up` and `check` shall not pay for an engine.
    from connectors.store import open_store

    store = open_store(settings)
    try:
        from connectors.sinks.clickhouse_accounts import accounts_of
        from flows.commands import Commands

        commands = Commands(settings, store, accounts_of(store, settings))
        yield from commands.by_name()[name](**arguments)
    finally:
        store.close()
