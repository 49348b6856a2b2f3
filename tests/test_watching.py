"""`logwax tap` and `logwax top`: what a running pipeline stores, and how it is doing."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

import pytest

from cli.tap import as_line
from tests.conftest import DEADLINE, Pipeline
from tests.test_audit import logwax

LOG: dict[str, object] = {"LOG_FORMAT": "json", "LOG_PATHS": "a.log"}


@pytest.fixture
def running(pipeline: Pipeline) -> Path:
    """The log of a pipeline that runs, with ten rows and a dead letter."""
    log = pipeline.directory / "a.log"
    log.write_text("".join(row(n) for n in range(10)) + "broken\n")
    pipeline.start(**LOG)
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(11)
    return log


def row(number: int, message: str = "") -> str:
    fields = {"ts": 1760000000 + number, "path": "/orders/7", "status": 200, "msg": message}
    return json.dumps(fields) + "\n"


def test_tap_prints_the_rows_that_a_filter_takes(pipeline: Pipeline, running: Path) -> None:
    tap = subprocess.Popen(
        [sys.executable, "-m", "cli", "tap", "--where", "message ~ wanted"],
        cwd=pipeline.directory,
        env=pipeline.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert tap.stdout and tap.stderr
    try:
        while "Rows are shown" not in tap.stderr.readline():
            assert tap.poll() is None
        with running.open("a") as file:
            file.write(row(20, "not this") + row(21, "wanted \x1b[31m"))
        lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=lambda: lines.put(tap.stdout.readline()), daemon=True).start()
        line = lines.get(timeout=DEADLINE)
        assert "\x1b" not in line
        assert json.loads(line)["message"] == "wanted \x1b[31m"
        pipeline.stop()
        assert tap.wait(DEADLINE) == 1
        assert "The pipeline" in tap.stderr.read()
    finally:
        tap.kill()
        tap.communicate()


def test_a_wrong_filter_is_said(pipeline: Pipeline, running: Path) -> None:
    done = logwax(pipeline, "tap", "--where", "levl = x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "did you mean level?" in done.stderr


def test_a_row_on_a_terminal_is_a_line_that_cannot_move_the_cursor() -> None:
    found = as_line(
        {
            "timestamp": "2026-11-01T10:00:00.123456Z",
            "level": "info",
            "method": "GET",
            "request_path": "/a",
            "status_code": 200,
            "duration": 0.0123,
            "message": "two\nlines \x1b[2J",
        }
    )
    assert found == "2026-11-01T10:00:00.123 info GET /a 200 12.3ms two\\nlines \\x1b[2J"


def test_top_is_a_snapshot_in_a_pipe(pipeline: Pipeline, running: Path) -> None:
    done = logwax(pipeline, "top")
    assert done.returncode == 0, done.stderr
    assert "lines 11  rows 10  dropped 0  dead letters in the store 1" in done.stdout
    assert f"9.1%  {running}" in done.stdout
    assert "  status  2xx 10" in done.stdout
    assert "10  /orders/:id" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_top_leaves_the_terminal_as_it_was(
    pipeline: Pipeline, running: Path, number: signal.Signals
) -> None:
    terminal, its_end = pty.openpty()
    top = subprocess.Popen(
        [sys.executable, "-m", "cli", "top"],
        cwd=pipeline.directory,
        env=pipeline.environment(),
        stdout=its_end,
        stderr=its_end,
    )
    os.close(its_end)
    drawn = b""
    try:
        while b"/orders/:id" not in drawn:
            drawn += os.read(terminal, 65536)
        top.send_signal(number)
        with suppress(OSError):  # the terminal's way to say that nobody writes any more
            while more := os.read(terminal, 65536):
                drawn += more
        assert top.wait(DEADLINE) == (0 if number == signal.SIGINT else 128 + number)
        for mode in (b"7", b"25", b"1049"):
            found = re.findall(rb"\x1b\[\?" + mode + rb"([hl])", drawn)
            assert len(found) == 2 and found[0] != found[1]
    finally:
        top.kill()
        top.wait()
        os.close(terminal)


@pytest.mark.parametrize("command", ["tap", "top"])
def test_without_a_pipeline_there_is_nothing_to_watch(pipeline: Pipeline, command: str) -> None:
    done = logwax(pipeline, command, DATA_DIR="data")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No pipeline with an API runs on DATA_DIR=data." in done.stderr
