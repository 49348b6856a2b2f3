"""`python -m bytewax.run flows.outbox` with the file of a local logger: every row stored once."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from logwax_capture.local import MultiThreadedLogger
from tests.conftest import Pipeline, find_port, wait_for


def opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)


class Flow(Pipeline):
    """The flow in a directory of its own."""

    def start(self, *arguments: str, **settings: Any) -> subprocess.Popen[str]:
        return super().start(*arguments, **{"job": "flows.outbox", "STORE": "sqlite", **settings})

    def stored(self) -> list[int]:
        """The numbers that were logged, as the store has them."""
        file = self.directory / "data" / "logwax.sqlite"
        with suppress(sqlite3.OperationalError), closing(opened(file)) as store:
            rows = store.execute("SELECT message FROM logs WHERE message != '' ORDER BY offset")
            return [int(message) for (message,) in rows]
        return []  # it is not made yet


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    with Flow(tmp_path, find_port()) as made:
        yield made


def test_what_is_logged_while_the_flow_is_killed_again_and_again_is_stored_once(
    flow: Flow, tmp_path: Path, soak: bool
) -> None:
    path, count = tmp_path / "app.db", 0
    settings = {"DATABASE_URL": f"sqlite:///{path}", "STREAM_MAX_SIZE": 50}
    with MultiThreadedLogger(path, ship=True) as logger:

        def log() -> None:
            nonlocal count
            for _ in range(20):
                logger.log("INFO", "api", str(count))
                logger.log_metric("m", count)
                count += 1
            logger.flush()

        for _ in range(20 if soak else 2):
            process = flow.start(**settings)
            aim = len(flow.stored()) + 100
            wait_for(lambda aim=aim: log() or len(flow.stored()) >= aim, "rows to be stored")
            process.kill()
            process.communicate()
    done = flow.run(**settings)
    assert done.returncode == 0, done.stderr
    assert flow.stored() == list(range(count))
    with closing(opened(tmp_path / "data" / "logwax.sqlite")) as store:
        assert store.execute("SELECT count(*) FROM logs").fetchone() == (2 * count,)
