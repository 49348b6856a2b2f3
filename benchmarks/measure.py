"""Commands as child processes and what they cost; figures, each beside another of the same run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType

import psutil

ROOT = Path(__file__).parents[1]
MB = 1_000_000

_SAMPLES_A_SECOND = 20


class BenchmarkError(Exception):
    """A run failed, or did not do what was to be measured."""


@dataclass(frozen=True)
class Effort:
    """How much is run: `lines` in a run, `rounds` of it. `brief`: only what has a bound.

    `data` is where Loghub is.
    """

    lines: int
    rounds: int
    brief: bool = False
    data: Path = ROOT.parent / "shared" / "data" / "loghub"


@dataclass(frozen=True)
class Wanted:
    """A bound: of the ratio, or of the figure itself."""

    bound: float
    of: str = "ratio"
    at_least: bool = False

    def __str__(self) -> str:
        """As tables say it."""
        unit = "" if self.of == "ratio" else f" {self.of}"
        return f"{'>=' if self.at_least else '<='} {self.bound:,}{unit}"


@dataclass(frozen=True)
class Cost:
    """Seconds of one more line, and of the `start`: a run of a single line."""

    line: float
    start: float


@dataclass(frozen=True)
class Figure:
    """What Logwax did in each round, and what stands beside it, both in `unit`.

    `theirs` is empty where there was nothing to measure, such as a program that is not installed.
    `start` has the seconds of a run of one line, where `ours` is without them.
    """

    benchmark: str
    name: str
    unit: str
    ours: list[float]
    beside: str
    theirs: list[float]
    wanted: list[Wanted] = field(default_factory=list)
    start: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ours / theirs, of neighbours; none where theirs is nothing."""
        return [our / their for our, their in zip(self.ours, self.theirs, strict=False) if their]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios, which is not the ratio of the medians."""
        return median(self.ratios) if self.ratios else None

    @property
    def missed(self) -> list[Wanted]:
        """The bounds that do not hold."""
        values = [(wanted, self._value(wanted)) for wanted in self.wanted]
        return [
            wanted
            for wanted, value in values
            if value is not None
            and (value < wanted.bound if wanted.at_least else value > wanted.bound)
        ]

    def _value(self, wanted: Wanted) -> float | None:
        return self.ratio if wanted.of == "ratio" else median(self.ours)


Benchmark = Callable[[Effort, Path], Iterator[Figure]]
"""What `python -m benchmarks` can be asked for: `measure(effort, empty directory)`."""


@dataclass(frozen=True)
class Usage:
    """What one run cost, and what it printed.

    `cpu` is in seconds, user and system, of all its threads; `peak` is the largest resident set, in
    bytes, and `resident` what it was again and again.
    """

    cpu: float
    wall: float
    peak: int
    stdout: str
    resident: list[int]


class Process:
    """`command` running in `directory`, with nothing set but `settings`; killed if it is left."""

    def __init__(
        self, *command: str, directory: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        # The settings of whoever runs this, in the environment and in .env.local, shall not matter.
        keep = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        environment |= {"PYTHONPATH": str(ROOT), **(settings or {})}
        self._command = command
        self._stdout = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in __exit__)
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._began = time.monotonic()
        self._popen = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=self._stdout, stderr=self._stderr
        )
        self._process = psutil.Process(self._popen.pid)
        self.resident: list[int] = []
        self.peak = 0
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Process:
        """It has been started."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill it, unless it has ended."""
        self.kill()

    def kill(self) -> None:
        """Kill it, unless it has ended; it cannot be asked for anything any more."""
        self._ended.set()
        if self._popen.returncode is None:
            self._popen.kill()
            self._popen.wait()
        self._stdout.close()
        self._stderr.close()

    @property
    def pid(self) -> int:
        """Its id, as the system knows it."""
        return self._popen.pid

    @property
    def cpu(self) -> float:
        """CPU seconds so far, user and system."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def wait_for(
        self, condition: Callable[[], bool], what: str, seconds: float = 60, pause: float = 0.05
    ) -> None:
        """Return when `condition` is true, which is asked every `pause` seconds.

        Raises `BenchmarkError` if the process ends, or that takes longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self._process.status() == psutil.STATUS_ZOMBIE:
                self.end()
                raise BenchmarkError(f"{' '.join(self._command)} ended before {what}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{' '.join(self._command)}: waited {seconds} s for {what}")
            time.sleep(pause)

    def rest(self, seconds: float) -> None:
        """Let it run. Raises `BenchmarkError` if it ends meanwhile."""
        end = time.monotonic() + seconds
        self.wait_for(lambda: time.monotonic() >= end, "it was asked to", seconds + 60)

    def stop(self) -> Usage:
        """Ask it to end, and wait until it has."""
        self._popen.terminate()
        return self.end()

    def end(self) -> Usage:
        """Wait until it has ended. Raises `BenchmarkError` if it failed."""
        _, status, usage = os.wait4(self._popen.pid, 0)
        wall = time.monotonic() - self._began
        self._ended.set()
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._stdout.seek(0)
        self._stderr.seek(0)
        if self._popen.returncode:
            raise BenchmarkError(
                f"{' '.join(self._command)} ended with {self._popen.returncode}:\n"
                f"{self._stderr.read()}"
            )
        cpu = usage.ru_utime + usage.ru_stime
        return Usage(cpu, wall, self.peak, self._stdout.read(), self.resident)

    def _watch(self) -> None:
        while not self._ended.wait(1 / _SAMPLES_A_SECOND):
            try:
                resident = self._process.memory_info().rss
                status = Path(f"/proc/{self._popen.pid}/status").read_text()
            except (psutil.Error, OSError):  # it has just ended
                return
            # Not `ru_maxrss`, which begins with the peak of the process that started it.
            peak = re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)
            if resident and peak:  # else it has ended, and nobody has asked for its exit code yet
                self.resident.append(resident)
                self.peak = int(peak.group(1)) * 1024


def new_directory(scratch: Path) -> Path:
    """An empty directory of a run, which stays until `scratch` goes.

    To delete a store costs the next run: ext4 passes over what was deleted within minutes, again
    for every file that is made (measured: 9 % of its CPU time).
    """
    return Path(tempfile.mkdtemp(dir=scratch))


def run(*arguments: str, directory: Path, settings: Mapping[str, str] | None = None) -> Usage:
    """Run `python *arguments` in `directory` to its end. Raises `BenchmarkError` if it fails."""
    with Process(sys.executable, *arguments, directory=directory, settings=settings) as process:
        return process.end()
