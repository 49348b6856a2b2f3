"""The store remembers a bounded number of insert tokens; no promise rests on more than that."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from contextlib import closing
from pathlib import Path

import clickhouse_connect
import polars as pl
from clickhouse_connect.driver.client import Client

from connectors.batch import COLUMNS, Parsed, Span, Stream
from connectors.store import open_store
from settings import Settings
from tests.conftest import Pipeline
from tests.kill_harness import InClickHouse, Tally, tally
from tests.rotating_writer import lines

TABLES = ("logs", "dead_letters", "ingest_blocks")
SHORT_WINDOW = 20
QUIET = {f"file{number}": 3 for number in range(501)}


def open_embedded(directory: Path) -> Client:
    """The embedded store of a pipeline that has ended; to be closed before the next one starts."""
    path = str(directory / "data" / "clickhouse")
    return clickhouse_connect.get_client(interface="chdb", path=path)


def shorten_window(client: Client) -> None:
    for table in TABLES:
        client.command(
            f"ALTER TABLE {table} MODIFY SETTING "
            f"non_replicated_deduplication_window = {SHORT_WINDOW}"
        )


def window(client: Client) -> int:
    (found,) = client.query(
        "SELECT extract(engine_full, 'non_replicated_deduplication_window = ([0-9]+)') "
        "FROM system.tables WHERE database = currentDatabase() AND name = 'logs'"
    ).result_rows
    return int(found[0])


def batch(number: int) -> Parsed:
    """Line `number` of a file that no glob leads to, as a batch."""
    span = Span(Stream(1, "/elsewhere"), number, number + 1, number, 1)
    row = {"customer_id": "elsewhere", "request_path": f"/seq/{number}", "file_id": 1}
    columns = {name: COLUMNS[name] for name in (*row, "offset")}
    return Parsed((span,), rows=pl.DataFrame([{**row, "offset": number}], schema=columns))


def write_further_blocks(directory: Path, count: int) -> None:
    """A process that writes so many blocks, says so in the ledger, and is killed."""
    store = open_store(Settings(_env_file=None, data_dir=directory / "data"))
    writer = store.writer()
    for number in range(count):
        writer.write(batch(number))
    writer.close()
    os.kill(os.getpid(), signal.SIGKILL)


def pass_the_window(directory: Path, blocks: int) -> None:
    """Let another process write so many blocks."""
    process = multiprocessing.get_context("spawn").Process(
        target=write_further_blocks, args=(directory, blocks)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def write_quiet_files(directory: Path) -> None:
    for file, count in QUIET.items():
        (directory / f"{file}.log").write_bytes(lines(file, 0, count))


def kill(pipeline: Pipeline) -> None:
    assert pipeline.running
    pipeline.running.kill()
    pipeline.running.communicate()


def start_and_kill(pipeline: Pipeline, expected_lines: int) -> None:
    """Kill a pipeline that has stored so many lines."""
    pipeline.start(LOG_PATHS="*.log")  # one worker: a block in doubt comes before all others
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(expected_lines)
    kill(pipeline)


def footprint(pipeline: Pipeline) -> dict[str, tuple[int, int]]:
    """Of every table its rows, and a number that grows with each insert ever made."""
    with closing(open_embedded(pipeline.directory)) as client:
        inserts = client.query(
            "SELECT table, max(max_block_number) FROM system.parts "
            "WHERE database = currentDatabase() GROUP BY table"
        ).result_rows
        return {
            table: (client.query(f"SELECT count() FROM {table}").result_rows[0][0], number)
            for table, number in inserts
        }


def test_a_token_is_forgotten_when_the_window_has_passed(tmp_path):
    with closing(open_store(Settings(_env_file=None, data_dir=tmp_path))) as store:
        shorten_window(store._client)
        writer = store.writer()
        blocks = []
        for number in range(2 * SHORT_WINDOW):
            writer.write(batch(number))
            blocks.append(writer._block)

        def repeat(number: int) -> int:
            writer._insert_all(batch(number), blocks[number], None)
            return asyncio.run(store.reader.counts())[0]

        assert repeat(2 * SHORT_WINDOW - 1) == 2 * SHORT_WINDOW
        assert repeat(0) == 2 * SHORT_WINDOW + 1, "the window has not passed"


def test_files_that_were_quiet_beyond_the_window_are_neither_lost_nor_doubled(pipeline, soak):
    write_quiet_files(pipeline.directory)
    start_and_kill(pipeline, sum(QUIET.values()))
    if not soak:
        with closing(open_embedded(pipeline.directory)) as client:
            shorten_window(client)
    further = 12_000 if soak else 2 * SHORT_WINDOW
    pass_the_window(pipeline.directory, further)

    written = {**QUIET, "busy": 0, "elsewhere": further}
    for _ in range(3 if soak else 1):
        with (pipeline.directory / "busy.log").open("ab") as busy:
            busy.write(lines("busy", written["busy"], 1))
        written["busy"] += 1
        start_and_kill(pipeline, sum(written.values()))
    assert pipeline.run(LOG_PATHS="*.log").returncode == 0
    with closing(open_embedded(pipeline.directory)) as client:
        assert tally(InClickHouse(client), written) == Tally(missing=0, twice=0, strange=0)
        assert window(client) < further, "the window has not passed"


def test_an_idle_pipeline_that_is_started_and_stopped_again_writes_nothing(pipeline):
    write_quiet_files(pipeline.directory)
    pipeline.start("-w", "2", LOG_PATHS="*.log")
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(sum(QUIET.values()))
    assert pipeline.stop() == 0
    before = footprint(pipeline)
    assert before["logs"][0] == sum(QUIET.values())
    pipeline.start("-w", "2", LOG_PATHS="*.log")
    pipeline.wait_until_healthy()
    assert pipeline.stop() == 0
    assert pipeline.run("-w", "2", LOG_PATHS="*.log").stdout.startswith("lines=0 ")
    assert footprint(pipeline) == before


def test_a_restart_after_a_kill_writes_an_entry_a_writer_and_the_next_restart_nothing(pipeline):
    write_quiet_files(pipeline.directory)
    start_and_kill(pipeline, sum(QUIET.values()))
    killed = footprint(pipeline)
    pipeline.run(LOG_PATHS="*.log")
    settled = footprint(pipeline)
    rows, inserts = killed["ingest_blocks"]
    entries = settled["ingest_blocks"][0] - rows
    assert entries in (1, 2), "of blocks that the two writers of a worker left in doubt"
    assert settled == {**killed, "ingest_blocks": (rows + entries, inserts + entries)}
    pipeline.run(LOG_PATHS="*.log")
    start_and_kill(pipeline, 0)
    assert footprint(pipeline) == settled
