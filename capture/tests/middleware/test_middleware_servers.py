"""The middleware under the servers that people have, while Redis hangs and comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis_server import Redis

redis = pytest.importorskip("redis")

PACKAGE = Path(__file__).parents[2]
APPLICATION = """
from logwax_capture.event_queue import EventQueue
from logwax_capture.middleware import ASGIMiddleware, RequestLog, WSGIMiddleware

async def asgi(scope, receive, send):
    assert scope["type"] == "http"  # as Django, it knows no lifespan
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body"})

def wsgi(environ, start_response):
    start_response("204 No Content", [])
    return []

log = RequestLog(EventQueue(spill_dir="spill"), secret="of these tests only", exclude=["/ready"])
asgi, wsgi = ASGIMiddleware(asgi, log), WSGIMiddleware(wsgi, log)
"""
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--workers=2", "--log-level=warning", "--port={}", "app:asgi"],
    "gunicorn": [
        *("-m", "gunicorn", "--preload", "--workers=2", "--log-level=warning"),
        *("--bind=127.0.0.1:{}", "app:wsgi"),
    ],
}


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.mark.parametrize("kind", SERVERS)
def test_no_event_is_lost_while_redis_hangs_and_when_the_server_is_stopped(
    tmp_path: Path, kind: str, wait_for: Callable[..., None]
) -> None:
    pytest.importorskip(kind)
    server = Redis(tmp_path)
    client: Any = redis.Redis(unix_socket_path=str(server.socket))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    (tmp_path / "app.py").write_text(APPLICATION)
    url = f"unix://{server.socket}"
    process = subprocess.Popen(
        [sys.executable, *(argument.format(port) for argument in SERVERS[kind])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "REDIS_URL": url},
    )
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/ready"), kind)
        server.hang()
        for number in range(50):
            assert answers(f"http://127.0.0.1:{port}/{number}")
        server.go_on()
        for number in range(50, 100):
            assert answers(f"http://127.0.0.1:{port}/{number}")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        found = [json.loads(fields[b"event"]) for _, fields in client.xrange("logwax:events")]
        spilled = [
            json.loads(json.loads(line)["event"])
            for file in (tmp_path / "spill").glob("*.spill")
            for line in file.read_text().splitlines()
        ]
        paths = [event["path_info"] for event in found]
        assert sorted(paths) == sorted(set(paths))
        assert {*paths, *(event["path_info"] for event in spilled)} == {
            f"/{number}" for number in range(100)
        }
        assert {event["status_code"] for event in found} == {204}
    finally:
        process.kill()
        client.close()
        server.close()
