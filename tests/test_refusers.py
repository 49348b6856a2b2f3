"""A random refuser in front of each store: the lines that the table refuses are the dead letters.

Every fifth request is refused: with any status and any body, by a redirect, by half an answer, by a
broken connection before or after it was executed. 3 % of the lines are refused by the table. By
itself: `--soak` has 1,000,000 lines.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.sinks.retry import Retry
from connectors.store import open_store
from settings import Settings
from tests.conftest import Pipeline
from tests.servers import clickhouse_http, influxdb_http
from tests.servers.clickhouse_http import refusal
from tests.servers.faulty import Answer, Fault, Half, Request, Reset, Write
from tests.servers.influxd import Influxd

SHARE, SEED = 0.2, 7
PAGE = "<html><body>Come back later</body></html>"
MEMORY = "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
TO_LOGIN = {"Location": "/login"}
PASSING: tuple[Fault, ...] = (
    *(Answer(status, PAGE) for status in (200, 201, 202, 206, 408, 429, 500, 502, 503, 504, 599)),
    Answer(200, MEMORY),
    Answer(200, "\xff\0"),
    Answer(503, "", {"Retry-After": "-5"}),
    Answer(429, "", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    Answer(503, "", {"Retry-After": "nan"}),
    *(Reset(after) for after in (False, True) * 4),
    *(Half(executed) for executed in (False, True) * 4),
)
WAITING: tuple[Fault, ...] = tuple(
    Answer(status, PAGE, TO_LOGIN)
    for status in (301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 413, 418, 421, 431, 451, 507)
)


class Refusing:
    """Refuses a share of all requests once the store is open; see `FaultyServer`."""

    ratio: float
    begins = False
    lines: bytes
    """What the first lines are known by: until then, the store is being opened."""

    def respond(self, request: Request) -> Answer | Write:
        """As the server does, but whatever is answered may be refused."""
        response = super().respond(request)  # type: ignore[misc]
        if not callable(response):
            return response if not self.ratio else lambda: response

        def execute() -> Answer:
            answer = response()
            if self.begins and request.body[:256].count(self.lines):
                self.ratio = SHARE
            return answer

        return execute

    def next_fault(self) -> Fault | None:
        """Mostly what passes soon: what waits for help pauses for a second."""
        with self._choosing:  # type: ignore[attr-defined]
            chance: random.Random = self._random  # type: ignore[attr-defined]
            if chance.random() >= self.ratio:
                return None
            return chance.choice(self.kinds if chance.random() < 0.95 else WAITING)  # type: ignore[attr-defined]


class ClickHouse(Refusing, clickhouse_http.Server):
    lines = b"INTO ingest_blocks"
    kinds = (
        *PASSING,
        Answer(204),
        refusal(241, "MEMORY_LIMIT_EXCEEDED"),
        refusal(252, "TOO_MANY_PARTS"),
    )
    most_bytes = 1024 * 1024


class InfluxDB(Refusing, influxdb_http.Server):
    lines = b"api_requests,"
    kinds = PASSING
    most_bytes = 1024 * 1024

    def respond(self, request: Request) -> Answer | Write:
        if len(request.body) > self.most_bytes:
            return Answer(413, PAGE)
        return super().respond(request)


@pytest.fixture
def lines(soak: bool) -> int:
    return 1_000_000 if soak else 4_000


def write_log(path: Path, lines: int, bad: list[dict[str, object]], run: int) -> set[int]:
    """Lines of which 3 % have something bad, `run` at a time; returns where these begin."""
    chance, refused, offset = random.Random(SEED), set[int](), 0
    with path.open("w", encoding="utf-8") as file:
        while lines > 0:
            is_bad = chance.random() < 0.03
            what = bad[min(int(chance.expovariate(2)), len(bad) - 1)] if is_bad else {}
            for _ in range(min(lines, run)):
                lines -= 1
                usual = {"ts": "2026-11-22T20:15:05Z", "customer_id": f"c{lines % 50}"}
                usual |= {"method": "GET", "path": f"/p/{lines}", "status": 200, "bytes": 7}
                line = json.dumps({**usual, "duration": 0.25, **what}) + "\n"
                if is_bad:
                    refused.add(offset)
                offset += file.write(line)
    return refused


CLICKHOUSE_BAD: list[dict[str, object]] = [
    {"path": "/brew"},
    {"status": 418},
    {"path": "/coffee", "status": 418},
    {"path": "/brew", "method": "POST"},
    {"method": "BREW"},
    {"bytes": 0},
]
OWN = (
    "ALTER TABLE logs ADD CONSTRAINT tea CHECK request_path != '/brew'",
    "ALTER TABLE logs ADD CONSTRAINT teapot CHECK status_code != 418",
    "ALTER TABLE logs MODIFY COLUMN method Enum8('' = 0, 'GET' = 1, 'POST' = 2)",
    "ALTER TABLE logs ADD COLUMN tenth UInt64 MATERIALIZED intDiv(10, bytes_sent)",
)
COUNT = "SELECT count(), uniqExact(offset) FROM logs"
DEAD = "SELECT offset FROM dead_letters WHERE reason = 'rejected' AND raw != ''"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    made = ClickHouse(tmp_path / "server", seed=SEED)
    yield made
    made.close()


def is_exact(rows: tuple[int, int], dead: list[int], refused: set[int], lines: int) -> None:
    """Fail unless every line is there once, and exactly the refused ones are dead letters."""
    assert len(dead) == len(set(dead)), "a dead letter is there twice"
    assert set(dead) == refused
    assert rows == (lines - len(refused), lines - len(refused))


def test_clickhouse_behind_a_refuser(
    tmp_path: Path, pipeline: Pipeline, server: ClickHouse, lines: int
) -> None:
    settings = {"store": "clickhouse", "clickhouse_url": server.url, "instance": "host"}
    open_store(Settings(_env_file=None, **settings), Retry()).close()
    for change in OWN:
        server._engine.command(change)
    refused = write_log(tmp_path / "in.log", lines, CLICKHOUSE_BAD, 1)
    server.begins = True
    done = pipeline.run(
        deadline=3600,
        **{name.upper(): value for name, value in settings.items()},
        LOG_PATHS="in.log",
        LOG_FORMAT="json",
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    (rows,) = server._engine.query(COUNT).result_rows
    dead = [row[0] for row in server._engine.query(DEAD).result_rows]
    is_exact(rows, dead, refused, lines)


def test_the_embedded_store_with_a_table_that_refuses(
    tmp_path: Path, pipeline: Pipeline, open_client, lines: int
) -> None:
    settings = {"LOG_PATHS": "in.log", "LOG_FORMAT": "json"}
    assert pipeline.run(**settings).returncode == 0
    client = open_client()
    for change in OWN:
        client.command(change)
    client.close()
    refused = write_log(tmp_path / "in.log", lines, CLICKHOUSE_BAD, 1)
    done = pipeline.run(deadline=3600, **settings)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    client = open_client()
    (rows,) = client.query(COUNT).result_rows
    is_exact(rows, [row[0] for row in client.query(DEAD).result_rows], refused, lines)


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_influxdb_behind_a_refuser(
    tmp_path: Path, pipeline: Pipeline, influxd: Influxd, lines: int, api: str
) -> None:
    influxd.query('CREATE DATABASE "kept" WITH DURATION 1000w')
    refuser = InfluxDB(influxd.url, seed=SEED)
    try:
        # A field of another type in a week of its own, and what is older than the bucket keeps.
        influxd.write(b'api_requests,file_id=0 duration="text" 1767225600000000000', db="kept")
        bad: list[dict[str, object]] = [
            {"ts": "1999-01-01T00:00:00Z"},
            {"ts": "2026-01-01T00:00:01Z"},
        ]
        refused = write_log(tmp_path / "in.log", lines, bad, 20)
        refuser.begins = True
        done = pipeline.run(
            deadline=3600,
            STORE="influxdb",
            INFLUXDB_URL=refuser.url,
            INFLUXDB_API=api,
            INFLUXDB_BUCKET="kept",
            INFLUXDB_TOKEN="a:b",
            INSTANCE="host",
            LOG_PATHS="in.log",
            LOG_FORMAT="json",
        )
        print(done.stdout)
        assert done.returncode == 0, done.stderr[-2000:]
        (found,) = influxd.query(
            'SELECT "offset" FROM "api_requests" WHERE "file_id" != \'0\'', "kept"
        )
        rows = [row[1] for row in found["values"]]
        (letters,) = influxd.query('SELECT "offset" FROM "dead_letters"', "kept")
        dead = [row[1] for row in letters["values"]]
        is_exact((len(rows), len(set(rows))), dead, refused, lines)
    finally:
        refuser.close()
