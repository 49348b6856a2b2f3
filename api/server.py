"""Serves an app from a thread of the process that runs the flow."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.access import Tokens
from api.gate import PAGES, gate
from api.names import is_of_this_machine
from connectors.descriptors import share
from connectors.errors import LogwaxError
from connectors.saying import last_words, say

DRAIN_SECONDS = 2  # what a request under way at the stop may take
STOP_SECONDS = 3.0  # what the whole stop may take

IDLE_SECONDS = 10.0
"""How long a connection may take to send a request, before it is closed, and to be closed."""

_FRESH_SECONDS = 0.1  # within which a request may well be on its way


class ApiServer:
    """An HTTP server that holds its port, which `setting` names, from the moment it is made.

    Making it listens on (`host`, `port`), before anything else has started; port 0 takes any free
    one. Raises `LogwaxError` if it cannot listen there.
    """

    def __init__(self, host: str, port: int, setting: str = "API_PORT") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # it sets SO_REUSEADDR; only a socket that listens keeps others from taking the port
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            reason = str(error.strerror).partition(" (while")[0]  # the rest repeats the address
            raise LogwaxError(
                f"The API cannot listen on {_authority(host, port)}: {reason}; "
                f"set {setting} or API_HOST to something free."
            ) from error
        # Connections inherit it. Without, the second part of an answer waits for a client that
        # waits for more before it says that it has the first: 40 ms. Asyncio sets it for sockets
        # that name their protocol only, which these do not.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound = self._socket.getsockname()
        self._own_name = host if is_of_this_machine(bound[0]) else ""
        self._authority = _authority(host, bound[1])
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where the API is, such as `http://127.0.0.1:8000`."""
        return f"http://{self._authority}"

    def start(
        self, app: ASGIApp, tokens: Tokens | None = None, pages: Collection[str] = PAGES
    ) -> None:
        """Serve `app` until `stop`, which is for good; return when requests are accepted.

        `tokens`: one of them has to be shown; to `pages` other sites may lead. Signals stay the
        process's own. Raises `LogwaxError` if the server cannot start.
        """
        self._server = _Server(gate(app, self._own_name, tokens, pages), self._socket)
        self._server.thread.start()
        self._server.settled.wait()
        if not self._server.started:
            raise LogwaxError(f"The API cannot start on {self._authority}: {self._server.failure}.")

    def stop(self) -> None:
        """Finish the requests under way, close the port, end the thread.

        Takes a fraction of a second, at most `STOP_SECONDS`: a request that hangs is left behind.
        """
        if self._server:
            self._server.end()
            self._server.thread.join(STOP_SECONDS)
        self._socket.close()


class _Connection(H11Protocol):
    """A connection that knows since when it has had no request to answer."""

    idle_since = 0.0
    closing_since = math.inf

    @property
    def is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.idle_since = time.monotonic()
        super().connection_made(transport)

    def on_response_complete(self) -> None:
        self.idle_since = time.monotonic()
        super().on_response_complete()


class _Server(uvicorn.Server):
    """Uvicorn in a thread: there it leaves the signal handlers alone.

    It accepts no more connections than it may have at a time. If all are taken, the one that has
    been idle for longest is closed; while all are at work, the next ones wait in the system.
    """

    def __init__(self, app: ASGIApp, listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Connection,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="critical",  # what a client did wrong, it is told
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        # a daemon, since the process's exit calls `stop` only after joining all other threads
        self.thread = threading.Thread(
            target=self._serve_on, args=[listening], name="api", daemon=True
        )
        self.settled = threading.Event()  # it accepts requests, or has failed
        self.failure = "see the error above"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._most = share(1 / 16, 1024)  # the files that are read need descriptors, too

    def _serve_on(self, listening: socket.socket) -> None:
        try:
            self.run(sockets=[listening])
        except OSError as error:
            self.failure = str(error)
        finally:
            self.settled.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        (listening,) = sockets or []
        listening.listen(self.config.backlog)
        listening.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_overheard)
        await self.lifespan.startup()
        self.servers = []  # asyncio's would accept without end
        self._accepting = asyncio.create_task(self._accept(listening))
        self.started = True
        self.settled.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._accepting.cancel()
        with suppress(asyncio.CancelledError):
            await self._accepting
        await super().shutdown(sockets)

    def end(self) -> None:
        """Have it end soon; from any thread."""
        self.should_exit = True
        with suppress(RuntimeError):  # it has ended already
            if self._loop:
                self._loop.call_soon_threadsafe(self._ending.set)

    async def main_loop(self) -> None:
        """As often as answers need another date: uvicorn's own looks ten times a second."""
        while not await self.on_tick(0):
            for connection in self._idle_for(IDLE_SECONDS):
                connection.transport.close()
            self._give_up_closing()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        had_none = False
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except OSError as error:  # of the system, of this process, or of one connection
                if error.errno in (errno.EMFILE, errno.ENFILE) and not had_none:
                    say(f"The API cannot take connections now, trying again: {error.strerror}")
                    had_none = True
                await asyncio.sleep(1)
                continue
            had_none = False
            while len(self.server_state.connections) >= self._most:
                if idle := self._idle_for(_FRESH_SECONDS):
                    min(idle, key=lambda connection: connection.idle_since).transport.abort()
                await asyncio.sleep(0 if idle else 0.02)
            with suppress(OSError):  # it may be gone already
                await loop.connect_accepted_socket(self._connection, accepted)

    def _connection(self) -> _Connection:
        return _Connection(self.config, self.server_state, self.lifespan.state)

    def _give_up_closing(self) -> None:
        """A client that takes nothing would keep its connection, which is closed, for ever."""
        now = time.monotonic()
        for connection in list(self.server_state.connections):
            if isinstance(connection, _Connection) and connection.transport.is_closing():
                connection.closing_since = min(connection.closing_since, now)
                if connection.closing_since < now - IDLE_SECONDS:
                    connection.transport.abort()

    def _idle_for(self, seconds: float) -> list[_Connection]:
        before = time.monotonic() - seconds
        return [
            connection
            for connection in self.server_state.connections
            if isinstance(connection, _Connection)
            and connection.is_idle
            and connection.idle_since < before
        ]


def _overheard(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    what = f"The API: {context['message']}{f'. {last_words(error)}' if error else ''}"
    say(what, level="error")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
