"""`logwax patterns`: what messages are about, by the route `/patterns`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx

from cli.places import settings_of_a_command
from connectors.api_token import read_token
from connectors.errors import LogwaxError
from connectors.saying import last_words, say, shown
from connectors.sinks.lock import holders_api
from settings import Settings

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = 200  # characters of an example


def run(*, since: str, new: bool) -> int:
    """Print the patterns, the most frequent first; return the exit code."""
    asked = {"limit": "200", "new": str(new).lower(), **({"from": _time(since)} if since else {})}
    try:
        found = _answer(settings_of_a_command(), asked)
    except (LogwaxError, OSError) as error:
        say(last_words(error))
        return 1
    for one in found["patterns"]:
        print(f"{one['count']:>12,}  {one['share']:7.2%}  {shown(one['pattern'])}")
        print(f"{'':23}{one['first'][:19]} to {one['last'][:19]}, such as:")
        print(f"{'':23}{shown(one['example'])[:_LONGEST]}")
    which = "new patterns" if new else "patterns"
    print(
        f"{found['found']:,} {which} in {found['total']:,} rows with a message, "
        f"from {found['from'][:19]} to {found['to'][:19]}."
    )
    if found["found"] > len(found["patterns"]):
        say(f"These are the first {len(found['patterns'])}.")
    if found["unseen"]:
        say(f"{found['unseen']:,} rows have rarer patterns, which were not looked at.")
    return 0


def _time(since: str) -> str:
    """`30m`, `2h` and `7d` are before now; everything else is a time already."""
    ago = re.fullmatch(r"([0-9]{1,6})([mhd])", since)
    if not ago:
        return since
    time = datetime.now(timezone.utc) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    return time.isoformat(timespec="seconds")


def _answer(settings: Settings, asked: Mapping[str, str]) -> dict[str, Any]:
    """That of the pipeline which has the store open, else of the store itself."""
    if settings.store_kind.is_exclusive and (api := holders_api(settings.data_dir)):
        headers = {"Authorization": f"Bearer {read_token(settings.data_dir)}"}
        # a proxy has no business between two processes of one machine
        with httpx.Client(trust_env=False, timeout=90.0, headers=headers) as client:
            try:
                return _found(client.get(f"{api}/patterns", params=dict(asked)))
            except httpx.HTTPError as error:
                raise LogwaxError(f"The pipeline at {api} does not answer: {error}") from error
    # Imported here: whoever asks a running pipeline shall not pay for an engine.
    from api.app import create_app
    from connectors.store import open_store

    if not settings.store_kind.is_there(settings.data_dir):
        raise LogwaxError(f"There is no store in DATA_DIR={settings.data_dir}.")
    store = open_store(settings)
    try:
        if store.reader is None:
            raise LogwaxError(f"STORE={settings.store} answers nothing about rows.")
        transport = httpx.ASGITransport(create_app(store.reader))

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
                return await client.get("/patterns", params=dict(asked))

        return _found(asyncio.run(ask()))
    finally:
        store.close()


def _found(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    if answer.status_code != 200:
        raise LogwaxError(str(found.get("detail", answer.status_code)))
    return found
