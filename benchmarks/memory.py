"""Resident memory with the defaults: at its peak, at the end of a long run, and while it idles."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.job import EMBEDDED, LINE_PROTOCOL, NULL, free_port, make_log, run_job
from benchmarks.measure import MB, Effort, Figure, Process, Wanted, new_directory

_WANTED = {NULL: 250, LINE_PROTOCOL: 300, EMBEDDED: 800}
"""Store -> the most wanted at the peak, in MB."""

_FORMS = ("json", "combined")

_LONG = 5
"""Times `lines` of a long run: with 4,000,000, what 5,600 lines a second write in an hour."""


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """The larger peak of two formats, of each store; the end of a long run beside its beginning."""
    for store, bound in _WANTED.items():
        least = run_job(store, make_log(scratch, "json", 1), scratch)
        peaks = [
            run_job(store, make_log(scratch, form, effort.lines), scratch).peak for form in _FORMS
        ]
        yield Figure(
            "memory",
            f"{store}, peak",
            "MB",
            [max(peaks) / MB],
            "of one line",
            [least.peak / MB],
            [Wanted(bound, "MB")],
        )
    if effort.brief:
        return
    yield from _idle(scratch)
    log = make_log(scratch, "json", effort.lines, repeated=_LONG)
    for store, bound in _WANTED.items():
        resident = run_job(store, log, scratch).resident
        tenth = len(resident) // 10
        begins, ends = resident[tenth : 2 * tenth], resident[-2 * tenth : -tenth]
        name = f"{store}, in the ninth tenth of {log.lines:,} lines"
        ours, theirs = ([median(part or resident) / MB] for part in (ends, begins))
        wanted = [Wanted(bound, "MB")]
        yield Figure("memory", name, "MB", ours, "in the second tenth", theirs, wanted)


def _idle(scratch: Path) -> Iterator[Figure]:
    """What an idle process with the embedded store and the API is made of: proc(5), smaps."""
    log = make_log(scratch, "json", 1)
    settings = {"LOG_PATHS": log.paths, "LOG_FORMAT": log.form, "API_PORT": str(free_port())}
    command = (sys.executable, "-m", "bytewax.run", "flows.main")
    with Process(*command, directory=new_directory(scratch), settings=settings) as process:
        process.rest(15)
        parts = _parts(Path(f"/proc/{process.pid}/smaps").read_text())
        process.stop()
    whole = sum(parts.values())
    for name, size in parts.items():
        yield Figure("memory", f"idle, {name}", "MB", [size / MB], "of all", [whole / MB])


def _parts(smaps: str) -> dict[str, int]:
    """Resident bytes: what the system can read again, by file, and what is written to."""
    parts = {"the engine's file": 0, "other libraries' files": 0, "written to": 0}
    path = ""
    for line in smaps.splitlines():
        name, _, value = line.partition(":")
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            path = line.split(None, 5)[5] if line.count("/") else ""
        elif name == "Rss":
            file = "the engine's file" if "chdb" in path else "other libraries' files"
            parts[file] += int(value.split()[0]) * 1024
        elif name == "Anonymous":
            parts[file] -= int(value.split()[0]) * 1024
            parts["written to"] += int(value.split()[0]) * 1024
    return parts
