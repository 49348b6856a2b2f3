"""Events on their way to Redis: through outages, forks and lost answers, each once."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis_server import Redis

from logwax_capture.background import Background
from logwax_capture.errors import SettingError
from logwax_capture.event_queue import EventQueue, RedisStream
from logwax_capture.ids import next_id
from logwax_capture.spill import Entry, Spill

redis = pytest.importorskip("redis")

PACKAGE = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture
def client(server: Redis) -> Iterator[Any]:
    """A client of the server, which is empty."""
    client = redis.Redis(unix_socket_path=str(server.socket))
    client.flushall()
    yield client
    client.close()


def url(directory: Path) -> str:
    return f"unix://{directory / 'redis.sock'}"


@pytest.fixture
def stream(server: Redis) -> RedisStream:
    return RedisStream(url(server.socket.parent))


def events(client: Any, stream: str = "logwax:events") -> list[Any]:
    """What is in the stream, each from its one field."""
    entries = [fields for _, fields in client.xrange(stream)]
    assert all(set(fields) == {b"event"} for fields in entries)
    return [json.loads(fields[b"event"]) for fields in entries]


def test_an_event_is_one_field_of_ready_json_whatever_it_holds(
    client: Any, stream: RedisStream, tmp_path: Path
) -> None:
    queue = EventQueue(stream, spill_dir=tmp_path)
    queue.put({"path_info": "/höme", "n": 1, "nul": "\0", "half": "\ud800", "nan": float("nan")})
    assert queue.flush(30)
    queue.close()
    [event] = events(client)
    assert event == {"path_info": "/höme", "n": 1, "nul": "\0", "half": "\ufffd", "nan": "NaN"}
    assert queue.get_status()["sent_count"] == 1


def test_what_was_added_is_not_added_again_by_whatever_batch_or_process(
    client: Any, stream: RedisStream, server: Redis
) -> None:
    """So a batch whose answer was lost may be sent again, also in parts and from a spill."""
    entries = [{"id": next_id(), "event": str(number)} for number in range(10)]
    stream(entries[:6])
    stream(entries[:3], True)
    RedisStream(url(server.socket.parent))(entries[2:], True)
    assert events(client) == list(range(10))


def test_a_stream_that_is_none_costs_no_event(client: Any, stream: RedisStream) -> None:
    entries = [{"id": next_id(), "event": "1"}]
    client.set("logwax:events", "something else")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        stream(entries)
    client.delete("logwax:events")
    stream(entries, True)
    assert events(client) == [1]


AWAY = """
import sys
from logwax_capture.event_queue import EventQueue, RedisStream

queue = EventQueue(RedisStream(sys.argv[1]), bound=100, spill_dir="spill")
for number in range(1000):
    queue.put({"number": number})
queue.close(0)
status = queue.get_status()
assert status["sent_count"] == status["dropped_count"] == 0, status
"""


def run(program: str, url: str, directory: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    arguments = [sys.executable, "-c", program, url]
    subprocess.run(arguments, cwd=directory, env=environment, check=True, timeout=60)


def test_while_redis_is_away_events_are_spilled_and_another_process_brings_them(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    run(AWAY, url(tmp_path), tmp_path)
    server = Redis(tmp_path)
    try:
        later = EventQueue(RedisStream(url(tmp_path)), spill_dir=tmp_path / "spill")
        later.put({"number": 1000})
        with redis.Redis(unix_socket_path=str(server.socket)) as client:
            wait_for(lambda: client.xlen("logwax:events") == 1001, "the events")
            later.close()
            assert sorted(event["number"] for event in events(client)) == list(range(1001))
    finally:
        server.close()


def test_what_fails_while_the_queue_is_closed_is_spilled(tmp_path: Path) -> None:
    """The thread gives up as soon as it sees the end, before or after what is left is spilled."""

    class Slow(Background):
        def _set_all_aside(self) -> None:
            self._thread.join(30)
            super()._set_all_aside()

    def fail(entries: Sequence[Entry], is_again: bool) -> None:
        raise OSError("away")

    spill = Spill(tmp_path, 1 << 20)
    queue = Slow("test", fail, size=1, interval=0.1, bound=5000, spill=spill)
    for number in range(3000):
        queue.put({"id": str(number)})
    queue.close(0.5)
    [own] = tmp_path.iterdir()
    ids = [json.loads(line)["id"] for line in own.read_text().splitlines()]
    assert ids == [str(number) for number in range(3000)]


def test_a_redis_that_hangs_stops_no_caller(
    client: Any, stream: RedisStream, server: Redis, tmp_path: Path
) -> None:
    queue = EventQueue(stream, spill_dir=tmp_path, bound=100)
    server.hang()
    try:
        for number in range(1000):
            queue.put({"number": number})
        assert queue.get_status()["sent_count"] == 0
    finally:
        server.go_on()
    assert queue.flush(30)
    queue.close()
    assert sorted(event["number"] for event in events(client)) == list(range(1000))
    assert queue.get_status()["dropped_count"] == 0


FORKING = """
import os, sys
from logwax_capture.event_queue import EventQueue, RedisStream

queue = EventQueue(RedisStream(sys.argv[1]), spill_dir="spill")
queue.put({"from": "parent"})
queue.flush(30)
for number in range(3):
    if os.fork() == 0:
        queue.put({"from": number})
        sys.exit()
    os.wait()
queue.put({"from": "parent at its end"})
"""


def test_forked_processes_add_their_events_and_the_end_of_each_loses_none(
    client: Any, server: Redis, tmp_path: Path
) -> None:
    run(FORKING, url(server.socket.parent), tmp_path)
    assert [event["from"] for event in events(client)] == ["parent", 0, 1, 2, "parent at its end"]


def test_the_stream_is_kept_to_about_its_length_and_that_is_said(
    client: Any, server: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    short = RedisStream(url(server.socket.parent), "a{b}c", max_length=100)
    queue = EventQueue(short, spill_dir=tmp_path)
    for number in range(1000):
        queue.put({"number": number})
    assert queue.flush(30)
    queue.close()
    kept = [event["number"] for event in events(client, "a{b}c")]
    assert 100 <= len(kept) < 400
    assert kept == list(range(1000 - len(kept), 1000))
    assert queue.get_status()["trimmed_count"] == 1000 - len(kept)
    assert caplog.text.count("the oldest go from now on, read or not") == 1


def test_the_variables_name_server_and_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("REDIS_STREAM", raising=False)
    usual = RedisStream()
    assert (usual.url, usual.stream) == ("redis://127.0.0.1:6379/0", "logwax:events")
    monkeypatch.setenv("REDIS_URL", "rediss://of.example/1")
    monkeypatch.setenv("REDIS_STREAM", "events")
    named = RedisStream()
    assert (named.url, named.stream) == ("rediss://of.example/1", "events")


def test_impossible_numbers_are_refused_all_at_once() -> None:
    with pytest.raises(SettingError, match=r"size must .*; bound must be greater than 0\."):
        EventQueue(RedisStream(), size=0, bound=-1)
    with pytest.raises(SettingError, match="max_length"):
        RedisStream(max_length=0)


def test_more_than_a_bitmap_holds_is_known_by_several(
    client: Any, stream: RedisStream, wait_for: Callable[..., None]
) -> None:
    process = "a" * 16
    ids = [f"{process}{number:016x}" for number in (0, 131_071, 131_072, 300_000)]
    entries = [{"id": one, "event": str(place)} for place, one in enumerate(ids)]
    stream(entries)
    stream(entries, True)
    assert events(client) == [0, 1, 2, 3]
    keys = client.keys("{logwax:events}:added:*")
    assert len(keys) == 3
    assert all(0 < client.ttl(key) <= 7 * 24 * 3600 for key in keys)
    assert max(client.strlen(key) for key in keys) <= 16 * 1024


@pytest.mark.parametrize("named", ["", "?cluster=true"])
def test_a_cluster_is_noticed_or_named(
    tmp_path: Path, wait_for: Callable[..., None], named: str
) -> None:
    """Of one node, which has all slots."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    node = subprocess.Popen(
        ["redis-server", "--port", str(port), "--cluster-enabled", "yes", "--save", ""],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    client: Any = redis.Redis(port=port)
    try:
        wait_for(lambda: answers(client), "the node")
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        is_up = {"cluster_state": "ok"}.items()
        wait_for(lambda: is_up <= client.cluster("INFO").items(), "the cluster")
        add = RedisStream(f"redis://127.0.0.1:{port}/0{named}")
        entries = [{"id": next_id(), "event": str(number)} for number in range(3)]
        add(entries)
        add(entries, True)
        assert events(client) == [0, 1, 2]
    finally:
        client.close()
        node.terminate()
        node.wait()


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
