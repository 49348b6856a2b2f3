"""The API over a real socket and a real embedded ClickHouse."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from queue import SimpleQueue

import httpx
import pytest
from clickhouse_connect.driver.client import Client
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from api.app import Pipeline, create_app
from api.server import ApiServer
from connectors.batch import Fit
from connectors.errors import LogwaxError
from connectors.sinks.clickhouse.reader import ClickHouseReader
from connectors.status import SourceStatus, Status
from tests.conftest import wait_for

ZEROS = {
    "total_requests": 0,
    "successful_requests": 0,
    "failed_requests": 0,
    "uptime": None,
    "average_latency": None,
    "median_latency": None,
    "p99_latency": None,
}
# 2024-01-01: two requests of three succeed; 2024-01-03: the only one does
CUST_1 = [
    ("2024-01-01T00:00:00", True, 0.1),
    ("2024-01-01T12:00:00", True, 0.2),
    ("2024-01-01T23:59:59.999999", False, 0.4),
    ("2024-01-03T08:00:00", True, 1.1234567),
]
CUST_1_ON_JANUARY_1 = {
    "total_requests": 3,
    "successful_requests": 2,
    "failed_requests": 1,
    "uptime": 66.66667,
    "average_latency": 0.23333,
    "median_latency": 0.2,
    "p99_latency": 0.396,
}
CUST_1_ON_JANUARY_3 = {
    "total_requests": 1,
    "successful_requests": 1,
    "failed_requests": 0,
    "uptime": 100.0,
    "average_latency": 1.12346,
    "median_latency": 1.12346,
    "p99_latency": 1.12346,
}
COMPLETENESS = {  # the source of these tests is none, and their dead letters have no times
    "complete_to": None,
    "files_behind": 0,
    "blocks_in_doubt": 0,
    "dead_letters": None,
}
CUST_1_IN_ALL = {
    "total_requests": 4,
    "successful_requests": 3,
    "failed_requests": 1,
    "uptime": 75.0,
    "average_latency": 0.45586,
    "median_latency": 0.3,
    "p99_latency": 1.10175,
}


@pytest.fixture
def store(client: Client) -> Client:
    return client


@dataclass
class Running:
    """The parts of a running pipeline that the API looks at."""

    status: Status
    source: SourceStatus


@pytest.fixture
def pipeline() -> Running:
    return Running(Status(), SourceStatus())


@pytest.fixture
def app(store: Client, pipeline: Running) -> FastAPI:
    reader = ClickHouseReader(lambda: store, "logs")
    return create_app(reader, Pipeline(pipeline.status, lambda: pipeline.source))


@pytest.fixture
def server(app: FastAPI) -> Iterator[ApiServer]:
    server = ApiServer("127.0.0.1", 0)
    server.start(app)
    yield server
    server.stop()


@pytest.fixture
def api(server: ApiServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, verify=False, timeout=30) as api:
        yield api


def insert(
    store: Client, customer: str, *requests: tuple[str, bool, float | None], status: int = 200
) -> None:
    store.insert(
        "logs",
        [
            (
                datetime.fromisoformat(when).replace(tzinfo=timezone.utc),
                customer,
                success,
                duration,
                status,
            )
            for when, success, duration in requests
        ],
        column_names=["timestamp", "customer_id", "success", "duration", "status_code"],
    )


def port_of(server: ApiServer) -> int:
    return int(server.url.rpartition(":")[2])


def is_serving() -> bool:
    return "api" in {thread.name for thread in threading.enumerate()}


def is_refused(server: ApiServer) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port_of(server))) == errno.ECONNREFUSED


@dataclass
class SlowHealth:
    """A server in the middle of a request that is answered at `release`."""

    server: ApiServer
    release: threading.Event
    answer: SimpleQueue[int]


@pytest.fixture
def slow(store: Client) -> Iterator[SlowHealth]:
    entered, release = threading.Event(), threading.Event()
    answer: SimpleQueue[int] = SimpleQueue()
    server = ApiServer("127.0.0.1", 0)

    def source() -> SourceStatus:
        entered.set()
        release.wait(30)
        return SourceStatus()

    def ask() -> None:
        with suppress(httpx.TransportError):
            answer.put(httpx.get(f"{server.url}/health", trust_env=False, timeout=30).status_code)

    reader = ClickHouseReader(lambda: store, "logs")
    server.start(create_app(reader, Pipeline(Status(), source)))
    asker = threading.Thread(target=ask)
    asker.start()
    assert entered.wait(30)
    yield SlowHealth(server, release, answer)
    release.set()
    asker.join(30)
    wait_for(lambda: not is_serving())


def test_statistics_of_one_customer_by_range_and_day(store: Client, api: httpx.Client) -> None:
    insert(store, "cust_1", *CUST_1)
    insert(store, "cust_2", ("2024-01-01T00:00:00", False, 99.0))

    answer = api.get("/customers/cust_1/stats?from_date=2024-01-01&to_date=2024-01-31")

    assert answer.status_code == 200
    assert answer.json() == {
        "customer_id": "cust_1",
        "from_date": "2024-01-01",
        "to_date": "2024-01-31",
        **CUST_1_IN_ALL,
        "estimated": False,
        "completeness": COMPLETENESS,
        "daily": [
            {"date": "2024-01-01", **CUST_1_ON_JANUARY_1},
            {"date": "2024-01-03", **CUST_1_ON_JANUARY_3},
        ],
    }


def test_a_range_of_one_day(store: Client, api: httpx.Client) -> None:
    insert(store, "cust_1", *CUST_1)

    answer = api.get("/customers/cust_1/stats?from_date=2024-01-01&to_date=2024-01-01").json()

    assert answer == {
        "customer_id": "cust_1",
        "from_date": "2024-01-01",
        "to_date": "2024-01-01",
        **CUST_1_ON_JANUARY_1,
        "estimated": False,
        "completeness": COMPLETENESS,
        "daily": [{"date": "2024-01-01", **CUST_1_ON_JANUARY_1}],
    }


def test_statistics_of_all_customers(store: Client, api: httpx.Client) -> None:
    insert(store, "cust_1", *CUST_1[:2])
    insert(store, "cust_2", *CUST_1[2:])

    answer = api.get("/stats?from_date=2024-01-01&to_date=2024-01-31")

    assert answer.status_code == 200
    assert answer.json() == {
        "from_date": "2024-01-01",
        "to_date": "2024-01-31",
        **CUST_1_IN_ALL,
        "estimated": False,
        "completeness": COMPLETENESS,
        "daily": [
            {"date": "2024-01-01", **CUST_1_ON_JANUARY_1},
            {"date": "2024-01-03", **CUST_1_ON_JANUARY_3},
        ],
    }


def test_statistics_of_all_without_rows_are_zeros(api: httpx.Client) -> None:
    answer = api.get("/stats?from_date=2024-01-01&to_date=2024-01-31")

    assert answer.status_code == 200
    assert answer.json() == {
        "from_date": "2024-01-01",
        "to_date": "2024-01-31",
        **ZEROS,
        "estimated": False,
        "completeness": COMPLETENESS,
        "daily": [],
    }


@pytest.mark.parametrize("path", ["/stats", "/customers/cust_1/stats"])
def test_the_default_range_is_1970_until_today_in_utc(
    store: Client, api: httpx.Client, path: str
) -> None:
    now = datetime.now(timezone.utc)
    insert(
        store,
        "cust_1",
        ("1969-12-31T23:59:59.999999", True, 1.0),
        ("1970-01-01T00:00:00", True, 1.0),
        (now.replace(tzinfo=None).isoformat(), True, 1.0),
        ((now.replace(tzinfo=None) + timedelta(days=2)).isoformat(), True, 1.0),
    )

    answer = api.get(path).json()

    assert answer["from_date"] == "1970-01-01"
    assert now.date() <= date.fromisoformat(answer["to_date"]) <= datetime.now(timezone.utc).date()
    assert [day["date"] for day in answer["daily"]] == ["1970-01-01", now.date().isoformat()]


def test_the_widest_range_is_answered(store: Client, api: httpx.Client) -> None:
    insert(store, "cust_1", *CUST_1)

    answer = api.get("/customers/cust_1/stats?from_date=0001-01-01&to_date=9999-12-31")

    assert answer.json()["total_requests"] == 4


def test_rows_without_a_status_are_no_requests(store: Client, api: httpx.Client) -> None:
    insert(store, "cust_1", *CUST_1)
    insert(store, "cust_1", ("2024-01-02T00:00:00", False, 0.0), status=0)

    answer = api.get("/customers/cust_1/stats?from_date=2024-01-01&to_date=2024-01-31").json()

    assert answer["daily"] == [
        {"date": "2024-01-01", **CUST_1_ON_JANUARY_1},
        {"date": "2024-01-03", **CUST_1_ON_JANUARY_3},
    ]
    assert answer == {**answer, **CUST_1_IN_ALL}


@pytest.mark.parametrize("path", ["/stats", "/customers/app/stats"])
def test_an_applications_log_has_no_requests_and_is_no_outage(
    store: Client, api: httpx.Client, path: str
) -> None:
    insert(store, "app", *[("2024-01-01T00:00:00", False, 0.0)] * 20, status=0)

    answer = api.get(path)

    assert answer.status_code == 200
    assert answer.json() == {**answer.json(), **ZEROS, "daily": []}


@pytest.mark.parametrize("path", ["/stats", "/customers/cust_1/stats"])
def test_latencies_are_null_where_no_request_has_a_duration(
    store: Client, api: httpx.Client, path: str
) -> None:
    insert(store, "cust_1", *[("2024-01-01T00:00:00", True, None)] * 3)
    insert(store, "cust_1", ("2024-01-02T00:00:00", True, 0.4), ("2024-01-03T00:00:00", True, 0.0))

    answer = api.get(path).json()

    latencies = ("uptime", "average_latency", "median_latency", "p99_latency")
    assert [answer["daily"][0][name] for name in latencies] == [100.0, None, None, None]
    assert [answer["daily"][1][name] for name in latencies] == [100.0, 0.4, 0.4, 0.4]
    assert [answer["daily"][2][name] for name in latencies] == [100.0, 0.0, 0.0, 0.0]
    assert [answer[name] for name in latencies] == [100.0, 0.2, 0.2, 0.396]  # of two


@pytest.mark.parametrize(
    "days", [("0001-01-01", "1899-12-31"), ("2300-01-01", "2300-01-02"), ("9999-12-31",) * 2]
)
def test_a_range_beyond_what_a_store_can_hold_is_an_empty_one(
    store: Client, api: httpx.Client, days: tuple[str, str]
) -> None:
    insert(store, "cust_1", *CUST_1)
    asked = dict(zip(("from_date", "to_date"), days, strict=True))

    of_all, of_one = (api.get(f"{path}stats", params=asked) for path in ("/", "/customers/cust_1/"))

    figures = {**ZEROS, "estimated": False, "daily": [], "completeness": COMPLETENESS}
    assert of_all.json() == {**asked, **figures}
    assert of_one.status_code == 404
    assert "has no requests from" in of_one.json()["detail"]


def test_404_for_a_customer_that_is_not_in_the_logs(store: Client, api: httpx.Client) -> None:
    insert(store, "cust_1", *CUST_1)

    answer = api.get("/customers/cust_2/stats")

    assert answer.status_code == 404
    assert answer.json() == {"detail": "Customer 'cust_2' is not in the logs."}


def test_404_for_a_customer_without_requests_in_the_range(store: Client, api: httpx.Client) -> None:
    insert(store, "cust_1", *CUST_1)

    answer = api.get("/customers/cust_1/stats?from_date=2023-01-01&to_date=2023-12-31")

    assert answer.status_code == 404
    assert answer.json() == {
        "detail": "Customer 'cust_1' has no requests from 2023-01-01 to 2023-12-31."
    }


@pytest.mark.parametrize("day", ["yesterday", "2024-02-30", "20240101", "2024-1-1", "0", ""])
@pytest.mark.parametrize("parameter", ["from_date", "to_date"])
def test_422_for_what_is_not_a_day(api: httpx.Client, day: str, parameter: str) -> None:
    answer = api.get("/customers/cust_1/stats", params={parameter: day})

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"{parameter} {day!r}: ")


@pytest.mark.parametrize("path", ["/stats", "/customers/cust_1/stats"])
def test_422_for_a_reversed_range(api: httpx.Client, path: str) -> None:
    answer = api.get(f"{path}?from_date=2024-01-02&to_date=2024-01-01")

    assert answer.status_code == 422
    assert answer.json() == {"detail": "from_date 2024-01-02 is after to_date 2024-01-01."}


@pytest.mark.parametrize(
    "customer",
    [
        "it's",
        'say "hi"',
        "back\\slash\\",
        "'; DROP TABLE logs; --",
        "{customer:String}",
        "a/b",
        "a/stats",
        "100%",
        "a b+c",
        "?from_date=x#y",
        "Ünïcödé ☃ 客户",
        "",
        "a\nb",
        "\n",
        "\r\n/stats\n",
        "\t\x1b[2J",
        "..",
        "./../x",
        "a//b/",
    ],
)
def test_any_customer_id_can_be_asked_for(store: Client, api: httpx.Client, customer: str) -> None:
    insert(store, "cust_1", *CUST_1)
    whole = "".join(f"%{byte:02X}" for byte in customer.encode())  # else a dot is taken as a path
    path = f"/customers/{whole}/stats"
    assert api.get(path).json() == {"detail": f"Customer {customer!r} is not in the logs."}

    insert(store, customer, ("2024-01-01T00:00:00", True, 0.5))

    answer = api.get(path).json()
    assert (answer["customer_id"], answer["total_requests"]) == (customer, 1)
    assert api.get("/stats").json()["total_requests"] == 5


@pytest.mark.parametrize("path", ["/stats", "/customers/cust_1/stats"])
def test_503_when_the_store_cannot_answer(store: Client, api: httpx.Client, path: str) -> None:
    store.close()

    answer = api.get(path)

    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("ClickHouse cannot answer: ")


def test_health_is_200_while_the_store_answers_and_no_error_stands(
    store: Client, api: httpx.Client, pipeline: Running
) -> None:
    insert(store, "cust_1", *CUST_1)
    store.command("INSERT INTO dead_letters VALUES ('?')")
    pipeline.status.add(
        lines=3,
        stored=2,
        dead={"bad_json": 1},
        filler=9,
        misfits={"duration": 1},
        dropped={"drop": 2},
    )
    pipeline.status.add(lines=0, stored=0, dead={}, misfits={"duration": 1, "bytes_sent": 3})
    pipeline.source = SourceStatus(2, 100, 0.5, ("a.log: permission denied",), lag_records=7)

    answer = api.get("/health")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "store": "ok",
        "files": 2,
        "lag_bytes": 100,
        "lag_records": 7,
        "lag_seconds": 0.5,
        "lines_in": 3,
        "lines_stored": 2,
        "misfits": {"duration": 2, "bytes_sent": 3},
        "dropped": {"drop": 2},
        "rows_stored": 4,
        "dead_letters": 1,
        "filler_bytes": 9,
        "geoip_files": {},
        "last_error": "",
        "problems": ["a.log: permission denied"],
    }


def test_health_is_503_while_an_error_stands(api: httpx.Client, pipeline: Running) -> None:
    pipeline.status.report("disk full")

    answer = api.get("/health")

    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert answer.json()["store"] == "ok"
    assert answer.json()["last_error"] == "disk full"


def test_health_is_503_when_the_store_cannot_be_reached(store: Client, api: httpx.Client) -> None:
    store.close()

    answer = api.get("/health")

    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert answer.json()["store"].startswith("ClickHouse cannot answer: ")
    assert answer.json()["rows_stored"] is None


def samples(answer: httpx.Response) -> dict[str, float]:
    families = text_string_to_metric_families(answer.text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_metrics_are_those_of_the_pipeline_now(api: httpx.Client, pipeline: Running) -> None:
    pipeline.status.add(lines=4, stored=2, dead={"bad_json": 1}, filler=9)
    pipeline.status.demoted_tags = frozenset({"customer_id"})
    pipeline.source = SourceStatus(2, 100, 0.5, ("a.log: permission denied",), lag_records=7)

    assert samples(api.get("/metrics")) == {
        "logwax_store_usable": 1,
        "logwax_store_failures_total": 0,
        "logwax_lines_total": 4,
        "logwax_rows_total": 2,
        "logwax_dead_letters_total": 1,
        "logwax_filler_bytes_total": 9,
        "logwax_files": 2,
        "logwax_lag_bytes": 100,
        "logwax_lag_records": 7,
        "logwax_lag_seconds": 0.5,
        "logwax_problems": 1,
        "logwax_demoted_tags": 1,
        "logwax_answers_cached_total": 0,
        "logwax_answers_made_total": 0,
    }


def test_misfits_are_a_metric_by_column(api: httpx.Client, pipeline: Running) -> None:
    pipeline.status.add(lines=2, stored=2, dead={}, misfits={"duration": 2, "status_code": 1})
    text = api.get("/metrics").text
    assert 'logwax_misfits_total{column="duration"} 2.0\n' in text
    assert 'logwax_misfits_total{column="status_code"} 1.0\n' in text


def test_files_whose_lines_are_refused_are_problems(
    api: httpx.Client, pipeline: Running, tmp_path: Path
) -> None:
    file = tmp_path / "a.log"
    file.touch()
    pipeline.source = SourceStatus(2, 100, 0.5, ("b.log: permission denied",))
    pipeline.status.refusals.add([Fit(str(file), 4, 3, lambda: "'x' is no line")])

    assert api.get("/health").json()["problems"] == [
        "b.log: permission denied",
        f"More than half of the lines of '{file}' are refused: 'x' is no line",
    ]
    assert samples(api.get("/metrics"))["logwax_problems"] == 2


def test_metrics_tell_of_a_failing_store_without_asking_it(
    store: Client, api: httpx.Client, pipeline: Running
) -> None:
    store.close()
    pipeline.status.report("busy", "trouble")
    pipeline.status.report("still busy", "trouble")
    found = samples(api.get("/metrics"))
    assert (found["logwax_store_usable"], found["logwax_store_failures_total"]) == (0, 2)

    pipeline.status.overcome("trouble")

    found = samples(api.get("/metrics"))
    assert (found["logwax_store_usable"], found["logwax_store_failures_total"]) == (1, 2)


def test_metrics_come_in_the_format_that_is_asked_for(api: httpx.Client) -> None:
    plain = api.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"

    asked = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    modern = api.get("/metrics", headers=asked)
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    [
        'text/plain;version="0.0.4"',
        'application/openmetrics-text; version="1.0.0"; charset=utf-8',
        "text/plain;version=x,*/*;q=0.1",
        "application/openmetrics-text;version=1.x.0",
        "application/openmetrics-text;version=2;escaping=nonsense",
        "text/plain;version=\u00b2",
        ";;==,version",
        "",
    ],
)
def test_metrics_answer_to_whatever_is_accepted(api: httpx.Client, accept: str) -> None:
    answer = api.get("/metrics", headers={b"accept": accept.encode("latin-1")})
    assert (answer.status_code, "logwax_store_usable 1.0" in answer.text) == (200, True)


@pytest.mark.parametrize("path", ["/stats", "/customers/cust_1/stats", "/health", "/metrics"])
def test_what_can_be_got_can_be_asked_for_its_head_and_its_options(
    store: Client, api: httpx.Client, path: str
) -> None:
    insert(store, "cust_1", *CUST_1)
    head, whole = api.head(path), api.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]

    options = api.options(path)
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == "GET, HEAD, OPTIONS"

    refused = api.delete(path)
    assert (refused.status_code, refused.json()) == (
        405,
        {"detail": "DELETE is not for this path."},
    )
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "attacker.example"},
        {"host": "127.0.0.1.attacker.example:8000"},
        {"host": "localhost.attacker.example"},
        {"host": "10.0.0.1"},
        {"host": "[::2]:80"},
        {"host": "[nonsense"},
        {"host": "attacker.example@localhost"},
        {"host": "localhost?attacker.example"},
        {"host": "localhost,attacker.example"},
        {"host": "//"},
        {"origin": "//"},
        {"origin": "http://attacker.example@localhost"},
        {"origin": "http://localhost http://attacker.example"},
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"host": "localhost", "origin": "https://localhost.attacker.example:8000"},
    ],
)
@pytest.mark.parametrize("path", ["/stats", "/health", "/commands/audit", "/docs", "/nothing"])
def test_on_loopback_there_is_no_answer_under_foreign_names(
    api: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    answer = api.get(path, headers=headers)
    assert answer.status_code == 403
    assert "is none of this machine's own names" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:1"},
        {"host": "LOCALHOST."},
        {"host": "[::1]:8000"},
        {"host": "127.8.8.8"},
        {"host": "logs.localhost"},
        {"origin": "http://localhost:3000"},
    ],
)
def test_on_loopback_the_machines_own_names_are_answered(
    api: httpx.Client, headers: dict[str, str]
) -> None:
    assert api.get("/health", headers=headers).status_code == 200


def test_on_the_network_any_name_is_answered(app: FastAPI) -> None:
    server = ApiServer("0.0.0.0", 0)
    try:
        server.start(app)
        url = f"http://127.0.0.1:{port_of(server)}/health"
        headers = {"host": "log_processor:8001", "origin": "http://dashboard.example"}
        assert httpx.get(url, headers=headers, trust_env=False).status_code == 200
    finally:
        server.stop()


def test_an_error_that_nobody_foresaw_is_a_sentence(
    app: FastAPI, api: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    @app.get("/broken\x1b/{rest:path}")
    def broken(rest: str) -> None:
        raise KeyError(rest)

    answer = api.get("/broken%1B/x")

    assert answer.status_code == 500
    assert "stderr" in answer.json()["detail"]
    assert "KeyError" not in answer.text
    said = ""

    def is_said() -> bool:  # once the answer is on its way
        nonlocal said
        said += capfd.readouterr().err
        return said.endswith("\n")

    wait_for(is_said, "a sentence")
    assert said.startswith("The API failed at '/broken\\x1b/x'. This should not have happened: ")
    assert said.count("\n") == 1


def begin_requests(server: ApiServer, count: int) -> list[socket.socket]:
    made = []
    for _ in range(count):
        made.append(socket.create_connection(("127.0.0.1", port_of(server)), timeout=30))
        made[-1].sendall(b"GET /hea")
    return made


def test_connections_are_bounded_and_those_idle_for_longest_make_room(
    monkeypatch: pytest.MonkeyPatch, app: FastAPI
) -> None:
    monkeypatch.setattr("api.server.share", lambda part, at_most: 4)
    monkeypatch.setattr("api.server.IDLE_SECONDS", 3600.0)
    server = ApiServer("127.0.0.1", 0)
    server.start(app)
    idle = begin_requests(server, 12)
    try:
        for _ in range(3):
            assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200
        for connection in idle[:8]:
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert server._server is not None
        assert len(server._server.server_state.connections) <= 4
    finally:
        for connection in idle:
            connection.close()
        server.stop()


def test_no_part_of_an_answer_waits_for_a_client_that_waits_for_more(
    server: ApiServer, api: httpx.Client
) -> None:
    api.get("/metrics")
    assert server._server
    [connection] = server._server.server_state.connections
    accepted = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_request_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, server: ApiServer
) -> None:
    monkeypatch.setattr("api.server.IDLE_SECONDS", 0.1)
    for connection in begin_requests(server, 2):
        assert connection.recv(1) == b""
        connection.close()


def test_while_all_connections_are_at_work_the_next_ones_wait(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("api.server.share", lambda part, at_most: 1)
    slow: SlowHealth = request.getfixturevalue("slow")
    answers: SimpleQueue[int] = SimpleQueue()

    def ask() -> None:
        url = f"{slow.server.url}/metrics"
        answers.put(httpx.get(url, trust_env=False, timeout=30).status_code)

    asker = threading.Thread(target=ask)
    asker.start()
    with socket.create_connection(("127.0.0.1", port_of(slow.server))):  # nobody is turned away
        assert answers.empty()
        slow.release.set()
        assert (slow.answer.get(timeout=30), answers.get(timeout=30)) == (200, 200)
    asker.join(30)
    slow.server.stop()


def test_where_no_descriptor_is_left_connections_wait_and_that_is_said_once(
    server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    said = ""

    def is_said() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return bool(said)

    with socket.socket() as client:
        client.settimeout(30)
        lowest_free = os.dup(client.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            client.connect(("127.0.0.1", port_of(server)))
            wait_for(is_said, "a sentence")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    is_said()
    assert said == "The API cannot take connections now, trying again: Too many open files\n"


def test_docs_describe_every_route_and_its_errors(api: httpx.Client) -> None:
    assert api.get("/docs").status_code == 200
    paths = api.get("/openapi.json").json()["paths"]

    assert {path: set(of["get"]["responses"]) for path, of in paths.items()} == {
        "/customers/{customer_id}/stats": {"200", "304", "404", "422", "503"},
        "/stats": {"200", "304", "422", "503"},
        "/customers": {"200", "304", "422", "501", "503"},
        "/endpoints": {"200", "304", "422", "501", "503"},
        "/health": {"200", "503"},
        "/ready": {"200", "503"},
        "/metrics": {"200"},
        "/logs": {"200", "304", "422", "501", "503"},
        "/logs/histogram": {"200", "304", "422", "501", "503"},
        "/logs/facets": {"200", "304", "422", "501", "503"},
        "/logs/requests": {"200", "304", "422", "501", "503"},
        "/dead-letters": {"200", "422", "503"},
        "/explain": {"200", "304", "422", "501", "503"},
        "/logs/export": {"200", "422", "501", "503"},
        "/logs/tail": {"200", "422", "501", "503"},
        "/logs/{file_id}/{offset}": {"200", "404", "422", "501", "503"},
        "/patterns": {"200", "422", "501", "503"},
        "/pipeline": {"200", "422", "501"},
        "/query": {"200", "422", "501", "503"},
    }
    assert all(of["get"]["summary"] and of["get"]["description"] for of in paths.values())


def test_a_taken_port_is_a_sentence_before_anything_starts() -> None:
    first = ApiServer("127.0.0.1", 0)
    try:
        with pytest.raises(LogwaxError, match=r"already in use; set API_PORT") as refusal:
            ApiServer("127.0.0.1", port_of(first))
        assert f"127.0.0.1:{port_of(first)}" in str(refusal.value)
    finally:
        first.stop()


def test_an_address_of_another_host_is_a_sentence() -> None:
    with pytest.raises(LogwaxError, match=r"192\.0\.2\.1:0: [^(]+; .*API_HOST"):
        ApiServer("192.0.2.1", 0)


def test_an_ipv6_address_is_served(app: FastAPI) -> None:
    server = ApiServer("::1", 0)
    try:
        server.start(app)
        assert server.url == f"http://[::1]:{port_of(server)}"
        assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200
    finally:
        server.stop()


def test_a_stopped_server_says_that_it_cannot_start(app: FastAPI) -> None:
    server = ApiServer("127.0.0.1", 0)
    server.stop()

    with pytest.raises(LogwaxError, match=r"cannot start on 127\.0\.0\.1"):
        server.start(app)


def test_stop_under_load_ends_the_thread_and_frees_the_port(
    store: Client, server: ApiServer
) -> None:
    insert(store, "cust_1", *CUST_1)
    answered, refused = threading.Semaphore(0), threading.Semaphore(0)

    def ask_until_refused() -> None:
        with httpx.Client(base_url=server.url, trust_env=False, verify=False, timeout=30) as api:
            try:
                while api.get("/customers/cust_1/stats").status_code == 200:
                    answered.release()
            except httpx.TransportError:
                refused.release()

    askers = [threading.Thread(target=ask_until_refused) for _ in range(4)]
    for asker in askers:
        asker.start()
    for _ in range(40):
        assert answered.acquire(timeout=30)

    server.stop()

    assert not is_serving()
    assert all(refused.acquire(timeout=30) for _ in askers)
    ApiServer("127.0.0.1", port_of(server)).stop()


def test_stop_finishes_the_request_under_way(slow: SlowHealth) -> None:
    stopping = threading.Thread(target=slow.server.stop)
    stopping.start()
    wait_for(lambda: is_refused(slow.server))

    slow.release.set()

    assert slow.answer.get(timeout=30) == 200
    stopping.join(30)
    assert not is_serving()


def test_stop_leaves_a_hanging_request_behind(slow: SlowHealth) -> None:
    stopping = threading.Thread(target=slow.server.stop)
    stopping.start()
    stopping.join(30)

    assert not stopping.is_alive()
    assert not slow.release.is_set()
