"""Lines that are lost, and that come twice: rotation and kills, Logwax beside other programs."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import clickhouse_connect

from benchmarks.job import answers, free_port
from benchmarks.measure import Effort, Figure, Process, new_directory, run
from benchmarks.peers import PEERS, Peer

RATE, SECONDS, ROUNDS = 10_000, 5.0, 4
"""Lines a second; how often a log is rotated, or a program killed, and how long after another."""

_LATE_SECONDS = 0.1  # how long a log that was renamed goes on growing
_START_SECONDS = 120.0  # in which a program begins to read
_QUIET_SECONDS, _MOST_SECONDS = 30.0, 300.0  # how long nothing comes any more; and at most

_LINE = (
    b'{"ts":"2026-11-01T10:00:00.000+00:00","customer_id":"cust_1","method":"GET",'
    b'"path":"/seq/%d","status":200,"duration_ms":1.5,"ip":"203.0.113.7",'
    b'"user_agent":"curl/8.0","request_id":"%032x"}\n'
)

Happens = Callable[["_Writer", Callable[[], None]], None]
"""What happens to a log and to who follows it, which can be killed and started again."""


class _Writer:
    """Writes numbered lines to `app.log`, from a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "app.log"
        self.lines = 0
        self._file = FileIO(self.path, "a")
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def rename(self) -> None:
        """As logrotate does by default: who writes opens the new log a little later."""
        self._shift()
        self.path.rename(f"{self.path}.1")
        new = FileIO(self.path, "a")
        time.sleep(_LATE_SECONDS)
        with self._lock:
            self._file.close()
            self._file = new

    def copy(self) -> None:
        """As logrotate does with `copytruncate`, and nothing is written meanwhile."""
        with self._lock:
            self._shift()
            shutil.copyfile(self.path, f"{self.path}.1")
            os.truncate(self.path, 0)

    def close(self) -> None:
        """Write no more."""
        self._is_over.set()
        self._thread.join()
        self._file.close()

    def _shift(self) -> None:
        """Keep all older logs under the next higher number."""
        for number in range(ROUNDS, 0, -1):
            older = Path(f"{self.path}.{number}")
            if older.exists():
                older.rename(f"{self.path}.{number + 1}")

    def _write(self) -> None:
        began = time.monotonic()
        while not self._is_over.wait(0.01):
            due = int((time.monotonic() - began) * RATE)
            with self._lock:
                self._file.write(b"".join(map(_line, range(self.lines, due))))
                self.lines = due


def _line(number: int) -> bytes:
    return _LINE % (number, number)


SCENARIOS: dict[str, Happens] = {
    "rename and create": lambda writer, kill: writer.rename(),
    "copytruncate": lambda writer, kill: writer.copy(),
    "SIGKILL and start": lambda writer, kill: kill(),
}
"""Name -> what happens `ROUNDS` times while lines are written."""


@dataclass(frozen=True)
class _Outcome:
    written: int
    lost: int
    twice: int


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """What each was given, lost and had twice, in every scenario; nothing if it is to be brief."""
    for name, happens in {} if effort.brief else SCENARIOS.items():
        ours = _of_logwax(happens, new_directory(scratch))
        for program, peer in PEERS.items():
            if peer.is_installed and peer.keeps:
                theirs = _of_peer(peer, happens, new_directory(scratch))
                for what, our in asdict(ours).items():
                    their = asdict(theirs)[what]
                    beside = peer.name(program)
                    yield Figure("loss", f"{name}, {what}", "lines", [our], beside, [their])


def _of_peer(peer: Peer, happens: Happens, directory: Path) -> _Outcome:
    logs = directory / "logs"
    logs.mkdir()
    with peer.to(directory, True) as server:
        assert server.text

        def start() -> Process:
            return peer.start(str(logs / "app.log"), server, directory)

        written, process = _run(start, server.lines, happens, logs)
        with process:
            _wait_until_quiet(process, server.lines)
            process.stop()
        return _outcome(written, Counter(re.findall(r"/seq/(\d+)", server.text())))


def _of_logwax(happens: Happens, directory: Path) -> _Outcome:
    logs = directory / "logs"
    logs.mkdir()
    url = f"http://127.0.0.1:{(port := free_port())}"
    settings = {"LOG_PATHS": str(logs / "app.log"), "LOG_FORMAT": "json", "API_PORT": str(port)}
    job = ("-m", "bytewax.run", "flows.main")

    def start() -> Process:
        return Process(sys.executable, *job, directory=directory, settings=settings)

    written, process = _run(start, lambda: int(answers(f"{url}/health")), happens, logs)
    with process:
        process.rest(_QUIET_SECONDS)
        process.stop()
    run(*job, directory=directory, settings={**settings, "FOLLOW": "false"})  # what was left
    path = str(directory / "data" / "clickhouse")
    client = clickhouse_connect.get_client(interface="chdb", path=path)
    try:
        rows = client.query("SELECT request_path, count() FROM logs GROUP BY 1").result_rows
    finally:
        client.close()
    return _outcome(written, Counter({path.rpartition("/")[2]: count for path, count in rows}))


def _run(
    start: Callable[[], Process], seen: Callable[[], int], happens: Happens, logs: Path
) -> tuple[int, Process]:
    """Write for a while; how many lines that were, and the process that still runs.

    A process that was started has begun to read when more is `seen` of it than before.
    """

    def begin() -> Process:
        before, process = seen(), start()
        process.wait_for(lambda: seen() > before, "it has begun to read", _START_SECONDS)
        return process

    writer = _Writer(logs)
    process = begin()

    def kill() -> None:
        nonlocal process
        process.kill()
        process = begin()

    for _ in range(ROUNDS):
        process.rest(SECONDS)
        happens(writer, kill)
    process.rest(SECONDS)
    writer.close()
    return writer.lines, process


def _wait_until_quiet(process: Process, lines: Callable[[], int]) -> None:
    """Raises `BenchmarkError` if it ends meanwhile: that is no quiet."""
    last, since, began = lines(), time.monotonic(), time.monotonic()
    while time.monotonic() < min(since + _QUIET_SECONDS, began + _MOST_SECONDS):
        process.rest(0.2)
        if (found := lines()) != last:
            last, since = found, time.monotonic()


def _outcome(written: int, seen: Counter[str]) -> _Outcome:
    return _Outcome(written, written - len(seen), seen.total() - len(seen))
