"""The same lines into every store: the same counts, totals and latencies."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from connectors.errors import UnanswerableError
from connectors.sinks.retry import Retry
from connectors.store import ENDPOINT, Figures, Ranking, Reader, Statistics, open_reader, open_store
from settings import Settings
from tests.conftest import Pipeline
from tests.servers.clickhouse_http import ServerProcess
from tests.servers.influxd import Influxd

ALWAYS = (date(1970, 1, 1), date(2099, 12, 31))
ODD = ("app", "unmeasured", "mixed")
KNOWN = {  # customer -> how the durations of its requests are written, what the figures are
    "some": (
        ("", '"duration":0.5,', '"duration":null,', '"duration":1.5,', '"duration":"-",'),
        1.0,
    ),
    "half": (("", '"duration":0.25,', '"duration":"NaN",'), 0.25),
    "fast": (("", '"duration":0,', '"duration":0.0,', '"duration":-0,', '"duration_ms":"0",'), 0.0),
    "none": (
        ("", '"duration":null,', '"duration":"-",', '"duration":"",', '"duration":NaN,'),
        None,
    ),
}
CUSTOMERS = [None, *(f"cust_{number}" for number in range(1, 11)), *ODD, "nobody", *KNOWN]
EDGES = [
    date.min,
    date(1677, 9, 20),
    date(1677, 9, 23),
    date(1899, 12, 31),
    date(1900, 1, 1),
    date(2024, 1, 5),
    date(2262, 4, 10),
    date(2262, 4, 13),
    date(2299, 12, 31),
    date(2300, 1, 1),
    date.max,
]

FEW = 1000  # requests

Question = tuple[str | None, date, date]

HOURLY = [("cust_1", *ALWAYS), ("mixed", date(1899, 12, 31), date(2262, 4, 10)), (None, *ALWAYS)]
RANKINGS = [
    (columns, order, limit, first, last)
    for columns in (("customer_id",), ENDPOINT)
    for order in ("requests", "errors", "latency")
    for limit, first, last in ((4, *ALWAYS), (100, date(2024, 1, 2), date(2024, 1, 5)))
]


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path / "server")
    yield made
    made.stop()


def odd_lines(random: Random) -> list[str]:
    """Lines that have no status or no duration, of days far apart; first those without both."""
    days = [date(1900, 1, 1), *(date(2024, 1, day) for day in range(1, 9)), date(2262, 4, 10)]

    def line(customer: str, **more: object) -> str:
        return json.dumps({"ts": f"{random.choice(days)}T12:00:00Z", "customer": customer, **more})

    def status() -> int:
        return random.choice([100, 200, 302, 404, 503, 777])

    lines = [line("app", level="info") for _ in range(50)]
    lines += [line(random.choice(ODD[1:]), status=status()) for _ in range(100)]
    for _ in range(350):
        optional = {
            "status": status(),
            "duration": random.choice([0.0, 0.001, random.random(), random.random()]),
        }
        kept = {key: value for key, value in optional.items() if random.random() < 0.8}
        lines.append(line("mixed", **kept))
    for customer, (durations, _) in KNOWN.items():
        for more in durations:
            time = '"ts":"2024-01-05T12:00:00Z"'
            lines.append(f'{{{more}{time},"customer":"{customer}","path":"/a","status":200}}')
    return lines


def agree_with_what_is_known(
    asked: Sequence[str | None], said: Sequence[Statistics | None]
) -> None:
    """The figures of those customers that are `KNOWN`; they are `asked` for first."""
    for customer, statistics in zip(asked, said, strict=False):
        if customer in KNOWN:
            durations, mean = KNOWN[customer]
            assert statistics
            found = statistics.overall
            assert (found.total, found.average, found.p99 is None) == (
                len(durations),
                mean,
                mean is None,
            )
            assert [of_day for _, of_day in statistics.daily] == [found]


def odd_questions(random: Random) -> list[Question]:
    """Ranges at and beyond the edges of what stores can hold, and others."""
    days = [*EDGES, *(date(2024, 1, 1) + timedelta(days=random.randrange(10)) for _ in range(10))]
    questions: list[Question] = []
    for _ in range(60):
        first, last = sorted(random.choices(days, k=2))
        questions.append((random.choice([None, *ODD, "nobody"]), first, last))
    return questions


Answers = tuple[list[Statistics | None], list[Statistics | None], list[Ranking | None]]


async def ranking(reader: Reader, *question: Any) -> Ranking | None:
    """What it says, or that it cannot."""
    try:
        return await reader.ranking(*question)
    except UnanswerableError:
        return None


def answers(settings: Settings, questions: list[Question]) -> Answers:
    """What a store says of these questions, of `HOURLY` and of `RANKINGS`."""

    async def ask_all() -> Answers:
        store = None if settings.store_kind.is_shared else open_store(settings)
        try:
            reader = store.reader if store else open_reader(settings, Retry())
            assert reader
            statistics = [await reader.statistics(*question) for question in questions]
            hourly = [await reader.statistics(*question, hourly=True) for question in HOURLY]
            rankings = [await ranking(reader, *question) for question in RANKINGS]
            return statistics, hourly, rankings
        finally:
            if store:
                store.close()

    return asyncio.run(ask_all())


def rounded(statistics: Statistics | None) -> list[Figures]:
    """Of the whole and of each day, the mean without the digits that the order of adding makes."""
    if statistics is None:
        return []
    every = [statistics.overall, *(figures for _, figures in statistics.daily)]
    return [
        replace(figures, average=figures.average and round(figures.average, 9)) for figures in every
    ]


def agree_by_hour(found: list[list[Statistics | None]]) -> None:
    """The same hours, and of them the same, the percentiles excepted."""
    one, *others = found
    assert all(one)
    hours = [[hour for hour, _ in statistics.daily] for statistics in one if statistics]
    assert max(map(len, hours)) > 8
    for other in others:
        assert [[hour for hour, _ in said.daily] for said in other if said] == hours
        assert list(map(without_percentiles, other)) == list(map(without_percentiles, one))


Durations = dict[tuple[str, ...], list[float]]


def agree(one: Ranking | None, other: Ranking | None, durations: Durations) -> None:
    """The same in the same order; percentiles within 1 % where one of them estimates.

    Of few requests, an estimate lies between the neighbours of its rank.
    """
    assert one and other
    assert [values for values, _ in one.ranked] == [values for values, _ in other.ranked]
    rel = 0.01 if one.estimated or other.estimated else 1e-9
    for (values, figures), (_, same) in zip(one.ranked, other.ranked, strict=True):
        assert (figures.total, figures.successful) == (same.total, same.successful)
        assert same.average == pytest.approx(figures.average)
        if rel == 0.01 and figures.total < FEW:
            for each in (figures, same):
                assert within_a_rank(durations[tuple(values)], 0.5, each.median)
                assert within_a_rank(durations[tuple(values)], 0.99, each.p99)
            continue
        assert (same.median or 0) == pytest.approx(figures.median or 0, rel)
        assert (same.p99 or 0) == pytest.approx(figures.p99 or 0, rel)


def without_percentiles(statistics: Statistics | None) -> list[Figures]:
    """Only whether there are any."""
    return [
        replace(
            figures,
            median=None if figures.median is None else 0.0,
            p99=None if figures.p99 is None else 0.0,
        )
        for figures in rounded(statistics)
    ]


def within_a_rank(durations: list[float], share: float, answer: float | None) -> bool:
    """Whether `answer` lies between the neighbours of the exact rank; None: there are none."""
    if answer is None or not durations:
        return answer is None and not durations
    rank = share * (len(durations) - 1)
    low, high = max(0, int(rank) - 1), min(len(durations) - 1, int(rank) + 2)
    return durations[low] - 1e-9 <= answer <= durations[high] + 1e-9


def durations_of(
    client: Client, columns: Sequence[str], order: str, limit: int, first: date, last: date
) -> Durations:
    """The durations of the requests of each group that a ranking may have, in order."""
    names = ", ".join(columns)
    rows = client.query(
        f"SELECT {names}, arraySort(groupArray(duration)) FROM logs WHERE status_code > 0 "
        f"AND toDate32(timestamp) BETWEEN {{first:Date32}} AND {{last:Date32}} GROUP BY {names}",
        {"first": max(first, date(1900, 1, 1)), "last": min(last, date(2299, 12, 31))},
    ).result_rows
    return {tuple(values): durations for *values, durations in rows}


def write_logs(pipeline: Pipeline, lines: int, random: Random) -> list[tuple[Path, dict[str, Any]]]:
    """A log of the generator, and one of odd lines, each with the settings to read it."""
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
    odd = pipeline.directory / "odd.log"
    odd.write_text("".join(f"{line}\n" for line in odd_lines(random)))
    return [(log, {}), (odd, {"LOG_FORMAT": "json", "STREAM_MAX_SIZE": 50})]


def test_mongodb_says_the_same_as_sqlite(pipeline: Pipeline, mongodb: dict[str, object]):
    """Fewer lines and questions: FerretDB reads all lines for each."""
    random = Random(7)
    logs = write_logs(pipeline, 500, random)
    of_odd = odd_questions(random)
    asked = [*CUSTOMERS[:15:5], *KNOWN]
    questions = [(customer, *ALWAYS) for customer in asked] + of_odd[::5]
    said, found, by_hour, ranked = [], [], [], []
    for given in ({"store": "sqlite"}, mongodb):
        chosen = {**given, "data_dir": pipeline.directory / "data", "instance": "host"}
        for path, more in logs:
            environment = {name.upper(): value for name, value in chosen.items()}
            done = pipeline.run(LOG_PATHS=path, **environment, **more)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout.split()[:3])
        statistics, hourly, rankings = answers(Settings(_env_file=None, **chosen), questions)
        found.append(statistics)
        by_hour.append(hourly)
        ranked.append(rankings)
    assert said == said[:2] * 2
    sqlite, mongo = found
    assert any(sqlite)
    for statistics in found:
        agree_with_what_is_known(asked, statistics)
    for one, other in zip(sqlite, mongo, strict=True):
        for figures, same in zip(rounded(one), rounded(other), strict=True):
            assert replace(figures, median=None, p99=None) == replace(same, median=None, p99=None)
            assert same.median == pytest.approx(figures.median)
            assert same.p99 == pytest.approx(figures.p99)
    agree_by_hour(by_hour)
    for first, second in zip(*ranked, strict=True):
        agree(first, second, {})


def test_every_store_has_the_same_lines_and_says_the_same_of_them(
    pipeline: Pipeline, influxd: Influxd, bridge: ServerProcess, soak: bool
):
    lines = 1_000_000 if soak else 20_000
    random = Random(7)
    logs = write_logs(pipeline, lines, random)
    of_odd = odd_questions(random)
    questions = [(customer, *ALWAYS) for customer in CUSTOMERS] + of_odd
    said, found, by_hour, ranked = [], [], [], []
    for store, where in (
        ("embedded", {}),
        ("clickhouse", {"clickhouse_url": bridge.url}),
        ("influxdb", {"influxdb_url": influxd.url, "influxdb_api": "v1"}),
        ("sqlite", {}),
    ):
        data = pipeline.directory / store
        chosen = {"store": store, "data_dir": data, "instance": "host", **where}
        given = {name.upper(): value for name, value in chosen.items()}
        for path, more in logs:
            done = pipeline.run(LOG_PATHS=path, **given, **more)
            assert done.returncode == 0, done.stderr
            said.append(done.stdout.split()[:3])
        statistics, hourly, rankings = answers(Settings(_env_file=None, **chosen), questions)
        found.append(statistics)
        by_hour.append(hourly)
        ranked.append(rankings)
    assert said[0][0] == f"lines={lines}"
    assert said == said[:2] * 4
    assert said[1] == ["lines=518", "stored=518", "dead=0"]
    embedded, server, influx, sqlite = found
    for statistics in found:
        agree_with_what_is_known(CUSTOMERS, statistics)
    agree_by_hour(by_hour)
    client = clickhouse_connect.get_client(dsn=bridge.url)
    for question, first, second, third, fourth in zip(RANKINGS, *ranked, strict=True):
        durations = durations_of(client, *question)
        agree(first, second, durations)
        agree(first, fourth, durations)
        assert third is None  # InfluxDB cannot
        assert first and first.ranked
    for one, other in zip(embedded, server, strict=True):
        if one and other and one.estimated:
            assert other.estimated
            assert without_percentiles(one) == without_percentiles(other)
            assert one.overall.median == pytest.approx(other.overall.median, rel=0.01)
            assert one.overall.p99 == pytest.approx(other.overall.p99, rel=0.01)
        else:
            assert rounded(one) == rounded(other)
    assert list(map(without_percentiles, embedded)) == list(map(without_percentiles, influx))
    assert list(map(without_percentiles, embedded)) == list(map(without_percentiles, sqlite))
    for one, other in zip(embedded, sqlite, strict=True):
        if one and other and not one.estimated:
            for figures, same in zip(rounded(one), rounded(other), strict=True):
                assert same.median == pytest.approx(figures.median)
                assert same.p99 == pytest.approx(figures.p99)
    assert {bool(statistics) for statistics in embedded[-len(of_odd) :]} == {True, False}
    sorted_durations = (
        "SELECT duration FROM logs WHERE customer_id = {customer:String} AND status_code > 0 "
        "AND toDate32(timestamp) BETWEEN {first:Date32} AND {last:Date32} ORDER BY 1"
    )
    for (customer, first, last), statistics in zip(questions, influx, strict=True):
        if customer and statistics:
            days = [(first, last, statistics.overall)]
            days += [(day, day, figures) for day, figures in statistics.daily]
            for begin, end, figures in days:
                values = {
                    "customer": customer,
                    "first": max(begin, date(1900, 1, 1)),
                    "last": min(end, date(2299, 12, 31)),
                }
                rows = client.query(sorted_durations, values).result_rows
                assert len(rows) == figures.total
                every = [duration for (duration,) in rows if duration is not None]
                assert within_a_rank(every, 0.5, figures.median)
                assert within_a_rank(every, 0.99, figures.p99)
    client.close()
