"""What following costs: many quiet files, and a line that does not end; beside the idle process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import clickhouse_connect
import psutil

from benchmarks.measure import ROOT, BenchmarkError

FILES, LINES_A_SECOND, SECONDS = 2_000, 100, 60
LONG_LINE = 2 * 1024**3
_LINE = "2026-11-01 10:00:00 cust_1 /x/%d 200 0.5\n"
_MB = 1_000_000


class _Follower:
    """The pipeline, following `logs/*.log` in a directory of its own, and its largest memory."""

    def __init__(self, directory: Path) -> None:
        (directory / "logs").mkdir()
        self._directory = directory
        settings = {"LOG_PATHS": "logs/*.log", "API_PORT": "0", "PYTHONPATH": str(ROOT)}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "bytewax.run", "flows.main"],
            cwd=directory,
            env={"PATH": os.environ["PATH"], **settings},
        )
        self._process = psutil.Process(self._popen.pid)
        self.peak = 0

    @property
    def cpu(self) -> float:
        """CPU seconds so far, user and system."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rest(self, seconds: float) -> None:
        """Let it run, and look at its memory."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._popen.poll() is not None:
                raise BenchmarkError(f"the pipeline ended with {self._popen.returncode}")
            self.peak = max(self.peak, self._process.memory_info().rss)
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        self._popen.terminate()
        self._popen.wait()

    def ask(self, query: str) -> int:
        """One number of the store, once it has been stopped."""
        path = str(self._directory / "data" / "clickhouse")
        client = clickhouse_connect.get_client(interface="chdb", path=path)
        try:
            return int(client.query(query).result_rows[0][0])
        finally:
            client.close()


@contextmanager
def _following() -> Iterator[tuple[_Follower, Path]]:
    with tempfile.TemporaryDirectory() as temporary:
        follower = _Follower(Path(temporary))
        try:
            follower.rest(8)  # until it idles
            yield follower, Path(temporary) / "logs"
        finally:
            follower.stop()


def many_files() -> list[str]:
    """Follow `FILES` files into which `LINES_A_SECOND` lines are written, spread over them."""
    with _following() as (follower, logs):
        idle, follower.peak = follower.peak, 0
        for number in range(FILES):
            (logs / f"{number}.log").write_text(_LINE % number)
        follower.rest(10)
        cpu, began, written = follower.cpu, time.monotonic(), 0
        while time.monotonic() - began < SECONDS:
            with (logs / f"{written * 7 % FILES}.log").open("a") as log:
                log.write(_LINE % written)
            written += 1
            follower.rest(max(0.0, began + written / LINES_A_SECOND - time.monotonic()))
        share = (follower.cpu - cpu) / (time.monotonic() - began)
        follower.rest(3)
        follower.stop()
        stored = follower.ask("SELECT count() FROM logs")
        blocks = follower.ask(
            "SELECT uniqExact(writer, sequence) FROM ingest_blocks WHERE kind = 'block' "
            "AND recorded_at > (SELECT max(recorded_at) FROM ingest_blocks) - INTERVAL 50 SECOND"
        )
        if stored != FILES + written:
            raise BenchmarkError(f"{FILES + written} lines were written, {stored} are stored")
    return [
        f"{FILES} files, {written / SECONDS:.0f} lines a second: "
        f"CPU {share:.1%} of a core, {2 * blocks / 50:.1f} inserts a second, "
        f"memory {(follower.peak - idle) / _MB:+.0f} MB beside {idle / _MB:.0f} MB idle"
    ]


def long_line() -> list[str]:
    """Follow a file with a line of `LONG_LINE` bytes, and an ordinary one behind it."""
    with _following() as (follower, logs):
        idle, follower.peak = follower.peak, 0
        piece = b"x" * (16 * 1024 * 1024)
        with (logs / "long.log").open("wb") as log:
            for _ in range(LONG_LINE // len(piece)):
                log.write(piece)
                follower.rest(0.01)
            follower.rest(5)
            log.write(b"\n" + (_LINE % 1).encode())
        follower.rest(10)
        follower.stop()
        dead = follower.ask("SELECT count() FROM dead_letters WHERE reason = 'too_long'")
        stored = follower.ask("SELECT count() FROM logs")
    return [
        f"a line of {LONG_LINE / 1024**3:.0f} GiB: {dead} dead letter, {stored} line behind it "
        f"stored, memory {(follower.peak - idle) / _MB:+.0f} MB beside {idle / _MB:.0f} MB idle"
    ]


def main() -> None:
    """Run both, and print a line of each."""
    measures: tuple[Callable[[], list[str]], ...] = (many_files, long_line)
    for measure in measures:
        for line in measure():
            print(line, flush=True)
