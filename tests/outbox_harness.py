"""Kills senders of an outbox between any two steps, and counts what became of every event.

`python -m tests.outbox_harness --events 200000 --kills 60 --restarts 5 --seed 7`: eight writers
commit orders with an event each into PostgreSQL, and roll back a tenth of them; three senders bring
the events to ClickHouse, whose answers get lost; each sender kills itself at a step of its own, and
PostgreSQL is restarted as after a crash. One more process cleans up all the time. In the end every
committed order is to be found once: the exit code is 1 if it is not.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import psycopg
from postgres_server import Postgres

from logwax_capture.outbox import LogEvent, Outbox, OutboxError, log_event
from tests.conftest import ROOT, wait_for
from tests.servers.clickhouse_http import ServerProcess

WRITERS, SENDERS = 8, 3


@dataclass(frozen=True)
class Tally:
    """What was committed, and what is wrong with what arrived."""

    committed: int
    arrived: int
    distinct: int
    strangers: int
    left: int
    kills: int
    restarts: int

    @property
    def is_good(self) -> bool:
        return self.committed == self.arrived == self.distinct and not self.strangers + self.left


class Writers:
    """Threads that commit orders, each with its event, until there are enough."""

    def __init__(self, url: str, events: int, seed: int) -> None:
        self._url = url
        self._left = events
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._write, args=[seed * 100 + n]) for n in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def left(self) -> int:
        return max(self._left, 0)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _write(self, seed: int) -> None:
        draw = random.Random(seed)
        while self._left > 0:
            with suppress(psycopg.OperationalError), psycopg.connect(self._url) as connection:
                while self._left > 0:
                    self._order(connection, draw)
            time.sleep(0.05)  # the database is restarted

    def _order(self, connection: psycopg.Connection, draw: random.Random) -> None:
        events = draw.randint(1, 20)
        try:
            for _ in range(events):
                row = connection.execute(
                    "INSERT INTO orders DEFAULT VALUES RETURNING id"
                ).fetchone()
                assert row
                log_event(connection, LogEvent("order_paid", {"order": row[0]}))
            if draw.random() < 0.1:
                connection.rollback()
                return
            connection.commit()
        finally:
            with self._lock:
                self._left -= events


class Senders:
    """Processes that send; whoever kills himself is replaced."""

    def __init__(self, url: str, clickhouse: str, kills: int, quantity: int, seed: int) -> None:
        self._arguments = [url, clickhouse, str(quantity)]
        self._draw = random.Random(seed)
        self._left = kills
        self.kills = 0
        self._processes = [self._start() for _ in range(SENDERS)]

    def replace_the_dead(self) -> None:
        for number, process in enumerate(self._processes):
            code = process.poll()
            if code is not None:
                assert code == -signal.SIGKILL, f"a sender ended by itself: {code}"
                self.kills += 1
                self._processes[number] = self._start()

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        die_at = self._draw.randint(1, 80) if self._left > 0 else 0
        self._left -= 1
        command = [sys.executable, "-m", "tests.outbox_sender", str(die_at), *self._arguments]
        paths = (ROOT, ROOT / "capture", ROOT / "capture/tests")
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            stderr=subprocess.DEVNULL,
        )


def run(directory: Path, *, events: int, kills: int, restarts: int, seed: int) -> Tally:
    """Do all that, and count."""
    with closing(Postgres()) as postgres:
        url = postgres.new_database()
        outbox = Outbox.open(url)
        outbox.create()
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE orders (id bigserial PRIMARY KEY)")
        server = ServerProcess(directory, faults=0.1, seed=seed)
        senders = Senders(url, server.url, kills, max(50, events // 200), seed)
        try:
            _drive(postgres, url, outbox, senders, events, kills, restarts, seed)
        finally:
            senders.stop()
            server.stop()
        with psycopg.connect(url) as connection:
            orders = {row[0] for row in connection.execute("SELECT id FROM orders")}
            left = connection.execute("SELECT count(*) FROM events_log_outbox").fetchone()
        outbox.close()
    with closing(clickhouse_connect.get_client(interface="chdb", path=str(directory))) as client:
        rows = client.query("SELECT JSONExtractUInt(event_context, 'order') FROM event_log")
        found = [row[0] for row in rows.result_rows]
    strangers = len(set(found) - orders)
    assert left
    return Tally(
        len(orders), len(found), len(set(found)), strangers, left[0], senders.kills, restarts
    )


def _drive(
    postgres: Postgres,
    url: str,
    outbox: Outbox,
    senders: Senders,
    events: int,
    kills: int,
    restarts: int,
    seed: int,
) -> None:
    writers = Writers(url, events, seed)
    done = 0

    def is_over() -> bool:
        nonlocal done
        senders.replace_the_dead()
        if done < restarts and writers.left <= events * (restarts - done) // (restarts + 1):
            done += 1
            postgres.stop()
            postgres.start()
        with suppress(OutboxError):
            outbox.clean(step=500)
            depth = outbox.depth()
            return not writers.left and not depth.waiting and done == restarts
        return False

    wait_for(is_over, "the events to arrive", deadline=900, pause=0.1)
    writers.join()
    wait_for(lambda: is_over() and not outbox.clean(), "the last of them", deadline=300, pause=0.1)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--kills", type=int, default=60)
    options.add_argument("--restarts", type=int, default=5)
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        tally = run(
            Path(directory),
            events=given.events,
            kills=given.kills,
            restarts=given.restarts,
            seed=given.seed,
        )
    print(tally)
    return 0 if tally.is_good and tally.kills >= given.kills else 1


if __name__ == "__main__":
    sys.exit(main())
