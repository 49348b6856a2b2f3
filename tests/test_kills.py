"""Killed again and again while logs grow and rotate: every line is in the store exactly once."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from tests.conftest import ROOT, Pipeline, wait_for
from tests.kill_harness import InClickHouse, Plan, Tally, kill_and_count, tally
from tests.rotating_writer import lines

WRITTEN = {"file0": 2500, "file1": 1500}


def test_stores_every_line_once_though_it_is_killed_while_logs_rotate(
    tmp_path: Path, soak: bool
) -> None:
    plan = (
        Plan(kills=200, rate=25_000, gzip=True)
        if soak
        else Plan(kills=5, rotate_every=1.5, gzip=True)
    )
    outcome = kill_and_count(tmp_path / "kills", plan)
    assert outcome.is_exact, f"seed {plan.seed}: {outcome}"
    assert outcome.rotations > plan.files
    assert outcome.stored_by_killed > 0, "nobody was killed at work"


def test_sqlite_has_every_line_once_though_two_processes_at_a_time_are_killed(
    tmp_path: Path, soak: bool
) -> None:
    plan = Plan(
        kills=100 if soak else 6,
        processes=2,
        rate=25_000,
        rotate_every=4.0 if soak else 1.5,
        gzip=True,
        settings={"STORE": "sqlite"},
    )
    outcome = kill_and_count(tmp_path / "kills", plan)
    assert outcome.is_exact, f"seed {plan.seed}: {outcome}"
    assert outcome.rotations > plan.files
    assert outcome.stored_by_killed > 0, "nobody was killed at work"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a pipeline that has stored every line of `WRITTEN`, malformed ones included."""
    pipeline = Pipeline(tmp_path_factory.mktemp("filled"), port=0)
    for file, count in WRITTEN.items():
        (pipeline.directory / f"{file}.log").write_bytes(lines(file, 0, count))
    done = pipeline.run(LOG_PATHS="file*.log")
    assert done.stdout.startswith("lines=4000 stored=3997 dead=3 ")
    return pipeline.directory / "data"


@pytest.fixture
def stored(filled: Path, tmp_path: Path, open_client: Callable[[], Client]) -> Client:
    """A copy of that store, to be changed."""
    shutil.copytree(filled, tmp_path / "data", symlinks=True)
    return open_client()


def test_the_tally_finds_nothing_where_nothing_is_wrong(stored):
    assert tally(InClickHouse(stored), WRITTEN) == Tally(missing=0, twice=0, strange=0)


@pytest.mark.parametrize(
    "table, line",
    [("logs", "request_path = '/seq/17'"), ("dead_letters", "raw = 'broken file1 /seq/999'")],
)
def test_the_tally_finds_lines_that_are_lost_and_lines_that_are_doubled(stored, table, line):
    lost = stored.query(f"SELECT count() FROM {table} WHERE {line}").result_rows[0][0]
    stored.command(f"INSERT INTO {table} SELECT * FROM {table} WHERE {line}")
    assert tally(InClickHouse(stored), WRITTEN) == Tally(missing=0, twice=lost, strange=0)
    stored.command(f"ALTER TABLE {table} DELETE WHERE {line} SETTINGS mutations_sync = 2")
    assert tally(InClickHouse(stored), WRITTEN) == Tally(missing=lost, twice=0, strange=0)


def test_a_doubled_line_does_not_make_up_for_a_lost_one(stored):
    stored.command("INSERT INTO logs SELECT * FROM logs WHERE request_path = '/seq/2000'")
    stored.command(
        "ALTER TABLE logs DELETE WHERE request_path = '/seq/2001' SETTINGS mutations_sync = 2"
    )
    assert tally(InClickHouse(stored), WRITTEN) == Tally(missing=1, twice=1, strange=0)


@pytest.mark.parametrize(
    "torn",
    [
        "INSERT INTO dead_letters (raw) VALUES ('ken file1 /seq/999')",
        "INSERT INTO dead_letters (raw) VALUES ('broken file1 /seq/999 2026-11-01')",
        "INSERT INTO logs (customer_id, request_path) VALUES ('file1', '/seq/1500')",
        "INSERT INTO logs (customer_id, request_path) VALUES ('file1', '/seq/15x')",
        "INSERT INTO logs (customer_id, request_path) VALUES ('file', '/seq/15')",
    ],
)
def test_the_tally_finds_rows_that_nobody_wrote(stored, torn):
    stored.command(torn)
    assert tally(InClickHouse(stored), WRITTEN) == Tally(missing=0, twice=0, strange=1)


def test_the_writer_writes_each_line_it_counts_once_and_deletes_none(tmp_path):
    command = [sys.executable, "-m", "tests.rotating_writer", str(tmp_path), "--gzip"]
    writer = subprocess.Popen(
        [*command, "--rotate-every", "0.4"], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )
    try:
        wait_for(lambda: list(tmp_path.glob("*.gz")), "a compressed file")
        wait_for(lambda: list(tmp_path.glob("*.log.3")), "a third rotation")
        writer.terminate()
        said = json.loads(writer.communicate()[0])
    finally:
        writer.kill()
    written: dict[str, list[bytes]] = defaultdict(list)
    rotated = 0
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        whole = gzip.decompress(data) if path.suffix == ".gz" else data
        written[f"file{path.name[3]}"] += whole.splitlines(keepends=True)
        rotated += not path.name.endswith(".log")
    assert said["rotations"] == rotated
    for file, count in said["lines"].items():
        assert sorted(written[file]) == sorted(lines(file, 0, count).splitlines(keepends=True))
        assert count
