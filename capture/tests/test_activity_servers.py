"""The activity log under servers that fork."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis_server import Redis

from logwax_capture.activity import ActivityThreadService, create_table

PACKAGE = Path(__file__).parent.parent

SERVICE = """
import os, sqlite3
from logwax_capture.activity import ActivityThreadService

service = ActivityThreadService(
    lambda: sqlite3.connect("app.sqlite", timeout=30),
    LOGS_SPILL_DIR="spill",
    DRF_LOGGER_INTERVAL={interval},
)
service.put_log_data("", "", "", "", "master", "start", None, None)
"""
APPLICATION = """
def application(environment, start_response):
    for number in range(100):
        name = f"{environment['PATH_INFO']} {number}"
        service.put_log_data("", "", "", "", name, "request", None, {"pid": os.getpid()})
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""
TASKS = """
from celery import Celery

app = Celery("shop", broker={broker!r})
app.conf.task_ignore_result = True

@app.task(name="work")
def work(number):
    service.put_log_data("", "", "", "", str(number), "task", None, None)
    open(f"done {{number}}", "w").close()
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


def workers(connection: sqlite3.Connection) -> set[int]:
    """The processes that inserted something."""
    query = "SELECT DISTINCT json_extract(extras, '$.pid') FROM activity_log WHERE extras != ''"
    return {row[0] for row in connection.execute(query)}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The database of the program, which is in `tmp_path`."""
    connection = sqlite3.connect(tmp_path / "app.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    create_table(connection)
    yield connection
    connection.close()


def inserted(directory: Path, connection: sqlite3.Connection) -> list[str]:
    """All messages, also those that a process could not insert in its last seconds."""
    service = ActivityThreadService(
        lambda: sqlite3.connect(directory / "app.sqlite"), LOGS_SPILL_DIR=str(directory / "spill")
    )
    service._start_bulk_insertion()
    service.close()
    found = [row[0] for row in connection.execute("SELECT message FROM activity_log")]
    assert len(found) == len(set(found))
    return found


def test_gunicorn_with_preload_whose_workers_are_terminated(
    tmp_path: Path, connection: sqlite3.Connection, soak: bool, wait_for: Callable[..., None]
) -> None:
    pytest.importorskip("gunicorn")
    requests = 1000 if soak else 100  # of a hundred entries each
    (tmp_path / "shop.py").write_text(SERVICE.format(interval=1) + APPLICATION)
    terminated: set[int] = set()
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
                wait_for(lambda: workers(connection) - terminated, "entries of a live worker")
                one = min(workers(connection) - terminated)
                os.kill(one, signal.SIGTERM)
                terminated.add(one)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
    found = inserted(tmp_path, connection)
    expected = {f"/{number} {entry}" for number in range(requests) for entry in range(100)}
    assert expected - set(found) == set()
    assert "master" in found
    assert len(terminated) == 4


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
    tmp_path: Path, connection: sqlite3.Connection, wait_for: Callable[..., None]
) -> None:
    """Its handler of SIGTERM is there before the application, and ends the process by a signal."""
    pytest.importorskip("uvicorn")
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


def test_celery_with_prefork_whose_worker_is_terminated(
    tmp_path: Path, connection: sqlite3.Connection, wait_for: Callable[..., None]
) -> None:
    pytest.importorskip("celery")
    pytest.importorskip("redis")
    redis = Redis(tmp_path)
    tasks = TASKS.format(broker=redis.broker)
    (tmp_path / "shop.py").write_text(SERVICE.format(interval=3600) + tasks)
    options = ["--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shop", "worker", "-l", "ERROR", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.DEVNULL,
    )
    try:
        send = (
            f"from celery import Celery\napp = Celery(broker={redis.broker!r})\n"
            "for number in range(20): app.send_task('work', [number])"
        )
        subprocess.run([sys.executable, "-c", send], check=True)
        wait_for(lambda: len(list(tmp_path.glob("done *"))) == 20, "the tasks")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert set(inserted(tmp_path, connection)) == {"master", *map(str, range(20))}
    finally:
        worker.kill()
        redis.close()
