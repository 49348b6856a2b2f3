"""The same lines into every store: the same counts, totals and latencies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import clickhouse_connect
import pytest

from connectors.sinks.retry import Retry
from connectors.store import Figures, Statistics, open_reader, open_store
from settings import Settings
from tests.conftest import Pipeline
from tests.servers.clickhouse_http import ServerProcess
from tests.servers.influxd import Influxd

FIRST, LAST = date(1970, 1, 1), date(2099, 12, 31)
CUSTOMERS = [None, *(f"cust_{number}" for number in range(1, 11)), "nobody"]


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path / "server")
    yield made
    made.stop()


def answers(settings: Settings) -> list[Statistics | None]:
    """The statistics of each customer, asked of a store that is a server or embedded."""

    async def ask_all() -> list[Statistics | None]:
        store = open_store(settings) if settings.store == "embedded" else None
        try:
            reader = store.reader if store else open_reader(settings, Retry())
            assert reader
            return [await reader.statistics(customer, FIRST, LAST) for customer in CUSTOMERS]
        finally:
            if store:
                store.close()

    return asyncio.run(ask_all())


def rounded(statistics: Statistics | None) -> list[Figures]:
    """Of the whole and of each day, the mean without the digits that the order of adding makes."""
    if statistics is None:
        return []
    every = [statistics.overall, *(figures for _, figures in statistics.daily)]
    return [replace(figures, average=round(figures.average, 9)) for figures in every]


def without_percentiles(statistics: Statistics | None) -> list[Figures]:
    return [replace(figures, median=0.0, p99=0.0) for figures in rounded(statistics)]


def within_a_rank(durations: list[float], share: float, answer: float) -> bool:
    """Whether `answer` lies between the neighbours of the exact rank."""
    rank = share * (len(durations) - 1)
    low, high = max(0, int(rank) - 1), min(len(durations) - 1, int(rank) + 2)
    return durations[low] - 1e-9 <= answer <= durations[high] + 1e-9


def test_every_store_has_the_same_lines_and_says_the_same_of_them(
    pipeline: Pipeline, influxd: Influxd, bridge: ServerProcess, soak: bool
):
    lines = 1_000_000 if soak else 20_000
    log = pipeline.directory / "in.log"
    settings = pipeline.environment(
        LOG_FILE_PATH=log,
        LOG_GENERATOR_SEED=3,
        LOG_GENERATOR_BAD_RATIO=0.001,
        LOG_INTERVAL_SECONDS=0,
        LOG_BATCH_SIZE=1000,
        MAX_LOGS_TO_GENERATE=lines,
    )
    subprocess.run([sys.executable, "-m", "log_generator"], env=settings, check=True)
    said, found = [], []
    for store, where in (
        ("embedded", {}),
        ("clickhouse", {"clickhouse_url": bridge.url}),
        ("influxdb", {"influxdb_url": influxd.url, "influxdb_api": "v1"}),
    ):
        data = pipeline.directory / store
        chosen = {"store": store, "data_dir": data, "instance": "host", **where}
        given = {name.upper(): value for name, value in chosen.items()}
        done = pipeline.run(LOG_PATHS=log, **given)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split()[:3])
        found.append(answers(Settings(_env_file=None, **chosen)))
    assert said[0][0] == f"lines={lines}"
    assert said[0] == said[1] == said[2]
    embedded, server, influx = found
    for one, other in zip(embedded, server, strict=True):
        if one and other and one.estimated:
            assert other.estimated
            assert without_percentiles(one) == without_percentiles(other)
            assert one.overall.median == pytest.approx(other.overall.median, rel=0.01)
            assert one.overall.p99 == pytest.approx(other.overall.p99, rel=0.01)
        else:
            assert rounded(one) == rounded(other)
    assert list(map(without_percentiles, embedded)) == list(map(without_percentiles, influx))
    client = clickhouse_connect.get_client(dsn=bridge.url)
    sorted_durations = "SELECT duration FROM logs WHERE customer_id = {customer:String} ORDER BY 1"
    for customer, statistics in zip(CUSTOMERS, influx, strict=True):
        if customer and statistics:
            rows = client.query(sorted_durations, {"customer": customer}).result_rows
            every = [duration for (duration,) in rows]
            assert within_a_rank(every, 0.5, statistics.overall.median)
            assert within_a_rank(every, 0.99, statistics.overall.p99)
    client.close()
