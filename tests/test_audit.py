"""`logwax audit` on a real store and real files: whatever is wrong is found, and named."""

from __future__ import annotations

import errno
import gzip
import os
import random
import re
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import clickhouse_connect
import numpy as np
import pytest
import xxhash

from connectors.accounts import accounts_of
from connectors.encodings import Encoding
from connectors.sources import file_list, known_files, recognising
from connectors.sources.content import Content
from connectors.sources.files import FileSource
from connectors.sources.tailed_file import Limits
from connectors.store import open_store
from flows import line_ranges
from flows.commands import Commands, Running
from flows.line_ranges import LineRanges
from settings import Settings
from tests.conftest import Pipeline, wait_for

DEADLINE = 120.0


def logwax(
    pipeline: Pipeline, *command: str, **settings: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *command],
        cwd=pipeline.directory,
        env=pipeline.environment(**settings),
        text=True,
        capture_output=True,
        timeout=DEADLINE,
    )


def line(number: int, when: str = "2026-11-01 10:00:00") -> str:
    return f"{when} cust_{number % 3} /orders/{number:06} 200 0.{number % 1000:03}\n"


SIZE = len(line(0))


def write_log(pipeline: Pipeline, text: str, name: str = "data/logs/api_requests.log") -> Path:
    log = pipeline.directory / name
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", newline="") as file:
        file.write(text)
    return log


def total(output: str) -> dict[str, int]:
    """The figures of all files."""
    (found,) = re.findall(r"^total of .*?: (.*)$", output, re.MULTILINE)
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", found)}


def on_the_store(pipeline: Pipeline, *statements: str) -> None:
    """Change the store of a pipeline that has ended, by hand."""
    path = str(pipeline.directory / "data" / "clickhouse")
    with closing(clickhouse_connect.get_client(interface="chdb", path=path)) as client:
        for statement in statements:
            client.command(statement)


@pytest.fixture
def stored(pipeline: Pipeline) -> Path:
    """A log of 1,000 lines in several blocks, some of them dead letters or empty, all stored."""
    texts = [line(n) for n in range(1000)]
    texts[500] = "nonsense\n"
    log = write_log(pipeline, "".join(texts) + "\n\r\n")
    done = pipeline.run(STREAM_MAX_SIZE=300)
    assert done.returncode == 0, done.stderr
    return log


def test_a_clean_store_is_all_accounted_for(pipeline, stored):
    done = logwax(pipeline, "audit")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("All is accounted for.\n")
    expected = {"lines": 1000, "stored": 999, "dead": 1}
    zeros = ("expired", "waiting", "missing", "twice", "changed", "stray", "doubt")
    assert total(done.stdout) == expected | dict.fromkeys(zeros, 0)


def test_names_a_line_that_is_missing(pipeline, stored):
    on_the_store(
        pipeline,
        f"ALTER TABLE logs DELETE WHERE offset IN ({7 * SIZE}, {8 * SIZE}, {300 * SIZE}) "
        "SETTINGS mutations_sync = 1",
        "ALTER TABLE dead_letters DELETE WHERE 1 SETTINGS mutations_sync = 1",
    )
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert f"missing {7 * SIZE}-{9 * SIZE} (2 lines)" in done.stdout
    assert f"missing {300 * SIZE}-{301 * SIZE} (1 lines)" in done.stdout
    assert f"missing {500 * SIZE}-{500 * SIZE + len('nonsense') + 1} (1 lines)" in done.stdout
    assert total(done.stdout)["missing"] == 4


def test_names_a_line_that_is_there_twice(pipeline, stored):
    on_the_store(pipeline, f"INSERT INTO logs SELECT * FROM logs WHERE offset = {9 * SIZE}")
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert f"twice {9 * SIZE}-{10 * SIZE} (1 lines)" in done.stdout


def test_a_line_that_is_both_a_row_and_a_dead_letter_is_there_twice(pipeline, stored):
    on_the_store(
        pipeline,
        "INSERT INTO dead_letters (file_id, offset) "
        f"SELECT file_id, offset FROM logs WHERE offset = {9 * SIZE}",
    )
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert f"twice {9 * SIZE}-{10 * SIZE} (1 lines)" in done.stdout


def test_two_wrongs_with_the_same_sum_are_found(pipeline, stored):
    on_the_store(
        pipeline,
        f"INSERT INTO logs SELECT * FROM logs WHERE offset IN ({10 * SIZE}, {20 * SIZE})",
        f"ALTER TABLE logs DELETE WHERE offset IN ({13 * SIZE}, {17 * SIZE}) "
        "SETTINGS mutations_sync = 1",
    )
    found = total(logwax(pipeline, "audit").stdout)
    assert (found["missing"], found["twice"]) == (2, 2)


def test_names_a_row_that_belongs_to_no_line(pipeline, stored):
    on_the_store(
        pipeline,
        f"ALTER TABLE logs UPDATE offset = {9 * SIZE + 3} WHERE offset = {9 * SIZE} "
        "SETTINGS mutations_sync = 1",
    )
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert f"stray {9 * SIZE + 3}-" in done.stdout
    assert f"missing {9 * SIZE}-{10 * SIZE} (1 lines)" in done.stdout


def test_a_dead_letter_that_an_earlier_version_let_begin_with_its_filler_is_its_line(pipeline):
    write_log(pipeline, line(0) + "\0\0\0no request\n" + "\0\0\n" + line(1))
    assert pipeline.run().returncode == 0
    again = "INSERT INTO dead_letters SELECT * REPLACE (toUInt64({}) AS offset) FROM dead_letters"
    on_the_store(
        pipeline,
        again.format(SIZE) + " LIMIT 1",
        again.format(SIZE + 14) + " LIMIT 1",
        f"DELETE FROM dead_letters WHERE offset = {SIZE + 3}",
    )
    done = logwax(pipeline, "audit")
    assert (done.returncode, total(done.stdout)["dead"]) == (0, 2), done.stdout


def test_rows_beyond_the_position_are_stray(pipeline, stored):
    on_the_store(
        pipeline,
        "INSERT INTO logs (file_id, offset) SELECT any(file_id), 100000000 FROM logs",
    )
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert "stray 100000000-" in done.stdout


def test_names_the_block_of_a_line_that_was_changed_in_the_file(pipeline, stored):
    data = stored.read_bytes()
    hashes = [
        f"ALTER TABLE ingest_blocks UPDATE proof = '0 0 0 0 {xxhash.xxh3_64_intdigest(data[a:b])}' "
        f"WHERE kind = 'block' AND start = {a} SETTINGS mutations_sync = 1"
        for a, b in ((0, 300 * SIZE), (300 * SIZE, 600 * SIZE - SIZE + len("nonsense\n")))
    ]
    on_the_store(pipeline, *hashes)
    assert logwax(pipeline, "audit").returncode == 0
    with stored.open("r+b") as file:
        file.seek(400 * SIZE + 30)
        file.write(b"7")
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert f"changed {300 * SIZE}-{599 * SIZE + len('nonsense') + 1} " in done.stdout
    assert total(done.stdout)["changed"] == 1


def test_lines_that_were_not_read_yet_are_waiting(pipeline, stored):
    write_log(pipeline, line(1) + "\n" + line(2))
    write_log(pipeline, line(3) + "half a li", "data/logs/other.log")
    done = logwax(pipeline, "audit", LOG_PATHS="data/logs/*.log")
    assert done.returncode == 1
    assert total(done.stdout)["waiting"] == 3
    assert "(not known yet)" in done.stdout


def test_an_unfinished_line_does_not_wait(pipeline, stored):
    write_log(pipeline, "half a li")
    assert logwax(pipeline, "audit").returncode == 0
    pipeline.run()  # which does not follow, and stores it as it is
    done = logwax(pipeline, "audit")
    assert (done.returncode, total(done.stdout)["dead"]) == (0, 2)
    write_log(pipeline, "ne\n" + line(5))
    pipeline.run()
    done = logwax(pipeline, "audit")
    assert (done.returncode, total(done.stdout)["lines"]) == (0, 1003), done.stdout


def test_a_block_in_doubt_is_not_accounted_for_until_it_is_settled(pipeline, stored):
    write_log(pipeline, line(1) * 10)
    on_the_store(
        pipeline,
        "INSERT INTO ingest_blocks SELECT instance, 5, 1, kind, stream, file_id, path, end, end,"
        " first_line, 10, '', now64(6) FROM ingest_blocks"
        " WHERE kind = 'block' ORDER BY end DESC LIMIT 1",
    )
    done = logwax(pipeline, "audit")
    assert done.returncode == 1
    assert total(done.stdout)["doubt"] == 10


def test_nothing_before_a_chosen_beginning_is_missed(pipeline):
    write_log(pipeline, line(0) * 5)
    pipeline.start(LOG_START="end")
    pipeline.wait_until_healthy()
    write_log(pipeline, line(1))
    pipeline.wait_until_stored(1)
    pipeline.stop()
    done = logwax(pipeline, "audit")
    assert (done.returncode, total(done.stdout)["lines"]) == (0, 1), done.stdout


def test_lines_past_the_retention_are_expired_not_missing(pipeline):
    old = "".join(line(n, "2020-01-01 10:00:00") for n in range(20))
    new = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    write_log(pipeline, old + "nonsense\n" + line(5, new) + line(6, new))
    pipeline.run()
    on_the_store(
        pipeline, "ALTER TABLE logs DELETE WHERE timestamp < '2021-01-01' SETTINGS mutations_sync=1"
    )
    assert total(logwax(pipeline, "audit").stdout)["missing"] == 20
    done = logwax(pipeline, "audit", RETENTION_DAYS=7)
    assert (done.returncode, total(done.stdout)["expired"]) == (0, 20), done.stdout


def test_a_killed_pipeline_is_audited_and_again_after_it_was_settled(pipeline):
    write_log(pipeline, "")
    with pipeline.generator(LOG_GENERATOR_BAD_RATIO=0.01):
        pipeline.start("-w", "2", STREAM_MAX_SIZE=1000)
        pipeline.wait_until_healthy()
        pipeline.wait_until_stored(10_000)
        pipeline.running.kill()
        pipeline.running.communicate()
    found = total(logwax(pipeline, "audit").stdout)
    assert found["missing"] == found["twice"] == found["stray"] == 0
    assert pipeline.run().returncode == 0
    done = logwax(pipeline, "audit")
    assert done.returncode == 0, done.stdout


def test_positions_is_a_row_a_file(pipeline, stored):
    write_log(pipeline, "x\n", "data/logs/other.log")
    done = logwax(pipeline, "positions", LOG_PATHS="data/logs/*.log")
    assert done.returncode == 0, done.stderr
    header, known, unknown = (row.split() for row in done.stdout.splitlines())
    size = str(stored.stat().st_size)
    assert header == ["file_id", "size", "stored", "lag", "path"]
    assert known[1:] == [size, size, "0", str(stored)]
    assert unknown == ["-", "2", "0", "2", str(stored.with_name("other.log"))]
    rotated = stored.rename(stored.with_suffix(".1"))
    assert str(rotated) in logwax(pipeline, "positions").stdout
    rotated.unlink()
    done = logwax(pipeline, "positions")
    assert done.stdout.splitlines()[1].endswith(f"{size}    0  (not there) {stored}")


def test_a_bar_on_the_terminal_leaves_the_output_alone(pipeline, stored):
    terminal, of_the_command = os.openpty()
    shown = b""

    def look() -> None:
        nonlocal shown
        with suppress(OSError):  # the command has ended
            while seen := os.read(terminal, 100_000):
                shown += seen

    looking = threading.Thread(target=look)
    looking.start()  # a terminal that nobody looks at makes a slow command wait
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli", "audit"],
            cwd=pipeline.directory,
            env=pipeline.environment(TERM="xterm"),
            text=True,
            stdout=subprocess.PIPE,
            stderr=of_the_command,
            timeout=DEADLINE,
        )
    finally:
        os.close(of_the_command)
        looking.join()
        os.close(terminal)
    assert (done.returncode, total(done.stdout)["lines"]) == (0, 1000)
    assert b"auditing" in shown
    assert b"total of" not in shown


def test_a_file_that_must_not_be_read_is_not_accounted_for(pipeline, stored, monkeypatch):
    def refuse(
        path: str,
    ) -> Content:  # the administrator may read everything: there is no such file
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(recognising, "open_content", refuse)
    monkeypatch.setattr(known_files, "open_content", refuse)
    settings = Settings(
        _env_file=None, data_dir=pipeline.directory / "data", log_paths=str(stored), follow=False
    )
    store = open_store(settings)
    try:
        file, *_, end = Commands(settings, store, accounts_of(store, settings)).audit()
    finally:
        store.close()
    assert (file["error"], end["ok"]) == (f"cannot read {str(stored)!r}: Permission denied", False)


def test_a_file_that_no_glob_covers_is_looked_at_all_the_same(pipeline, stored):
    write_log(pipeline, "", "data/other.log")
    done = logwax(pipeline, "audit", LOG_PATHS="data/*.log")
    assert (done.returncode, total(done.stdout)["lines"]) == (0, 1000), done.stdout
    assert f"{stored} (file " in done.stdout
    assert "no glob of LOG_PATHS covers it" in done.stdout
    write_log(pipeline, line(1))
    done = logwax(pipeline, "audit", LOG_PATHS="data/*.log")
    assert (done.returncode, total(done.stdout)["waiting"]) == (1, 1)


def test_names_the_known_files_that_are_not_there(pipeline, stored):
    size = stored.stat().st_size
    stored.unlink()
    done = logwax(pipeline, "audit")
    assert f"{stored} (file " in done.stdout
    assert f": not there any more, it was read up to byte {size:,}\n" in done.stdout
    assert "1 known files are not there any more" in done.stdout
    # Of all that LOG_PATHS covers, nothing was there.
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nothing was looked at" in done.stderr


def test_names_what_was_damaged_or_no_text(pipeline):
    whole = gzip.compress("".join(line(n) for n in range(1000)).encode())
    logs = write_log(pipeline, line(1), "data/logs/good.log").parent
    (logs / "half.gz").write_bytes(whole[: len(whole) // 2])
    (logs / "cut.gz").write_bytes(whole[:10])
    (logs / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    done = pipeline.run(LOG_PATHS="data/logs/*")
    assert done.stderr.count("cannot read") == 3
    done = logwax(pipeline, "audit", LOG_PATHS="data/logs/*")
    assert done.returncode == 1
    found = total(done.stdout)
    assert found["stored"] == found["lines"] > 100
    (half,) = re.findall(r"half.gz .*\n  (.*)\n", done.stdout)
    (cut,) = re.findall(r"cut.gz .*\n  (.*)\n", done.stdout)
    (image,) = re.findall(r"image.png .*\n  (.*)\n", done.stdout)
    assert "cannot read it to its end: its compressed data is damaged" in half
    assert "its compressed data is damaged" in cut
    assert "it is not text, it looks like a PNG image" in image


def test_what_a_running_pipeline_has_lost_is_not_accounted_for(pipeline, monkeypatch):
    monkeypatch.setattr(file_list, "GRACE_SECONDS", 0.0)
    log = write_log(pipeline, line(1) + line(2))
    settings = Settings(
        _env_file=None, data_dir=pipeline.directory / "data", log_paths=str(log), follow=True
    )
    store = open_store(settings)
    source = FileSource([str(log)], store, Limits(seconds=1000.0))
    try:
        write_log(pipeline, line(3))
        catalog = source._catalog
        wait_for(lambda: catalog.collect() is None and catalog.due_in(), "a line that waits")
        os.truncate(log, SIZE)
        wait_for(lambda: catalog.collect() is None and source.gaps(), "the gap")
        running = Running(source, frozenset())
        events = list(Commands(settings, store, accounts_of(store, settings), running).audit())
    finally:
        source.close()
        store.close()
    (gap,) = (event for event in events if event["event"] == "gap")
    assert "were gone before they could be read" in gap["detail"]
    assert not events[-1]["ok"]


def test_what_goes_wrong_is_a_sentence(pipeline):
    done = logwax(pipeline, "audit", STORE="null")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "STORE=null" in done.stderr


# --- where lines are ----------------------------------------------------------------------------


def lines_of(data: bytes, cuts: set[int], newline: bytes) -> list[tuple[int, int]]:
    """The definition, byte by byte."""
    unit, found, start = len(newline), [], 0
    for end in range(unit, len(data) + unit, unit):
        end = min(end, len(data))
        if data[end - unit : end] == newline or end in cuts or end == len(data):
            text = data[start:end].removesuffix(newline)
            if text.removesuffix(newline.replace(b"\n", b"\r")):
                found.append((start, end))
            start = end
    return found


@pytest.mark.parametrize("name", ["utf-8", "utf-16-le", "utf-16-be"])
def test_line_ranges_are_as_defined_whatever_the_chunks_are(tmp_path, monkeypatch, name):
    moments = random.Random(1)
    encoding = Encoding(name)
    for _ in range(300):
        text = "".join(moments.choices("a\r\n\u0a0a", [4, 2, 5, 1], k=moments.randrange(40)))
        data = text.encode(name)
        (tmp_path / "log").write_bytes(data)
        cuts = {moments.randrange(40) * encoding.unit for _ in range(moments.randrange(3))} - {0}
        monkeypatch.setattr(line_ranges, "CHUNK", moments.randrange(1, 9) * encoding.unit)
        fd = os.open(tmp_path / "log", os.O_RDONLY)
        tried = LineRanges(Content(fd), encoding, len(data), np.array(sorted(cuts), np.int64))
        expected = lines_of(data, cuts, encoding.newline)
        found = [pair for part in tried.lines(0) for pair in zip(*part, strict=True)]
        assert found == expected
        first = moments.randrange(20) * encoding.unit
        part = tried.lines_between(first, first + 8)
        assert [*zip(*part, strict=True)] == [p for p in expected if first <= p[0] < first + 8]
        os.close(fd)
