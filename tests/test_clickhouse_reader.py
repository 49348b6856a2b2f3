"""The reader against a real embedded ClickHouse: its figures equal those of plain Python."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import clickhouse_connect
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.batch import COLUMNS as COLUMNS_OF_ROWS
from connectors.errors import StoreError
from connectors.filters import parse
from connectors.logs import Selection
from connectors.sinks.clickhouse import reader as clickhouse_reader
from connectors.sinks.clickhouse.insert import insert_columns
from connectors.sinks.clickhouse.logs import ClickHouseLogs
from connectors.sinks.clickhouse.reader import (
    ESTIMATES,
    RANKING_OF_CUSTOMERS,
    ClickHouseReader,
)
from connectors.sinks.clickhouse.store import ClickHouseStore
from connectors.sinks.clickhouse.tables import PROJECTED, REQUEST, prepare_tables
from connectors.sinks.sql_logs import Values
from connectors.store import Figures, Statistics, open_store
from settings import Settings
from tests.conftest import DEADLINE, wait_for
from tests.test_clickhouse_store import FORMER_LOGS

Row = tuple[datetime, str, bool, float | None]
COLUMNS = ["timestamp", "customer_id", "success", "duration", "status_code"]
NO_REQUESTS = Statistics(Figures(0, 0, None, None, None), [])
YEAR_ONE, END_OF_TIME = date.min, date.max
HOSTILE_IDS = [
    "it's",
    'say "hi"',
    "back\\slash\\",
    "\\N",
    "'; DROP TABLE logs; --",
    "{customer:String}",
    "%(customer)s",
    "tab\tand\nline",
    "Ünïcödé ☃ 客户",
    "a/b/../c",
    "",
]


@pytest.fixture
def reader(client: Client) -> ClickHouseReader:
    return ClickHouseReader(lambda: client, "logs")


def statistics(
    reader: ClickHouseReader, customer: str | None, first: date, last: date
) -> Statistics | None:
    return asyncio.run(reader.statistics(customer, first, last))


def has_customer(reader: ClickHouseReader, customer: str) -> bool:
    return asyncio.run(reader.has_customer(customer))


def counts(reader: ClickHouseReader) -> tuple[int, int]:
    return asyncio.run(reader.counts())


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def insert(client: Client, *rows: Row, status: int = 200) -> None:
    client.insert("logs", [(*row, status) for row in rows], column_names=COLUMNS)


def approx(value: float) -> float:
    return cast(float, pytest.approx(value))  # it compares like one


def percentile(values: Sequence[float], fraction: float) -> float:
    """Linear interpolation between closest ranks: R-7, numpy's default."""
    ordered = sorted(values)
    rank = fraction * (len(ordered) - 1)
    below, above = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    return below + (above - below) * (rank - math.floor(rank))


def figures(rows: Sequence[Row]) -> Figures:
    durations = [duration for _, _, _, duration in rows if duration is not None]
    successful = sum(success for _, _, success, _ in rows)
    if not durations:
        return Figures(len(rows), successful, None, None, None)
    return Figures(
        total=len(rows),
        successful=successful,
        average=approx(fmean(durations)),
        median=approx(percentile(durations, 0.5)),
        p99=approx(percentile(durations, 0.99)),
    )


def expected(rows: Sequence[Row]) -> Statistics:
    if not rows:
        return NO_REQUESTS
    ordered = sorted(rows, key=lambda row: row[0])
    days = itertools.groupby(ordered, key=lambda row: row[0].date())
    return Statistics(figures(rows), [(day, figures(list(of_day))) for day, of_day in days])


def test_percentiles_lie_between_the_closest_ranks(
    client: Client, reader: ClickHouseReader
) -> None:
    for duration in (4.0, 1.0, 2.0, 3.0):
        insert(client, (at("2024-01-01"), "cust_1", duration > 1, duration))

    whole = Figures(4, 3, 2.5, 2.5, approx(3.97))
    assert statistics(reader, "cust_1", date(2024, 1, 1), date(2024, 1, 1)) == Statistics(
        whole, [(date(2024, 1, 1), whole)]
    )


days = st.datetimes(datetime(2024, 2, 28), datetime(2024, 3, 2))
durations = st.none() | st.just(0.0) | st.floats(0, 1e4, allow_subnormal=False)
requests = st.lists(st.tuples(days, st.booleans(), durations), max_size=40)
no_requests = st.lists(st.tuples(days, st.just(False), durations), min_size=1, max_size=5)
customers = map("customer {}".format, itertools.count())  # one for each example


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # examples share one table
)
@given(requests=requests, no_requests=no_requests)
def test_figures_equal_those_of_plain_python(
    client: Client,
    reader: ClickHouseReader,
    requests: list[tuple[datetime, bool, float | None]],
    no_requests: list[tuple[datetime, bool, float | None]],
) -> None:
    customer = next(customers)
    rows, others = (
        [
            (time.replace(tzinfo=timezone.utc), customer, success, duration)
            for time, success, duration in some
        ]
        for some in (requests, no_requests)
    )
    insert(client, *rows)
    insert(client, *others, status=0)

    assert statistics(reader, customer, date(2024, 1, 1), date(2024, 12, 31)) == expected(rows)


def test_days_are_whole_utc_days_and_both_included(
    client: Client, reader: ClickHouseReader
) -> None:
    inside = [
        (at("2024-03-01T00:00:00"), "cust_1", True, 1.0),
        (at("2024-03-02T23:59:59.999999"), "cust_1", True, 2.0),
    ]
    insert(
        client,
        (at("2024-02-29T23:59:59.999999"), "cust_1", True, 100.0),
        *inside,
        (at("2024-03-03T00:00:00"), "cust_1", True, 100.0),
    )

    assert statistics(reader, "cust_1", date(2024, 3, 1), date(2024, 3, 2)) == expected(inside)


@pytest.mark.parametrize("year", [1900, 1969, 1970, 2106, 2150, 2299])
def test_days_of_far_years_are_themselves(
    client: Client, reader: ClickHouseReader, year: int
) -> None:
    rows = [
        (at(f"{year}-01-01T00:00:00"), "cust_1", True, 1.0),
        (at(f"{year}-12-31T23:59:59.999999"), "cust_1", False, 2.0),
    ]
    insert(client, *rows)

    assert statistics(reader, "cust_1", date(year, 1, 1), date(year, 12, 31)) == expected(rows)
    assert statistics(reader, "cust_1", YEAR_ONE, END_OF_TIME) == expected(rows)
    assert statistics(reader, "cust_1", date(year + 1, 1, 1), END_OF_TIME) is None
    assert statistics(reader, "cust_1", YEAR_ONE, date(year - 1, 12, 31)) is None


@pytest.mark.parametrize("estimated", [False, True])
@pytest.mark.parametrize(
    ("first", "last"),
    [
        (YEAR_ONE, date(1899, 12, 31)),
        (date(2300, 1, 1), END_OF_TIME),
        (END_OF_TIME, END_OF_TIME),
        (YEAR_ONE, YEAR_ONE),
    ],
)
def test_days_that_the_store_cannot_hold_are_empty(
    client: Client,
    reader: ClickHouseReader,
    monkeypatch: pytest.MonkeyPatch,
    first: date,
    last: date,
    estimated: bool,
) -> None:
    limit(monkeypatch, 0 if estimated else 10**9)
    insert(client, (at("1900-01-01"), "cust_1", True, 1.0), (at("2299-12-31"), "cust_1", True, 1.0))

    assert statistics(reader, None, first, last) is None
    assert statistics(reader, "cust_1", first, last) is None


@pytest.mark.parametrize("estimated", [False, True])
def test_no_duration_is_null_and_so_is_one_that_is_infinite(
    client: Client, reader: ClickHouseReader, monkeypatch: pytest.MonkeyPatch, estimated: bool
) -> None:
    limit(monkeypatch, 0 if estimated else 10**9)
    for day, duration in enumerate((None, math.inf, math.nan, 2.0, 0.0), 1):
        insert(client, (at(f"2024-01-0{day}"), "cust_1", True, duration))

    found = statistics(reader, None, YEAR_ONE, END_OF_TIME)
    assert found
    assert found.estimated == estimated
    assert [of_day.average for _, of_day in found.daily] == [None, None, None, 2.0, 0.0]
    assert [of_day.p99 for _, of_day in found.daily] == [None, None, None, 2.0, 0.0]
    assert found.overall.average is None


def test_a_customers_figures_are_his_own(client: Client, reader: ClickHouseReader) -> None:
    mine = (at("2024-01-01"), "cust_1", True, 1.0)
    insert(client, mine, (at("2024-01-01"), "cust_10", False, 9.0))

    assert statistics(reader, "cust_1", YEAR_ONE, END_OF_TIME) == expected([mine])


def test_figures_of_all_customers(client: Client, reader: ClickHouseReader) -> None:
    rows = [
        (at("2024-01-01") + timedelta(hours=hours), f"cust_{hours % 3}", hours % 2 == 0, hours / 7)
        for hours in range(100)
    ]
    insert(client, *rows)

    assert statistics(reader, None, YEAR_ONE, END_OF_TIME) == expected(rows)


def test_no_rows_have_no_statistics(reader: ClickHouseReader) -> None:
    assert statistics(reader, "cust_1", YEAR_ONE, END_OF_TIME) is None
    assert statistics(reader, None, YEAR_ONE, END_OF_TIME) is None


@pytest.mark.parametrize("hostile", HOSTILE_IDS)
def test_customer_ids_are_values_never_sql(
    client: Client, reader: ClickHouseReader, hostile: str
) -> None:
    row = (at("2024-01-01"), hostile, True, 1.0)
    insert(client, (at("2024-01-01"), "cust_1", False, 9.0))
    assert not has_customer(reader, hostile)

    insert(client, row)

    assert has_customer(reader, hostile)
    assert statistics(reader, hostile, YEAR_ONE, END_OF_TIME) == expected([row])
    assert counts(reader) == (2, 0)


def test_counts_rows_and_dead_letters(client: Client, reader: ClickHouseReader) -> None:
    assert counts(reader) == (0, 0)

    insert(client, *[(at("2024-01-01"), "cust_1", True, 1.0)] * 3)
    client.command("INSERT INTO dead_letters VALUES ('?'), ('!')")

    assert counts(reader) == (3, 2)


def test_a_refusal_is_a_store_error_that_says_why(client: Client) -> None:
    with pytest.raises(StoreError, match=r"ClickHouse cannot answer: .*nowhere"):
        has_customer(ClickHouseReader(lambda: client, "nowhere"), "cust_1")


def test_a_closed_store_is_a_store_error(client: Client, reader: ClickHouseReader) -> None:
    client.close()

    with pytest.raises(StoreError, match="closed"):
        counts(reader)


def test_many_long_questions_hold_up_no_short_one_and_can_be_cancelled(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse_reader, "EXACT_UP_TO", 10**9)  # each is one long query
    client.command("SYSTEM STOP MERGES logs")  # what is merged is soon counted
    client.command(
        "INSERT INTO logs SELECT now64(6), 'cust_1', true, rand() / 1e9, 200 FROM numbers(20000000)"
    )
    clients = [
        clickhouse_connect.get_client(interface="chdb", path=str(tmp_path / "clickhouse"))
        for _ in range(2)
    ]
    reader = ClickHouseReader(iter(clients).__next__, "logs")
    today = datetime.now(timezone.utc).date()

    def is_asking() -> bool:
        running = "SELECT count() FROM system.processes WHERE query LIKE '%quantiles%'"
        return bool(client.query(running).result_rows[0][0] > 1)  # this question is one of them

    async def ask() -> None:
        long = [asyncio.create_task(reader.statistics("cust_1", today, today)) for _ in range(60)]
        await asyncio.to_thread(wait_for, is_asking, "a question to be under way")
        assert await reader.counts() == (20_000_000, 0)
        assert sum(question.done() for question in long) < 10, "it waited for them"

        await asyncio.to_thread(reader.cancel)

        answers = await asyncio.gather(*long, return_exceptions=True)
        refusals = [str(answer) for answer in answers if isinstance(answer, StoreError)]
        assert any("QUERY_WAS_CANCELLED" in refusal for refusal in refusals)
        assert sum("about to end" in refusal for refusal in refusals) > 40
        with pytest.raises(StoreError, match="about to end"):
            await reader.counts()

    asyncio.run(ask())
    for one in clients:
        one.close()


# --- estimates -------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ClickHouseStore]:
    made = open_store(Settings(_env_file=None, data_dir=tmp_path / "data"))
    assert isinstance(made, ClickHouseStore)
    yield made
    made.close()


SKEWED = """
INSERT INTO logs (timestamp, customer_id, success, duration, status_code)
SELECT toDateTime64('2024-01-01', 6, 'UTC') + toIntervalSecond(number % 300000),
    toString(number % 50), number % 10 != 3, round(exp(-3 + randNormal(0, 1)), 5),
    if(number % 11 = 0, 0, 200)
FROM numbers(600000) SETTINGS max_block_size = 20000, min_insert_block_size_rows = 1
"""


def asked(
    store: ClickHouseStore, customer: str | None, first: date = YEAR_ONE, last: date = END_OF_TIME
) -> Statistics:
    assert store.reader
    found = asyncio.run(store.reader.statistics(customer, first, last))
    assert found
    return found


def limit(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr("connectors.sinks.clickhouse.reader.EXACT_UP_TO", rows)


@pytest.mark.parametrize("customer", [None, "7"])
@pytest.mark.parametrize("merged", [True, False])
def test_figures_of_many_requests_are_exact_but_for_percentiles_within_1_percent(
    store: ClickHouseStore,
    monkeypatch: pytest.MonkeyPatch,
    customer: str | None,
    merged: bool,
) -> None:
    store._client.command(SKEWED)
    if merged:
        store._client.command("OPTIMIZE TABLE logs FINAL")
    limit(monkeypatch, 1_000)
    estimated = asked(store, customer)
    limit(monkeypatch, 10**9)
    exact = asked(store, customer)
    assert (estimated.estimated, exact.estimated) == (True, False)
    assert [day for day, _ in estimated.daily] == [day for day, _ in exact.daily]
    assert (estimated.overall.total, estimated.overall.successful) == (
        exact.overall.total,
        exact.overall.successful,
    )
    assert estimated.overall.median == pytest.approx(exact.overall.median, rel=0.01)
    assert estimated.overall.p99 == pytest.approx(exact.overall.p99, rel=0.01)
    for (_, about), (_, right) in zip(estimated.daily, exact.daily, strict=True):
        assert (about.total, about.successful) == (right.total, right.successful)
        assert about.average == approx(right.average)
        assert about.median == pytest.approx(right.median, rel=0.01)
        if right.total > 10_000:  # of fewer, the nearest rank
            assert about.p99 == pytest.approx(right.p99, rel=0.01)


def test_figures_of_a_customer_are_exact_up_to_the_limit_in_the_range(
    client: Client, reader: ClickHouseReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 3)
    for day, requests in (("2024-01-01", 3), ("2024-01-02", 20)):
        insert(client, *[(at(day), "cust_1", True, float(n)) for n in range(requests)])
        insert(client, *[(at(day), "cust_2", True, 1.0)] * 9)

    def is_estimated(first: date, last: date) -> bool:
        found = statistics(reader, "cust_1", first, last)
        assert found
        return found.estimated

    assert not is_estimated(date(2024, 1, 1), date(2024, 1, 1))
    assert is_estimated(date(2024, 1, 2), END_OF_TIME)
    assert is_estimated(date(2024, 1, 1), date(2024, 1, 2))


def test_figures_of_all_are_exact_while_the_table_is_small(
    client: Client, reader: ClickHouseReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 3)

    def is_estimated() -> bool:
        found = statistics(reader, None, date(2024, 1, 1), date(2024, 1, 1))
        assert found
        return found.estimated

    insert(client, *[(at("2024-01-01"), "cust_1", True, 1.0)] * 3)
    assert not is_estimated()
    insert(client, (at("2024-01-02"), "cust_1", True, 1.0))
    assert is_estimated()


def test_a_range_without_requests_has_no_estimate(
    client: Client, reader: ClickHouseReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, 0)
    insert(client, (at("2024-01-01"), "cust_1", True, 1.0))
    assert statistics(reader, None, date(2024, 1, 2), END_OF_TIME) is None
    assert statistics(reader, "cust_1", date(2024, 1, 2), END_OF_TIME) is None


@pytest.mark.parametrize(
    ("query", "projection"),
    [
        (ESTIMATES, "figures_by_day"),
        (ESTIMATES, "figures_by_customer"),
        (RANKING_OF_CUSTOMERS, "figures_by_customer"),
    ],
)
def test_estimates_read_the_projection_and_not_the_rows(
    store: ClickHouseStore, query: str, projection: str
) -> None:
    query = query.format(
        request=REQUEST,
        measured=PROJECTED.measured,
        projection=projection,
        order="total",
        customer="" if projection == PROJECTED.by_day else "customer_id = {customer:String} AND",
    )
    store._client.command(SKEWED)
    store._client.command("OPTIMIZE TABLE logs FINAL")
    values = {
        "table": "logs",
        "customer": "7",
        "first": date(1970, 1, 1),
        "last": date(2100, 1, 1),
        "limit": 10,
    }
    plan = store._client.query(f"EXPLAIN {query}", values).result_rows
    assert f"ReadFromMergeTree ({projection})" in str(plan)


def test_a_customer_and_counts_by_time_are_not_looked_for_in_all_rows(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._client.command(SKEWED)
    reader = store.reader
    assert isinstance(reader, ClickHouseReader)
    asked: list[tuple[str, dict[str, object]]] = []
    run = reader._run

    def listen(client: object, sql: str, values: dict[str, object], settings: object) -> object:
        asked.append((sql, values))
        return run(client, sql, values, settings)  # type: ignore[arg-type]

    def read() -> str:
        sql, values = asked[-1]
        return str(store._client.query(f"EXPLAIN {sql}", values).result_rows)

    monkeypatch.setattr(reader, "_run", listen)
    asyncio.run(reader.statistics("7", YEAR_ONE, END_OF_TIME))
    assert "ReadFromMergeTree (requests_of_customer)" in read()
    assert reader.logs
    day = 86_400 * 10**6
    start = 1_704_067_200 * 10**6
    chosen = Selection(["level"], parse("level != x", ["level"]), start + 1, start + 2 * day)
    asyncio.run(reader.logs.histogram(chosen, 1800 * 10**6, "level"))
    assert "ReadFromMergeTree (rows_by_time)" in read()


def test_the_newest_row_is_found_without_reading_the_hour(store: ClickHouseStore) -> None:
    store._client.command(
        "INSERT INTO logs (timestamp) "
        "SELECT toDateTime64('2024-01-01', 6, 'UTC') + toIntervalMillisecond(number) "
        "FROM numbers(100000)"
    )
    read: list[int] = []

    async def ask(sql: str, values: Values) -> Sequence[Sequence[object]]:
        found = store._client.query(sql, {**values, "table": "logs"}).result_rows
        read.append(cast(Any, store._client).has_read[0])
        return found

    last = 1_704_067_200 * 10**6 + 99_999_000
    assert asyncio.run(ClickHouseLogs(ask).newest(last + 10**6)) == last
    assert sum(read) <= 3 * 2048  # rows that lie together


@pytest.mark.parametrize(
    "delete",
    [
        "ALTER TABLE logs DELETE WHERE timestamp < '2024-01-02' SETTINGS mutations_sync = 2",
        "DELETE FROM logs WHERE timestamp < '2024-01-02'",
        "ALTER TABLE logs MODIFY TTL timestamp + toIntervalDay("
        "dateDiff('day', toDateTime('2024-01-02', 'UTC'), now()))",
    ],
    ids=["mutation", "delete", "retention"],
)
def test_what_is_deleted_is_not_in_estimates(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch, delete: str
) -> None:
    store._client.command(SKEWED)
    store._client.command(delete)
    store._client.command("OPTIMIZE TABLE logs FINAL")
    store._client.command("SYSTEM STOP MERGES logs")  # which go on deleting what gets older
    limit(monkeypatch, 0)
    estimated = asked(store, None)
    limit(monkeypatch, 10**9)
    exact = asked(store, None)
    assert estimated.overall.total == exact.overall.total < 600_000
    assert [day for day, _ in estimated.daily] == [day for day, _ in exact.daily]


def projections(client: Client) -> str:
    (made,) = client.query("SHOW CREATE TABLE logs").result_rows
    return str(made[0])


def make_former(client: Client, *, with_projections: bool) -> None:
    """Replace the table by one as it was made before rows without a status were no requests."""
    client.command("DROP TABLE logs")
    client.command(FORMER_LOGS)
    if not with_projections:
        for name in ("daily", "daily_by_customer"):
            client.command(f"ALTER TABLE logs DROP PROJECTION {name}")


def test_a_table_of_an_earlier_version_gets_the_projections(store: ClickHouseStore) -> None:
    client = store._client
    make_former(client, with_projections=False)
    client.command("ALTER TABLE logs RESET SETTING lightweight_mutation_projection_mode")
    for _ in range(2):
        prepare_tables(client, "logs", is_shared=True)
    assert projections(client).count("PROJECTION requests_by_day\n") == 1
    assert projections(client).count("PROJECTION requests_by_customer\n") == 1
    assert "lightweight_mutation_projection_mode = 'rebuild'" in projections(client)


def test_projections_of_an_earlier_version_are_replaced_without_waiting(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store._client
    make_former(client, with_projections=True)
    client.command(SKEWED)
    exact = asked(store, None), asked(store, "7")
    limit(monkeypatch, 1_000)

    def are_right() -> bool:
        return all(
            found.estimated and counted(found) == counted(right)
            for found, right in zip((asked(store, None), asked(store, "7")), exact, strict=True)
        )

    assert are_right(), "by rows, beside projections that do not fit"
    client.command("SYSTEM STOP MERGES logs")  # nor are any parts changed
    prepare_tables(client, "logs", is_shared=True)
    assert are_right(), "before old parts have the new ones"
    client.command("SYSTEM START MERGES logs")

    made = "SELECT DISTINCT projections FROM system.parts WHERE table = 'logs' AND active"
    wanted = [(["requests_by_customer", "requests_by_day"],)]
    wait_for(lambda: client.query(made).result_rows == wanted, "projections of old parts")
    assert are_right()


def test_the_documented_statements_make_a_table_of_an_earlier_version_new(
    store: ClickHouseStore, capfd: pytest.CaptureFixture[str]
) -> None:
    client = store._client
    made = "SELECT name, sorting_key FROM system.tables WHERE database = currentDatabase()"
    projected = "SELECT name, query FROM system.projections WHERE table = 'logs'"
    wanted = client.query(made).result_rows, set(client.query(projected).result_rows)
    make_former(client, with_projections=True)
    prepare_tables(client, "logs", is_shared=True)
    client.command(SKEWED)
    assert "sorted as earlier versions did it" in capfd.readouterr().err
    null, new = statements()
    for statement in f"{new}{null}".split(";\n"):
        if statement:
            client.command(statement)
    prepare_tables(client, "logs", is_shared=True)
    assert capfd.readouterr().err == ""
    assert client.query(made).result_rows == wanted[0]
    assert set(client.query(projected).result_rows) == wanted[1]
    assert client.query("SELECT count() FROM logs").result_rows == [(600_000,)]


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_duration_that_is_missing_is_0_in_a_table_of_an_earlier_version_until_it_is_altered(
    is_compiled: bool,
    store: ClickHouseStore,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    client = store._client
    make_former(client, with_projections=True)
    monkeypatch.setattr("connectors.sinks.clickhouse.logs._GOOD_FOR", 0)
    if not is_compiled:
        monkeypatch.setattr("native.library", None)
    given = {
        "timestamp": [at("2024-01-01")] * 4,
        "customer_id": ["some", "some", "none", "fast"],
        "status_code": [200] * 4,
        "success": [True] * 4,
        "duration": [1.0, math.nan, math.nan, 0.0],
    }

    def add(rows: int = 4) -> None:
        frame = pl.DataFrame(given, {name: COLUMNS_OF_ROWS[name] for name in given})
        insert_columns(client, "logs", frame[:rows], {"async_insert": 0})

    def said() -> list[tuple[int, float | None, float | None]]:
        """Count, average and median of all, of those that some, none, and all of 0 seconds have."""
        found = []
        for exact in (10**9, 0):
            limit(monkeypatch, exact)
            every = [asked(store, name).overall for name in (None, "some", "none", "fast")]
            found.append([(one.total, one.average, one.median) for one in every])
        assert found[0] == found[1]
        assert store.reader
        ranked = asyncio.run(
            store.reader.ranking(("customer_id",), "latency", 3, YEAR_ONE, END_OF_TIME)
        ).ranked
        averages = {values[0]: figures.average for values, figures in ranked}
        assert averages == {
            name: average
            for name, (_, average, _) in zip(("some", "none", "fast"), found[0][1:], strict=True)
        }
        return found[0]

    prepare_tables(client, "logs", is_shared=True)
    assert "a duration that is missing is 0" in capfd.readouterr().err
    add()
    assert said() == [(4, 0.25, 0.0), (2, 0.5, 0.5), (1, None, None), (1, None, None)]

    client.command(statements()[0].rstrip(";\n"))
    before = [(4, 0.25, 0.0), (2, 0.5, 0.5), (1, 0.0, 0.0), (1, 0.0, 0.0)]
    assert said() == before
    prepare_tables(client, "logs", is_shared=True)
    assert "missing" not in capfd.readouterr().err
    assert said() == before
    add(3)
    after = [(7, 0.4, 0.0), (4, pytest.approx(2 / 3), 1.0), (2, 0.0, 0.0), (1, 0.0, 0.0)]
    assert said() == after
    for name in (PROJECTED.by_day, PROJECTED.by_customer):
        client.command(f"ALTER TABLE logs MATERIALIZE PROJECTION {name}")
    assert said() == after
    assert client.query("SELECT countIf(duration IS NULL) FROM logs").result_rows == [(2,)]


def statements() -> Sequence[str]:
    """What docs/operations.md has for tables of earlier versions."""
    text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
    part = text.partition("### Tables of earlier versions")[2].partition("\n### ")[0]
    return re.findall(r"```sql\n(.*?)```", part, re.DOTALL)


def counted(statistics: Statistics) -> list[tuple[int, int]]:
    every = [statistics.overall, *(figures for _, figures in statistics.daily)]
    return [(figures.total, figures.successful) for figures in every]


@pytest.mark.parametrize("granules", [1, 0])
def test_projections_are_there_with_the_insert(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch, granules: int
) -> None:
    client = store._client
    monkeypatch.setattr("connectors.sinks.clickhouse.tables._KNOWS_GRANULES", f"SELECT {granules}")
    client.command("DROP TABLE logs")
    prepare_tables(client, "logs", is_shared=True)
    client.command("SYSTEM STOP MERGES logs")
    insert(client, (at("2024-01-01"), "cust_1", True, 1.0))
    made = "SELECT projections FROM system.parts WHERE table = 'logs' AND active"
    names = ["figures_by_customer", "figures_by_day", "requests_of_customer", "rows_by_time"]
    assert client.query(made).result_rows == [(names,)]


def test_a_question_of_the_embedded_store_is_answered_beside_a_long_one(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, store="embedded", data_dir=tmp_path, instance="host")
    store = open_store(settings)
    reader = cast(ClickHouseReader, store.reader)

    async def ask() -> None:
        endless = "SELECT sum(sleepEachRow(0.01)) FROM numbers(1000000) SETTINGS max_block_size = 1"
        long = asyncio.create_task(reader._query(endless))
        under_way = "SELECT count() FROM system.processes WHERE position(query, 'sleepEachRow') > 0"
        deadline = asyncio.get_running_loop().time() + DEADLINE
        while (await reader._query(under_way))[0][0] < 2:  # this question is one of them
            assert asyncio.get_running_loop().time() < deadline
        assert not long.done()
        assert not await reader.has_customer("nobody")
        reader.cancel()
        with pytest.raises(StoreError):
            await long

    asyncio.run(ask())
    store.close()
