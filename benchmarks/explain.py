"""How often `/explain` names a cause that was planted, and how long it takes: one cause a round.

The rows are made in SQL, by hashes of their numbers: the same in every run. Each cause is a value
of a field with which rows of a status of its own are forty times as frequent as without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import clickhouse_connect
import httpx
from clickhouse_connect.driver.client import Client

from api.app import create_app
from benchmarks.measure import Effort, Figure, Wanted, new_directory
from connectors.sinks.clickhouse.reader import ClickHouseReader
from connectors.store import open_store
from settings import Settings

CAUSES = 100
"""Causes that are planted; there are no more rounds."""

_FIRST_STATUS = 400
_FIELDS = {  # how many values each has; lower ones are more frequent, as they are in logs
    "customer_id": ("c", 2000),
    "endpoint": ("/api/v1/e", 60),
    "host": ("web-", 24),
    "attr.region": ("r", 12),
    "attr.version": ("v", 30),
}

_INSERT = """
INSERT INTO logs (timestamp, customer_id, endpoint, host, method, request_path, status_code,
    status_class, success, duration, client_ip, user_agent, bytes_sent, source, attributes,
    file_id, offset)
WITH {values} AS found, 1 + cityHash64(number, 20) % {{causes:UInt32}} AS cause,
    cityHash64(number, 21) % 1000
        < if(found[{{fields:Array(UInt8)}}[cause]] = {{values:Array(String)}}[cause], 400, 10)
        AS is_failed,
    if(is_failed, {{first_status:UInt32}} + cause - 1, 200) AS status
SELECT toDateTime64('2024-01-01', 6, 'UTC') + toIntervalMillisecond(number), found[1], found[2],
    found[3], if(cityHash64(number, 22) % 4 = 0, 'POST', 'GET'),
    concat(found[2], '/', toString(cityHash64(number, 23) % 1000000)), status,
    concat(toString(intDiv(status, 100)), 'xx'), status < 400,
    cityHash64(number, 24) % 100000 / 100000,
    concat('10.', toString(cityHash64(number, 25) % 256), '.',
        toString(cityHash64(number, 26) % 256), '.1'),
    concat('Mozilla/5.0 (X11; Linux) agent ', toString(cityHash64(number, 27) % 60)),
    cityHash64(number, 28) % 100000, concat('/var/log/', found[3], '.log'),
    concat('{{"region":"', found[4], '","version":"', found[5], '","trace":"',
        hex(cityHash64(number, 29)), '"}}'),
    1, number * 250
FROM numbers({{start:UInt64}}, {{rows:UInt64}})
SETTINGS max_block_size = 100000, min_insert_block_size_rows = 100000,
    min_insert_block_size_bytes = 0
"""
_VALUE = "concat('{0}', toString(toUInt32({1} * pow(cityHash64(number, {2}) / pow(2, 64), 2))))"


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """The causes that came first, and the time of an answer; nothing if it is to be brief."""
    if effort.brief:
        return
    random = Random(1)
    causes = [_cause(random) for _ in range(CAUSES)]
    directory = new_directory(scratch)
    open_store(Settings(_env_file=None, store="embedded", data_dir=directory)).close()
    client = clickhouse_connect.get_client(interface="chdb", path=str(directory / "clickhouse"))
    try:
        _fill(client, effort.lines, causes)
        found, taken = asyncio.run(_ask(client, causes[: effort.rounds]))
    finally:
        client.close()
    name = f"{effort.lines:,} rows"
    wanted = [Wanted(95, "%", at_least=True)]
    share = [100 * sum(found) / len(found)]
    yield Figure("explain", f"{name}: the cause comes first", "%", share, "of", [100.0], wanted)
    yield Figure(
        "explain", f"{name}: an answer, longest", "ms", [max(taken)], "shortest", [min(taken)],
        [Wanted(1000, "ms")],
    )  # fmt: skip


def _cause(random: Random) -> tuple[str, str]:
    field = random.choice(list(_FIELDS))
    prefix, count = _FIELDS[field]
    return field, f"{prefix}{int(count * random.random() ** 2)}"


def _fill(client: Client, rows: int, causes: list[tuple[str, str]]) -> None:
    made = [
        _VALUE.format(prefix, count, number)
        for number, (prefix, count) in enumerate(_FIELDS.values(), 1)
    ]
    statement = _INSERT.format(values=f"[{', '.join(made)}]")
    places = {field: place for place, field in enumerate(_FIELDS, 1)}
    for start in range(0, rows, 1_000_000):
        client.command(
            statement,
            {
                "causes": CAUSES,
                "fields": [places[field] for field, _ in causes],
                "values": [value for _, value in causes],
                "first_status": _FIRST_STATUS,
                "start": start,
                "rows": min(1_000_000, rows - start),
            },
        )


async def _ask(client: Client, causes: list[tuple[str, str]]) -> tuple[list[bool], list[float]]:
    """Whether each cause came first, and the milliseconds of each answer."""
    app = create_app(ClickHouseReader(lambda: client, "logs"))
    found, taken = [], []
    asked = {"from": "2024-01-01", "to": "2030-01-01", "limit": "1"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://logwax", timeout=60
    ) as api:
        for number, cause in enumerate(causes):
            asked["filter"] = f"status_code = {_FIRST_STATUS + number}"
            began = time.perf_counter()
            response = await api.get("/explain", params=asked)
            taken.append((time.perf_counter() - began) * 1000)
            response.raise_for_status()
            first = [(one["field"], one["value"]) for one in response.json()["findings"]]
            found.append(first == [cause])
    return found, taken
