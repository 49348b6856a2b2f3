"""Debian's Redis (package `redis-server`) as a process of one's own, on a unix socket."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


class Redis:
    """A server in `directory`, from now until `close`."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "redis.sock"
        self._process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", ""],
            cwd=directory,
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + 30
        while not self.socket.exists():
            assert self._process.poll() is None, "redis-server ended by itself"
            assert time.monotonic() < end, "redis-server does not start"
            time.sleep(0.01)

    @property
    def broker(self) -> str:
        """Its URL, as Celery knows it."""
        return f"redis+socket://{self.socket}"

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
