"""The activity log under a server that forks."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from logwax_capture.activity import ActivityThreadService, create_table

PACKAGE = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed"
)

APPLICATION = """
import os, sqlite3
from logwax_capture.activity import ActivityThreadService

service = ActivityThreadService(
    lambda: sqlite3.connect("app.sqlite", timeout=30), LOGS_SPILL_DIR="spill", DRF_LOGGER_INTERVAL=1
)
service.put_log_data("", "", "", "", "master", "start", None, None)

def application(environment, start_response):
    for number in range(100):
        name = f"{environment['PATH_INFO']} {number}"
        service.put_log_data("", "", "", "", name, "request", None, {"pid": os.getpid()})
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def workers(connection: sqlite3.Connection) -> list[int]:
    """The processes that inserted something, in the order of their last entry."""
    query = "SELECT json_extract(extras, '$.pid') FROM activity_log WHERE extras != ''"
    return [row[0] for row in connection.execute(f"{query} GROUP BY 1 ORDER BY max(id)")]


def test_gunicorn_with_preload_whose_workers_are_terminated(
    tmp_path: Path, soak: bool, wait_for: Callable[..., None]
) -> None:
    requests = 1000 if soak else 100  # of a hundred entries each
    connection = sqlite3.connect(tmp_path / "app.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    create_table(connection)
    (tmp_path / "shop.py").write_text(APPLICATION)
    port = free_port()
    arguments = ["--preload", "--workers=4", f"--bind=127.0.0.1:{port}", "shop:application"]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--log-level=warning", *arguments],
        cwd=tmp_path,
        env=environment,
    )
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for(lambda: answers(f"{url}first"), "gunicorn")
        for number in range(requests):
            assert answers(f"{url}{number}")
            if number % (requests // 4) == 10:  # gunicorn starts another one
                wait_for(lambda: workers(connection), "entries")
                os.kill(workers(connection)[-1], signal.SIGTERM)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
    # What a worker could not insert in its last seconds, the next start does.
    service = ActivityThreadService(
        lambda: sqlite3.connect(tmp_path / "app.sqlite"), LOGS_SPILL_DIR=str(tmp_path / "spill")
    )
    service._start_bulk_insertion()
    service.close()
    found = [row[0] for row in connection.execute("SELECT message FROM activity_log")]
    expected = {f"/{number} {entry}" for number in range(requests) for entry in range(100)}
    assert len(found) == len(set(found))
    assert expected - set(found) == set()
    assert "master" in found
    assert len(workers(connection)) > 4
    connection.close()


ASYNCHRONOUS = """
import sqlite3
from logwax_capture.activity import ActivityThreadService

service = ActivityThreadService(lambda: sqlite3.connect("app.sqlite", timeout=30))

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        service.close()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        service.put_log_data("", "", "", "", scope["path"], "request", None, None)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
"""


def test_a_worker_of_uvicorn_hands_over_what_it_has_if_the_lifespan_closes_the_service(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    """Its handler of SIGTERM is there before the application, and ends the process by a signal."""
    pytest.importorskip("uvicorn")
    with closing(sqlite3.connect(tmp_path / "app.sqlite")) as connection:
        create_table(connection)
        (tmp_path / "shop.py").write_text(ASYNCHRONOUS)
        port = free_port()
        arguments = ["--workers=2", f"--port={port}", "--log-level=warning", "shop:application"]
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PACKAGE), "XDG_STATE_HOME": str(tmp_path)},
        )
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/first"), "uvicorn")
            assert answers(f"http://127.0.0.1:{port}/last")
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        finally:
            server.kill()
        found = connection.execute("SELECT message FROM activity_log ORDER BY message").fetchall()
    assert found == [("/first",), ("/last",)]
