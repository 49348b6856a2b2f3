"""Kills consumers of a stream between any two steps, and counts what became of every event.

`python -m tests.redis_harness --kills 40 --restarts 5 --away 30 --seed 7`: a program adds events to
a real Redis, a consumer brings them to ClickHouse, whose answers get lost, and kills itself at a
step of its own; Redis is killed again and again and comes back with its data, and every second time
without; ClickHouse is away for a while. In the end every event that Redis has acknowledged is to be
found once, but those that it lost, and the losses are told; the exit code is 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
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
import httpx
from redis_server import Redis

from connectors.sources.redis_group import FAILURES, open_client
from tests.conftest import ROOT, find_port, wait_for
from tests.servers.clickhouse_http import ServerProcess

STREAM = "logwax:events"


@dataclass(frozen=True)
class Tally:
    """What Redis acknowledged and did not lose, and what is wrong with what arrived."""

    acknowledged: int
    lost: int
    missing: int
    twice: int
    kills: int
    restarts: int

    @property
    def is_good(self) -> bool:
        return not self.missing and not self.twice


class Producer:
    """A thread that adds numbered events; what Redis has acknowledged is in `acknowledged`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self.acknowledged: list[int] = []
        self.pausing = threading.Lock()  # whoever has it sees nothing being added
        self._thread = threading.Thread(target=self._add)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _add(self) -> None:
        number = 0
        with closing(open_client(self._url)) as client:
            while not self._ended.wait(0.05):
                some = range(number, number + 20)
                number += 20
                pipe = client.pipeline(transaction=False)
                for one in some:
                    event = f'{{"datetime": {1_700_000_000 + one}, "number": {one}}}'
                    pipe.xadd(STREAM, {"event": event})
                with self.pausing, suppress(*FAILURES):
                    answers = pipe.execute(raise_on_error=False)
                    self.acknowledged += [
                        one
                        for one, answer in zip(some, answers, strict=True)
                        if not isinstance(answer, Exception)
                    ]


class Consumer:
    """A process that consumes; when it has killed itself another one begins."""

    def __init__(self, directory: Path, redis: str, clickhouse: str, seed: int) -> None:
        self._directory = directory
        self._draw = random.Random(seed)
        self._port = find_port()
        self.kills = 0
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "capture"))),
            "REDIS_URL": redis,
            "STORE": "clickhouse",
            "CLICKHOUSE_URL": clickhouse,
            "STREAM_MAX_SIZE": "1000",
            "STREAM_MAX_WAIT_TIME_IN_SECONDS": "0.05",
            "API_PORT": str(self._port),
        }
        self._said = directory / "said"
        self._process = self._start(0)

    @property
    def said(self) -> str:
        return self._said.read_text()

    def die(self, times: int) -> None:
        """Begin again, and kill oneself so often."""
        wanted = self.kills + times
        self.stop()

        def has_died() -> bool:
            code = self._process.poll()
            if code is not None:
                assert code == -signal.SIGKILL, self.said
                self.kills += 1
                self._process = self._start(self._draw.randint(1, 60))
            return self.kills >= wanted

        wait_for(has_died, "the kills", deadline=1200)

    def live(self) -> None:
        """Begin again, and live until `stop`."""
        self.stop()
        self._process = self._start(0)
        self.wait_until_stored()

    def wait_until_stored(self) -> None:
        """Wait until it has stored something."""

        def has_stored() -> bool:
            with suppress(httpx.TransportError):
                url = f"http://127.0.0.1:{self._port}/health"
                return bool(httpx.get(url, verify=False).json()["rows_stored"])
            return False

        wait_for(has_stored, "a consumer that lives", deadline=120)

    def wait_until_told(self, losses: int) -> None:
        """Wait until it has said so often that Redis has lost something."""
        wait_for(lambda: self.said.count("was made anew") == losses, "what is lost is told")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _start(self, die_at: int) -> subprocess.Popen[bytes]:
        with self._said.open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.redis_consumer", str(die_at)],
                cwd=self._directory,
                env=self._environment,
                stderr=said,
                stdout=subprocess.DEVNULL,
            )


def run(directory: Path, *, kills: int, restarts: int, away: float, seed: int) -> Tally:
    """Do all that, and count."""
    data = directory / "redis"
    data.mkdir()
    lost: set[int] = set()
    with closing(Redis(data, "--appendonly", "yes", "--appendfsync", "always")) as redis:
        server = ServerProcess(directory / "engine", faults=0.1, seed=seed)
        producer = Producer(redis.url)
        consumer = Consumer(directory, redis.url, server.url, seed)
        try:
            for number in range(1, restarts + 1):
                if number == 1:
                    consumer.wait_until_stored()
                    server.stop()
                    time.sleep(away)  # which is to be survived, however long it is
                    server.start()
                consumer.die(kills * number // restarts - kills * (number - 1) // restarts)
                consumer.live()
                has_lost = number % 2 == 0
                with producer.pausing:
                    if has_lost:
                        lost |= _at_risk(redis.url)
                    redis.kill()
                    if has_lost:
                        shutil.rmtree(data / "appendonlydir")
                    redis.start()
                if has_lost:
                    consumer.wait_until_told(number // 2)
            producer.stop()
            with closing(open_client(redis.url)) as client:

                def is_over() -> bool:
                    with suppress(*FAILURES):
                        (group,) = client.xinfo_groups(STREAM)
                        last = client.xinfo_stream(STREAM)["last-generated-id"]
                        return group["last-delivered-id"] == last and not group["pending"]
                    return False

                wait_for(is_over, "the events to arrive", deadline=300)
        finally:
            producer.stop()
            consumer.stop()
            server.stop()
    with closing(
        clickhouse_connect.get_client(interface="chdb", path=str(directory / "engine"))
    ) as engine:
        rows = engine.query("SELECT JSONExtractUInt(attributes, 'number') FROM logs").result_rows
    found = [row[0] for row in rows]
    return Tally(
        acknowledged=len(producer.acknowledged),
        lost=len(lost - set(found)),
        missing=len(set(producer.acknowledged) - lost - set(found)),
        twice=len(found) - len(set(found)),
        kills=consumer.kills,
        restarts=restarts,
    )


def _at_risk(url: str) -> set[int]:
    """The numbers of the events of which Redis has not been told that they are stored."""
    with closing(open_client(url)) as client:
        (group,) = client.xinfo_groups(STREAM)
        behind = "(" + group["last-delivered-id"].decode()
        entries = client.execute_command("XRANGE", STREAM, behind, "+")
        for one in client.xpending_range(STREAM, "logwax", "-", "+", 100_000):
            entries += client.execute_command(
                "XRANGE", STREAM, one["message_id"], one["message_id"]
            )
    return {int(fields["number"]) for fields in (json.loads(one[1][b"event"]) for one in entries)}


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--kills", type=int, default=40)
    options.add_argument("--restarts", type=int, default=5)
    options.add_argument("--away", type=float, default=30.0)
    options.add_argument("--seed", type=int, default=7)
    given = vars(options.parse_args())
    with tempfile.TemporaryDirectory() as directory:
        tally = run(Path(directory), **given)
    print(tally)
    return 0 if tally.is_good and tally.kills >= given["kills"] else 1


if __name__ == "__main__":
    sys.exit(main())
