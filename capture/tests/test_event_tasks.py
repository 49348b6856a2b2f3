"""Events through Celery, whose worker adds them to the stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis_server import Redis

redis = pytest.importorskip("redis")
pytest.importorskip("celery")

PACKAGE = Path(__file__).parent.parent
APPLICATION = """
from celery import Celery

app = Celery("shop", broker={broker!r})
from logwax_capture import event_tasks
"""
REQUESTS = """
from shop import app, event_tasks
from logwax_capture.event_queue import EventQueue
from logwax_capture.ids import next_id

queue = EventQueue(event_tasks.CeleryRoute(app), spill_dir="spill")
for number in range(500):
    queue.put({"number": number})
assert queue.flush(30)
entries = [{"id": next_id(), "event": '{"number": 500}'}]
for _ in range(2):
    event_tasks.CeleryRoute(app)(entries)  # a task that is delivered twice
"""


def test_a_worker_adds_each_event_once_and_keeps_no_results(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    server = Redis(tmp_path)
    (tmp_path / "shop.py").write_text(APPLICATION.format(broker=server.broker))
    url = f"unix://{server.socket}"
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE}:{tmp_path}", "REDIS_URL": url}
    options = ["--pool=solo", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shop", "worker", "-l", "ERROR", *options],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    client: Any = redis.Redis(unix_socket_path=str(server.socket))
    try:
        command = [sys.executable, "-c", REQUESTS]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        wait_for(lambda: client.xlen("logwax:events") >= 501, "the events")
        wait_for(lambda: not client.llen("celery") and not client.hlen("unacked"), "the tasks")
        entries = [json.loads(fields[b"event"]) for _, fields in client.xrange("logwax:events")]
        assert sorted(event["number"] for event in entries) == list(range(501))
        assert not client.keys("celery-task-meta-*")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        client.close()
        server.close()
