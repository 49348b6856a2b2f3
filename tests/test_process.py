"""A pipeline among other people's limits: rights, zones, memory, descriptors, a full disk."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from tests.conftest import DEADLINE, ROOT, Pipeline, wait_for

LINE = "2026-11-01 10:00:00 cust_1 /orders/1 200 0.5\n"


def write_log(pipeline: Pipeline, count: int = 10) -> Path:
    log = pipeline.directory / "a.log"
    with log.open("a") as file:
        file.write(LINE * count)
    return log


def limited(name: int, amount: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(name, (amount, amount))


def started(
    pipeline: Pipeline, before: Callable[[], object], **settings: object
) -> subprocess.Popen[str]:
    pipeline.running = subprocess.Popen(
        [sys.executable, "-m", "bytewax.run", "flows.main"],
        cwd=pipeline.directory,
        env=pipeline.environment(LOG_PATHS="*.log", **settings),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    )
    return pipeline.running


@pytest.mark.parametrize("zone", ["CET-1CEST", "<-03>3", "nonsense", ":", ""])
def test_whatever_time_zone_the_machine_has_the_engine_starts(
    pipeline: Pipeline, zone: str
) -> None:
    write_log(pipeline)
    done = pipeline.run(LOG_PATHS="*.log", TZ=zone)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lines=10 stored=10 dead=0 ")


def test_what_is_stored_is_for_its_owner_only(pipeline: Pipeline) -> None:
    data = pipeline.directory / "data"
    data.mkdir(mode=0o755)  # somebody's choice, which stays
    log = write_log(pipeline)
    started(pipeline, lambda: os.umask(0))
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(10)
    files = list(data.rglob("*"))
    assert {"embedded.lock", "api.token", "clickhouse"} <= {path.name for path in files}
    assert [path for path in files if path.stat().st_mode & 0o077] == []
    assert stat.S_IMODE(data.stat().st_mode) == 0o755
    assert pipeline.stop() == 0

    done = subprocess.run(
        [sys.executable, "-m", "cli", "backfill", str(log)],
        cwd=pipeline.directory,
        env=pipeline.environment(),
        preexec_fn=lambda: os.umask(0),
    )
    assert done.returncode == 0
    assert [path for path in data.rglob("*") if path.stat().st_mode & 0o077] == []


def test_too_little_memory_is_a_sentence_at_the_start(pipeline: Pipeline) -> None:
    write_log(pipeline)
    process = started(pipeline, limited(resource.RLIMIT_AS, 1200 * 1024**2), FOLLOW="false")
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert said.startswith("STORE=embedded: the memory of a process is limited to 1.2 GiB")
    assert said.count("\n") == 1


def test_more_connections_than_descriptors_cost_neither_lines_nor_answers(
    pipeline: Pipeline,
) -> None:
    process = started(pipeline, limited(resource.RLIMIT_NOFILE, 256))
    pipeline.wait_until_healthy()
    idle = []
    for _ in range(400):
        idle.append(socket.create_connection(("127.0.0.1", pipeline.port), timeout=DEADLINE))
        idle[-1].sendall(b"GET /hea")
    write_log(pipeline)
    pipeline.wait_until_stored(10)
    process.terminate()
    _, said = process.communicate(timeout=DEADLINE)
    for connection in idle:
        connection.close()
    assert process.returncode == 0
    assert said.splitlines()[1:] == []  # beside the warning that no file is there yet


def test_a_full_disk_is_waited_for_and_said(pipeline: Pipeline) -> None:
    process = started(pipeline, lambda: None)
    pipeline.wait_until_healthy()
    # no file may grow from here on, which is what a full disk is to a process
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    write_log(pipeline)
    wait_for(lambda: pipeline.get("/health").json()["last_error"], "an error")
    health = pipeline.get("/health").json()
    assert health["status"] == "unhealthy"
    assert health["last_error"] == "The store cannot be used now, trying again: File too large"

    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)

    pipeline.wait_until_stored(10)
    wait_for(pipeline.is_healthy)
    assert pipeline.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_while_nothing_can_be_stored_is_said_in_one_sentence(
    pipeline: Pipeline, workers: int
) -> None:
    write_log(pipeline, 0)
    process = started(pipeline, lambda: None, BYTEWAX_WORKERS_PER_PROCESS=workers)
    pipeline.wait_until_healthy()
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    write_log(pipeline)
    wait_for(lambda: pipeline.get("/health").json()["last_error"], "an error")
    process.terminate()
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert said.splitlines() == [
        "The store cannot be used now, trying again: File too large",
        "Stopped while the store could not be used (File too large); "
        "the next start settles the batch in hand.",
    ]


def test_a_start_that_cannot_write_leaves_nothing_in_the_way_of_the_next(
    pipeline: Pipeline,
) -> None:
    write_log(pipeline)
    pipeline.run(LOG_PATHS="*.log")
    data = pipeline.directory / "data"
    for _ in range(2):
        process = started(pipeline, limited(resource.RLIMIT_FSIZE, 0))
        _, said = process.communicate(timeout=DEADLINE)
        assert process.returncode == 1
        assert said.startswith("Cannot use DATA_DIR data: File too large")
    assert {path.name for path in data.iterdir()} == {"clickhouse", "embedded.lock"}
    write_log(pipeline)
    assert pipeline.run(LOG_PATHS="*.log").stdout.startswith("lines=10 stored=10 ")


def test_tokens_of_processes_that_were_killed_go(pipeline: Pipeline) -> None:
    write_log(pipeline)
    pipeline.run(LOG_PATHS="*.log")
    data = pipeline.directory / "data"
    for name in ("api.token", "api.token.4242"):
        (data / name).write_text("old")
    pipeline.run(LOG_PATHS="*.log")
    assert list(data.glob("api.token*")) == []


# Damage


def part_of(store: Client, table: str) -> Path:
    query = "SELECT path FROM system.parts WHERE active AND table = {table:String} ORDER BY name"
    path = Path(store.query(query, {"table": table}).result_rows[0][0])
    store.close()
    return path


def damaged_store(pipeline: Pipeline, open_client: Callable[[], Client], table: str) -> Path:
    """A part of a store that two runs have filled, with rows and dead letters in each."""
    for _ in range(2):
        with write_log(pipeline).open("a") as file:
            file.write("nonsense\n")
        pipeline.run(LOG_PATHS="*.log")
    return part_of(open_client(), table)


def test_a_damaged_part_of_the_ledger_that_others_make_up_for_costs_nothing(
    pipeline: Pipeline, open_client: Callable[[], Client]
) -> None:
    damaged_store(pipeline, open_client, "ingest_blocks")
    client = open_client()
    client.command("OPTIMIZE TABLE ingest_blocks FINAL")
    merged = part_of(client, "ingest_blocks")
    (merged / "data.bin").unlink()
    done = pipeline.run(LOG_PATHS="*.log")
    assert (done.returncode, done.stdout.split(" ")[0]) == (0, "lines=0")
    assert "All of it is in other parts, too" in done.stderr


def test_without_the_compiled_part_the_start_and_health_say_so(pipeline: Pipeline) -> None:
    write_log(pipeline)
    at_the_start = pipeline.directory / "sitecustomize.py"
    at_the_start.write_text("import native\n\nnative.library = None\n")
    process = started(pipeline, lambda: None, PYTHONPATH=f"{at_the_start.parent}:{ROOT}")
    pipeline.wait_until_healthy()
    [problem] = pipeline.get("/health").json()["problems"]
    assert problem.startswith("The C part of Logwax is not compiled")
    process.terminate()
    assert process.communicate(timeout=DEADLINE)[1] == f"{problem}\n"


@pytest.mark.parametrize("table", ["logs", "dead_letters"])
def test_a_part_that_is_damaged_is_named_at_the_start_and_in_health(
    pipeline: Pipeline, open_client: Callable[[], Client], table: str
) -> None:
    part = damaged_store(pipeline, open_client, table)
    (part / "data.bin").unlink()
    process = started(pipeline, lambda: None)
    pipeline.wait_until_healthy()
    [problem] = pipeline.get("/health").json()["problems"]
    assert problem.startswith(f"Damaged parts of the table {table} were set aside: /")
    assert "with their rows" in problem
    assert "logwax_problems 1.0" in pipeline.get("/metrics").text
    process.terminate()
    assert process.communicate(timeout=DEADLINE)[1] == f"{problem}\n"

    [aside] = part.parent.glob("detached/broken*")
    shutil.rmtree(aside)

    assert pipeline.run(LOG_PATHS="*.log").stderr == ""


def test_without_a_part_of_the_ledger_there_is_no_start(
    pipeline: Pipeline, open_client: Callable[[], Client]
) -> None:
    part = damaged_store(pipeline, open_client, "ingest_blocks")
    for path in part.parent.glob("all_*/data.bin"):  # those that it was merged of, too
        path.write_bytes(b"")
    done = pipeline.run(LOG_PATHS="*.log")
    assert done.returncode == 1
    assert done.stderr.startswith("Damaged parts of the table ingest_blocks were set aside: /")
    assert "would be stored twice" in done.stderr


def test_a_ledger_that_cannot_be_read_is_a_sentence(
    pipeline: Pipeline, open_client: Callable[[], Client]
) -> None:
    part = damaged_store(pipeline, open_client, "ingest_blocks")
    for path in part.parent.glob("all_*/data.bin"):
        data = bytearray(path.read_bytes())
        data[40:48] = bytes(byte ^ 0xFF for byte in data[40:48])
        path.write_bytes(data)
    done = pipeline.run(LOG_PATHS="*.log")
    assert done.returncode == 1
    assert done.stderr.startswith("The ledger cannot be read: Code: 40. DB::Exception: Checksum")
    assert "Traceback" not in done.stderr


# Names


def test_names_that_a_terminal_would_obey_are_escaped(pipeline: Pipeline) -> None:
    (pipeline.directory / "a\x1b[2J\nb.log").write_text(LINE)
    (pipeline.directory / "c\x9b.log").mkdir()
    done = pipeline.run(LOG_PATHS="*.log")
    assert done.stdout.startswith("lines=1 stored=1 ")
    shown = [done.stdout + done.stderr]
    for command in (["positions"], ["audit"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "cli", *command],
            cwd=pipeline.directory,
            env=pipeline.environment(LOG_PATHS="*.log,\x1b]0;x\x07.log"),
            text=True,
            capture_output=True,
        )
        shown.append(done.stdout + done.stderr)
    assert [text for text in shown if "\x1b" in text or "\x07" in text or "\x9b" in text] == []
    assert "a\\x1b[2J\\nb.log" in shown[1] and "a\\x1b[2J\\nb.log" in shown[2]
    assert "\\x1b]0;x\\x07.log" in shown[3]
