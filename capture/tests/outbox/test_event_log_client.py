"""What the client of ClickHouse makes of answers; with a real engine: tests/test_outbox.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from logwax_capture.outbox import Batch, Event, EventLogClient, EventStoreError

NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
GOOD = (200, {"X-ClickHouse-Summary": "{}"}, "")


class Server(ThreadingHTTPServer):
    """Answers as `answer` says, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], str]] = []
        self.answer = lambda options, body: GOOD
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        options = dict(parse_qsl(urlsplit(self.path).query))
        self.server.asked.append((options, body))
        status, headers, text = self.server.answer(options, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=[0.01])
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def client(server: Server) -> EventLogClient:
    return EventLogClient(f"http://127.0.0.1:{server.server_port}/shop")


def batch(*ids: int, attempts: int = 1, moment: datetime = NOON) -> Batch:
    events = [Event(id, "tick", moment, "Local", f'{{"n": {id}}}', 1) for id in ids]
    return Batch(5, 77, events, attempts)


def refusing(*ids: int):
    """The answers of a table that refuses these events."""

    def answer(options: dict[str, str], body: str):
        if "query" in options and any(json.loads(row)[-1] in ids for row in body.splitlines()):
            return 500, {"X-ClickHouse-Exception-Code": "469"}, "Code: 469. DB::Exception: no."
        return GOOD

    return answer


def test_a_batch_is_one_insert_with_its_token(server: Server, client: EventLogClient) -> None:
    assert client.insert(batch(1, 2)) == {}
    ((options, body),) = server.asked
    assert options["insert_deduplication_token"] == batch(1, 2).token
    assert options["database"] == "shop"
    assert [json.loads(row) for row in body.splitlines()] == [
        ["tick", "2026-11-26 12:00:00.000000", "Local", '{"n": 1}', 1, 5, 1],
        ["tick", "2026-11-26 12:00:00.000000", "Local", '{"n": 2}', 1, 5, 2],
    ]


def test_refused_events_are_found_by_halves_and_the_others_are_inserted(
    server: Server, client: EventLogClient
) -> None:
    server.answer = refusing(3, 4, 8)
    refused = client.insert(batch(*range(1, 9)))
    assert refused.keys() == {3, 4, 8}
    assert all("Code: 469" in why for why in refused.values())
    taken = [
        json.loads(row)[-1]
        for options, body in server.asked
        if server.answer(options, body) == GOOD
        for row in body.splitlines()
    ]
    assert sorted(taken) == [1, 2, 5, 6, 7]
    tokens = [options["insert_deduplication_token"] for options, _ in server.asked]
    assert len(set(tokens)) == len(tokens)


def test_a_repeated_batch_is_inserted_less_what_is_there(
    server: Server, client: EventLogClient
) -> None:
    """Halves that are there are not sent, and those that are not have the tokens they had."""
    server.answer = refusing(3)
    client.insert(batch(1, 2, 3, 4))
    first = {options["insert_deduplication_token"]: body for options, body in server.asked}
    server.asked.clear()
    refuse = refusing(3)
    server.answer = lambda options, body: (
        refuse(options, body) if "query" in options else (200, GOOD[1], "1\n2\n")
    )
    assert client.insert(batch(1, 2, 3, 4, attempts=2)).keys() == {3}
    again = {
        options["insert_deduplication_token"]: body
        for options, body in server.asked
        if "query" in options
    }
    assert again.items() <= first.items()
    assert "".join(again.values()).count('"n": 1') == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, "Code: 241. DB::Exception: memory"), "500 Code: 241"),
        ((503, {}, "busy"), "503 busy"),
        ((200, {}, "<html>Log in</html>"), "is not ClickHouse"),
        ((302, {"Location": "http://127.0.0.1:1/"}, ""), "302"),
        ((200, GOOD[1], "Code: 60. DB::Exception: no table"), "is not ClickHouse"),
    ],
)
def test_what_is_no_success_is_an_error_and_no_refusal(
    answer: tuple[int, dict[str, str], str], said: str, server: Server, client: EventLogClient
) -> None:
    """None is swallowed, and none costs an event."""
    server.answer = lambda options, body: answer
    with pytest.raises(EventStoreError, match=said):
        client.insert(batch(1))


def test_a_time_that_clickhouse_would_change_is_refused(
    server: Server, client: EventLogClient
) -> None:
    refused = client.insert(batch(1, moment=datetime(1, 1, 1, tzinfo=timezone.utc)))
    assert refused == {1: "ClickHouse has no time in the year 1"}
    assert server.asked == []


def test_a_server_that_is_not_there_is_said_without_the_password() -> None:
    client = EventLogClient("http://me:secret@127.0.0.1:1/")
    with pytest.raises(EventStoreError, match=r"127.0.0.1:1 does not answer: .*refused") as caught:
        client.insert(batch(1))
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="CLICKHOUSE_URL must be http://"):
        EventLogClient("clickhouse")  # a host's name alone
