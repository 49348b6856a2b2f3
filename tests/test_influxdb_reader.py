"""The reader against a real InfluxDB: its figures equal those of plain Python."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.errors import StoreError
from connectors.sinks.influxdb_reader import InfluxReader
from connectors.store import Figures, Statistics
from settings import Settings
from tests.conftest import wait_for
from tests.servers.influxd import Influxd

Row = tuple[datetime, str, bool, float]
ALWAYS = (date.min, date.max)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
HOSTILE_IDS = [
    "it's",
    'say "hi"',
    "back\\slash\\",
    "'; DROP MEASUREMENT api_requests; --",
    "' OR '1'='1",
    "$customer_id",
    "a,b=c d",
    "tab\tand\nline",
    "Ünïcödé ☃ 客户",
    "a/b/../c",
    "x" * 65536,
    "",
]

STORED = {
    "a tag": Settings(_env_file=None),
    "a tag that was demoted": Settings(_env_file=None),
    "a field": Settings(_env_file=None, influxdb_tags="method"),
}
"""How `customer_id` and `success` are stored, and the settings for it."""


@dataclass
class Bucket:
    """A bucket with rows as the sink writes them."""

    server: Influxd
    stored: str = "a tag"

    def reader(self, **settings: object) -> InfluxReader:
        given = STORED[self.stored].model_copy(
            update={"influxdb_url": self.server.url, "influxdb_api": "v1", **settings}
        )
        return InfluxReader(given)

    def insert(self, *rows: Row) -> None:
        self.server.write("\n".join(self.line(*row) for row in rows).encode())

    def line(self, when: datetime, customer: str, success: bool, duration: float) -> str:
        micros = (when - EPOCH) // timedelta(microseconds=1)
        number = next(numbers)
        tags = {"file_id": "7"}
        fields = [f"event_time={micros}i", f"duration={duration!r}"]
        if self.stored == "a field":
            fields += [f"customer_id={quoted(customer)}"] * bool(customer)
            fields.append(f"success={success}")
        elif self.stored == "a tag" and can_be_a_tag(customer):
            tags |= {"customer_id": customer, "success": str(success).lower()}
        else:
            fields += [f"customer_id_text={quoted(customer)}"] * bool(customer)
            fields.append(f"success_text={quoted(str(success).lower())}")
        series = "".join(f",{name}={escaped(text)}" for name, text in tags.items() if text)
        time = micros // 1000 * 1_000_000 + number % 1_000_000
        return f"api_requests{series} {','.join(fields)} {time}"


numbers = itertools.count()


def can_be_a_tag(text: str) -> bool:
    return text.isprintable() and not text.endswith("\\") and len(text) <= 4096


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def escaped(text: str) -> str:
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


@pytest.fixture(params=STORED)
def bucket(influxd: Influxd, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(influxd, request.param)


@pytest.fixture
def tagged(influxd: Influxd) -> Bucket:
    return Bucket(influxd)


def statistics(
    reader: InfluxReader, customer: str | None, first: date = date.min, last: date = date.max
) -> Statistics | None:
    return asyncio.run(reader.statistics(customer, first, last))


def has_customer(reader: InfluxReader, customer: str) -> bool:
    return asyncio.run(reader.has_customer(customer))


def counts(reader: InfluxReader) -> tuple[None, None]:
    return asyncio.run(reader.counts())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def nearest_rank(values: Sequence[float], percent: int) -> float:
    """As InfluxQL defines it: the value whose rank is nearest."""
    ordered = sorted(values)
    return ordered[math.floor(len(ordered) * percent / 100 + 0.5) - 1]


def figures(rows: Sequence[Row]) -> Figures:
    durations = [duration for _, _, _, duration in rows]
    return Figures(
        total=len(rows),
        successful=sum(success for _, _, success, _ in rows),
        average=cast(float, pytest.approx(fmean(durations))),
        median=nearest_rank(durations, 50),
        p99=nearest_rank(durations, 99),
    )


def expected(rows: Sequence[Row]) -> Statistics:
    ordered = sorted(rows, key=lambda row: row[0])
    days = itertools.groupby(ordered, key=lambda row: row[0].date())
    return Statistics(figures(rows), [(day, figures(list(of_day))) for day, of_day in days])


days = st.datetimes(datetime(2024, 2, 28), datetime(2024, 3, 2))
durations = st.floats(0, 1e4, allow_subnormal=False)
requests = st.lists(st.tuples(days, st.booleans(), durations), min_size=1, max_size=120)
customers = map("customer {}".format, itertools.count())  # one for each example


@profile(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # examples share one bucket
)
@given(requests=requests)
def test_figures_equal_those_of_plain_python(
    bucket: Bucket, requests: list[tuple[datetime, bool, float]]
) -> None:
    customer = next(customers)
    rows = [
        (time.replace(tzinfo=timezone.utc), customer, success, duration)
        for time, success, duration in requests
    ]
    bucket.insert(*rows)

    assert statistics(bucket.reader(), customer) == expected(rows)


def test_figures_of_all_customers(bucket: Bucket) -> None:
    rows = [
        (at("2024-01-01") + timedelta(hours=hours), f"cust_{hours % 3}", hours % 2 == 0, hours / 7)
        for hours in range(100)
    ]
    bucket.insert(*rows)

    assert statistics(bucket.reader(), None) == expected(rows)


def test_days_are_whole_utc_days_and_both_included(bucket: Bucket) -> None:
    inside = [
        (at("2024-03-01T00:00:00"), "cust_1", True, 1.0),
        (at("2024-03-02T23:59:59.999999"), "cust_1", True, 2.0),
    ]
    bucket.insert(
        (at("2024-02-29T23:59:59.999999"), "cust_1", True, 100.0),
        *inside,
        (at("2024-03-03T00:00:00"), "cust_1", True, 100.0),
    )
    reader = bucket.reader()

    assert statistics(reader, "cust_1", date(2024, 3, 1), date(2024, 3, 2)) == expected(inside)
    assert statistics(reader, "cust_1", date(2024, 3, 5), date(2024, 3, 6)) is None


@pytest.mark.parametrize("year", [1678, 1969, 1970, 2106, 2261])
def test_days_of_far_years_are_themselves(tagged: Bucket, year: int) -> None:
    rows = [
        (at(f"{year}-01-01T00:00:00"), "cust_1", True, 1.0),
        (at(f"{year}-12-31T23:59:59.999999"), "cust_1", False, 2.0),
    ]
    tagged.insert(*rows)
    reader = tagged.reader()

    assert statistics(reader, "cust_1", date(year, 1, 1), date(year, 12, 31)) == expected(rows)
    assert statistics(reader, "cust_1", *ALWAYS) == expected(rows)
    assert statistics(reader, "cust_1", date(year + 1, 1, 1), date.max) is None
    assert statistics(reader, "cust_1", date.min, date(year - 1, 12, 31)) is None


@pytest.mark.parametrize("hostile", HOSTILE_IDS, ids=lambda text: repr(text[:20]))
def test_customer_ids_are_values_never_statements(bucket: Bucket, hostile: str) -> None:
    rows = [(at("2024-01-01"), hostile, True, 1.0), (at("2024-02-01"), hostile, False, 3.0)]
    others = [(at("2024-01-01"), other, False, 9.0) for other in (*HOSTILE_IDS, "cust_1")]
    bucket.insert(*(row for row in others if row[1] != hostile))
    reader = bucket.reader()
    assert not has_customer(reader, hostile)
    assert statistics(reader, hostile) is None

    bucket.insert(*rows)

    assert has_customer(reader, hostile)
    assert statistics(reader, hostile) == expected(rows)
    everybody = statistics(reader, None)
    assert everybody
    assert everybody.overall.total == len(HOSTILE_IDS) + 2


def test_a_customer_is_found_before_and_after_a_tag_was_demoted(tagged: Bucket) -> None:
    rows = [(at("2024-01-01"), "cust_1", True, 1.0), (at("2024-02-01"), "cust_1", False, 2.0)]
    tagged.insert(rows[0])
    tagged.stored = "a tag that was demoted"
    tagged.insert(rows[1])

    assert statistics(tagged.reader(), "cust_1") == expected(rows)


def test_no_rows_have_no_statistics(tagged: Bucket) -> None:
    assert statistics(tagged.reader(), "cust_1") is None
    assert statistics(tagged.reader(), None) is None


def test_rows_without_a_duration_count_as_rows(tagged: Bucket) -> None:
    tagged.server.write(b"api_requests,file_id=7,customer_id=c,success=true event_time=1i 1")

    nothing = Figures(1, 1, 0.0, 0.0, 0.0)
    assert statistics(tagged.reader(), "c") == Statistics(nothing, [(date(1970, 1, 1), nothing)])


def test_rows_are_not_counted(tagged: Bucket) -> None:
    tagged.insert((at("2024-01-01"), "cust_1", True, 1.0))

    assert counts(tagged.reader()) == (None, None)


@pytest.mark.parametrize(
    "ask",
    [counts, lambda reader: statistics(reader, None), lambda reader: has_customer(reader, "")],
)
def test_a_missing_database_is_a_sentence(
    tagged: Bucket, ask: Callable[[InfluxReader], Any]
) -> None:
    with pytest.raises(
        StoreError, match=r"^InfluxDB at 127.* cannot answer: database not found: x$"
    ):
        ask(tagged.reader(influxdb_bucket="x"))
