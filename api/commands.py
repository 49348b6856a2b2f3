"""Commands in a running pipeline, for whoever can read its token: `logwax audit` and others."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from connectors.errors import LogwaxError

Event = dict[str, Any]
Command = Callable[..., Iterator[Event]]


def add_commands(app: FastAPI, token: str, commands: Mapping[str, Command]) -> None:
    """Add `POST /commands/<name>`: arguments as a JSON object, events as a line of JSON each.

    Without `token` as the bearer there is nothing to see. One command runs at a time; what goes
    wrong on the way is a last event `error` with its `detail`.
    """
    at_work = threading.Lock()

    @app.post("/commands/{name}", include_in_schema=False)
    async def run_command(name: str, request: Request) -> StreamingResponse:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode(), token.encode())
        if not (is_known and scheme.lower() == "bearer"):  # RFC 9110, 11.1: in any case
            raise HTTPException(401, "Not without this process's token.")
        if name not in commands:
            raise HTTPException(404, f"There is no command {name!r}.")
        try:
            arguments = json.loads(await request.body() or b"{}")
            events = _guarded(commands[name](**arguments), at_work)
        except (TypeError, ValueError) as error:
            raise HTTPException(422, f"Not the arguments of {name}: {error}.") from None
        return StreamingResponse(_lines(events), media_type="application/x-ndjson")


def _guarded(events: Iterator[Event], at_work: threading.Lock) -> Iterator[Event]:
    if not at_work.acquire(blocking=False):
        yield {"event": "error", "detail": "Another command is at work in this process."}
        return
    try:
        yield from events
    except (LogwaxError, OSError) as error:
        yield {"event": "error", "detail": str(error)}
    finally:
        at_work.release()


async def _lines(events: Iterator[Event]) -> AsyncIterator[bytes]:
    try:
        async for event in iterate_in_threadpool(events):
            yield json.dumps(event).encode() + b"\n"
    finally:
        events.close()  # type: ignore[attr-defined]  # the asker may have gone
