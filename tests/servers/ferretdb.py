"""FerretDB 1.24 over SQLite: it speaks MongoDB's protocol, which itself is not to be had by apt.

What it has not is checked elsewhere: validators (`mongo_proxy.py`), NaN and arrays in arrays.
"""

from __future__ import annotations

import os
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError

from tests.conftest import find_port
from tests.servers.program import Program

BINARY = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "logwax/ferretdb-1.24.0")
"""`scripts/servers.sh` builds it, where Go is."""


class Ferretdb(Program):
    """A FerretDB over `directory`, from now until `stop`; `start` brings it back at its port."""

    def __init__(self, directory: Path) -> None:
        if not BINARY.exists():
            pytest.skip("no MongoDB: name one as MONGODB_TEST_URL, or install Go for FerretDB")
        self.port = find_port()
        self.url = f"mongodb://127.0.0.1:{self.port}"
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory / "log")
        self.start()

    def start(self) -> None:
        """Return once it answers."""
        command = [str(BINARY), "--handler=sqlite", f"--sqlite-url=file:{self._directory}/"]
        command += [f"--state-dir={self._directory}", "--telemetry=disable", "--log-level=error"]
        command += [f"--listen-addr=127.0.0.1:{self.port}", "--debug-addr=-"]
        self._run(*command)

    def _answers(self) -> bool:
        try:
            with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=200) as client:
                client.admin.command("ping")
        except PyMongoError:
            return False
        return True
