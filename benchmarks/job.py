"""The main job, as a process of its own: generated logs into each store, servers included."""

from __future__ import annotations

import math
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.measure import ROOT, BenchmarkError, Cost, Process, Usage, new_directory, run
from benchmarks.sink_server import SinkServer

LINE_PROTOCOL = "line protocol"
EMBEDDED = "embedded"
CLICKHOUSE = "ClickHouse over HTTP"
NULL = "null"


@dataclass(frozen=True)
class Log:
    """Generated lines: `paths` are globs, with commas between them."""

    form: str
    lines: int
    paths: str


def make_log(
    scratch: Path, form: str, lines: int, bad_ratio: float = 0, seed: int = 1, repeated: int = 1
) -> Log:
    """A file of generated lines, made once: the same requests in every format, on every machine.

    `repeated`: the same lines again, behind them.
    """
    file = scratch / f"{form}-{bad_ratio}-{lines}-{seed}-{repeated}.log"
    if not file.exists():
        settings = {
            "LOG_FILE_PATH": str(file),
            "LOG_GENERATOR_FORMAT": form,
            "LOG_GENERATOR_BAD_RATIO": str(bad_ratio),
            "LOG_GENERATOR_SEED": str(seed),
            "LOG_INTERVAL_SECONDS": "0",
            "MAX_LOGS_TO_GENERATE": str(lines),
        }
        run("-m", "log_generator", directory=scratch, settings=settings)
        size = file.stat().st_size
        for _ in range(repeated - 1):
            _append_first(file, size)
    return Log(form, lines * repeated, str(file))


def run_job(
    store: str,
    log: Log,
    scratch: Path,
    workers: int = 1,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Usage:
    """Read all of `log` into one of `STORES`, which is new; raises `BenchmarkError`.

    `more` are settings.

    A run that loses lines measures nothing, and is an error.
    """
    directory = new_directory(scratch)
    with STORES[store](directory) as settings:
        settings |= {
            "LOG_PATHS": log.paths,
            "LOG_FORMAT": log.form,
            "DATA_DIR": str(directory / "data"),
            "FOLLOW": "false",
            **more,
        }
        arguments = ("-m", "bytewax.run", "flows.main", "-w", str(workers))
        usage = run(*arguments, directory=directory, settings=settings)
    expect(usage, r"lines=(\d+) ", log.lines)
    return usage


def cost_of_a_line(seconds: Callable[[Log, Path], float], log: Log, scratch: Path) -> Cost:
    """The slope of `seconds(log, scratch)`: what each line costs more than a run of one line.

    It is no number where the run of one line took as long: the lines were too few.
    """
    start = seconds(make_log(scratch, log.form, 1), scratch)
    more = seconds(log, scratch) - start
    return Cost(more / (log.lines - 1) if more > 0 else math.nan, start)


def seconds_of(usage: Usage) -> float:
    """How long the job took, from its settings on: without the imports of its start."""
    found = re.search(r"seconds=([\d.]+)", usage.stdout)
    if not found:
        raise BenchmarkError(f"The job was to say how long it took, and said: {usage.stdout!r}")
    return float(found.group(1))


def expect(usage: Usage, pattern: str, lines: int) -> None:
    """Raise `BenchmarkError` unless the run said that so many lines came through."""
    found = re.search(pattern, usage.stdout)
    if not found or int(found.group(1)) != lines:
        raise BenchmarkError(f"{lines} lines were to come through, but it said: {usage.stdout!r}")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def answers(url: str) -> bool:
    """Whether `url` is answered with a success."""
    try:
        with urlopen(url):
            return True
    except (URLError, ConnectionError):
        return False


def _append_first(file: Path, size: int) -> None:
    with file.open("rb") as source, file.open("ab") as target:
        left = size
        while left:
            left -= target.write(source.read(min(left, 1 << 24)))


@contextmanager
def _null(directory: Path) -> Iterator[dict[str, str]]:
    yield {"STORE": "null"}


@contextmanager
def _embedded(directory: Path) -> Iterator[dict[str, str]]:
    yield {"STORE": "embedded"}


@contextmanager
def _line_protocol(directory: Path) -> Iterator[dict[str, str]]:
    with SinkServer() as server:
        yield {"STORE": "influxdb", "INFLUXDB_URL": server.url, "INSTANCE": "benchmark"}
        if not server.counts()["lines"]:
            raise BenchmarkError("Nothing was sent.")


@contextmanager
def _clickhouse(directory: Path) -> Iterator[dict[str, str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tests.servers.clickhouse_http", "--port", str(port)]
    command += ["--data", str(directory / "server")]
    with Process(*command, directory=ROOT) as server:
        server.wait_for(lambda: answers(f"{url}/ping"), "it answers")
        yield {"STORE": "clickhouse", "CLICKHOUSE_URL": url, "INSTANCE": "benchmark"}
        server.stop()


STORES: dict[str, Callable[[Path], AbstractContextManager[dict[str, str]]]] = {
    NULL: _null,
    LINE_PROTOCOL: _line_protocol,
    EMBEDDED: _embedded,
    CLICKHOUSE: _clickhouse,
}
"""What is measured: name -> settings of the job, while its server, if it needs one, runs."""
