"""CPU time of a line, whole processes: Logwax beside other programs that do the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from benchmarks.job import (
    CLICKHOUSE,
    EMBEDDED,
    LINE_PROTOCOL,
    NULL,
    STORES,
    Log,
    answers,
    cost_of_a_line,
    expect,
    free_port,
    make_log,
)
from benchmarks.measure import BenchmarkError, Effort, Figure, Process, new_directory, run
from benchmarks.sink_server import SinkServer
from benchmarks.throughput import UNIT, Rivals, compare

CONFIGURATIONS = Path(__file__).with_name("configurations")
_SLOW = 100e-6
"""Seconds of a line that no program is waited for longer."""


@dataclass(frozen=True)
class Server:
    """Where lines go: what a program is told of it, and how many lines have come.

    `text` has all that came, if it was to be kept; the CPU time of `process` counts, too.
    """

    settings: Mapping[str, str]
    lines: Callable[[], int]
    text: Callable[[], str] | None = None
    process: Process | None = None


@dataclass(frozen=True)
class Peer:
    """A program that follows files, and what Logwax does of the same: `store`, and the most wanted.

    `command` has settings in braces. `to` opens where it sends lines, in an empty directory, and
    keeps them if told so. It is an error if not as many came as there are lines.
    """

    store: str
    wanted: float | None
    command: Sequence[str]
    to: Callable[[Path, bool], AbstractContextManager[Server]]
    version: Sequence[str] = ("--version",)
    keeps: bool = True  # what came, so that it can be looked at

    @property
    def is_installed(self) -> bool:
        """Whether its program is in the PATH."""
        return shutil.which(self.command[0]) is not None

    def name(self, name: str) -> str:
        """The name, with the version that it says it has."""
        command = (self.command[0], *self.version)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d[\d.]*\d|\d+\.\d", done.stdout + done.stderr)
        return f"{name} {found[0]}" if found else name

    def start(self, paths: str, server: Server, directory: Path) -> Process:
        """Have it follow files."""
        settings = {"INPUT": paths, "DIRECTORY": str(directory), **server.settings}
        configuration = {"CONFIGURATIONS": str(CONFIGURATIONS)}
        command = [part.format(**settings, **configuration) for part in self.command]
        return Process(*command, directory=directory, settings=settings)

    def spend(self, log: Log, scratch: Path) -> float:
        """CPU seconds of its whole process until the last line has come."""
        directory = new_directory(scratch)
        with (
            self.to(directory, False) as server,
            self.start(log.paths, server, directory) as process,
        ):
            process.wait_for(
                lambda: server.lines() >= log.lines, "the last line", 60 + _SLOW * log.lines
            )
            cpu = process.stop().cpu + (server.process.cpu if server.process else 0.0)
            if server.lines() != log.lines:
                raise BenchmarkError(f"{log.lines} lines were to come, {server.lines()} have")
        return cpu


@contextmanager
def _sink(directory: Path, is_kept: bool, by_tcp: bool = False) -> Iterator[Server]:
    kept = directory / "kept" if is_kept else None
    with SinkServer(kept) as server:
        port = server.tcp if by_tcp else server.url.rpartition(":")[2]
        text = kept.read_text if kept else None
        yield Server({"URL": server.url, "PORT": port}, lambda: server.counts()["lines"], text)


@contextmanager
def _nowhere(directory: Path, is_kept: bool) -> Iterator[Server]:
    """The Collector counts itself."""
    port = free_port()

    def lines() -> int:
        pattern = r"otelcol_receiver_accepted_log_records\{[^}]*\} (\S+)"
        found = re.search(pattern, _ask(f"http://127.0.0.1:{port}/metrics"))
        return int(float(found[1])) if found else 0

    last = 0

    def most() -> int:
        nonlocal last  # which it does not say any more once it has ended
        last = max(last, lines())
        return last

    yield Server({"PORT": str(port)}, most)


@contextmanager
def _clickhouse(directory: Path, is_kept: bool) -> Iterator[Server]:
    """Of which it makes the table itself."""
    with STORES[CLICKHOUSE](directory) as settings:
        url = settings["CLICKHOUSE_URL"]

        def ask(what: str) -> str:
            return _ask(f"{url}/?{urlencode({'query': f'SELECT {what} FROM otel_logs'})}")

        yield Server(
            {"URL": url, "PORT": str(free_port())},
            lambda: int(ask("count()") or 0),
            lambda: ask("Body"),
        )


@contextmanager
def _victoria_logs(directory: Path, is_kept: bool) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["victoria-logs", f"-httpListenAddr=127.0.0.1:{port}", "-loggerLevel=ERROR"]
    command += ["-storageDataPath=stored", "-retentionPeriod=100y"]
    query = urlencode({"query": "* | count() as lines"})

    def lines() -> int:
        found = re.search(r'"lines":"(\d+)"', _ask(f"{url}/select/logsql/query?{query}"))
        return int(found[1]) if found else 0

    everything = urlencode({"query": "*"})
    with Process(*command, directory=directory) as process:
        process.wait_for(lambda: answers(f"{url}/health"), "it answers")
        yield Server(
            {"URL": url, "PORT": str(free_port())},
            lines,
            lambda: _ask(f"{url}/select/logsql/query?{everything}"),
            process,
        )


def _ask(url: str) -> str:
    try:
        with urlopen(url) as answer:
            return str(answer.read(), "utf-8")
    except (URLError, ConnectionError):
        return ""


PEERS: dict[str, Peer] = {
    "syslog-ng": Peer(
        LINE_PROTOCOL,
        0.25,
        (
            "syslog-ng",
            "--foreground",
            "--no-caps",
            "--cfgfile={CONFIGURATIONS}/syslog-ng.conf",
            # In a directory of its own it knows no file yet, and disturbs no other syslog-ng.
            *(f"--{name}={{DIRECTORY}}/{name}" for name in ("persist-file", "control", "pidfile")),
        ),
        _sink,
    ),
    "rsyslog": Peer(
        LINE_PROTOCOL,
        None,
        ("rsyslogd", "-n", "-i", "{DIRECTORY}/pid", "-f", "{CONFIGURATIONS}/rsyslog.conf"),
        partial(_sink, by_tcp=True),
        ("-v",),
    ),
    "Fluent Bit": Peer(
        LINE_PROTOCOL,
        None,
        ("fluent-bit", "--config", "{CONFIGURATIONS}/fluent-bit.yaml"),
        _sink,
    ),
    "OpenTelemetry Collector": Peer(
        NULL, None, ("otelcol", "--config", "{CONFIGURATIONS}/otelcol.yaml"), _nowhere, keeps=False
    ),
    "OpenTelemetry Collector to ClickHouse": Peer(
        CLICKHOUSE,
        None,
        (
            "otelcol",
            *("--config", "{CONFIGURATIONS}/otelcol.yaml"),
            *("--config", "{CONFIGURATIONS}/otelcol-clickhouse.yaml"),
        ),
        _clickhouse,
    ),
    "VictoriaLogs": Peer(
        EMBEDDED,
        None,
        (
            "vlagent",
            "-httpListenAddr=127.0.0.1:{PORT}",
            "-remoteWrite.url={URL}/internal/insert",
            "-remoteWrite.tmpDataPath={DIRECTORY}/waiting",
            "-fileCollector.glob={INPUT}",
            "-fileCollector.checkpointsPath={DIRECTORY}/places",
            "-fileCollector.timeField=ts",
            "-loggerLevel=ERROR",
        ),
        _victoria_logs,
        ("-version",),
    ),
}
"""Name -> what runs it. How to get each: README.md beside this file."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """Each peer and Logwax in turn, `rounds` times; a peer may be absent."""
    for store in dict.fromkeys(peer.store for peer in PEERS.values()):
        rivals: Rivals = {}
        for name, peer in PEERS.items():
            if peer.store != store or (effort.brief and not peer.wanted):
                continue
            if peer.is_installed:
                rivals[peer.name(name)] = partial(cost_of_a_line, peer.spend), peer.wanted
            else:
                absent = f"{name}: not installed"
                yield Figure("peers", f"json -> {store}", UNIT, [], absent, [])
        if rivals:
            log = make_log(scratch, "json", effort.lines)
            yield from compare("peers", "json", store, log, rivals, effort, scratch)
    if effort.brief:
        return
    naive: Rivals = {"the naive flow": (partial(cost_of_a_line, _naive), None)}
    reader: Rivals = {}
    if shutil.which("goaccess"):
        reader["GoAccess, which counts"] = partial(cost_of_a_line, _goaccess), None
    if shutil.which("lnav"):
        reader["lnav, which indexes"] = partial(cost_of_a_line, _lnav), None
    for form, others in (("json", naive), ("combined", naive | reader)):
        log = make_log(scratch, form, effort.lines // 4)  # it is slow
        yield from compare("peers", form, EMBEDDED, log, others, effort, scratch)


def _goaccess(log: Log, scratch: Path) -> float:
    """CPU seconds of a report as JSON."""
    command = ("goaccess", log.paths, "--log-format=COMBINED", "-o", "report.json")
    more = ("--no-global-config", "--no-progress", "--num-tests=0")
    directory = new_directory(scratch)
    with Process(*command, *more, directory=directory) as process:
        usage = process.end()
    found = re.search(r'"total_requests": (\d+)', (directory / "report.json").read_text())
    if not found or int(found[1]) != log.lines:
        raise BenchmarkError(f"GoAccess was to count {log.lines} requests: {found and found[1]}")
    return usage.cpu


def _lnav(log: Log, scratch: Path) -> float:
    """CPU seconds until it has counted its lines in SQL."""
    query = ";SELECT 'rows=' || count(*) FROM access_log"
    command = ("lnav", "-n", "-c", query, "-c", ":write-csv-to -", log.paths)
    with Process(*command, directory=new_directory(scratch)) as process:
        usage = process.end()
    expect(usage, r"rows=(\d+)", log.lines)
    return usage.cpu


def _naive(log: Log, scratch: Path) -> float:
    """CPU seconds of the whole process, into embedded ClickHouse."""
    directory = new_directory(scratch)
    store = str(directory / "naive")
    target = f"benchmarks.naive:flow({log.form!r}, {log.paths!r}, {store!r})"
    usage = run("-m", "bytewax.run", target, directory=directory)
    expect(usage, r"rows=(\d+)", log.lines)
    return usage.cpu
