"""`python -m api` as a process, beside real servers that come and go."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.store import open_store
from settings import Settings
from tests.conftest import Pipeline, find_port, wait_for
from tests.servers.clickhouse_http import Server as ClickHouseServer
from tests.servers.faulty import HANG, Answer, FaultyServer, Request, Write
from tests.servers.influxd import Influxd

NOON = datetime(2024, 1, 1, 12, tzinfo=timezone.utc)


class Store(Protocol):
    """A server that is not running yet, at an address of its own."""

    name: str
    environment: Mapping[str, str]
    counted: tuple[int | None, int | None]

    def start(self) -> None: ...
    def fill(self) -> None: ...
    def stop(self) -> None: ...


class ClickHouse:
    name = "clickhouse"
    counted = (1, 0)

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "server"
        self._port = find_port()
        self._server: ClickHouseServer | None = None
        self._url = f"http://127.0.0.1:{self._port}/web"
        self.environment = {"STORE": "clickhouse", "CLICKHOUSE_URL": self._url}

    def start(self) -> None:
        self._server = ClickHouseServer(self._directory, self._port)

    def databases(self) -> list[str]:
        assert self._server
        rows = self._server._engine.query("SHOW DATABASES").result_rows
        return [row[0] for row in rows]

    def fill(self) -> None:
        store = open_store(
            Settings(_env_file=None, store="clickhouse", clickhouse_url=self._url, instance="x")
        )
        store._client.command(
            "INSERT INTO logs (timestamp, customer_id, status_code, success, duration) "
            f"VALUES ({int(NOON.timestamp())}, 'cust_1', 200, true, 0.5)"
        )
        store.close()

    def stop(self) -> None:
        if self._server:
            self._server.close()
            self._server = None


class InfluxDB:
    name = "influxdb"
    counted = (None, None)

    def __init__(self, directory: Path) -> None:
        self._server: Influxd | None = None
        self._directory, self._port = directory / "server", find_port()
        self.environment = {
            "STORE": "influxdb",
            "INFLUXDB_API": "v1",
            "INFLUXDB_URL": f"http://127.0.0.1:{self._port}",
        }

    def start(self) -> None:
        self._server = Influxd(self._directory, port=self._port)

    def fill(self) -> None:
        assert self._server
        self._server.create()
        time = int(NOON.timestamp())
        self._server.write(
            b"api_requests,file_id=7,customer_id=cust_1,success=true "
            b"status_code=200i,event_time=%d000000i,duration=0.5 %d000000000" % (time, time)
        )

    def stop(self) -> None:
        if self._server:
            self._server.stop()
            self._server = None


@pytest.fixture(params=[ClickHouse, InfluxDB])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    made: Store = request.param(tmp_path)
    yield made
    made.stop()


class Api:
    """`python -m api` with these settings."""

    def __init__(self, directory: Path, port: int, settings: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api"],
            cwd=directory,
            env=Pipeline(directory, port).environment(**settings),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_until_it_serves(self) -> None:
        assert self.process.stdout
        assert self.url in self.process.stdout.readline()

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, verify=False, timeout=60)

    def status(self) -> int:
        return self.get("/health").status_code

    def is_usable(self) -> float:
        [family] = text_string_to_metric_families(self.get("/metrics").text)
        [sample] = family.samples
        assert sample.name == "logwax_store_usable"
        return sample.value

    def end(self) -> tuple[int, str]:
        """Its exit code after SIGTERM, and what it wrote to stderr."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    started: list[Api] = []

    def start_it(**settings: Any) -> Api:
        started.append(Api(tmp_path, find_port(), settings))
        return started[-1]

    yield start_it
    for api in started:
        if api.process.poll() is None:
            api.process.kill()
        api.process.communicate()


def test_answers_from_a_store_that_another_process_fills(
    store: Store, start: Callable[..., Api]
) -> None:
    store.start()
    store.fill()
    api = start(**store.environment)
    api.wait_until_it_serves()

    stats = api.get("/customers/cust_1/stats").json()
    assert (stats["total_requests"], stats["median_latency"]) == (1, 0.5)
    assert [day["date"] for day in stats["daily"]] == ["2024-01-01"]
    assert api.get("/stats").json()["total_requests"] == 1
    assert api.get("/customers/cust_2/stats").status_code == 404
    assert api.get("/docs").status_code == 200
    assert api.end() == (0, "")


def test_health_and_metrics_are_of_the_store_alone(store: Store, start: Callable[..., Api]) -> None:
    store.start()
    store.fill()
    api = start(**store.environment)
    api.wait_until_it_serves()

    rows, dead_letters = store.counted
    health = {"status": "ok", "store": "ok", "rows_stored": rows, "dead_letters": dead_letters}
    assert api.get("/health").json() == health
    assert api.is_usable() == 1


def test_starts_without_its_store_and_answers_once_it_is_there(
    store: Store, start: Callable[..., Api]
) -> None:
    api = start(**store.environment)
    api.wait_until_it_serves()
    health = api.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
    assert "Connection refused" in health.json()["store"]
    assert api.get("/stats").status_code == 503
    assert api.is_usable() == 0

    store.start()
    assert api.status() == 503  # nothing is in it yet
    store.fill()
    wait_for(lambda: api.status() == 200, "a healthy API")
    assert api.get("/stats").json()["total_requests"] == 1

    store.stop()
    assert api.status() == 503
    store.start()
    wait_for(lambda: api.status() == 200, "a healthy API")
    assert api.end() == (0, "")


def test_makes_nothing_in_its_store(tmp_path: Path, start: Callable[..., Api]) -> None:
    store = ClickHouse(tmp_path)
    store.start()
    try:
        before = store.databases()
        api = start(**store.environment)
        api.wait_until_it_serves()
        assert "Database web does not exist" in api.get("/health").json()["store"]
        assert api.get("/stats").status_code == 503
        assert store.databases() == before
    finally:
        store.stop()


class Hanging(FaultyServer):
    """A server that never answers."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        super().__init__()

    def respond(self, request: Request) -> Write:
        self.asked.append(request)
        self.faults.append(HANG)
        return lambda: Answer(200)


@pytest.mark.parametrize(
    ("name", "url"), [("clickhouse", "CLICKHOUSE_URL"), ("influxdb", "INFLUXDB_URL")]
)
def test_ends_while_its_store_hangs(start: Callable[..., Api], name: str, url: str) -> None:
    server = Hanging()
    try:
        api = start(STORE=name, **{url: server.url})
        api.wait_until_it_serves()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{api.url}/stats", trust_env=False, verify=False, timeout=0.5)
        wait_for(lambda: server.asked, "the question to be under way")
        assert api.end()[0] == 0
    finally:
        server.close()


@pytest.mark.parametrize(
    ("settings", "sentences"),
    [
        ({"STORE": "influxdb", "INFLUXDB_URL": "x", "API_PORT": "y"}, ["API_PORT", "INFLUXDB_URL"]),
        ({"STORE": "embedded"}, ["STORE=embedded: its pipeline serves the API; "]),
        (
            {"STORE": "null", "API_PORT": "0"},
            ["STORE=null: there is nothing to ask; ", "API_PORT=0"],
        ),
        ({"STORE": "clickhouse", "API_HOST": "192.0.2.1"}, ["API_HOST=192.0.2.1, "]),
    ],
)
def test_says_everything_that_is_wrong_and_does_not_start(
    start: Callable[..., Api], settings: dict[str, str], sentences: list[str]
) -> None:
    process = start(**settings).process
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    lines = errors.splitlines()
    assert len(lines) == len(sentences)
    for line, sentence in zip(lines, sentences, strict=True):
        assert line.startswith(sentence)
