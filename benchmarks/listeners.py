"""How late rows are told to many who listen, some of whom have stalled, and what memory that takes.

Every 100 ms some lines are appended to one file, and behind them one of a customer of its own. When
each listener of `/logs/tail` is told that one is measured, first by a single listener, then by all
of them. Those that have stalled take nothing; the server lets them go, and others come instead.
"""

from __future__ import annotations

import json
import math
import re
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from itertools import cycle
from pathlib import Path
from statistics import median

from benchmarks.job import answers, free_port, make_log
from benchmarks.measure import MB, BenchmarkError, Effort, Figure, Process, Wanted, new_directory
from settings import Settings

_LISTENERS, _STALLED = 450, 50
_TICK = 0.1
_LINES = 20  # of a tick
_LINES_A_SECOND = 20_000
"""It goes on for as long as `lines` would take at this rate."""

_AGAIN = 40.0  # seconds after which others stall; the server lets go who takes nothing for 30
_SLACK = 1.0  # seconds that the p99 may be more than the wait
_MORE = 1.05  # the most wanted of the memory near the end, beside that near the beginning
_PATIENCE = 60.0

_MARK = "listened-"
_HEARD = re.compile(rb'"customer_id":"' + _MARK.encode() + rb'([0-9]+)"')


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """The delay and the memory of all listeners; nothing if it is to be brief."""
    if effort.brief:
        return
    wait = Settings.model_fields["stream_max_wait_time_in_seconds"].default
    seconds = effort.lines / _LINES_A_SECOND
    alone, _ = _delays(1, 0, seconds / 10, scratch)
    delays, resident = _delays(_LISTENERS, _STALLED, seconds, scratch)
    name = f"{_LISTENERS + _STALLED} listeners, {_STALLED} of them stalled"
    p99, of_one = (sorted(some)[math.ceil(0.99 * len(some)) - 1] for some in (delays, alone))
    wanted = [Wanted(wait + _SLACK, "s")]
    yield Figure("listeners", f"{name}: p99", "s", [p99], "of one", [of_one], wanted)
    tenth = len(resident) // 10
    begins, ends = resident[tenth : 2 * tenth], resident[-2 * tenth : -tenth]
    ours, theirs = ([median(part or resident) / MB] for part in (ends, begins))
    bound = [Wanted(_MORE)]
    yield Figure(
        "listeners", f"{name}: in the ninth tenth", "MB", ours, "in the second", theirs, bound
    )


def _delays(
    listeners: int, stalled: int, seconds: float, scratch: Path
) -> tuple[list[float], list[int]]:
    """Seconds from written to told, of each line and listener; what was resident meanwhile."""
    directory, port = new_directory(scratch), free_port()
    log = directory / "live.log"
    lines = Path(make_log(scratch, "json", 10_000).paths).read_bytes().splitlines(keepends=True)
    chunks = cycle(b"".join(lines[at : at + _LINES]) for at in range(0, len(lines), _LINES))
    settings = {"LOG_PATHS": str(log), "LOG_FORMAT": "json", "API_PORT": str(port)}
    command = (sys.executable, "-m", "bytewax.run", "flows.main")
    with (
        Process(*command, directory=directory, settings=settings) as pipeline,
        log.open("ab", buffering=0) as file,
        ExitStack() as ended,
    ):
        pipeline.wait_for(lambda: answers(f"http://127.0.0.1:{port}/ready"), "it answers")
        heard = _Heard([_listen(port, ended) for _ in range(listeners)])
        ended.callback(heard.stop)
        since, again = len(pipeline.resident), 0.0
        others = ended.enter_context(ExitStack())
        began = time.monotonic()
        for tick in range(max(1, round(seconds / _TICK))):
            pipeline.rest(max(0.0, began + tick * _TICK - time.monotonic()))
            if stalled and time.monotonic() > again:
                others.close()
                pipeline.rest(_TICK)  # the server has room for few more
                again = time.monotonic() + _AGAIN
                for _ in range(stalled):
                    _listen(port, others)
            heard.written.append(time.monotonic())
            file.write(next(chunks) + _marker(tick))
        pipeline.wait_for(lambda: heard.is_complete, "all is told", _PATIENCE)
        resident = pipeline.resident[since:]
        pipeline.stop()
    return heard.delays, resident


def _marker(number: int) -> bytes:
    now = datetime.now(timezone.utc).isoformat()
    line = {"ts": now, "customer_id": f"{_MARK}{number}", "path": "/", "status": 200}
    return json.dumps(line).encode() + b"\n"


def _listen(port: int, ended: ExitStack) -> socket.socket:
    """A listener that has been told where it begins."""
    one = ended.enter_context(socket.socket())
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    one.settimeout(_PATIENCE)
    one.connect(("127.0.0.1", port))
    one.sendall(b"GET /logs/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
    if not (said := one.recv(12)).endswith(b"200"):
        raise BenchmarkError(f"A listener was answered {said!r}")
    return one


class _Heard:
    """When each marker was written, and how long each listener waited for it."""

    def __init__(self, listeners: list[socket.socket]) -> None:
        self.written: list[float] = []
        self.delays: list[float] = []
        self._listeners = listeners
        self._last = dict.fromkeys(listeners, -1)
        self._ended = threading.Event()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def is_complete(self) -> bool:
        """Whether everybody has heard the last one; some may have missed others."""
        return min(self._last.values()) == len(self.written) - 1

    def stop(self) -> None:
        """Listen no more."""
        self._ended.set()
        self._reading.join()

    def _read(self) -> None:
        rest = dict.fromkeys(self._listeners, b"")
        with selectors.DefaultSelector() as ready:
            for listener in self._listeners:
                listener.setblocking(False)
                ready.register(listener, selectors.EVENT_READ, listener)
            while not self._ended.is_set():
                for key, _ in ready.select(0.1):
                    one: socket.socket = key.data
                    data = one.recv(1 << 20)
                    now = time.monotonic()
                    for number in map(int, _HEARD.findall(rest[one] + data)):
                        if number > self._last[one]:
                            self._last[one] = number
                            self.delays.append(now - self.written[number])
                    rest[one] = data[-64:]
                    if not data:
                        ready.unregister(one)
