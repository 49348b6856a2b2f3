"""Every file in examples/, run as its docstring or the README says, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from redis_server import Redis

from tests.conftest import DEADLINE, ROOT, Pipeline, wait_for
from tests.parsing_checks import row_of
from tests.servers.clickhouse_http import Server

pytest_plugins = ["tests.outbox_fixtures"]

COMBINED = '203.0.113.{n} - cust_1 [22/Nov/2026:20:15:0{n} +0000] "GET /a HTTP/1.1" 200 5 "-" "-"\n'
RUN = {
    "count_lines.py": ("-m", "bytewax.run", "examples.count_lines"),
    "mask_addresses.py": ("-m", "bytewax.run", "examples.mask_addresses"),
    "dead_letters.py": (str(ROOT / "examples" / "dead_letters.py"), "data/clickhouse"),
    "structlog_lines.py": (str(ROOT / "examples" / "structlog_lines.py"), "app.log"),
    "loguru_lines.py": (str(ROOT / "examples" / "loguru_lines.py"), "app.log"),
}


@pytest.fixture
def example(pipeline):
    """Run one example where the pipeline of the test is; gives its output."""

    def run(name: str, **settings: object) -> str:
        done = subprocess.run(
            [sys.executable, *RUN[name]],
            cwd=pipeline.directory,
            env=pipeline.environment(**settings),
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def log(directory: Path, name: str, text: str) -> None:
    path = directory / "data" / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_no_example_is_left_out() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == RUN.keys()


def test_count_lines_counts_the_lines_of_each_file(example, tmp_path):
    log(tmp_path, "a.log", "one\ntwo\n" * 1000)
    log(tmp_path, "b.log", "three\n")
    printed = example("count_lines.py", LOG_PATHS="data/logs/a.log,data/logs/b*")
    folder = tmp_path / "data" / "logs"
    assert sorted(printed.splitlines()) == [
        f"{folder}/a.log: 2000 lines",
        f"{folder}/b.log: 1 lines",
    ]


def test_mask_addresses_stores_every_line_once_and_no_whole_address(example, tmp_path, open_client):
    first = COMBINED.format(n=1) + COMBINED.format(n=2)
    log(tmp_path, "api_requests.log", first)
    example("mask_addresses.py", LOG_FORMAT="combined")
    log(tmp_path, "api_requests.log", first + COMBINED.format(n=3))
    example("mask_addresses.py", LOG_FORMAT="combined")
    found = open_client().query("SELECT client_ip, offset FROM logs ORDER BY offset").result_rows
    size = len(COMBINED.format(n=1))
    assert found == [("203.0.113.x", 0), ("203.0.113.x", size), ("203.0.113.x", 2 * size)]


def test_dead_letters_says_what_could_not_be_parsed_and_why(example, pipeline):
    log(pipeline.directory, "api_requests.log", "2026-11-01 10:00:00 c /x 200 0.1\nno such line\n")
    assert pipeline.run().returncode == 0
    printed = example("dead_letters.py")
    assert printed.splitlines()[0].split() == ["1", "missing_fields"]
    assert "api_requests.log, byte 33: " in printed
    assert "b'no such line'" in printed


@pytest.mark.parametrize(
    ("name", "level"), [("structlog_lines.py", "INFO"), ("loguru_lines.py", "SUCCESS")]
)
def test_what_a_logging_library_writes_is_read_into_typed_columns(example, tmp_path, name, level):
    example(name)
    paid, failed = (row_of("json", line) for line in (tmp_path / "app.log").open())
    assert (paid["level"], paid["message"], paid["customer_id"]) == (level, "paid", "c-7")
    assert (paid["request_path"], paid["status_code"]) == ("/orders", 201)
    assert paid["duration"] == 0.04831
    assert (failed["level"], failed["message"]) == ("ERROR", "not paid")
    more = json.loads(failed["attributes"])
    assert more["order"] == 7
    assert more["exception"].endswith("TimeoutError: the bank does not answer")


ANSWERS = [("c-7", 201), ("c-8", 409), ("c-7", 201)]
Shell = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def shell(pipeline: Pipeline) -> Iterator[Shell]:
    """Starts commands of the README in a directory with nothing but the examples."""
    (pipeline.directory / "examples").symlink_to(ROOT / "examples")
    (pipeline.directory / ".venv").symlink_to(sys.prefix)
    started: list[subprocess.Popen[str]] = []

    def start(commands: str, **settings: object) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                ["bash", "-ec", commands.replace("8000", str(pipeline.port))],
                cwd=pipeline.directory,
                env=pipeline.environment(**settings),
                text=True,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def commands(title: str) -> list[str]:
    """The blocks of commands in a chapter of the README."""
    text = (ROOT / "examples" / "README.md").read_text()
    chapter = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```bash\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)


def said(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """The lines of JSON that it wrote until its end."""
    out, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, out
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def test_what_a_fastapi_shop_commits_does_and_measures_arrives_once(shell: Shell) -> None:
    (block,) = commands("A FastAPI shop")
    lines = said(shell(block))
    tea = {"customer_id": "c-7", "product": "tea"}
    orders = [{"order_id": 1, **tea, "quantity": 3}, {"order_id": 2, **tea, "quantity": 1}]
    assert lines[:3] == [orders[0], {"detail": "There is less tea than that."}, orders[1]]
    events = [(line["event_type"], json.loads(line["event_context"])) for line in lines[3:8]]
    assert [context for kind, context in events if kind == "order_placed"] == orders
    wishes = [context for kind, context in events if kind == "activity"]
    assert [(wish["user"], wish["extras"]["quantity"]) for wish in wishes] == [
        *(("c-7", 3), ("c-8", 30), ("c-7", 1))
    ]
    requests, figures = lines[8:11], lines[11:]
    assert [
        (line["customer_id"], line["method"], line["request_path"], line["status_code"])
        for line in requests
    ] == [(customer, "POST", "/orders/tea", code) for customer, code in ANSWERS]
    assert [round(json.loads(line["attributes"])["value"] / 1000, 6) for line in figures] == [
        round(line["duration"], 6) for line in requests
    ]


def test_what_a_django_project_commits_and_does_arrives_once(
    shell: Shell, pipeline: Pipeline, server: Server
) -> None:
    website, celery = commands("A Django project")
    requests = said(shell(website))
    assert [(line["method"], line["request_path"], line["status_code"]) for line in requests] == [
        ("POST", "/users", code) for code in (201, 409, 201)
    ]
    redis = Redis(pipeline.directory)
    with closing(redis), closing(clickhouse_connect.get_client(dsn=server.url)) as clickhouse:
        settings = {"CELERY_BROKER_URL": redis.broker, "CLICKHOUSE_URL": server.url}
        shell(celery, **settings)

        def events() -> list[tuple[str, dict[str, Any]]]:
            found = clickhouse.query("SELECT event_type, event_context FROM event_log")
            return [(kind, json.loads(context)) for kind, context in found.result_rows]

        wait_for(lambda: server.inserts and len(events()) >= 5, "the events")
        assert sorted(context["email"] for kind, context in events() if kind == "user_created") == [
            *("bob@example.com", "cy@example.com")
        ]
        assert sorted(
            context["extras"]["status"] for kind, context in events() if kind == "activity"
        ) == [201, 201, 409]
