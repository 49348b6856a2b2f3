"""What operators read, where they read it, and what happens where nobody can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.errors import StoreError
from connectors.saying import _Repeats, about, last_words, say, shown, speak
from tests.conftest import DEADLINE, ROOT, Pipeline
from tests.parsing_checks import row_of

LINE = "2026-11-01 10:00:00 cust_1 /orders/1 200 0.5\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/var/log/größe 客户.log", "/var/log/größe 客户.log"),
        ("a\x1b[2Jb\x07", "a\\x1b[2Jb\\x07"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b31m\u202egol.txt\u2066", "\\x9b31m\\u202egol.txt\\u2066"),
        (os.fsdecode(b"\xff.log"), "\\udcff.log"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_sentence_keeps_its_lines_and_nothing_else_that_moves_a_cursor(
    capfd: pytest.CaptureFixture[str],
) -> None:
    say("first\x1b[A\nsecond\r\n" + "long " * 4000)
    say("on stdout", on_stdout=True)
    said = capfd.readouterr()
    assert said.err == "first\\x1b[A\nsecond\\r\n" + "long " * 4000 + "\n"
    assert said.out == "on stdout\n"


def test_the_same_sentence_is_said_twenty_times_a_minute_and_then_how_often_it_was_not() -> None:
    repeats = _Repeats()
    said = [repeats.due("away", now) for now in range(23)]
    assert said == [["away"]] * 20 + [[]] * 3
    assert repeats.due("full", 59.0) == ["full"]
    assert repeats.due("full", 60.0) == ["3 times more: away", "full"]
    assert repeats.due("away", 61.0) == ["away"]
    for number in range(2000):
        repeats.due(str(number), 62.0)
    assert len(repeats._said) == 1000
    assert repeats.due("new", 62.0) == ["new"]


def test_what_is_said_can_be_json_which_logwax_reads_itself(
    capfd: pytest.CaptureFixture[str],
) -> None:
    speak("json")
    try:
        say("größe\x1b[A\nsecond", level="error")
        with about("id-1"):
            say("of a request")
        say("on stdout", on_stdout=True)
    finally:
        speak("text")
    found = capfd.readouterr()
    assert found.out == "on stdout\n"
    first, second = (json.loads(line) for line in found.err.splitlines())
    assert first.keys() == {"timestamp", "level", "message"}
    assert (first["level"], first["message"]) == ("error", "größe\\x1b[A\nsecond")
    assert (second["level"], second["request_id"]) == ("warning", "id-1")
    row = row_of("json", found.err.splitlines()[1])
    assert (row["level"], row["message"]) == ("warning", "of a request")
    assert row["attributes"] == '{"request_id":"id-1"}'


def failed(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (failed(RuntimeError("x"), StoreError("The store refuses.")), "The store refuses."),
        (failed(RuntimeError("x"), MemoryError()), "There is not enough memory: "),
        (failed(OSError(28, "?", "/a/b")), "No space left on device: /a/b (test_saying.py, line "),
        (failed(KeyError("k")), "This should not have happened: KeyError: 'k' (test_saying.py, "),
    ],
)
def test_the_last_words_are_those_of_the_first_error(error: BaseException, beginning: str) -> None:
    assert last_words(error).startswith(beginning)


FAILING = """
import bytewax.operators as op
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from connectors.saying import in_words, prepare
from connectors.sources.files import FileSource

def fail(batch):
    return [1][len(batch.spans)]

def flow():
    prepare()
    flow = Dataflow("failing")
    batches = op.input("tail", flow, FileSource(['a.log'], follow=False))
    op.output("out", op.map("fail", batches, in_words(fail)), StdOutSink())
    return flow
"""


def run_failing(tmp_path: Path, *arguments: str, **environment: str) -> str:
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "a.log").write_text(LINE)
    command = [sys.executable, "-c", f"import sys, runpy; sys.argv = {['run', 'failing:flow()']!r}"]
    command[-1] += f" + {list(arguments)!r}; runpy.run_module('bytewax.run', run_name='__main__')"
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{tmp_path}",
            "RUST_BACKTRACE": "1",
            **environment,
        },
        text=True,
        capture_output=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_error_that_nobody_foresaw_ends_the_pipeline_in_one_sentence(
    tmp_path: Path, workers: str
) -> None:
    said = run_failing(tmp_path, "-w", workers)
    assert said.startswith("This should not have happened: IndexError: list index out of range (")
    assert "Nothing is lost: start again." in said
    assert said.count("\n") == 1


def test_for_a_report_the_traceback_is_shown(tmp_path: Path) -> None:
    said = run_failing(tmp_path, LOGWAX_DEBUG="1")
    assert said.startswith("This should not have happened: IndexError")
    assert "Traceback (most recent call last):" in said


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
@pytest.mark.parametrize("state", ["closed", "full", "broken", "stuck"])
def test_a_stream_that_takes_nothing_stops_nothing(
    pipeline: Pipeline, stream: str, state: str
) -> None:
    log = pipeline.directory / "a.log"
    log.write_text(LINE * 50)
    (pipeline.directory / "no-file.log").mkdir()  # of which there is something to say
    reader, writer = os.pipe()
    if state == "full":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    elif state == "broken":
        os.close(reader)
    elif state == "stuck":  # nobody reads, and there is no room
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(writer, True)
    number = {"stdout": 1, "stderr": 2}[stream]
    process = subprocess.Popen(
        [sys.executable, "-m", "bytewax.run", "flows.main"],
        cwd=pipeline.directory,
        env=pipeline.environment(FOLLOW="false", LOG_PATHS="*.log"),
        stdout=writer if stream == "stdout" else subprocess.PIPE,
        stderr=writer if stream == "stderr" else subprocess.PIPE,
        preexec_fn=(lambda: os.close(number)) if state == "closed" else None,
    )
    os.close(writer)
    out, err = process.communicate(timeout=DEADLINE)
    if state != "broken":
        os.close(reader)
    assert process.returncode == 0
    if stream == "stderr":
        assert out.startswith(b"lines=50 stored=50 dead=0 ")
    else:
        assert err.endswith(b"no-file.log': not a regular file\n")
    assert log.read_text() == LINE * 50
