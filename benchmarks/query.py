"""How long answers take as the store grows: statistics and searches, at 1, 10, 100 million rows.

The first million rows are generated lines that the pipeline stored. The others are these rows
again, on other days and with other durations, copied in SQL: the same customers, as frequent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import clickhouse_connect
import httpx
from clickhouse_connect.driver.client import Client

from api.app import create_app
from benchmarks.job import EMBEDDED, make_log, run_job
from benchmarks.measure import BenchmarkError, Effort, Figure, Wanted, new_directory
from connectors.sinks.clickhouse.reader import EXACT_UP_TO, ClickHouseReader

ROWS = (1_000_000, 10_000_000, 100_000_000)
"""Rows in the store when it is asked, as far as they are at most 25 times the lines of a run."""

ROUNDS = 200
"""Answers to each question, at most."""

WANTED = {"one customer": 50, "largest customer": 100, "all customers": 100}
"""The longest p99 wanted, in milliseconds."""

_SECONDS = 20.0  # for the answers to one question
_MERGING = 900.0  # seconds that merges are waited for
_STILL = 15.0  # seconds without one, for the next one may begin only then

_COPY = """
INSERT INTO logs SELECT * REPLACE (timestamp - toIntervalDay({day:UInt32}) AS timestamp,
    duration * exp(randNormal(0, 0.3)) AS duration, file_id + {day:UInt32} AS file_id)
FROM (SELECT * FROM logs WHERE file_id = {file:UInt64} LIMIT {rows:UInt64})
SETTINGS max_block_size = 50000, min_insert_block_size_rows = 50000, min_insert_block_size_bytes = 0
"""  # in parts as the pipeline makes them, to be merged alike
_CUSTOMERS = "SELECT customer_id, count() AS rows FROM logs GROUP BY customer_id ORDER BY rows DESC"
_SEARCH = """
SELECT timestamp, customer_id, method, request_path, status_code, duration FROM logs
WHERE {customer} position(request_path, {{text:String}}) > 0 AND status_code >= 500
ORDER BY timestamp DESC LIMIT 100
"""
_SEARCH_ONE = _SEARCH.format(customer="customer_id = {customer:String} AND")
_SEARCH_ALL = _SEARCH.format(customer="")

_Ask = Callable[[], Awaitable[object]]


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """The p99 of answers beside their p50, at each number of rows; nothing if it is to be brief."""
    if effort.brief:
        return
    rows = [number for number in ROWS if number <= 25 * effort.lines]
    with _store(scratch) as client:
        for wanted in rows:
            _grow(client, wanted)
            yield from asyncio.run(_ask_all(client))


@contextmanager
def _store(scratch: Path) -> Iterator[Client]:
    """An embedded store with the first lines, stored by the pipeline."""
    directory = new_directory(scratch)
    run_job(EMBEDDED, make_log(scratch, "json", ROWS[0]), directory)
    (path,) = map(str, directory.glob("*/data/clickhouse"))
    client = clickhouse_connect.get_client(interface="chdb", path=path)
    try:
        yield client
    finally:
        client.close()


def _grow(client: Client, wanted: int) -> None:
    """Copy the first rows to earlier days until there are as many as wanted, and let it merge."""
    [(file, first)] = client.query(
        "SELECT file_id, count() FROM logs GROUP BY file_id ORDER BY max(timestamp) DESC LIMIT 1"
    ).result_rows
    while (missing := wanted - _number(client, "SELECT count() FROM logs")) > 0:
        day = _number(client, "SELECT uniqExact(file_id) FROM logs")
        client.command(_COPY, {"file": file, "day": day, "rows": min(first, missing)})
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


async def _ask_all(client: Client) -> list[Figure]:
    customers = client.query(_CUSTOMERS).result_rows
    rows = sum(count for _, count in customers)
    one, of_one = next(found for found in customers if found[1] <= EXACT_UP_TO)
    largest, of_largest = customers[0]
    parts = _number(client, "SELECT count() FROM system.parts WHERE active AND table = 'logs'")
    app = create_app(ClickHouseReader(lambda: client, "logs"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://logwax") as api:

        async def get(path: str) -> dict[str, object]:
            response = await api.get(path)
            response.raise_for_status()
            answer: dict[str, object] = response.json()
            return answer

        async def search(query: str) -> object:
            values = {"text": "/orders", "customer": one}
            return client.query(query, values).result_rows

        questions: list[tuple[str, int, _Ask]] = [
            ("one customer", of_one, partial(get, f"/customers/{one}/stats")),
            ("largest customer", of_largest, partial(get, f"/customers/{largest}/stats")),
            ("all customers", rows, partial(get, "/stats")),
            ("search of one", of_one, partial(search, _SEARCH_ONE)),
            ("search of all", rows, partial(search, _SEARCH_ALL)),
        ]
        figures: list[Figure] = []
        for question, of, ask in questions:
            answer = await ask()
            estimated = isinstance(answer, dict) and answer["estimated"]
            taken = await _time(ask)
            name = f"{rows:,} rows, {parts} parts: {question}, of {of:,}"
            figures.append(
                Figure(
                    "query",
                    f"{name}, estimated, p99" if estimated else f"{name}, p99",
                    "ms",
                    [quantiles(taken, n=100, method="inclusive")[-1]],
                    "p50",
                    [median(taken)],
                    [Wanted(WANTED[question], "ms")] if question in WANTED else [],
                )
            )
    return figures


async def _time(ask: _Ask) -> list[float]:
    """Milliseconds of so many answers; of fewer if they take long, but of two at least."""
    taken: list[float] = []
    end = time.monotonic() + _SECONDS
    while len(taken) < 2 or (len(taken) < ROUNDS and time.monotonic() < end):
        began = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - began) * 1000)
    return taken
