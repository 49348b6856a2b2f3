"""From a line that is written to a row that the API counts: p50, p99, max, at several rates.

Every 10 ms some lines are appended to one file, and after them one of a customer of its own. That
customer's `total_requests` is asked for again and again: it is the number of such lines that can be
queried by then. So what asking takes counts, too.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from http.client import HTTPConnection
from io import FileIO
from itertools import cycle
from pathlib import Path

from benchmarks.job import answers, free_port, make_log
from benchmarks.measure import BenchmarkError, Effort, Figure, Process, Wanted
from settings import Settings

_RATES = (1_000, 20_000, 100_000)
_BARRED = 20_000
_SLACK = 0.3
"""Seconds that p99 at `_BARRED` lines a second may be more than the wait."""

_TICK = 0.01
_LINES_A_SECOND = 50_000
"""Each rate is kept up for as long as `lines` would take at this one."""

_CUSTOMER = "the-one-that-is-asked-for"
_PATIENCE = 60.0
_PAUSE = 0.01
"""Seconds between an answer and the next question."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """Each rate once, into an embedded store of its own."""
    wait = Settings.model_fields["stream_max_wait_time_in_seconds"].default
    lines = Path(make_log(scratch, "json", 100_000).paths).read_bytes().splitlines(keepends=True)
    for rate in (_BARRED,) if effort.brief else _RATES:
        latencies, reached = _latencies(rate, effort.lines / _LINES_A_SECOND, lines, scratch)
        name = f"{rate:,} lines/s"
        if reached < 0.95 * rate:
            name += f" (written: {reached:,.0f})"
        latencies.sort()
        for which, share in {"p50": 0.5, "p99": 0.99, "max": 1}.items():
            value = latencies[math.ceil(share * len(latencies)) - 1]
            bounds = [Wanted(wait + _SLACK, "s")] if (rate, which) == (_BARRED, "p99") else []
            title = f"{name}, {which}"
            yield Figure("latency", title, "s", [value], "a batch's wait", [wait], bounds)


def _latencies(
    rate: int, seconds: float, lines: list[bytes], scratch: Path
) -> tuple[list[float], float]:
    """How long each marker took, and how many lines a second were written."""
    port, ticks = free_port(), round(seconds / _TICK)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        log = Path(directory) / "live.log"
        settings = {"LOG_PATHS": str(log), "LOG_FORMAT": "json", "API_PORT": str(port)}
        command = (sys.executable, "-m", "bytewax.run", "flows.main")
        with (
            Process(*command, directory=Path(directory), settings=settings) as pipeline,
            ThreadPoolExecutor() as pool,
            log.open("ab", buffering=0) as file,
        ):
            pipeline.wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), "it answers")
            markers = _Markers(file, port)
            markers.write(b"")  # what is done at the first batch only, is done with this one
            pipeline.wait_for(lambda: markers.look() == 1, "the first line is stored")
            writing = pool.submit(_write, markers, _chunks(lines, rate), ticks)
            pipeline.wait_for(
                lambda: markers.look() == 1 + ticks, "all is stored", seconds + _PATIENCE, _PAUSE
            )
            pipeline.stop()
    return markers.latencies[1:], ticks * rate * _TICK / writing.result()


def _chunks(lines: list[bytes], rate: int) -> Iterator[bytes]:
    """Over and over: what is written in a tick, less the marker."""
    size = round(rate * _TICK) - 1
    return cycle(b"".join(lines[at : at + size]) for at in range(0, len(lines), size + 1))


def _write(markers: _Markers, chunks: Iterator[bytes], ticks: int) -> float:
    """Write a chunk a tick; how many seconds it took."""
    began = time.monotonic()
    for tick in range(ticks):
        time.sleep(max(0.0, began + tick * _TICK - time.monotonic()))
        markers.write(next(chunks))
    return max(ticks * _TICK, time.monotonic() - began)


class _Markers:
    """Lines of a customer of their own, when each was written, and how long it took."""

    def __init__(self, file: FileIO, port: int) -> None:
        self._file = file
        self._api = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        now = datetime.now(timezone.utc).isoformat()
        line = {"ts": now, "customer_id": _CUSTOMER, "path": "/", "status": 200}
        self._line = json.dumps(line).encode() + b"\n"
        self._written: list[float] = []
        self.latencies: list[float] = []

    def write(self, chunk: bytes) -> None:
        """Append a chunk, and a marker behind it."""
        self._written.append(time.monotonic())
        self._file.write(chunk + self._line)

    def look(self) -> int:
        """How many can be queried: those that were written first, since lines stay in order."""
        self._api.request("GET", f"/customers/{_CUSTOMER}/stats")
        answer = self._api.getresponse()
        body = json.load(answer)
        if answer.status not in (200, 404):
            raise BenchmarkError(f"The API answered {answer.status}: {body}")
        now, known = time.monotonic(), len(self.latencies)
        found = body["total_requests"] if answer.status == 200 else 0
        self.latencies += [now - written for written in self._written[known:found]]
        return len(self.latencies)
