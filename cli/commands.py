"""Runs a command, in the pipeline that has the store open or with the store itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from cli.places import settings_of_a_command
from connectors.api_token import read_token
from connectors.errors import LogwaxError
from connectors.saying import last_words, say
from connectors.sinks.lock import holders_api
from settings import Settings

Event = dict[str, Any]


def run(
    name: str,
    show: Callable[[Iterator[Event]], None],
    arguments: Mapping[str, object] | None = None,
) -> int:
    """Run a command and show its events; return the exit code: 0 if its end is `ok`."""
    ok: bool | None = None

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
        show(watched(_events(settings_of_a_command(), name, arguments or {})))
        if ok is None:
            raise LogwaxError("The running pipeline ended before the command did.")
    except BrokenPipeError:  # whoever reads what is shown has seen enough
        raise
    except (LogwaxError, OSError) as error:
        say(last_words(error))
        return 1
    return 0 if ok else 1


def _events(settings: Settings, name: str, arguments: Mapping[str, object]) -> Iterator[Event]:
    if settings.store_kind.is_exclusive and (api := holders_api(settings.data_dir)):
        return _asked(f"{api}/commands/{name}", read_token(settings.data_dir), arguments)
    return _done_here(settings, name, arguments)


def _asked(url: str, token: str, arguments: Mapping[str, object]) -> Iterator[Event]:
    # A proxy has no business between two processes of one machine; an event may take its time.
    with httpx.Client(trust_env=False, timeout=httpx.Timeout(10.0, read=None)) as client:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            with client.stream("POST", url, json=arguments, headers=headers) as answer:
                if answer.status_code != 200:
                    detail = json.loads(answer.read()).get("detail", "no reason given")
                    raise LogwaxError(f"The running pipeline refuses: {detail}")
                for line in answer.iter_lines():
                    yield json.loads(line)
        except (httpx.HTTPError, ValueError) as error:
            raise LogwaxError(f"The running pipeline does not answer at {url}: {error}") from error


def _done_here(settings: Settings, name: str, arguments: Mapping[str, object]) -> Iterator[Event]:
    # Imported here: a command that another process runs shall not pay for an engine.
    from connectors.store import open_store

    is_there = settings.store_kind.is_there(settings.data_dir)
    if not is_there and name != "backfill":  # which may be what fills it
        raise LogwaxError(f"There is no store in DATA_DIR={settings.data_dir}.")
    os.umask(0o077)  # as in the pipeline
    store = open_store(settings)
    try:
        from connectors.accounts import accounts_of
        from flows.commands import Commands

        commands = Commands(settings, store, accounts_of(store, settings))
        yield from commands.by_name()[name](**arguments)
    finally:
        store.close()
