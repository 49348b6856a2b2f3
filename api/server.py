"""Serves an app from a thread of the process that runs the flow."""

from __future__ import annotations

import socket
import threading

import uvicorn
from fastapi import FastAPI

from connectors.errors import LogwaxError

DRAIN_SECONDS = 2  # what a request under way at the stop may take
STOP_SECONDS = 3.0  # what the whole stop may take


class ApiServer:
    """An HTTP server that holds its port from the moment it is made.

    Making it listens on (`host`, `port`), before anything else has started; port 0 takes any free
    one. Raises `LogwaxError` if it cannot listen there.
    """

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # it sets SO_REUSEADDR; only a socket that listens keeps others from taking the port
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            reason = str(error.strerror).partition(" (while")[0]  # the rest repeats the address
            raise LogwaxError(
                f"The API cannot listen on {_authority(host, port)}: {reason}; "
                "set API_PORT or API_HOST to something free."
            ) from error
        self._authority = _authority(host, self._socket.getsockname()[1])
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where the API is, such as `http://127.0.0.1:8000`."""
        return f"http://{self._authority}"

    def start(self, app: FastAPI) -> None:
        """Serve `app` until `stop`, which is for good; return when requests are accepted.

        Signals stay the process's own. Raises `LogwaxError` if the server cannot start.
        """
        self._server = _Server(app, self._socket)
        self._server.thread.start()
        self._server.settled.wait()
        if not self._server.started:
            raise LogwaxError(f"The API cannot start on {self._authority}: {self._server.failure}.")

    def stop(self) -> None:
        """Finish the requests under way, close the port, end the thread.

        Takes a fraction of a second, at most `STOP_SECONDS`: a request that hangs is left behind.
        """
        if self._server:
            self._server.should_exit = True
            self._server.thread.join(STOP_SECONDS)
        self._socket.close()


class _Server(uvicorn.Server):
    """Uvicorn in a thread: there it leaves the signal handlers alone."""

    def __init__(self, app: FastAPI, listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        # a daemon, since the process's exit calls `stop` only after joining all other threads
        self.thread = threading.Thread(
            target=self._serve_on, args=[listening], name="api", daemon=True
        )
        self.settled = threading.Event()  # it accepts requests, or has failed
        self.failure = "see the error above"

    def _serve_on(self, listening: socket.socket) -> None:
        try:
            self.run(sockets=[listening])
        except OSError as error:
            self.failure = str(error)
        finally:
            self.settled.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.settled.set()


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
