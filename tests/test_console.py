"""Store `console`, with a real terminal and real pipes on its stdout."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios

import pytest

from cli import audit
from connectors.batch import COLUMNS, REJECTED
from tests.conftest import DEADLINE, Pipeline, wait_for

HOSTILE = "\x1b[2J\x9b31m\x07\x7f\u202e[bold]:smile:"
COMMAND = [sys.executable, "-m", "bytewax.run", "flows.main"]


def console(pipeline: Pipeline, stdout: int, **settings: object) -> subprocess.Popen[str]:
    """The pipeline with `STORE=console` and this stdout; it is ended with the test."""
    pipeline.running = subprocess.Popen(
        COMMAND,
        cwd=pipeline.directory,
        env=pipeline.environment(
            **{"STORE": "console", "LOG_PATHS": "app.log", "LOG_FORMAT": "json", **settings}
        ),
        text=True,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    return pipeline.running


def write(pipeline: Pipeline, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    (pipeline.directory / "app.log").write_text(text, encoding="utf-8")


def request(**values: object) -> str:
    known = {"timestamp": "2026-11-01T10:00:00.25Z", "customer_id": "cust_1", "status_code": 404}
    return json.dumps({**known, **values}, ensure_ascii=False)


def shown_on_a_terminal(pipeline: Pipeline, columns: int = 160) -> tuple[str, str]:
    """What a run shows on a terminal of this width, and its stderr."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = console(pipeline, its, FOLLOW="false", COLUMNS=columns, TERM="xterm")
    os.close(its)
    data = b""
    try:
        while some := os.read(ours, 65536):
            data += some
    except OSError:  # how a terminal says that nobody has it any more
        pass
    os.close(ours)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    return data.decode(), errors


def test_a_pipe_gets_one_json_object_a_line_with_every_column(pipeline: Pipeline) -> None:
    write(pipeline, request(duration=0.5, user="ü", request_path=HOSTILE), request())
    process = console(pipeline, subprocess.PIPE, FOLLOW="false")
    out, errors = process.communicate(timeout=DEADLINE)
    first, second = map(json.loads, out.splitlines())
    assert list(first) == list(second) == list(COLUMNS)
    assert first["timestamp"] == "2026-11-01T10:00:00.250+00:00"
    assert (first["status_code"], first["status_class"]) == (404, "4xx")
    assert (first["duration"], second["duration"], first["offset"]) == (0.5, None, 0)
    assert json.loads(first["attributes"]) == {"user": "ü"}
    assert first["request_path"] == HOSTILE
    assert errors.startswith("lines=2 stored=2 dead=0 "), "stdout is for lines only"


def test_a_pipe_gets_dead_letters_marked_and_with_all_their_bytes(pipeline: Pipeline) -> None:
    (pipeline.directory / "app.log").write_bytes(b"\xff\x1b[31m\n" + request().encode() + b"\n")
    process = console(pipeline, subprocess.PIPE, FOLLOW="false")
    row, dead = map(json.loads, process.communicate(timeout=DEADLINE)[0].splitlines())
    assert "dead_letter" not in row
    assert dead.keys() == {"dead_letter", *REJECTED}
    assert (dead["dead_letter"], dead["offset"], dead["reason"]) == (True, 0, "bad_json")
    assert dead["raw"] == "\\xff\x1b[31m"


def test_a_terminal_gets_tables(pipeline: Pipeline) -> None:
    write(pipeline, request(request_path="/search"), "no json")
    shown, errors = shown_on_a_terminal(pipeline)
    rows = [line for line in shown.splitlines() if "cust_1" in line]
    assert len(rows) == 1
    assert all(text in rows[0] for text in ("2026-11-01 10:00:00.250", "/search", "404"))
    assert "Dead letters" in shown
    assert any("no json" in line and "app.log" in line for line in shown.splitlines())
    assert errors.startswith("lines=2 stored=1 dead=1 ")


def test_nothing_in_a_line_commands_whatever_shows_it(pipeline: Pipeline) -> None:
    write(pipeline, request(request_path=HOSTILE), HOSTILE)
    shown, _ = shown_on_a_terminal(pipeline, columns=400)
    assert shown.count(r"\x1b[2J\x9b31m\x07\x7f\u202e[bold]:smile:") == 2
    process = console(pipeline, subprocess.PIPE, FOLLOW="false")
    piped, _ = process.communicate(timeout=DEADLINE)
    for text in (shown.replace("\x1b[", ""), piped):  # the tables have colours of their own
        assert {c for c in text if not c.isprintable()} <= set("\r\n")


def test_a_reader_that_goes_away_is_an_ordinary_end(pipeline: Pipeline) -> None:
    write(pipeline, *(request(n=number) for number in range(20_000)))
    process = console(pipeline, subprocess.PIPE)
    assert process.stdout
    first = process.stdout.readline()
    process.stdout.close()
    assert process.wait(DEADLINE) == 0
    assert json.loads(first)["offset"] == 0
    assert process.stderr
    assert process.stderr.read() == ""


def test_a_reader_that_does_not_read_holds_back_the_files_and_no_stop(pipeline: Pipeline) -> None:
    write(pipeline, *(request() for _ in range(20_000)))
    process = console(pipeline, subprocess.PIPE, STREAM_MAX_SIZE=1000, FOLLOW="false")
    assert process.stdout
    assert process.stderr
    pipe = process.stdout.fileno()

    def is_full() -> bool:
        waiting: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]
        return waiting > fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) - select.PIPE_BUF

    wait_for(is_full, "a full pipe")
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE) == 0
    held = process.stderr.read()
    assert re.match("lines=[12]000 ", held), "one batch is held by the pipe, and one waits for it"


def test_a_name_that_an_audit_tells_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    gone = {"event": "gone", "path": "/logs/a\x1b[2J.log", "file_id": 7, "stored": 3}
    gap = {"event": "gap", "detail": "Of /logs/\x9b31m.log bytes were gone."}
    audit._show(iter([gone, gap]))
    printed = capsys.readouterr().out
    assert "/logs/a\\x1b[2J.log (file 7)" in printed
    assert "/logs/\\x9b31m.log" in printed
