"""Customers and endpoints over the API, beside a sink that writes into a real embedded store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import polars as pl
import pytest

from api.app import Pipeline, create_app
from connectors.batch import Parsed
from connectors.sinks.clickhouse import reader as clickhouse_reader
from connectors.sinks.store_sink import StoreSink
from connectors.status import SourceStatus, Status
from connectors.store import Store, open_store
from settings import Settings
from tests.test_clickhouse_store import batch

Get = Callable[..., httpx.Response]
REQUESTS = {  # customer -> (endpoint, status, duration) of each request
    "busy": [("/a", 200, 0.1), ("/a", 200, 0.2), ("/b", 200, 0.3), ("/b", 404, 0.4)],
    "broken": [("/b", 500, 0.1), ("/b", 500, 0.1)],
    "slow": [("/c", 200, 9.0)],
}


class Running:
    """A store, a sink that fills it, and an API over it."""

    def __init__(self, directory: Path) -> None:
        self.store: Store = open_store(
            Settings(_env_file=None, store="embedded", data_dir=directory, instance="host")
        )
        self.status = Status()
        self.sink = StoreSink(self.store, self.status).build("write", 0, 1)
        self.end = 0
        self.client = httpx.AsyncClient()
        self.over(sees_writes=True)

    def over(self, *, sees_writes: bool) -> None:
        assert self.store.reader
        beside = Pipeline(self.status, SourceStatus, sees_writes=sees_writes)
        transport = httpx.ASGITransport(create_app(self.store.reader, beside))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://api", verify=False)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return asyncio.run(self.client.get(path, headers=headers))

    def batch(self, customer: str, *requests: tuple[str, int, float]) -> Parsed:
        first, self.end = self.end, self.end + len(requests)
        made = batch(first, self.end)
        endpoints, statuses, durations = zip(*requests, strict=True)
        rows = made.rows.with_columns(
            customer_id=pl.lit(customer),
            method=pl.lit("GET"),
            endpoint=pl.Series(endpoints),
            status_code=pl.Series(statuses, dtype=pl.UInt16),
            success=pl.Series([status < 400 for status in statuses]),
            duration=pl.Series(durations),
        )
        return Parsed(made.spans, rows=rows, rejected=made.rejected)

    def close(self) -> None:
        self.sink.close()
        self.store.close()

    def store_it(self, customer: str, *requests: tuple[str, int, float]) -> None:
        self.sink.write_batch([self.batch(customer, *requests)])
        self.sink.wait()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with closing(Running(tmp_path / "data")) as made:
        yield made


@pytest.mark.parametrize("exact", [500_000, 0], ids=["exact", "estimated"])
def test_customers_and_endpoints_are_ranked_by_requests_errors_and_latency(
    running: Running, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse_reader, "EXACT_UP_TO", exact)
    for customer, requests in REQUESTS.items():
        running.store_it(customer, *requests)

    def ranked(question: str) -> list[list[object]]:
        said = running.get(question).json()
        assert said["estimated"] == (exact == 0)
        names = ("customer_id", "method", "endpoint", "total_requests", "error_rate")
        found = said["customers"] if "customers" in said else said["endpoints"]
        return [[one[name] for name in names if name in one] for one in found]

    busy, broken, slow = ["busy", 4, 25.0], ["broken", 2, 100.0], ["slow", 1, 0.0]
    assert ranked("/customers") == [busy, broken, slow]
    assert ranked("/customers?order=errors") == [broken, busy, slow]
    assert ranked("/customers?order=latency&limit=2") == [slow, busy]
    assert ranked("/customers?from_date=1970-01-02") == []
    a, b, c = ["GET", "/a", 2, 0.0], ["GET", "/b", 4, 75.0], ["GET", "/c", 1, 0.0]
    assert ranked("/endpoints") == [b, a, c]
    assert ranked("/endpoints?order=errors") == [b, a, c]
    assert ranked("/endpoints?order=latency") == [c, b, a]
    if exact:
        first = running.get("/customers").json()["customers"][0]
        assert first == {
            "customer_id": "busy",
            "total_requests": 4,
            "successful_requests": 3,
            "failed_requests": 1,
            "uptime": 75.0,
            "average_latency": 0.25,
            "median_latency": 0.25,
            "p99_latency": 0.397,
            "error_rate": 25.0,
        }


@pytest.mark.parametrize("exact", [500_000, 1], ids=["exact", "estimated"])
def test_statistics_of_one_customer_by_hour(
    running: Running, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse_reader, "EXACT_UP_TO", exact)
    hours = ["1969-12-31T23:59:59.999999", "1970-01-01T00:00:00", "2024-01-01T12:59:59.999999"]
    made = running.batch("a", *REQUESTS["busy"])
    times = pl.Series([*hours, hours[-1]]).str.to_datetime(time_unit="us", time_zone="UTC")
    rows = made.rows.with_columns(timestamp=times)
    running.sink.write_batch([Parsed(made.spans, rows=rows, rejected=made.rejected)])
    running.sink.wait()

    said = running.get("/customers/a/stats?interval=hour&from_date=1969-01-01").json()

    by_day = running.get("/customers/a/stats?interval=day&from_date=1969-01-01").json()
    assert by_day == running.get("/customers/a/stats?from_date=1969-01-01").json()
    hourly, daily = said.pop("hourly"), by_day.pop("daily")
    assert said == by_day
    assert said["estimated"] == (exact == 1)
    assert [(one["hour"], one["total_requests"]) for one in hourly] == [
        ("1969-12-31T23:00:00Z", 1),
        ("1970-01-01T00:00:00Z", 1),
        ("2024-01-01T12:00:00Z", 2),
    ]
    for hour, day in zip(hourly, daily, strict=True):
        assert hour.pop("hour").startswith(day.pop("date"))
        assert hour == day
    assert running.get("/customers/a/stats?interval=week").status_code == 422


def test_it_is_ready_while_the_store_answers_and_a_worker_reads(running: Running) -> None:
    def ready() -> tuple[int, str]:
        said = running.get("/ready")
        return said.status_code, said.json().get("detail", "")

    assert ready() == (200, "")
    running.status.report("The disk is full.", "trouble")
    assert ready() == (503, "The disk is full.")
    running.status.overcome("trouble")
    assert ready() == (200, "")
    running.sink.close()
    assert ready() == (503, "The pipeline does not read yet, or has ended.")
    running.store.reader.cancel()  # type: ignore[union-attr]
    assert ready() == (503, "The process is about to end.")


@pytest.mark.parametrize("question", ["order=name", "limit=0", "limit=1001", "limit=x"])
def test_an_order_or_a_limit_that_is_none_is_a_422_with_a_sentence(
    running: Running, question: str
) -> None:
    for path in ("/customers", "/endpoints"):
        said = running.get(f"{path}?{question}")
        assert said.status_code == 422
        assert question.partition("=")[2] in said.json()["detail"]
