"""The servers that other tests rely on: that they do what those tests take for granted."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from api.clickhouse_protocol import FIRST, greeting
from benchmarks.sink_server import SinkServer
from tests.conftest import ROOT, wait_for
from tests.servers.clickhouse_http import Server as ClickHouse
from tests.servers.faulty import HANG, Answer, Delay, Reset
from tests.servers.influxd import Influxd
from tests.servers.influxdb_http import Server, refusal
from tests.servers.scripted import ScriptedInfluxDB

TOKEN = {"Authorization": "Token geheim"}


def points(server: Influxd) -> list[list[object]]:
    """Time and value of all points of the measurement `m`."""
    return [point for series in server.query("SELECT x FROM m") for point in series["values"]]


# --- influxd ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True])
def test_influxd_keeps_port_and_points_over_a_restart(influxd: Influxd, kill: bool) -> None:
    influxd.write(b"m x=1i 1\nm x=2i 2")
    influxd.stop(kill=kill)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{influxd.url}/ping")
    influxd.start()
    assert points(influxd) == [[1, 1], [2, 2]]


def test_influxd_with_a_user_lets_nobody_else_in(tmp_path: Path) -> None:
    with Influxd(tmp_path / "influxd", user="logwax:ge/heim") as server:
        server.create()
        server.write(b"m x=1i 1")
        assert points(server) == [[1, 1]]
        stranger = httpx.get(f"{server.url}/query", params={"q": "SHOW DATABASES"})
        assert stranger.status_code == 401


def test_influxd_fails_the_test_that_writes_what_it_refuses(influxd: Influxd) -> None:
    influxd.write(b"m x=1i 1")
    with pytest.raises(AssertionError, match="partial write: field type conflict"):
        influxd.write(b'm x="text" 2\nm x=3i 3')
    assert points(influxd) == [[1, 1], [3, 3]]


# --- 2.x in front of it -----------------------------------------------------------------------


@pytest.fixture
def server(influxd: Influxd) -> Iterator[Server]:
    with closing(Server(influxd.url, token="geheim", org="acme")) as made:
        yield made


def write(server: Server, body: bytes, **changed: object) -> httpx.Response:
    """A write as a client of 2.x sends it, with these changes."""
    params = {"bucket": "logwax", "org": "acme", "precision": "ns"}
    headers = changed.pop("headers", TOKEN)
    return httpx.post(
        f"{server.url}/api/v2/write", params=params | changed, headers=headers, content=body
    )


def test_a_write_to_a_bucket_is_one_to_the_database(influxd: Influxd, server: Server) -> None:
    assert write(server, b"m x=1i 1").status_code == 204
    assert write(server, b"m x=2i 2", precision="us").status_code == 204
    assert points(influxd) == [[1, 1], [2000, 2]]
    assert server.writes == 2


def test_a_compressed_write_is_passed_on(influxd: Influxd, server: Server) -> None:
    headers = TOKEN | {"Content-Encoding": "gzip"}
    assert write(server, gzip.compress(b"m x=1i 1"), headers=headers).status_code == 204
    assert points(influxd) == [[1, 1]]


@pytest.mark.parametrize(
    ("changed", "status", "code", "words"),
    [
        ({"headers": {}}, 401, "unauthorized", "unauthorized access"),
        ({"headers": {"Authorization": "Token no"}}, 401, "unauthorized", "unauthorized access"),
        ({"bucket": "no"}, 404, "not found", 'bucket "no" not found'),
        ({"org": "no"}, 404, "not found", 'organization name "no" not found'),
        (
            {"body": b"m x=2i 2\nm x="},
            400,
            "invalid",
            "unable to parse 'm x=': missing field value",
        ),
        (
            {"body": b'm x="text" 2\nm x=3i 3'},
            422,
            "unprocessable entity",
            "failure writing points to database: partial write: field type conflict: input field "
            '"x" on measurement "m" is type string, already exists as type integer dropped=1',
        ),
    ],
)
def test_a_refusal_is_that_of_2_x(
    server: Server, changed: dict[str, object], status: int, code: str, words: str
) -> None:
    write(server, b"m x=1i 1")
    answer = write(server, **{"body": b"m x=2i 2", **changed})
    assert answer.status_code == status
    assert answer.json() == {"code": code, "message": words}


@pytest.mark.parametrize("auth", [("anybody", "geheim"), ("anybody", "no")])
def test_queries_take_the_token_as_a_password(server: Server, auth: tuple[str, str]) -> None:
    params = {"db": "logwax", "q": "SHOW DATABASES"}
    answer = httpx.get(f"{server.url}/query", params=params, auth=auth)
    assert answer.status_code == (200 if auth[1] == "geheim" else 401)
    assert ("logwax" in answer.text) == answer.is_success


def test_a_bucket_is_found_by_its_name(server: Server) -> None:
    def status(name: str) -> int:
        url = f"{server.url}/api/v2/buckets"
        return httpx.get(url, params={"name": name}, headers=TOKEN).status_code

    assert (status("logwax"), status("no")) == (200, 404)


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_whoever_asks_hears_that_it_is_there(server: Server, path: str) -> None:
    answer = httpx.get(server.url + path)
    assert answer.is_success


def test_a_server_that_is_away_is_away_through_the_bridge(influxd: Influxd, server: Server) -> None:
    influxd.stop()
    with pytest.raises(httpx.RemoteProtocolError):
        write(server, b"m x=1i 1")


# --- faults -----------------------------------------------------------------------------------


def test_a_refused_write_is_not_executed(influxd: Influxd, server: Server) -> None:
    server.faults.append(refusal(429, retry_after=3))
    answer = write(server, b"m x=1i 1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert points(influxd) == []


@pytest.mark.parametrize("after", [False, True])
def test_a_reset_is_before_or_after_the_write(
    influxd: Influxd, server: Server, after: bool
) -> None:
    server.faults.append(Reset(after))
    with pytest.raises(httpx.ReadError):
        write(server, b"m x=1i 1")
    assert points(influxd) == ([[1, 1]] if after else [])


def test_a_delayed_write_comes_after_all(influxd: Influxd, server: Server) -> None:
    server.faults.append(Delay(2.0))
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/write?db=logwax", content=b"m x=1i 1", timeout=0.1, headers=TOKEN)
    wait_for(lambda: points(influxd) == [[1, 1]], "the write")


def test_a_hang_never_comes_to_anything(influxd: Influxd, server: Server) -> None:
    server.faults.append(HANG)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/write?db=logwax", content=b"m x=1i 1", timeout=0.1, headers=TOKEN)
    server.close()
    assert points(influxd) == []


def test_the_program_fails_writes_by_its_seed(influxd: Influxd, free_port: int) -> None:
    command = [sys.executable, "-m", "tests.servers.influxdb_http", "--upstream", influxd.url]
    command += ["--port", str(free_port), "--faults", "1", "--seed", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        url = program.stdout.readline().split()[-1]
        try:
            status = httpx.post(f"{url}/write?db=logwax", content=b"m x=1i 1").status_code
        finally:
            program.terminate()
        assert program.wait() == 0
    assert status in (429, 503)
    assert points(influxd) == []


# --- ClickHouse's interface ---------------------------------------------------------------------


def test_the_bridge_to_clickhouse_answers_in_the_format_that_is_asked_for(tmp_path: Path) -> None:
    # As Go's driver asks, by which the OpenTelemetry Collector inserts.
    with closing(ClickHouse(tmp_path)) as server:

        def ask(sql: str, **more: str) -> bytes:
            given = {"default_format": "Native", "client_protocol_version": "54460", **more}
            return httpx.post(server.url, params=given, content=sql).content

        assert ask(FIRST) == greeting(ask("SELECT version() FORMAT RawBLOB"))
        assert ask("SELECT {n:UInt8} AS n", param_n="7") == b"\x01\x01\x01n\x05UInt8\x07"
        assert ask("SELECT 7", default_format="TabSeparated") == b"7\n"


# --- servers that store nothing ----------------------------------------------------------------


def test_a_script_is_followed_write_by_write() -> None:
    script = (Answer(413), None, Answer(400, '{"error": "partial write: no dropped=1"}'))
    with closing(ScriptedInfluxDB(*script)) as server:
        httpx.get(f"{server.url}/query", params={"q": "SHOW DATABASES"})
        answers = [httpx.post(f"{server.url}/write", content=b"m x=%d" % n) for n in range(4)]
        assert [answer.status_code for answer in answers] == [413, 204, 400, 204]
        assert server.written == [b"m x=0", b"m x=1", b"m x=2", b"m x=3"]
        assert len(server.requests) == 5


def test_the_sink_of_benchmarks_counts_writes_bytes_and_lines() -> None:
    body = b"m x=1\n" * 1_000_000
    with SinkServer() as server:
        for content in (body, body[:-1]):
            assert httpx.post(f"{server.url}/api/v2/write", content=content).status_code == 204
        httpx.post(f"{server.url}/query", data={"q": "SELECT 1"})
        assert server.counts() == {"writes": 2, "bytes": 2 * len(body) - 1, "lines": 2_000_000}


def test_the_sink_of_benchmarks_counts_lines_over_tcp_and_keeps_what_came(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with SinkServer(kept) as server:
        with socket.create_connection(("127.0.0.1", int(server.tcp))) as connection:
            connection.sendall(b"one\ntwo\n")
        wait_for(lambda: server.counts()["lines"] == 2, "both lines")
    assert kept.read_bytes() == b"one\ntwo\n"
