"""Every file in examples/, run as its docstring says, as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.parsing_checks import row_of

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
