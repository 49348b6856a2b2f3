"""FerretDB 1.24 over SQLite: it speaks MongoDB's protocol, which itself is not to be had by apt.

What it has not is checked elsewhere: validators (`mongo_proxy.py`), NaN and arrays in arrays.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError

from tests.conftest import find_port, wait_for

BINARY = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "logwax/ferretdb-1.24.0")
"""`scripts/servers.sh` builds it, where Go is."""


class Ferretdb:
    """A FerretDB over `directory`, from now until `stop`; `start` brings it back at its port."""

    def __init__(self, directory: Path) -> None:
        if not BINARY.exists():
            pytest.skip("no MongoDB: name one as MONGODB_TEST_URL, or install Go for FerretDB")
        self.port = find_port()
        self.url = f"mongodb://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        """Return once it answers."""
        command = [str(BINARY), "--handler=sqlite", f"--sqlite-url=file:{self._directory}/"]
        command += [f"--state-dir={self._directory}", "--telemetry=disable", "--log-level=error"]
        command += [f"--listen-addr=127.0.0.1:{self.port}", "--debug-addr=-"]
        with (self._directory / "log").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_for(self._answers, "FerretDB")

    def stop(self, *, kill: bool = False) -> None:
        """End it by SIGTERM, or by SIGKILL."""
        if self._process:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self._directory / "log").read_text()
        try:
            with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=200) as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True
