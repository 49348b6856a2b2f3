"""`python -m bytewax.run flows.redis`: events of a real Redis, through the stores of lines."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis_server import Redis

from connectors.sources.redis import RedisSource
from connectors.sources.redis_group import Group, open_client
from flows.redis import parse_entries
from settings import Settings
from tests import redis_harness
from tests.conftest import Pipeline, find_port, wait_for
from tests.test_stores import Open, open_it, rows, settings

__all__ = ["open_it", "settings"]

STREAM = "logwax:events"
EVENT = {
    "path_info": "/watch/a/b/",
    "method": "GET",
    "event_name": "event.video.watch",
    "visited_by": "zoë",
    "ip_address": "192.0.2.7",
    "datetime": "2026-01-02T03:04:05.678901+00:00",
    "referrer": "/from",
    "user_agent": "Agent/1",
    "status_code": 200,
    "duration_ms": 1.5,
    "bytes_sent": 12,
    "view_args": ["a", "b"],
}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "16 MiB": (b"x" * 2**24, "too_long"),
    "too deep": (b'{"datetime": 1, "a": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", "bad_json"),
    "half of a pair": (b'{"datetime": 1, "a": "\\ud800"}', "bad_json"),
    "no object": (b"[1]", "not_an_object"),
    "no text": (b"\xff\xfe", "bad_json"),
    "nothing": (b"", "bad_json"),
    "only a line end": (b" \r\n", "bad_json"),
    "two objects": (b'{"datetime": 1}\n{"datetime": 2}', "bad_json"),
    "no time": (b'{"a": 1}', "no_timestamp"),
}
UNUSUAL: list[dict[str, Any]] = [
    {"request_data": {"$where": "sleep(1)", "a.b": {"$gt": ""}, "nul": "a\0b"}},
    {"deep": json.loads("[" * 200 + "]" * 200)},
    {f"key{number}": number for number in range(10_000)},
]


class Flow(Pipeline):
    """The flow in a directory of its own."""

    def start(self, *arguments: str, **settings: Any) -> Any:
        return super().start(*arguments, **{"job": "flows.redis", **settings})


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Flow]:
    with Flow(tmp_path, find_port()) as made:
        yield made


def test_events_are_rows_and_whatever_is_none_is_a_dead_letter_that_names_its_entry(
    tmp_path: Path, flow: Flow
) -> None:
    """None of them ends the process; a second run finds nothing."""
    with closing(Redis(tmp_path)) as server, closing(open_client(server.url)) as client:
        client.xadd(STREAM, {"event": json.dumps(EVENT, indent=1)})
        ids = {
            client.xadd(STREAM, {"event": event}).decode(): reason
            for event, reason in HOSTILE.values()
        }
        ids[client.xadd(STREAM, {"other": "field"}).decode()] = "no_event"
        for more in UNUSUAL:
            client.xadd(STREAM, {"event": json.dumps({**EVENT, **more})})
        done = flow.run(REDIS_URL=server.url, STORE="sqlite")
        assert f"lines={len(ids) + 4} stored=4 dead={len(ids)}" in done.stdout, done.stderr
        assert "lines=0" in flow.run(REDIS_URL=server.url, STORE="sqlite").stdout
    with closing(sqlite3.connect(tmp_path / "data" / "logwax.sqlite")) as stored:
        stored.row_factory = sqlite3.Row
        rows = [dict(row) for row in stored.execute("SELECT * FROM logs ORDER BY offset")]
        letters = stored.execute("SELECT reason, detail, raw FROM dead_letters").fetchall()
    (first, *others) = rows
    attributes = json.loads(first["attributes"])
    assert attributes["event_name"] == "event.video.watch"
    assert attributes["view_args"] == ["a", "b"]
    expected = {
        "request_path": "/watch/a/b/",
        "method": "GET",
        "customer_id": "zoë",
        "client_ip": "192.0.2.7",
        "referer": "/from",
        "user_agent": "Agent/1",
        "status_code": 200,
        "duration": 0.0015,
        "bytes_sent": 12,
        "timestamp": 1767323045678901,
        "source": STREAM,
    }
    assert {name: first[name] for name in expected} == expected
    for row, more in zip(others, UNUSUAL, strict=True):
        assert more.items() <= json.loads(row["attributes"]).items()
    named = {
        letter["detail"].split("(entry ")[1].rstrip(")"): letter["reason"] for letter in letters
    }
    assert named == ids
    assert [one["raw"] for one in letters if one["reason"] == "no_event"] == [b'{"other":"field"}']


def test_redis_is_waited_for_and_health_says_what_is_wrong_and_how_much_waits(
    tmp_path: Path, flow: Flow
) -> None:
    """Also where it is not there at the start; a list of an older program is read the same way."""
    flow.start(REDIS_URL=f"unix://{tmp_path / 'redis.sock'}", REDIS_LIST="tasks", STORE="sqlite")

    def is_told() -> bool:
        with suppress(httpx.TransportError):
            return "Redis cannot be used now" in flow.get("/health").text
        return False

    wait_for(is_told, "the problem")
    with closing(Redis(tmp_path)) as server, closing(open_client(server.url)) as client:
        client.rpush("tasks", *[json.dumps({**EVENT, "n": number}) for number in range(20)])
        flow.wait_until_stored(20)
        flow.wait_until_healthy()
        wait_for(lambda: flow.get("/health").json()["lag_records"] == 0, "an empty list")
        assert "logwax_lag_records 0.0" in flow.get("/metrics").text
        assert flow.stop() == 0
    with closing(sqlite3.connect(tmp_path / "data" / "logwax.sqlite")) as stored:
        numbers = [json.loads(row[0])["n"] for row in stored.execute("SELECT attributes FROM logs")]
    assert sorted(numbers) == list(range(20))


def test_every_store_has_each_event_once_though_its_reader_died_or_redis_has_forgotten(
    settings: dict[str, object], open_it: Open, tmp_path: Path
) -> None:
    """All events are of one moment, by which InfluxDB would take them for one."""
    event = json.dumps({**EVENT, "visited_by": "cust_1", "datetime": "1970-01-01T00:00:00Z"})
    store = open_it(instance="redis")
    parse = parse_entries(Settings(_env_file=None, log_format="json"))

    def stores(most: int) -> int:
        """How many rows a source hands out, and are then stored."""
        group = Group(server.url, STREAM, "logwax", most=most, most_bytes=10**6, lease=0.0)
        source = RedisSource(
            group, store.offsets, most=most, max_age=0.0, longest=1000, follow=False
        )
        writer, count = store.writer(), 0
        while not source.exhausted():
            if taken := source.collect():
                batch = parse(taken)
                count += writer.write(batch).rows
                if most == 3:
                    break  # without a word
                batch.acknowledge()
        source.close()
        return count

    with closing(Redis(tmp_path)) as server, closing(open_client(server.url)) as client:
        for has_forgotten in (False, True):
            client.flushall()
            for _ in range(5):
                client.xadd(STREAM, {"event": event})
            assert stores(3) == 3
            if has_forgotten:
                client.xgroup_destroy(STREAM, "logwax")
            assert stores(5) == 2
    assert rows(store) == 10


def test_killed_again_and_again_while_redis_comes_and_goes(tmp_path: Path, soak: bool) -> None:
    kills, restarts, away = (40, 5, 30.0) if soak else (2, 2, 0.5)
    tally = redis_harness.run(tmp_path, kills=kills, restarts=restarts, away=away, seed=7)
    assert tally.is_good, tally
    assert tally.kills >= kills
    assert tally.acknowledged > tally.lost


def test_a_flow_says_all_that_is_wrong_and_ends(flow: Flow, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = flow.run(REDIS_URL="http://example.com", STORE="null", DATA_DIR="file/data")
    assert done.returncode == 1
    in_the_way, wrong = done.stderr.splitlines()
    assert "cannot write in" in in_the_way
    assert wrong.startswith("REDIS_URL=***: Redis URL must specify one of the following schemes")
