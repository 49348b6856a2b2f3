"""What following costs: quiet files, files with little in each, and a line that does not end."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import clickhouse_connect

from benchmarks.job import free_port
from benchmarks.measure import MB, BenchmarkError, Effort, Figure, Process, Wanted

FILES, LINES_A_SECOND, SECONDS = 2_000, 100, 60
QUIET = {1: 0.5, 10_000: 5.0}
"""Files in which nothing is written, and the most wanted, in per cent of a core."""

LONG_LINE = 2 * 1024**3
_LINE = "2026-11-01 10:00:00 cust_1 /x/%d 200 0.5\n"


class _Follower:
    """The pipeline, following files in a directory of its own, and its largest memory."""

    def __init__(self, process: Process, directory: Path) -> None:
        self.process = process
        self._directory = directory
        process.rest(8)  # until it idles
        self.idle = max(process.resident)
        process.resident.clear()

    def memory(self, name: str) -> Figure:
        """What it took at its peak."""
        peak = max(self.process.resident)
        return Figure("files", name, "MB", [peak / MB], "at rest", [self.idle / MB])

    def ask(self, query: str) -> int:
        """One number of the store, once it has been stopped."""
        path = str(self._directory / "data" / "clickhouse")
        client = clickhouse_connect.get_client(interface="chdb", path=path)
        try:
            return int(client.query(query).result_rows[0][0])
        finally:
            client.close()


@contextmanager
def _following(port: int = 0) -> Iterator[tuple[_Follower, Path]]:
    settings = {"LOG_PATHS": "logs/**/*.log", "API_PORT": str(port)}
    command = (sys.executable, "-m", "bytewax.run", "flows.main")
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        (directory / "logs").mkdir()
        with Process(*command, directory=directory, settings=settings) as process:
            yield _Follower(process, directory), directory / "logs"


def _many_files() -> Iterator[Figure]:
    """Follow `FILES` files into which `LINES_A_SECOND` lines are written, spread over them."""
    with _following() as (follower, logs):
        for number in range(FILES):
            (logs / f"{number}.log").write_text(_LINE % number)
        follower.process.rest(10)
        cpu, began, written = follower.process.cpu, time.monotonic(), 0
        while time.monotonic() - began < SECONDS:
            with (logs / f"{written * 7 % FILES}.log").open("a") as log:
                log.write(_LINE % written)
            written += 1
            follower.process.rest(max(0.0, began + written / LINES_A_SECOND - time.monotonic()))
        share = (follower.process.cpu - cpu) / (time.monotonic() - began)
        follower.process.rest(3)
        follower.process.stop()
        stored = follower.ask("SELECT count() FROM logs")
        blocks = follower.ask(
            "SELECT uniqExact(writer, sequence) FROM ingest_blocks WHERE kind = 'block' "
            "AND recorded_at > (SELECT max(recorded_at) FROM ingest_blocks) - INTERVAL 50 SECOND"
        )
        if stored != FILES + written:
            raise BenchmarkError(f"{FILES + written} lines were written, {stored} are stored")
    name = f"{FILES:,} files, {LINES_A_SECOND} lines/s over them"
    yield Figure("files", name, "% of a core", [100 * share], "", [])
    yield Figure("files", name, "inserts/s", [2 * blocks / 50], "", [])
    yield follower.memory(name)


def _quiet_files(files: int) -> Iterator[Figure]:
    """Follow files in which nothing is written, with the API on."""
    with _following(free_port()) as (follower, logs):
        for number in range(files):
            directory = logs / str(number % 100)
            directory.mkdir(exist_ok=True)
            (directory / f"{number}.log").write_text(_LINE % number)
        follower.process.rest(30)
        cpu, began = follower.process.cpu, time.monotonic()
        follower.process.rest(SECONDS)
        share = (follower.process.cpu - cpu) / (time.monotonic() - began)
        follower.process.stop()
        if (stored := follower.ask("SELECT count() FROM logs")) != files:
            raise BenchmarkError(f"{files} lines were written, {stored} are stored")
    wanted = [Wanted(QUIET[files], "% of a core")]
    yield Figure("files", f"{files:,} quiet", "% of a core", [100 * share], "", [], wanted)


def _long_line() -> Iterator[Figure]:
    """Follow a file with a line of `LONG_LINE` bytes, and an ordinary one behind it."""
    with _following() as (follower, logs):
        piece = b"x" * (16 * 1024 * 1024)
        with (logs / "long.log").open("wb") as log:
            for _ in range(LONG_LINE // len(piece)):
                log.write(piece)
                follower.process.rest(0.01)
            follower.process.rest(5)
            log.write(b"\n" + (_LINE % 1).encode())
        follower.process.rest(10)
        follower.process.stop()
        dead = follower.ask("SELECT count() FROM dead_letters WHERE reason = 'too_long'")
        stored = follower.ask("SELECT count() FROM logs")
    if (dead, stored) != (1, 1):
        raise BenchmarkError(f"One dead letter and one row were to be there: {dead}, {stored}")
    yield follower.memory(f"a line of {LONG_LINE / 1024**3:.0f} GiB, and one behind it")


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """All; nothing if it is to be brief."""
    if not effort.brief:
        for files in QUIET:
            yield from _quiet_files(files)
        yield from _many_files()
        yield from _long_line()
