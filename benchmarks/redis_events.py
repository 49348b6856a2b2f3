"""10,000 single events through a real Redis into ClickHouse over HTTP, as `flows.redis` does it.

Run it with `python -m benchmarks.redis_events`. Bars: 0.4 s from the first XADD until all are
stored and Redis knows it, of which client and Redis 0.15 CPU seconds with hiredis, 0.25 without;
0.01 s to add a bulk of 1,000. Beside it stand the figures of the same into FerretDB.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.job import STORES
from benchmarks.measure import Process, new_directory
from connectors.batch import Parsed
from connectors.sources.redis import LEASE, RedisSource
from connectors.sources.redis_group import Group, open_client
from connectors.store import Store, open_store
from flows.enrichment.enricher import enricher
from flows.redis import parse_entries
from logwax_capture.event_queue import RedisStream
from logwax_capture.ids import next_id
from settings import Settings

EVENTS, AT_A_TIME, ROUNDS = 10_000, 1_000, 7
STREAM = "logwax:events"
FERRETDB = import_module("tests.servers.ferretdb")  # tests are not typed


def event(number: int) -> str:
    """An event of some 190 bytes."""
    return json.dumps(
        {
            "path_info": f"/watch/{number % 100}/",
            "method": "GET",
            "event_name": "event.video.watch",
            "visited_by": f"user{number % 500}",
            "ip_address": f"192.0.2.{number % 250}",
            "datetime": f"2026-01-02T03:04:05.{number:06}+00:00",
            "status_code": 200,
        }
    )


def cpu_of_redis(client: Any) -> float:
    """CPU seconds of the server."""
    told = client.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


def one_round(url: str, client: Any, store: Store, settings: Settings) -> tuple[float, ...]:
    """Seconds by the clock, of all and of a bulk; CPU seconds of Redis, of who adds, of who reads.

    Those that read include what makes a batch of the entries, not what parses and stores it.
    """
    events = [event(number) for number in range(EVENTS)]
    group = Group(url, STREAM, "logwax", most=EVENTS, most_bytes=10**8, lease=LEASE)
    source = RedisSource(group, store.offsets, most=EVENTS, max_age=0.0, longest=10**6)
    parse, enrich, writer = parse_entries(settings), enricher(), store.writer()
    source.collect()
    add = RedisStream(url, STREAM, 100_000)
    add([])
    redis, begun, cpu = cpu_of_redis(client), time.perf_counter(), time.thread_time()
    for first in range(0, EVENTS, AT_A_TIME):
        add([{"id": next_id(), "event": text} for text in events[first : first + AT_A_TIME]])
    adding, reading, stored = time.thread_time() - cpu, 0.0, 0
    bulk = (time.perf_counter() - begun) * AT_A_TIME / EVENTS
    while stored < EVENTS:
        cpu = time.thread_time()
        taken = source.collect()
        reading += time.thread_time() - cpu
        if taken:
            batch: Parsed = enrich(parse(taken))
            stored += writer.write(batch).rows
            cpu = time.thread_time()
            batch.acknowledge()
            reading += time.thread_time() - cpu
        else:
            time.sleep(min(source.due_in() or 0.001, 0.001))
    seconds = time.perf_counter() - begun
    writer.close()
    source.close()
    return seconds, bulk, cpu_of_redis(client) - redis, adding, reading


@contextmanager
def mongodb(directory: Path) -> Iterator[dict[str, str]]:
    """Settings for FerretDB over SQLite, which runs meanwhile."""
    server = FERRETDB.Ferretdb(directory / "ferretdb")
    try:
        yield {"STORE": "mongodb", "MONGODB_URL": server.url, "INSTANCE": "benchmark"}
    finally:
        server.stop()


def measure(
    title: str, start: Callable[[Path], AbstractContextManager[dict[str, str]]], scratch: Path
) -> None:
    """Print the figures of every round into one store, and the best."""
    directory = new_directory(scratch)
    socket = directory / "redis.sock"
    command = ("redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "")
    with (
        Process(*command, directory=directory) as server,
        start(directory) as more,
        closing(open_client(f"unix://{socket}")) as client,
    ):
        server.wait_for(socket.exists, "it listens")
        os.environ.update(more)
        settings = Settings(log_format="json", data_dir=directory)
        store = open_store(settings)
        rounds = [one_round(f"unix://{socket}", client, store, settings) for _ in range(ROUNDS)]
        store.close()
    print(f"{EVENTS} events into {title}, {'with' if find_spec('hiredis') else 'without'} hiredis")
    print("seconds  a bulk  Redis CPU  adding CPU  reading CPU  client and Redis")
    for figures in [*rounds, [median(column) for column in zip(*rounds, strict=True)]]:
        print(*(f"{figure:9.4f}" for figure in (*figures, sum(figures[2:]))))
    print("the last line: the median of each")


def main() -> None:
    """Print the figures of ClickHouse and, where it is built, of FerretDB."""
    with TemporaryDirectory() as scratch:
        measure("ClickHouse over HTTP", STORES["ClickHouse over HTTP"], Path(scratch))
        if FERRETDB.BINARY.exists():
            measure("FerretDB", mongodb, Path(scratch))


if __name__ == "__main__":
    main()
