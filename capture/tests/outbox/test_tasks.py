"""The Celery tasks: a real worker, a real Redis. They only trigger."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from postgres_server import Postgres
from redis_server import Redis

import logwax_capture
from logwax_capture.outbox import LogEvent, Outbox, log_event

APP = """
from celery import Celery
from logwax_capture.outbox.tasks import beat_schedule

app = Celery("shop", broker={broker!r})
app.conf.beat_schedule = beat_schedule()
app.conf.broker_connection_retry_on_startup = True
"""


class _Discarding(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_beat_runs_them_as_often_as_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that is no minute of an hour: once a day is not once an hour."""
    pytest.importorskip("celery")
    from logwax_capture.outbox.tasks import beat_schedule

    assert {name: entry["schedule"] for name, entry in beat_schedule().items()} == {
        "process_events": timedelta(minutes=10),
        "clean_events_outbox": timedelta(days=1),
    }
    monkeypatch.setenv("LOG_SENDING_FREQUENCY_IN_MINUTES", "90")
    monkeypatch.setenv("OUTBOX_CLEAN_IN_MINUTES", "7")
    entries = beat_schedule()
    assert entries["process_events"]["schedule"] == timedelta(minutes=90)
    assert entries["clean_events_outbox"]["schedule"] == timedelta(minutes=7)
    assert all(
        entry["task"] == name and entry["options"]["expires"] == entry["schedule"].total_seconds()
        for name, entry in entries.items()
    )


def test_a_worker_sends_what_is_there_once_however_often_it_is_triggered_and_cleans_up(
    tmp_path: Path, postgres: Postgres, wait_for: Callable[..., None]
) -> None:
    pytest.importorskip("celery")
    pytest.importorskip("redis")
    url = postgres.new_database()
    with closing(Outbox.open(url)) as outbox:
        outbox.create()
    connection = pytest.importorskip("psycopg").connect(url, autocommit=True)
    for number in range(20):
        log_event(connection, LogEvent("tick", {"n": number}))
    store = ThreadingHTTPServer(("127.0.0.1", 0), _Discarding)
    threading.Thread(target=store.serve_forever, args=[0.01], daemon=True).start()
    redis = Redis(tmp_path)
    (tmp_path / "shop.py").write_text(APP.format(broker=redis.broker))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(logwax_capture.__path__[0]).parent),
        "DATABASE_URL": url,
        "CLICKHOUSE_URL": f"http://127.0.0.1:{store.server_port}",
        "LOG_EVENTS_PARTITION_QUANTITY": "10",
    }
    celery = [sys.executable, "-m", "celery", "-A", "shop"]
    call = "from shop import app\nfor name in {names}: app.send_task(name)\n"

    def trigger(*names: str) -> None:
        subprocess.run(
            [sys.executable, "-c", call.format(names=names)],
            cwd=tmp_path,
            env=environment,
            check=True,
        )

    def statuses() -> list[tuple[str, int]]:
        return connection.execute(
            "SELECT send_status, count(*) FROM events_log_outbox GROUP BY send_status"
        ).fetchall()

    trigger("process_events", "process_events")
    worker = subprocess.Popen(
        [*celery, "worker", "--pool=solo", "--without-gossip", "--without-mingle", "-l", "ERROR"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: statuses() == [("DELIVERED", 20)], "the sent events")
        trigger("clean_events_outbox")
        wait_for(lambda: statuses() == [], "the cleaned outbox")
    finally:
        worker.kill()
        worker.wait()
        redis.close()
        store.shutdown()
        store.server_close()
        connection.close()
