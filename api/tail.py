"""The part of the API that tells rows as they are stored: `/logs/tail`, as server-sent events.

Whoever asks for the same filter shares a channel: each batch is filtered and written once for all
of them, into a ring of events from which each listener takes the next one. So a listener that is
too slow costs no memory, and gets told how much it has missed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated

import polars as pl
from anyio import to_thread
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse

from api.logs import ROUTES, Asked, FilterText, logs_of, selection
from api.rows import shown
from api.streaming import Streamed
from connectors.descriptors import share
from connectors.filtering import filled, steps
from connectors.filters import Filter
from connectors.saying import about, last_words, say
from connectors.store import Reader
from connectors.tail import Tail

MOST_FILTERS = 100
"""Different filters that are listened to at a time."""

HEARTBEAT_SECONDS = 10.0
"""After how long without a row a listener gets a comment, so that nothing in between hangs up."""

_KEPT_SECONDS = 60.0  # for how long a channel without listeners waits for one that comes back
_RING_BYTES = 32 * 1024 * 1024  # of all channels together
_EVENT_ROWS = 200


@dataclass(frozen=True)
class _Event:
    """Something to send. `rows` of its channel were told before it, `after` with it."""

    number: int
    rows: int
    after: int
    data: bytes


@dataclass(frozen=True)
class _Place:
    """What a listener has got: up to the event of this number, so many rows of the channel."""

    number: int
    rows: int


class _Channel:
    """What one filter takes of the batches since it is there. Of the event loop, but `write`."""

    def __init__(self, columns: Sequence[str], filter_: Filter) -> None:
        self.name = secrets.token_hex(8)
        self.listeners = 0
        self.left = time.monotonic()
        self._columns = columns
        self._takes = steps(filter_, columns)
        self._events: deque[_Event] = deque()
        self._bytes = 0
        self._last = _Place(0, 0)
        self._broken_at = 0  # the last event before which nobody knows how many rows are missing
        self._news = asyncio.Event()
        self._is_closed = False

    def write(self, batch: pl.DataFrame) -> list[tuple[int, bytes]]:
        """The rows of a batch that the filter takes, as lists of JSON; in any thread."""
        rows = filled(batch, self._columns)
        for takes in self._takes:
            rows = rows.filter(takes)
        lines: list[bytes] = []
        if len(rows):
            shown(rows).write_ndjson(written := BytesIO())
            lines = written.getvalue().splitlines()
        parts = [lines[start : start + _EVENT_ROWS] for start in range(0, len(lines), _EVENT_ROWS)]
        return [(len(part), b"[" + b",".join(part) + b"]") for part in parts]

    def add(self, written: Sequence[tuple[int, bytes]], most_bytes: int) -> None:
        """Tell rows; the ring keeps up to so many bytes, and the newest event."""
        for rows, data in written:
            self._add("rows", rows, data)
        while self._bytes > most_bytes and len(self._events) > 1:
            self._bytes -= len(self._events.popleft().data)

    def add_gap(self) -> None:
        """Tell that an unknown number of rows is missing."""
        self._broken_at = self._last.number + 1
        self._add("gap", 0, _MISSED % b"null")

    def close(self) -> None:
        """End what listeners hear."""
        self._is_closed = True
        self._news.set()

    async def listen(self, since: str | None) -> AsyncGenerator[bytes, None]:
        """What is told from now on, or since the event of this id."""
        self.listeners += 1
        try:
            place = self._last if since is None else self._place(since)
            yield b"retry: 1000\n" + self._id(place or self._last) + b"\n"
            if place is None:
                place = self._last
                yield _sent(self._id(place), "gap", _MISSED % b"null")
            while not self._is_closed:
                news = self._news
                event = self._after(place)
                if event is None:
                    try:
                        await asyncio.wait_for(news.wait(), HEARTBEAT_SECONDS)
                    except asyncio.TimeoutError:
                        yield b":\n\n"
                    continue
                before = _Place(event.number - 1, event.rows)
                if place.number < before.number:
                    is_known = not place.number < self._broken_at <= before.number
                    missed = b"%d" % (event.rows - place.rows) if is_known else b"null"
                    if missed != b"0":
                        yield _sent(self._id(before), "gap", _MISSED % missed)
                yield event.data
                place = _Place(event.number, event.after)
        finally:
            self.listeners -= 1
            self.left = time.monotonic()

    def _add(self, kind: str, rows: int, data: bytes) -> None:
        place = _Place(self._last.number + 1, self._last.rows + rows)
        sent = _sent(self._id(place), kind, data)
        self._events.append(_Event(place.number, self._last.rows, place.rows, sent))
        self._bytes += len(sent)
        self._last = place
        self._news.set()
        self._news = asyncio.Event()

    def _after(self, place: _Place) -> _Event | None:
        if place.number >= self._last.number:
            return None
        return self._events[max(0, place.number + 1 - self._events[0].number)]

    def _id(self, place: _Place) -> bytes:
        return f"id: {self.name}-{place.number}-{place.rows}\n".encode()

    def _place(self, id_: str) -> _Place | None:
        """The place that an id tells; None: it is not of this channel."""
        name, *numbers = id_.split("-")
        if name != self.name or len(numbers) != 2 or not all(map(str.isdecimal, numbers)):
            return None
        place = _Place(*map(int, numbers))
        return place if place.number <= self._last.number else None


_MISSED = b'{"missed": %s}'


def _sent(id_: bytes, kind: str, data: bytes) -> bytes:
    return id_ + b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


class Channels:
    """All channels of a process, fed by one task; it and they are of the API's event loop."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._channels: dict[tuple[tuple[str, ...], Filter], _Channel] = {}
        self._feeding: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return sum(channel.listeners for channel in self._channels.values())

    def channel(self, columns: Sequence[str], filter_: Filter) -> _Channel | None:
        """That of a filter, which is told from now on at the latest; None: there are too many."""
        key = (tuple(columns), filter_)
        if key not in self._channels:
            if len(self._channels) >= MOST_FILTERS:
                self._forget(0)
            if len(self._channels) >= MOST_FILTERS:
                return None
            self._channels[key] = _Channel(columns, filter_)
        self._channels[key].left = time.monotonic()
        if self._feeding is None:
            self._news = asyncio.Event()
            loop, news = asyncio.get_running_loop(), self._news

            def wake() -> None:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(news.set)

            self._tail.watch(wake)
            with about(""):  # it is for all that come
                self._feeding = asyncio.create_task(self._feed())
        return self._channels[key]

    async def _feed(self) -> None:
        try:
            while self._channels and not self._tail.is_closed:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), HEARTBEAT_SECONDS)
                self._news.clear()
                await self._take_all()
                self._forget(_KEPT_SECONDS)
        except Exception as error:  # listeners come back, and get a gap
            say(f"The API failed at '/logs/tail'. {last_words(error)}")
        finally:
            self._tail.watch(None)
            self._feeding = None
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    async def _take_all(self) -> None:
        batch: pl.DataFrame | None = None
        is_first = True
        while batch is not None or is_first:
            is_first = False
            is_broken, batch = self._tail.take()
            for channel in list(self._channels.values()):
                if is_broken:
                    channel.add_gap()
                if batch is not None:
                    written = await to_thread.run_sync(channel.write, batch)
                    channel.add(written, _RING_BYTES // len(self._channels))

    def _forget(self, seconds: float) -> None:
        before = time.monotonic() - seconds
        for key, channel in list(self._channels.items()):
            if not channel.listeners and channel.left <= before:
                self._channels.pop(key).close()  # for one that comes just now


def add_tail(app: FastAPI, reader: Reader, tail: Tail | None) -> None:
    """Add `/logs/tail`, which tells what this process stores; None: it stores nothing."""
    channels = Channels(tail) if tail else None
    most = share(1 / 32, 512)  # half of the connections that the server has at most

    @app.get(
        "/logs/tail",
        summary="Rows as they are stored",
        tags=["logs"],
        response_class=StreamingResponse,
        responses={
            **ROUTES,
            200: {
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
                "description": "Server-sent events. `rows`: a list of rows as in `/logs`. `gap`: "
                '`{"missed": n}`, rows that cannot be told any more; null: nobody knows how many.',
            },
        },
    )
    async def get_tail(
        filter_: FilterText = "",
        last_event_id: Annotated[
            str | None,
            Header(description="The `id` behind which to go on; browsers send it by themselves."),
        ] = None,
    ) -> StreamingResponse:
        """Rows that a filter takes, as this process stores them, without an end."""
        if channels is None:
            raise HTTPException(
                501, "Rows are told where they are stored: ask the process of the pipeline."
            )
        chosen = await selection(logs_of(reader), Asked(filter_, 0, 0))
        channel = channels.channel(chosen.columns, chosen.filter)
        if channel is None or channels.listeners >= most:
            raise HTTPException(503, "Too many listen already: try again later.", _LATER)
        return Streamed(
            channel.listen(last_event_id),
            "text/event-stream",
            {"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


_LATER = {"Retry-After": "10"}
