"""The main job as a person runs it: a real process, real files, the embedded store, the API."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest

from tests import forking
from tests.conftest import ROOT, wait_for

REAL_LOGS = ROOT.parent / "shared" / "data"


def request(number: int, status: int = 200) -> str:
    time, customer = f"2026-11-01 10:00:{number % 60:02}", f"cust_{number % 3}"
    return f"{time} {customer} /orders/{number} {status} 0.{number:06}\n"


def write_log(pipeline, lines: str, name: str = "data/logs/api_requests.log") -> Path:
    log = pipeline.directory / name
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(lines)
    return log


def count(client, table: str = "logs") -> tuple[int, int]:
    """Rows, and distinct lines among them."""
    (found,) = client.query(f"SELECT count(), uniqExact(file_id, offset) FROM {table}").result_rows
    return found


def test_reads_what_is_there_prints_a_summary_and_ends(pipeline, open_client):
    write_log(pipeline, "".join(map(request, range(100))) + "nonsense\n\n")
    done = pipeline.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("lines=102 stored=100 dead=1 seconds=")
    assert done.stdout.count("\n") == 1
    assert count(open_client()) == (100, 100)


def test_a_second_run_stores_nothing_again(pipeline, open_client):
    write_log(pipeline, "".join(map(request, range(100))))
    pipeline.run()
    write_log(pipeline, "".join(map(request, range(100, 150))))
    assert pipeline.run("-w", "2").stdout.startswith("lines=50 stored=50 dead=0")
    assert count(open_client()) == (150, 150)


def test_every_row_and_dead_letter_leads_back_to_its_line(pipeline, open_client):
    lines = [request(n) if n % 7 else f"broken {n}\n" for n in range(500)]
    data = write_log(pipeline, "".join(lines)).read_bytes()
    pipeline.run(STREAM_MAX_SIZE=64)
    client = open_client()
    stored = client.query("SELECT offset, request_path, source FROM logs").result_rows
    dead = client.query(
        "SELECT offset, raw FROM dead_letters", column_formats={"raw": "bytes"}
    ).result_rows
    assert len(stored) + len(dead) == 500
    for offset, path, source in stored:
        assert source == str(pipeline.directory / "data/logs/api_requests.log")
        assert data[offset:].split(b"\n", 1)[0].split(b" ")[3] == path.encode()
    for offset, raw in dead:
        assert data[offset : offset + len(raw) + 1] == raw + b"\n"


@pytest.mark.skipif(not REAL_LOGS.is_dir(), reason="the real logs are not on this machine")
def test_stores_a_real_access_log_line_by_line(pipeline, open_client):
    log = REAL_LOGS / "apache_combined.log"
    done = pipeline.run(LOG_PATHS=log, LOG_FORMAT="combined")
    assert done.stdout.startswith("lines=10000 stored=9999 dead=1 ")
    data = log.read_bytes()
    rows = open_client().query("SELECT offset, client_ip, status_code, bytes_sent FROM logs")
    for offset, client_ip, status, size in rows.result_rows:
        line = data[offset:].split(b"\n", 1)[0].decode()
        assert offset == 0 or data[offset - 1 : offset] == b"\n"
        assert line.startswith(client_ip + " ")
        assert f'" {status} {size or "-"} "' in line or f'" {status} {size} "' in line


def test_answers_for_a_line_that_was_just_written(pipeline):
    write_log(pipeline, request(0))
    pipeline.start()
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(1)
    write_log(pipeline, "2026-11-01 10:00:00 late /x 404 0.5\n")

    def answered() -> bool:
        return pipeline.get("/customers/late/stats").status_code == 200

    wait_for(answered, "statistics of the new customer")
    answer = pipeline.get("/customers/late/stats?from_date=2026-11-01&to_date=2026-11-01").json()
    assert (answer["total_requests"], answer["failed_requests"]) == (1, 1)
    assert (answer["uptime"], answer["median_latency"]) == (0.0, 0.5)
    assert pipeline.stop() == 0


def test_drains_exits_0_and_goes_on_where_it_left_off(pipeline, open_client, soak):
    log = write_log(pipeline, "")
    over = threading.Event()

    def keep_asking() -> None:
        while not over.wait(0.02):
            with suppress(httpx.TransportError):  # it is stopped all the time
                pipeline.get("/stats")

    asking = threading.Thread(target=keep_asking)
    with pipeline.generator():
        asking.start()
        try:
            for stop in range(50 if soak else 4):
                pipeline.start("-w", str(1 + stop % 2))
                pipeline.wait_until_healthy()
                if stop % 2:
                    pipeline.running.send_signal(signal.SIGTERM)
                assert pipeline.stop(deadline=5) == 0
        finally:
            over.set()
            asking.join()
    pipeline.run()
    lines = log.read_bytes().count(b"\n")
    assert count(open_client()) == (lines, lines)


def test_neither_loses_nor_repeats_a_line_when_it_is_killed(pipeline, open_client, soak):
    log = write_log(pipeline, "")
    moments = random.Random(4)
    with pipeline.generator(LOG_GENERATOR_BAD_RATIO=0.01):
        for _ in range(100 if soak else 6):
            process = pipeline.start("-w", "2", API_PORT=0, STREAM_MAX_SIZE=2000)
            time.sleep(1.0 + 2 * moments.random())  # any moment will do: this waits for nothing
            process.kill()
            process.communicate()
    done = pipeline.run()
    assert done.returncode == 0, done.stderr
    lines = log.read_bytes().count(b"\n")
    client = open_client()
    rows, dead = count(client), count(client, "dead_letters")
    assert rows[0] == rows[1]
    assert dead[0] == dead[1]
    assert rows[0] + dead[0] == lines


def test_refuses_a_store_that_another_process_has(pipeline):
    write_log(pipeline, request(0))
    first = pipeline.start()
    pipeline.wait_until_healthy()
    second = subprocess.run(
        first.args,
        cwd=pipeline.directory,
        env=pipeline.environment(),
        text=True,
        capture_output=True,
    )
    assert second.returncode != 0
    assert f"process {first.pid}" in second.stderr
    assert f"http://127.0.0.1:{pipeline.port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_names_every_wrong_setting_at_once_before_anything_starts(pipeline):
    done = pipeline.run(LOG_FORMAT="xml", STREAM_MAX_SIZE=-1, STORE="oracle", LOG_TIMEZONE="Mars")
    assert done.returncode != 0
    for name in ("LOG_FORMAT", "STREAM_MAX_SIZE", "STORE", "LOG_TIMEZONE"):
        assert f"{name}=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (pipeline.directory / "data").exists()


def test_begins_at_the_end_only_at_the_very_first_start(pipeline, open_client):
    log = write_log(pipeline, request(0))
    pipeline.start(LOG_START="end")
    pipeline.wait_until_healthy()
    write_log(pipeline, request(1))
    pipeline.wait_until_stored(1)
    pipeline.stop()
    write_log(pipeline, request(2))
    pipeline.run(LOG_START="end")
    stored = open_client().query("SELECT offset FROM logs ORDER BY offset").result_rows
    size = len(request(0))
    assert [offset for (offset,) in stored] == [size, 2 * size]
    assert log.stat().st_size == 3 * size


def test_reads_local_times_in_the_configured_zone(pipeline, open_client):
    write_log(pipeline, "2026-07-01 12:00:00 c /x 200 0.1\n")
    pipeline.run(LOG_TIMEZONE="Europe/Berlin")
    found = open_client().query("SELECT toUnixTimestamp64Micro(timestamp) FROM logs").result_rows
    expected = datetime(2026, 7, 1, 10, tzinfo=timezone.utc).timestamp() * 1_000_000
    assert found == [(expected,)]


def test_keeps_what_no_column_takes(pipeline, open_client):
    line = {
        "ts": "2026-11-01T10:00:00Z",
        "path": "/x?q=1",
        "deep": {"a": [1, None, "ü"]},
        "n": None,
    }
    write_log(pipeline, json.dumps(line) + "\n")
    pipeline.run(LOG_FORMAT="json")
    found = open_client().query("SELECT request_path, endpoint, attributes FROM logs").result_rows
    ((path, endpoint, attributes),) = found
    assert (path, endpoint) == ("/x?q=1", "/x")
    assert json.loads(attributes) == {"deep": {"a": [1, None, "ü"]}, "n": None}


def test_the_null_store_pays_for_no_library_that_it_does_not_need(pipeline):
    write_log(pipeline, request(0))
    code = (
        "import sys, runpy; sys.argv = ['bytewax.run', 'flows.main']\n"
        "runpy.run_module('bytewax.run', run_name='__main__')\n"
        "print(sorted({'chdb', 'fastapi', 'clickhouse_connect'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pipeline.directory,
        env=pipeline.environment(STORE="null", FOLLOW="false"),
        text=True,
        capture_output=True,
    )
    assert done.stdout.splitlines()[0] == "[]", done.stderr
    assert done.stdout.splitlines()[1].startswith("lines=1 stored=1 dead=0")


@pytest.mark.parametrize(
    ("arguments", "environment", "workers"),
    [
        ([], {}, 1),
        (["-w", "2"], {"BYTEWAX_WORKERS_PER_PROCESS": 1}, 2),
        ([], {"BYTEWAX_WORKERS_PER_PROCESS": 2}, 2),
    ],
)
def test_polars_has_no_more_threads_than_there_are_workers(
    pipeline, arguments, environment, workers, monkeypatch
):
    monkeypatch.setattr(subprocess, "Popen", forking.REAL)  # Polars is not loaded yet
    process = pipeline.start(*arguments, **environment)
    pipeline.wait_until_healthy()
    tasks = Path(f"/proc/{process.pid}/task").glob("*/comm")
    names = {task.read_text().strip() for task in tasks}
    threads = [name for name in names if re.fullmatch(r"polars-\d+", name)]
    assert len(threads) == min(workers, os.cpu_count() or 1)
