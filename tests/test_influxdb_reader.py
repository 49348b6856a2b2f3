"""The reader against a real InfluxDB: its figures equal those of plain Python."""

from __future__ import annotations

import asyncio
import itertools
import math
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import SecretStr

from connectors.batch import COLUMNS
from connectors.errors import StoreError
from connectors.sinks.influxdb import reader as influxdb_reader
from connectors.sinks.influxdb.line_protocol import encode
from connectors.sinks.influxdb.reader import InfluxReader
from connectors.store import Figures, Statistics
from settings import Settings
from tests.conftest import find_port, wait_for
from tests.servers.faulty import HANG, Answer, Fault, FaultyServer, Request, Reset, Write
from tests.servers.influxd import Influxd
from tests.servers.influxdb_http import Server as Version2

Row = tuple[datetime, str, bool, float]
ALWAYS = (date.min, date.max)
SCHEMA = {name: COLUMNS[name] for name in ("timestamp", "customer_id", "success", "duration")}
NO_REQUESTS = Statistics(Figures(0, 0, None, None, None), [])
TEXTS = ("customer_id", "success", "status_class")
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

    def insert(self, *rows: Row, status: int = 200, without: str = "") -> None:
        places = {
            "file_id": pl.Series([7] * len(rows), dtype=pl.UInt64),
            "line": pl.Series([next(numbers) for _ in rows], dtype=pl.UInt64),
            "status_code": pl.Series([status] * len(rows), dtype=pl.UInt16),
        }
        frame = pl.DataFrame(rows, SCHEMA, orient="row").with_columns(**places)
        status_class = pl.lit("2xx" if status == 200 else "", dtype=COLUMNS["status_class"])
        frame = frame.with_columns(status_class=status_class).drop(without or [])
        demoted = TEXTS if self.stored == "a tag that was demoted" else ()
        lines = encode(frame, STORED[self.stored].influxdb_tag_columns, demoted)
        self.server.write(bytes(lines.between(0, len(lines))))


numbers = itertools.count()


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
    durations = [duration for _, _, _, duration in rows if duration is not None]
    successful = sum(success for _, _, success, _ in rows)
    if not durations:
        return Figures(len(rows), successful, None, None, None)
    return Figures(
        total=len(rows),
        successful=successful,
        average=cast(float, pytest.approx(fmean(durations))),
        median=nearest_rank(durations, 50),
        p99=nearest_rank(durations, 99),
    )


def expected(rows: Sequence[Row]) -> Statistics:
    if not rows:
        return NO_REQUESTS
    ordered = sorted(rows, key=lambda row: row[0])
    days = itertools.groupby(ordered, key=lambda row: row[0].date())
    return Statistics(figures(rows), [(day, figures(list(of_day))) for day, of_day in days])


days = st.datetimes(datetime(2024, 2, 28), datetime(2024, 3, 2))
durations = st.just(0.0) | st.floats(0, 1e4, allow_subnormal=False)
requests = st.lists(st.tuples(days, st.booleans(), durations), max_size=120)
others = st.lists(st.tuples(days, st.just(False), durations), min_size=1, max_size=5)
without_duration = st.lists(st.tuples(days, st.booleans(), st.none()), max_size=5)
customers = map("customer {}".format, itertools.count())  # one for each example


@profile(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # examples share one bucket
)
@given(requests=requests, others=others, without_duration=without_duration)
@example(  # of nine requests, the figures are those of the seven that have a duration
    requests=[(datetime(2024, 2, 28), False, float(number > 1)) for number in range(7)],
    others=[(datetime(2024, 2, 28), False, 0.0)],
    without_duration=[(datetime(2024, 2, 28), False, None)] * 2,
)
def test_figures_equal_those_of_plain_python(
    bucket: Bucket,
    requests: list[tuple[datetime, bool, float]],
    others: list[tuple[datetime, bool, float]],
    without_duration: list[tuple[datetime, bool, None]],
) -> None:
    customer = next(customers)
    rows, unmeasured, no_requests = (
        [
            (time.replace(tzinfo=timezone.utc), customer, success, duration)
            for time, success, duration in some
        ]
        for some in (requests, without_duration, others)
    )
    bucket.insert(*rows)
    bucket.insert(*unmeasured, without="duration")
    bucket.insert(*no_requests, status=0)

    assert statistics(bucket.reader(), customer) == expected(rows + unmeasured)


def test_requests_are_the_rows_with_a_status_however_it_is_stored(bucket: Bucket) -> None:
    rows = [(at("2024-01-01"), "cust_1", True, 1.0), (at("2024-01-02"), "cust_1", False, 2.0)]
    bucket.insert(rows[0])
    bucket.insert(rows[1], status=999)
    bucket.insert((at("2024-01-02"), "cust_1", False, 0.0), status=0)
    bucket.insert((at("2024-01-03"), "cust_1", False, 0.0), without="status_code", status=0)

    assert statistics(bucket.reader(), "cust_1") == expected(rows)
    assert statistics(bucket.reader(), None, date(2024, 1, 3), date.max) == NO_REQUESTS


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date.min, date.min),
        (date.min, date(1677, 9, 21)),
        (date(2262, 4, 12), date(2262, 4, 12)),
        (date(2262, 4, 12), date.max),
        (date.max, date.max),
    ],
)
def test_days_that_the_store_cannot_hold_are_empty(tagged: Bucket, first: date, last: date) -> None:
    tagged.insert((at("1678-01-01"), "cust_1", True, 1.0), (at("2262-04-11"), "cust_1", True, 1.0))

    assert statistics(tagged.reader(), None, first, last) is None
    assert statistics(tagged.reader(), "cust_1", first, last) is None


@pytest.mark.parametrize(
    ("first", "last"), [(date.min, date(1678, 1, 1)), (date(2262, 4, 11), date.max)]
)
def test_of_a_range_that_overlaps_what_the_store_can_hold_that_part_counts(
    tagged: Bucket, first: date, last: date
) -> None:
    rows = [(at("1678-01-01"), "cust_1", True, 1.0), (at("2262-04-11"), "cust_1", True, 2.0)]
    tagged.insert(*rows)

    inside = [row for row in rows if first <= row[0].date() <= last]
    assert statistics(tagged.reader(), "cust_1", first, last) == expected(inside)


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


def test_requests_without_a_duration_have_no_latencies(tagged: Bucket) -> None:
    rows = [(at("2024-01-01"), "cust_1", True, None)]
    tagged.insert(*rows, without="duration")

    nothing = Figures(1, 1, None, None, None)
    found = Statistics(nothing, [(date(2024, 1, 1), nothing)])
    assert statistics(tagged.reader(), "cust_1") == found == expected(rows)


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


# --- who asks -----------------------------------------------------------------------------------


def test_a_user_of_version_1_is_let_in_and_nobody_else(tmp_path: Path) -> None:
    with Influxd(tmp_path / "influxd", user="logwax:ge/heim") as server:
        server.create()
        bucket = Bucket(server)
        row = (at("2024-01-01"), "cust_1", True, 1.0)
        bucket.insert(row)
        user = {"influxdb_user": "logwax", "influxdb_password": SecretStr("ge/heim")}
        assert statistics(bucket.reader(**user), "cust_1") == expected([row])
        with pytest.raises(StoreError, match="status 401: authorization failed"):
            counts(bucket.reader(**{**user, "influxdb_password": SecretStr("wrong")}))
        with pytest.raises(StoreError, match="status 401: unable to parse"):
            counts(bucket.reader())


def test_a_token_of_version_2_is_let_in_and_nobody_else(tagged: Bucket) -> None:
    row = (at("2024-01-01"), "cust_1", True, 1.0)
    tagged.insert(row)
    server = Version2(tagged.server.url, token="ge/heim")
    url = {"influxdb_url": server.url, "influxdb_api": "v2"}
    try:
        reader = tagged.reader(**url, influxdb_token=SecretStr("ge/heim"))
        assert statistics(reader, "cust_1") == expected([row])
        with pytest.raises(StoreError, match="status 401: unauthorized access"):
            counts(tagged.reader(**url, influxdb_token=SecretStr("wrong")))
    finally:
        server.close()


# --- servers that fail --------------------------------------------------------------------------


class Queries(FaultyServer):
    """An InfluxDB without rows, whose queries have the faults."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.asked: list[Request] = []
        super().__init__()
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)

    def respond(self, request: Request) -> Write:
        self.asked.append(request)
        return lambda: Answer(200, '{"results":[{"statement_id":0}]}')


@pytest.fixture
def failing() -> Iterator[Queries]:
    server = Queries()
    yield server
    server.close()


def reader_of(url: str) -> InfluxReader:
    return InfluxReader(Settings(_env_file=None, influxdb_url=url))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Answer(503, '{"code":"unavailable","message":"busy"}'), "status 503: busy"),
        (Answer(400, '{"error":"error parsing query"}'), "status 400: error parsing query"),
        (Answer(502, "<h1>Bad Gateway</h1>"), "status 502: <h1>Bad Gateway</h1>"),
        (Answer(200, "<h1>Welcome</h1>"), "status 200: <h1>Welcome</h1>"),
        (Answer(200, "[]"), r"status 200: \[\]"),
        (Answer(200, '{"results":[{"error":"timeout"}]}'), "timeout"),
        (Reset(after=False), "Connection reset by peer"),
    ],
)
def test_a_failure_is_one_sentence(failing: Queries, fault: Fault, words: str) -> None:
    failing.faults.append(fault)
    reader = reader_of(failing.url)

    sentence = rf"^InfluxDB at 127\.0\.0\.1:{failing.port} cannot answer: {words}$"
    with pytest.raises(StoreError, match=sentence):
        counts(reader)
    counts(reader)  # the next one is none


def test_a_server_that_hangs_is_one_sentence(
    failing: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influxdb_reader, "_ANSWER_SECONDS", 0.1)
    failing.faults.append(HANG)

    with pytest.raises(StoreError, match=r"cannot answer: no answer in time$"):
        counts(reader_of(failing.url))


def test_a_server_that_is_away_is_one_sentence_until_it_is_back(tagged: Bucket) -> None:
    row = (at("2024-01-01"), "cust_1", True, 1.0)
    tagged.insert(row)
    reader = tagged.reader()
    tagged.server.stop()
    with pytest.raises(StoreError, match=r"^InfluxDB at .* cannot answer: Connection refused$"):
        statistics(reader, "cust_1")

    tagged.server.start()

    assert statistics(reader, "cust_1") == expected([row])


def test_questions_are_given_up_when_they_are_cancelled(failing: Queries) -> None:
    failing.faults.append(HANG)
    reader = reader_of(failing.url)

    with ThreadPoolExecutor(1) as asking:
        answer = asking.submit(counts, reader)
        wait_for(lambda: failing.asked, "the question to be under way")
        reader.cancel()
        with pytest.raises(StoreError, match="about to end"):
            answer.result()
    with pytest.raises(StoreError, match="about to end"):
        counts(reader)
    assert len(failing.asked) == 1


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and certificate of a server on loopback that no authority has signed."""
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = (
        "-x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        ["openssl", "req", *options.split(), "-keyout", key, "-out", made],
        check=True,
        capture_output=True,
    )
    both = tmp_path / "server.pem"
    both.write_bytes(key.read_bytes() + made.read_bytes())
    return both


def test_a_certificate_is_verified_with_the_authority_that_is_named(certificate: Path) -> None:
    server = Queries(certificate)
    url = f"https://127.0.0.1:{server.port}"
    try:
        with pytest.raises(StoreError, match="certificate verify failed"):
            counts(reader_of(url))
        assert not server.asked

        counts(reader_of(f"{url}?ca_cert={certificate}"))

        assert len(server.asked) == 1
    finally:
        server.close()


def test_an_authority_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(
        StoreError, match=rf"^INFLUXDB_URL: cannot use ca_cert {missing}: .*No such"
    ):
        reader_of(f"https://127.0.0.1:{find_port()}?ca_cert={missing}")
