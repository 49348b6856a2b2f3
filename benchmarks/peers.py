"""CPU time of a line, whole processes: Logwax beside other programs that do the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.job import EMBEDDED, LINE_PROTOCOL, Log, cost_of_a_line, expect, make_log
from benchmarks.measure import Effort, Figure, Process, new_directory, run
from benchmarks.sink_server import SinkServer
from benchmarks.throughput import UNIT, Rivals, compare

_CONFIGURATION = Path(__file__).with_name("syslog-ng.conf")
_SLOW = 100e-6
"""Seconds of a line that no program is waited for longer."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """Each peer and Logwax in turn, `rounds` times; a peer may be absent."""
    syslog_ng: Rivals = {"syslog-ng": (partial(cost_of_a_line, _syslog_ng), 0.25)}
    if shutil.which("syslog-ng"):
        log = make_log(scratch, "json", effort.lines)
        yield from compare("peers", "json", LINE_PROTOCOL, log, syslog_ng, effort, scratch)
    else:
        yield Figure("peers", f"json -> {LINE_PROTOCOL}", UNIT, [], "syslog-ng: not installed", [])
    if effort.brief:
        return
    naive: Rivals = {"the naive flow": (partial(cost_of_a_line, _naive), None)}
    for form in ("json", "combined"):
        log = make_log(scratch, form, effort.lines // 4)  # it is slow
        yield from compare("peers", form, EMBEDDED, log, naive, effort, scratch)


def _syslog_ng(log: Log, scratch: Path) -> float:
    """CPU seconds of the whole process until the server has got the last line."""
    directory = new_directory(scratch)
    with SinkServer() as server:
        # In a directory of its own it knows no file yet, and disturbs no other syslog-ng.
        own = [f"--{name}={directory}/{name}" for name in ("persist-file", "control", "pidfile")]
        command = ["syslog-ng", "--foreground", "--no-caps", f"--cfgfile={_CONFIGURATION}", *own]
        settings = {"INPUT": log.paths, "URL": server.url}
        with Process(*command, directory=directory, settings=settings) as process:
            process.wait_for(
                lambda: server.counts()["lines"] >= log.lines,
                "the last line has come",
                60 + _SLOW * log.lines,
            )
            return process.stop().cpu


def _naive(log: Log, scratch: Path) -> float:
    """CPU seconds of the whole process, into embedded ClickHouse."""
    directory = new_directory(scratch)
    store = str(directory / "naive")
    target = f"benchmarks.naive:flow({log.form!r}, {log.paths!r}, {store!r})"
    usage = run("-m", "bytewax.run", target, directory=directory)
    expect(usage, r"rows=(\d+)", log.lines)
    return usage.cpu
