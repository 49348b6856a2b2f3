"""How long the API takes to answer as the store grows, at 1, 10, 100 million rows.

The rows are made in SQL, by hashes of their numbers, and inserted in blocks as the pipeline makes
them: each of one of 50 hosts, which are all behind by 15 hours, so that what is merged has come out
of order. The blocks of the last hours are not merged when the questions come. These come over a
socket, each with a range and values of its own, so that nothing that was kept answers them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from statistics import median, quantiles

import httpx
from clickhouse_connect.driver.client import Client

from api.app import create_app
from api.server import ApiServer
from benchmarks.measure import BenchmarkError, Effort, Figure, Wanted, new_directory
from connectors.sinks.clickhouse.reader import EXACT_UP_TO
from connectors.sinks.clickhouse.store import ClickHouseStore
from connectors.store import open_store
from settings import Settings

ROWS = (1_000_000, 10_000_000, 100_000_000)
"""Rows in the store when it is asked, as far as they are at most 25 times the lines of a run."""

ROUNDS = 200
"""Answers to each question, at most."""

WANTED = {
    "newest 100 of 15 minutes": 40,
    "a rare text in 24 hours": 400,
    "histogram of 24 hours": 100,
    "facets of an hour": 80,
    "a key of attributes in an hour": 150,
    "one customer": 50,
    "largest customer": 100,
    "all customers": 100,
}
"""The longest p99 wanted, in milliseconds; of one merged part three times that."""

_SECONDS = 20.0  # for the answers to one question
_MERGING = 900.0  # seconds that merges are waited for
_STILL = 15.0  # seconds without one, for the next one may begin only then

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)
_HOSTS, _BLOCK = 50, 50_000
_SPAN = timedelta(hours=15)  # of a block, and so of one of each host

_INSERT = f"""
INSERT INTO logs (timestamp, customer_id, method, request_path, endpoint, status_code, status_class,
    success, duration, client_ip, user_agent, bytes_sent, level, message, host, source, attributes,
    file_id, offset)
WITH cityHash64(number) AS hash, hash % 1000 AS luck,
    multiIf(luck < 950, 200, luck < 980, 404, 500) AS status,
    if(luck % 100 < 8, 'c0', concat('c', toString(toUInt32(
        pow(cityHash64(number, 1) / pow(2, 64), 2.5) * 20000)))) AS customer,
    concat('/api/v1/', ['orders', 'users', 'carts', 'items', 'search', 'login'][1 + hash % 6])
        AS endpoint
SELECT {{start:DateTime64(6, 'UTC')}} + toIntervalMicrosecond(
        intDiv((number % {_BLOCK}) * {_SPAN // timedelta(microseconds=1)}, {_BLOCK})),
    customer, ['GET', 'POST', 'PUT'][1 + hash % 3],
    concat(endpoint, '/', toString(cityHash64(number, 2) % 1000000)), endpoint, status,
    concat(toString(intDiv(status, 100)), 'xx'), status < 400,
    exp(-3 + sqrt(-2 * log((1 + cityHash64(number, 3) % 1000000) / 1000001))),
    concat('10.', toString(cityHash64(number, 4) % 256), '.', toString(hash % 256), '.7'),
    concat('Mozilla/5.0 (agent ', toString(cityHash64(number, 5) % 500), ')'), hash % 50000,
    multiIf(status = 200, 'info', status = 404, 'warning', 'error'),
    concat('request ', lower(hex(cityHash64(number, 6))), ' of ', customer, ' took ',
        toString(hash % 10000), ' us'),
    concat('host-', toString({{host:UInt32}})), '/var/log/app.log',
    concat('{{"user":"u', toString(cityHash64(number, 7) % 5000), '","region":"',
        ['eu', 'us', 'ap'][1 + hash % 3], '","trace_id":"', lower(hex(cityHash64(number, 8))),
        '"}}'),
    1 + {{host:UInt32}}, number * 200
FROM numbers({{first:UInt64}}, {_BLOCK})
SETTINGS max_threads = 1, max_block_size = {_BLOCK}, min_insert_block_size_rows = {_BLOCK}
"""
_CUSTOMERS = "SELECT customer_id, count() AS rows FROM logs GROUP BY customer_id ORDER BY rows DESC"
_PARTS = "SELECT count() FROM system.parts WHERE active AND table = 'logs'"

_Ask = Callable[[], tuple[str, Mapping[str, str]]]


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """The p99 of answers beside their p50, at each number of rows; nothing if it is to be brief."""
    if effort.brief:
        return
    rows = [number for number in ROWS if number <= 25 * effort.lines]
    with _store(scratch) as (client, api):
        for wanted in rows:
            _grow(client, wanted)
            yield from _ask_all(client, api)
            client.command("SYSTEM START MERGES logs")
        client.command("OPTIMIZE TABLE logs FINAL")
        yield from _ask_all(client, api)


@contextmanager
def _store(scratch: Path) -> Iterator[tuple[Client, httpx.Client]]:
    """An embedded store, and its API."""
    settings = Settings(_env_file=None, store="embedded", data_dir=new_directory(scratch))
    store = open_store(settings)
    assert isinstance(store, ClickHouseStore)  # as asked for
    assert store.reader
    server = ApiServer("127.0.0.1", 0)
    server.start(create_app(store.reader))
    try:
        with httpx.Client(base_url=server.url, trust_env=False, timeout=120) as api:
            yield store._client, api
    finally:
        server.stop()
        store.close()


def _grow(client: Client, wanted: int) -> None:
    """Insert blocks until there are as many rows as wanted; the last of each host stay as are."""
    first, end = _number(client, "SELECT count() FROM logs") // _BLOCK, wanted // _BLOCK
    for block in range(first, end):
        if block == max(first, end - _HOSTS):
            _let_merge(client)
            client.command("SYSTEM STOP MERGES logs")
        group, host = divmod(block, _HOSTS)
        start = _START + group * _SPAN
        values = {"start": start.replace(tzinfo=None), "host": host, "first": block * _BLOCK}
        client.command(_INSERT, values)


def _let_merge(client: Client) -> None:
    merged = time.monotonic()
    deadline = merged + _MERGING
    while (now := time.monotonic()) - merged < _STILL:
        if _number(client, "SELECT count() FROM system.merges"):
            merged = now
        if now > deadline:
            raise BenchmarkError(f"The store was still merging after {_MERGING:.0f} s.")
        time.sleep(0.5)


def _number(client: Client, query: str) -> int:
    return int(client.query(query).result_rows[0][0])


def _ask_all(client: Client, api: httpx.Client) -> Iterator[Figure]:
    customers = client.query(_CUSTOMERS).result_rows
    rows, parts = sum(count for _, count in customers), _number(client, _PARTS)
    ones = [name for name, count in customers if count <= EXACT_UP_TO][:10]
    largest, of_largest = customers[0]
    of_one = next(count for _, count in customers if count <= EXACT_UP_TO)
    random = Random(rows)
    spread = _number(client, "SELECT max(toUnixTimestamp(timestamp)) FROM logs")
    spread -= int(_START.timestamp())

    def between(hours: float) -> dict[str, str]:
        """So many hours: every second time of the newest rows, else anywhere."""
        back = random.random() * (3 * 3600 if random.random() < 0.5 else spread)
        last = _START + timedelta(seconds=max(spread - back, 0))
        return {"from": (last - timedelta(hours=hours)).isoformat(), "to": last.isoformat()}

    def where(hours: float, filter_: str) -> dict[str, str]:
        return {**between(hours), "filter": filter_}

    def word() -> str:
        return f"{random.getrandbits(48):012x}"

    def days() -> dict[str, str]:
        """All, in as many ways as there are rounds."""
        return {"from_date": str((_START - timedelta(days=random.randrange(10_000))).date())}

    questions: list[tuple[str, int, _Ask]] = [
        ("newest 100 of 15 minutes", rows, lambda: ("/logs", between(0.25))),
        ("newest 100 errors of 24 hours", rows, lambda: ("/logs", where(
            24, f"level = error and bytes_sent > {random.randrange(1000)}"))),
        ("a rare text in 24 hours", rows, lambda: ("/logs", where(24, word()))),
        ("histogram of 15 minutes", rows, lambda: ("/logs/histogram", between(0.25))),
        ("histogram of 24 hours", rows, lambda: ("/logs/histogram", between(24))),
        ("facets of an hour", rows, lambda: ("/logs/facets", between(1))),
        ("a key of attributes in an hour", rows, lambda: ("/logs", where(
            1, f"attr.user = u{random.randrange(5000)}"))),
        ("one customer", of_one, lambda: (f"/customers/{random.choice(ones)}/stats", days())),
        ("largest customer", of_largest, lambda: (f"/customers/{largest}/stats", days())),
        ("all customers", rows, lambda: ("/stats", days())),
        ("top customers", rows, lambda: ("/customers", days())),
    ]  # fmt: skip
    for question, of, ask in questions:
        taken, estimated = _time(api, ask)
        name = f"{rows:,} rows, {parts} parts: {question}, of {of:,}"
        bound = WANTED.get(question, 0) * (3 if parts == 1 else 1)
        yield Figure(
            "query",
            f"{name}, estimated, p99" if estimated else f"{name}, p99",
            "ms",
            [quantiles(taken, n=100, method="inclusive")[-1]],
            "p50",
            [median(taken)],
            [Wanted(bound, "ms")] if bound else [],
        )


def _time(api: httpx.Client, ask: _Ask) -> tuple[list[float], bool]:
    """Milliseconds of so many answers, and whether they are estimates.

    Fewer if they take long, but two at least, after one that does not count.
    """
    taken: list[float] = []
    end = time.monotonic() + _SECONDS
    path, values = ask()
    api.get(path, params=values).raise_for_status()
    while len(taken) < 2 or (len(taken) < ROUNDS and time.monotonic() < end):
        path, values = ask()
        began = time.perf_counter()
        answer = api.get(path, params=values)
        taken.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
    return taken, bool(answer.json().get("estimated"))
