"""Lines a CPU second, whole processes: Logwax beside other programs that do the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.job import EMBEDDED, LINE_PROTOCOL, Log, expect, make_log, run_job
from benchmarks.measure import Effort, Figure, Process, Wanted, new_directory, run
from benchmarks.sink_server import SinkServer

UNIT = "lines/CPU s"

_CONFIGURATION = Path(__file__).with_name("syslog-ng.conf")
_SLOW = 100e-6
"""Seconds of a line that no program is waited for longer."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """Each peer and Logwax in turn, `rounds` times; a peer may be absent."""
    log = make_log(scratch, "json", effort.lines)
    bound = [Wanted(4, at_least=True)]
    if shutil.which("syslog-ng"):
        yield _beside("syslog-ng", _syslog_ng, log, LINE_PROTOCOL, effort, scratch, bound)
    else:
        absent = "syslog-ng: not installed"
        yield Figure("peers", f"{log.form} -> {LINE_PROTOCOL}", UNIT, [], absent, [], bound)
    if effort.brief:
        return
    for form in ("json", "combined"):
        # A quarter of the lines: it is slow.
        log = make_log(scratch, form, max(1, effort.lines // 4))
        yield _beside("the naive flow", _naive, log, EMBEDDED, effort, scratch, [])


def _beside(
    name: str,
    peer: Callable[[Log, Path], float],
    log: Log,
    store: str,
    effort: Effort,
    scratch: Path,
    wanted: list[Wanted],
) -> Figure:
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(effort.rounds):
        theirs.append(log.lines / peer(log, scratch))
        ours.append(log.lines / run_job(store, log, scratch).cpu)
    return Figure("peers", f"{log.form} -> {store}", UNIT, ours, name, theirs, wanted)


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
