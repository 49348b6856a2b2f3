"""Running a command as a child process, and what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


class BenchmarkError(Exception):
    """A run failed, or did not do what was to be measured."""


@dataclass(frozen=True)
class Usage:
    """What one run cost, and what it printed.

    `cpu` is in seconds, user and system, of all its threads; `peak` is the largest resident set, in
    bytes.
    """

    cpu: float
    wall: float
    peak: int
    stdout: str


def run(*arguments: str, directory: Path, settings: Mapping[str, str] | None = None) -> Usage:
    """Run `python *arguments` in `directory` to its end, with nothing set but `settings`.

    The peak is the child's own only while this process is the smaller one: at fork it starts with
    ours. Raises `BenchmarkError` if it fails.
    """
    # The settings of whoever runs this, in the environment and in .env.local, shall not matter.
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), **(settings or {})}
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        began = time.monotonic()
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=directory,
            env=environment,
            stdout=stdout,
            stderr=stderr,
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if child.returncode:
            raise BenchmarkError(
                f"python {' '.join(arguments)} ended with {child.returncode}:\n{stderr.read()}"
            )
        unit = 1 if sys.platform == "darwin" else 1024
        cpu = usage.ru_utime + usage.ru_stime
        return Usage(cpu, wall, usage.ru_maxrss * unit, stdout.read())
