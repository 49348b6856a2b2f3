"""`/logs/tail`: rows as they are stored, over a real server, sink and store."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import polars as pl
import pytest
from hypothesis import given, settings

from api.app import Pipeline as Beside
from api.app import create_app
from api.server import ApiServer
from connectors import filtering
from connectors.batch import COLUMNS, BlockId, Parsed
from connectors.filtering import expression, filled, steps
from connectors.filters import TYPES, parse
from connectors.logs import SHOWN
from connectors.sinks.store_sink import StoreSink
from connectors.status import SourceStatus, Status
from connectors.store import Reader
from tests.conftest import DEADLINE, Pipeline, wait_for
from tests.test_clickhouse_store import span
from tests.test_logs_api import EVER, ROWS, filters, get, open_made, row, takes

SCHEMA = {name: COLUMNS[name] for name in ROWS[0]}
Event = tuple[str, str, Any]


class Stored:
    """A store with its sink and the API beside it; `add` stores rows as a pipeline does."""

    def __init__(self, directory: Path) -> None:
        self.store = open_made("sqlite", directory)
        self.status = Status()
        self.app = create_app(
            cast(Reader, self.store.reader), Beside(self.status, lambda: SourceStatus())
        )
        self.server = ApiServer("127.0.0.1", 0)
        self.server.start(self.app)
        self._sink = StoreSink(self.store, self.status).build("sink", 0, 1)
        self._next = 0

    def add(self, rows: list[dict[str, Any]] | int, **more: Any) -> None:
        """Store some rows in one batch, or so many."""
        if isinstance(rows, int):
            rows = [{**row(n), "offset": self._next + n} for n in range(rows)]
        schema = SCHEMA | {name: TYPES[name] for name in more.pop("columns", ())}
        part = span(self._next, self._next + len(rows))
        self._next += len(rows)
        self._sink.write_batch([Parsed((part,), rows=pl.DataFrame(rows, schema), **more)])
        self._sink.wait()

    @contextmanager
    def told(self, filter_: str = "", since: str = "") -> Iterator[Iterator[Event]]:
        """What a listener is told: first the place that it begins at."""
        with listening(self.server.url, filter_, since) as events:
            yield events

    def close(self) -> None:
        self.status.tail.close()
        self.server.stop()
        self._sink.close()
        self.store.close()


@contextmanager
def listening(url: str, filter_: str = "", since: str = "") -> Iterator[Iterator[Event]]:
    headers = {"Last-Event-ID": since} if since else {}
    with (
        httpx.Client(base_url=url, trust_env=False, verify=False, timeout=DEADLINE) as client,
        client.stream("GET", "/logs/tail", params={"filter": filter_}, headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        yield events_of(answer.iter_lines())


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    """As a browser reads them: id, name and data of each."""
    id_, event, data, is_new = "", "", None, False
    for one in lines:
        name, _, value = one.partition(": ")
        if name == "id":
            id_ = value
        elif name == "event":
            event = value
        elif name == "data":
            data = json.loads(value)
        elif not one and is_new:  # not behind a comment
            yield id_, event, data
            event, data = "", None
        is_new = name == "id" or (is_new and bool(one))


def rows_of(events: Iterator[Event], most: int) -> list[dict[str, Any]]:
    """Up to the first `most` rows that are told, without a gap."""
    found: list[dict[str, Any]] = []
    while len(found) < most:
        _, event, data = next(events)
        assert event == "rows"
        found += data
    return found


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    made = Stored(tmp_path)
    yield made
    made.close()


@settings(max_examples=50)
@given(filter_=filters)
def test_a_filter_takes_the_same_rows_of_a_batch_as_in_a_store(filter_: str) -> None:
    columns = [name for name in TYPES if name != "line"]
    tree = parse(filter_, columns)
    found = filled(pl.DataFrame(ROWS, SCHEMA), columns).filter(expression(tree, columns))
    assert found["offset"].to_list() == [one["offset"] for one in ROWS if takes(tree, one)]
    stepwise = filled(pl.DataFrame(ROWS, SCHEMA), columns)
    for step in steps(tree, columns):
        stepwise = stepwise.filter(step)
    assert stepwise.equals(found)


@pytest.mark.parametrize(
    ("filter_", "offsets"),
    [
        ("duration > 1 or duration = 0", [0]),  # NaN is neither
        ("not duration <= 1", [0, 1]),
        ("file_id > 9223372036854775808", [1]),
        ("offset >= 0.5 and offset < 1.5 or offset < -1 or offset = 0.5", [1]),
        ("file_id < 1e30 and file_id > -7.5", [0, 1]),
        ('attr.user = "\\ud800" or attr.none = 1', []),
        ("attr.user > 1", [1]),
        ("attr.huge > 1", [0]),
        ("latitude = 0 and is_bot = false and browser_family = ''", [0, 1]),
    ],
)
def test_a_filter_compares_a_batch_exactly(filter_: str, offsets: list[int]) -> None:
    rows = pl.DataFrame(
        {
            "duration": [2.0, float("nan")],
            "file_id": [2**63, 2**63 + 1],
            "attributes": [
                '{"user":"\\ud800","huge":1%s}' % ("0" * 400),
                '{"\\u0075ser":" 7 ","user":"7"}',
            ],
            "offset": [0, 1],
        },
        {name: TYPES[name] for name in ("duration", "file_id", "attributes", "offset")},
    )
    found = filled(rows, TYPES).filter(expression(parse(filter_, TYPES), TYPES))
    assert found["offset"].to_list() == offsets


def test_attributes_are_read_of_the_rows_that_all_else_takes(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    under = filtering._under
    monkeypatch.setattr(
        filtering, "_under", lambda key, text: read.append(text) or under(key, text)
    )
    with stored.told("(attr.user = 7 or attr.none = 1) and status_code = 404") as events:
        next(events)
        stored.add(ROWS)
        rows_of(events, 1)
    assert 0 < len(read) < len(ROWS) / 2


def test_rows_are_told_as_they_are_listed(stored: Stored) -> None:
    long = {**row(1), "message": "é" * (SHOWN + 1), "attributes": '{"a":"\\u2028\\n"}'}
    odd = {**row(2), "duration": float("inf"), "level": "é" * SHOWN, "offset": 2000}
    refused = {**row(3), "bytes_sent": 2**63, "offset": 3000}  # SQLite has no room for it
    rows = [
        {"bytes_sent": 0, "line": 0, **one}
        for one in (*ROWS[4:], {**long, "offset": 1000}, odd, refused)
    ]
    with stored.told() as everything, stored.told("level = ERROR and not status_code = 404") as few:
        assert (next(everything)[1], next(few)[1]) == ("", "")
        stored.add(rows, columns=["bytes_sent", "line"])
        told = rows_of(everything, len(rows) - 1)
        listed = get(stored.app, "/logs", order="oldest", limit=1000, **EVER).json()["rows"]
        order = [one["offset"] for one in listed]
        assert sorted(told, key=lambda one: order.index(one["offset"])) == listed
        asked = {"filter": "level = ERROR and not status_code = 404", "limit": 1000}
        taken = get(stored.app, "/logs", **asked, **EVER).json()["rows"]
        assert {one["offset"] for one in rows_of(few, len(taken))} == {
            one["offset"] for one in taken
        }


def test_a_listener_goes_on_where_it_was(stored: Stored) -> None:
    with stored.told("method = GET") as events:
        place = next(events)[0]
        stored.add(900)
        first = next(events)
    stored.add(10)
    with stored.told("method = GET", since=first[0]) as events:
        next(events)
        told = [one["offset"] for one in first[2] + rows_of(events, 455 - len(first[2]))]
    assert told == list(range(0, 910, 2))
    with stored.told("method = GET", since=place) as events:
        next(events)
        assert [one["offset"] for one in rows_of(events, 455)] == told
    for since in (place.replace("-", "0-", 1), place.replace("-0-", "-99-")):
        with stored.told("method = GET", since=since) as events:
            next(events)
            assert next(events)[1:] == ("gap", {"missed": None})


def test_a_listener_is_told_how_many_rows_are_gone(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.tail._RING_BYTES", 100_000)
    with stored.told() as events:
        place = next(events)[0]
        stored.add(2000)
        next(events)
    with stored.told(since=place) as events:
        next(events)
        _, event, data = next(events)
        told = rows_of(events, 2000 - data["missed"])
    assert event == "gap"
    assert 0 < len(told) < 2000
    assert [one["offset"] for one in told] == list(range(data["missed"], 2000))


def test_what_was_not_to_be_told_is_a_gap_that_nobody_can_count(stored: Stored) -> None:
    with stored.told() as events:
        next(events)
        stored.add(1, in_doubt=BlockId(1, 1))
        assert next(events)[1:] == ("gap", {"missed": None})
        size = int(pl.DataFrame(ROWS, SCHEMA).estimated_size())
        stored.status.tail._most_bytes = size // 60 * 30
        stored.add(50)
        stored.add(50)
        offsets: list[int] = []
        while offsets[-1:] != [100]:  # however soon the first of both was taken
            _, event, data = next(events)
            offsets += [one["offset"] for one in data] if event == "rows" else []
        assert offsets in (list(range(1, 101)), list(range(51, 101)))


def test_nothing_is_kept_where_nobody_listens(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.tail._KEPT_SECONDS", 0.0)
    monkeypatch.setattr("api.tail.HEARTBEAT_SECONDS", 0.05)
    with stored.told() as events:
        next(events)
    wait_for(lambda: stored.status.tail._wake is None, "nobody to watch")
    stored.add(10)
    assert stored.status.tail.take() == (False, None)


def test_too_many_listeners_are_told_to_come_later(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.tail.MOST_FILTERS", 1)
    with stored.told("level = a") as events:
        next(events)
        url = f"{stored.server.url}/logs/tail"
        refused = httpx.get(url, params={"filter": "level = b"}, verify=False)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        with stored.told("level = a") as others:
            next(others)
        assert httpx.head(url, params={"filter": "level = a"}, verify=False).status_code == 200
        wrong = httpx.get(url, params={"filter": "level ="}, verify=False)
        assert wrong.status_code == 422
    alone = get(create_app(cast(Reader, stored.store.reader)), "/logs/tail")
    assert (alone.status_code, "ask the process of the pipeline" in alone.text) == (501, True)


def test_listeners_that_stall_hold_up_neither_others_nor_the_sink_and_are_let_go(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    monkeypatch.setattr("api.tail._RING_BYTES", 1_000_000)
    monkeypatch.setattr("api.streaming.STALLED_SECONDS", 1.0)
    monkeypatch.setattr("api.server.IDLE_SECONDS", 1.0)
    port = int(stored.server.url.rpartition(":")[2])
    stalled, others = (50, 450) if soak else (3, 20)
    with ExitStack() as ended:

        def listener(number: int) -> socket.socket:
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.bind((f"127.0.1.{1 + number // 10}", 0))
            one.settimeout(DEADLINE)
            one.connect(("127.0.0.1", port))
            asked = urlencode({"filter": "level != nothing"})
            one.sendall(f"GET /logs/tail?{asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            ended.callback(one.close)
            return one

        for number in range(stalled):
            listener(number).recv(1)
        listeners = [listener(stalled + number) for number in range(others)]
        heard = [one.recv(1) for one in listeners]
        before = connections(stored)
        for batch in range(30):
            stored.add(
                [{**ROWS[0], "offset": batch * 100 + n, "message": LONG} for n in range(100)]
            )
            last = f'"offset":{batch * 100 + 99},'.encode()
            for number, one in enumerate(listeners):
                while last not in heard[number]:
                    heard[number] = heard[number][-100:] + one.recv(1_000_000)
        wait_for(lambda: connections(stored) == before - stalled, "the stalled ones to be let go")


LONG = "x" * 2000


def connections(stored: Stored) -> int:
    server: Any = stored.server._server
    return len(server.server_state.connections)


def test_a_pipeline_tells_what_it_stores_and_ends_its_listeners_at_a_stop(
    tmp_path: Path, pipeline: Pipeline
) -> None:
    log = tmp_path / "app.log"
    log.write_text("")
    pipeline.start(STORE="sqlite", INSTANCE="host", LOG_PATHS=log, LOG_FORMAT="json")
    pipeline.wait_until_healthy()
    with listening(f"http://127.0.0.1:{pipeline.port}", "attr.n > 1") as events:
        next(events)
        with log.open("a") as file:
            file.writelines(f'{{"ts": {n}, "msg": "a", "n": {n}}}\n' for n in range(4))
        told = rows_of(events, 2)
        assert [json.loads(one["attributes"]) for one in told] == [{"n": 2}, {"n": 3}]
        assert pipeline.stop() == 0
        assert list(events) == []  # it ends as an answer does, not as a connection that breaks
