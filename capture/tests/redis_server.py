"""Debian's Redis (package `redis-server`) as a process of one's own, on a unix socket."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path


class Redis:
    """A server in `directory`, from now until `close`; `options` are further ones of its own."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self._options = options
        self.start()

    def start(self) -> None:
        """Start it, with the data that it has kept, if any."""
        self._process = subprocess.Popen(
            [
                *("redis-server", "--port", "0", "--unixsocket", self.socket, "--save", ""),
                *self._options,
            ],
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended by itself"
            assert time.monotonic() < end, "redis-server does not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Let it answer nothing until it shall `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Answer again."""
        self._process.send_signal(signal.SIGCONT)

    @property
    def broker(self) -> str:
        """Its URL, as Celery knows it."""
        return f"redis+socket://{self.socket}"

    @property
    def url(self) -> str:
        """Its URL, as the client `redis` knows it."""
        return f"unix://{self.socket}"

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _answers(self) -> bool:
        """Whether it has read its data."""
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        return False
