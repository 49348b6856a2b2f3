"""The source `redis`: what it hands out of a real Redis, whatever becomes of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis import Redis as Client
from redis_server import Redis

from connectors.batch import Taken
from connectors.sources.redis import RedisSource, TakenEntries
from connectors.sources.redis_group import Group, open_client, url_problem
from tests.conftest import find_port, wait_for

STREAM, STATE = "events", "{events}:logwax"

Stored = Callable[[int, int, int], Collection[int]]


class Reader:
    """A source on the stream, driven by hand; what is acknowledged is stored."""

    def __init__(self, url: str, stored: Stored | None = None, **options: Any) -> None:
        self.stored: set[tuple[int, int]] = set()
        most = options.pop("most", 100)
        lease, queue = options.pop("lease", 60.0), options.pop("queue", "")
        most_bytes = options.pop("most_bytes", 10**6)
        self.group = Group(
            url, STREAM, "logwax", queue=queue, most=most, most_bytes=most_bytes, lease=lease
        )
        options = {"max_age": 0.0, "longest": 1000, **options}
        self.source = RedisSource(self.group, stored or self._held, most=most, **options)

    def _held(self, stream: int, first: int, last: int) -> set[int]:
        return {place for of, place in self.stored if of == stream and first <= place < last}

    def take(self) -> Taken:
        """The next batch."""
        found: list[Taken | None] = []
        wait_for(lambda: found.append(self.source.collect()) or found[-1], "a batch")
        taken = found[-1]
        assert taken
        return taken

    def store(self, taken: Taken | None = None) -> list[str]:
        """Take a batch, and say that it is stored; returns its events."""
        taken = taken or self.take()
        self.stored |= set(taken.identity.select("file_id", "offset").iter_rows())
        taken.acknowledge()
        return events(taken)

    def problem(self) -> str:
        """The first problem; looks until there is one."""
        wait_for(lambda: self.source.collect() or self.source.status().problems, "a problem")
        return self.source.status().problems[0]


def events(taken: Taken) -> list[str]:
    return [taken.raw(number).decode() for number in range(len(taken.places))]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.close()


@pytest.fixture
def client(redis: Redis) -> Iterator[Any]:
    with closing(open_client(redis.url)) as made:
        yield made


@pytest.fixture
def reader(redis: Redis) -> Iterator[Callable[..., Reader]]:
    """Makes readers; closes them in the end."""
    made: list[Reader] = []

    def make(**options: Any) -> Reader:
        made.append(Reader(redis.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.source.close()


def add(client: Any, *names: str, id: str = "*") -> None:
    for name in names:
        client.execute_command("XADD", STREAM, id, "event", name)


def test_entries_are_handed_out_in_batches_in_their_order_until_each_is_stored(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, *"abcde")
    one = reader(most=3, follow=False)
    assert [one.store(), one.store()] == [["a", "b", "c"], ["d", "e"]]
    assert one.source.collect() is None
    wait_for(lambda: one.source.collect() or one.source.exhausted(), "the end")
    assert client.xpending(STREAM, "logwax")["pending"] == 0
    assert client.xinfo_consumers(STREAM, "logwax") == []
    assert client.hkeys(STATE) == [b"id", b"added", b"again", b"run", b"next"]


def test_a_batch_ends_by_its_bytes_and_one_that_is_too_small_waits(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, *["x" * 100] * 150)
    one = reader(most=1000, most_bytes=5000)
    sizes = [len(one.store()) for _ in range(3)]
    assert sizes == [64, 48, 38]  # of the first nobody knows how large they are
    add(client, "y")
    late = reader(most=3, max_age=3600.0)
    wait_for(lambda: late.source.collect() or late.source.status().lag_records == 1, "a look")
    add(client, *"zz")
    assert late.store() == ["y", "z", "z"]


def test_a_batch_of_the_dead_is_handed_out_again_as_the_same_block(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, *"abc")
    dead = reader(most=2).take()
    one = reader(most=3, lease=0.0)
    again = one.take()
    assert again.in_doubt == dead.in_doubt
    assert again.spans == dead.spans
    assert isinstance(again, TakenEntries)
    assert again.identity.equals(dead.identity)
    assert events(again) == ["a", "b"]
    assert [one.store(again), one.store()] == [["a", "b"], ["c"]]


def test_what_of_a_batch_the_store_has_already_is_not_handed_out_again(
    client: Any, reader: Callable[..., Reader]
) -> None:
    """As after a crash between storing and telling Redis."""
    add(client, *"abc")
    dead = reader()
    taken = dead.take()
    rows = list(taken.identity.select("file_id", "offset").iter_rows())
    one = reader(lease=0.0)
    one.stored = set(rows[:2])
    rest = one.take()
    assert (events(rest), rest.is_whole) == (["c"], False)
    assert rest.identity["line"].to_list() == [2]
    other = reader(lease=0.0, follow=False)
    other.stored = set(rows)
    wait_for(lambda: other.source.collect() or other.source.exhausted(), "the end")
    assert client.xpending(STREAM, "logwax")["pending"] == 0


def test_what_a_consumer_of_somebody_else_left_is_taken_over(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, *"abc")
    client.xgroup_create(STREAM, "logwax", "0")
    client.xreadgroup("logwax", "somebody", {STREAM: ">"}, count=2)
    one = reader(lease=0.0)
    assert sorted([one.store(), one.store()]) == [["a", "b"], ["c"]]
    assert client.xpending(STREAM, "logwax")["pending"] == 0


def test_entries_that_were_trimmed_unread_are_counted_once_and_told(
    client: Any, reader: Callable[..., Reader], capfd: pytest.CaptureFixture[str]
) -> None:
    one = reader(most=2)
    add(client, *"ab")
    one.store()
    add(client, *"cdef")
    client.xtrim(STREAM, maxlen=1, approximate=False)
    assert one.store() == ["f"]
    assert one.problem().startswith("3 events of events were trimmed before they were read")
    assert "3 events of events were trimmed" in capfd.readouterr().err
    add(client, *"gh")
    client.xtrim(STREAM, maxlen=0, approximate=False)
    wait_for(lambda: one.source.collect() or one.problem().startswith("5 events"), "the others")
    assert reader().problem().startswith("5 events")  # whoever looks, whenever


def test_entries_of_a_batch_in_doubt_that_were_trimmed_are_told_and_the_rest_is_stored(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, *"abc")
    reader().take()
    client.xtrim(STREAM, maxlen=1, approximate=False)
    one = reader(lease=0.0)
    rest = one.take()
    assert events(rest) == ["c"]
    assert rest.identity["line"].to_list() == [2]
    one.store(rest)
    assert one.problem().startswith("2 events of events were trimmed")


def test_entries_that_were_trimmed_after_they_were_stored_are_no_gap(
    client: Any, reader: Callable[..., Reader]
) -> None:
    one = reader(follow=False)
    for name in "abc":
        add(client, name)
        one.store()
        client.xtrim(STREAM, maxlen=0, approximate=False)
    wait_for(lambda: one.source.collect() or one.source.exhausted(), "the end")
    assert one.source.status().problems == ()


def test_a_group_that_is_gone_is_made_again_and_nothing_is_handed_out_twice(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, *"ab")
    one = reader()
    one.store()
    client.xgroup_destroy(STREAM, "logwax")
    add(client, "c")
    assert one.store() == ["c"]


def test_a_stream_that_is_made_anew_has_another_id_whatever_the_clock_says(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, "a", id="7-1")
    add(client, "z", id="7-2")
    one = reader(most=1)
    first = one.take()
    one.store(first)
    one.store()
    client.delete(STREAM)
    add(client, "b", id="7-1")
    second = one.take()
    assert events(second) == ["b"]
    assert second.spans[0].start == first.spans[0].start
    assert second.spans[0].stream.id != first.spans[0].stream.id
    assert "was made anew" in one.problem()


def test_ids_of_any_size_have_places_of_their_own(
    client: Any, reader: Callable[..., Reader]
) -> None:
    """A clock that was set back lets the number grow."""
    ids = ["7-0", "7-1", f"7-{2**20}", f"7-{2**20 + 1}", "8-0", f"{2**43}-0", f"{2**64 - 2}-9"]
    for id in ids:
        add(client, id, id=id)
    taken = reader().take()
    places = list(taken.identity.select("file_id", "offset").iter_rows())
    assert len(set(places)) == len(ids)
    assert [span.records for span in taken.spans] == [2, 2, 1, 1, 1]
    assert max(max(place) for place in places) < 2**63
    assert events(taken) == ids


@pytest.mark.parametrize("lost", ["nothing", "the newest", "everything"])
def test_redis_comes_back_with_or_without_what_it_had(
    tmp_path: Path, lost: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was stored is not stored again, what is new is, and what is lost is told."""
    with closing(Redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always")) as server:
        client = open_client(server.url)
        one = Reader(server.url, lease=0.5)
        add(client, *"ab")
        one.store()
        log = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
        size = log.stat().st_size
        add(client, *"cd")
        one.store()
        held = one.take if lost == "nothing" else lambda: None
        if lost == "nothing":
            add(client, "e")
        in_hand = held()
        server.kill()
        assert "Redis cannot be used now" in one.problem()
        if lost == "everything":
            for file in log.parent.iterdir():
                file.unlink()
        elif lost == "the newest":
            with log.open("r+b") as file:
                file.truncate(size)
        server.start()
        if in_hand:
            assert one.store(in_hand) == ["e"]
        add(client, "f")
        assert one.store() == ["f"]
        client.xtrim(STREAM, maxlen=0, approximate=False)
        add(client, "g")
        assert one.store() == ["g"]  # and what was trimmed after it was stored is no gap
        problems = " ".join(one.source.status().problems)
        one.source.close()
    expected = {"nothing": "", "the newest": "lacks an entry", "everything": "was made anew"}
    assert expected[lost] in problems
    assert bool(problems) == (lost != "nothing")
    assert expected[lost] in capfd.readouterr().err


def test_what_redis_has_forgotten_that_it_was_stored_is_not_handed_out_again(
    tmp_path: Path,
) -> None:
    """And a clock that was set back gives no id again."""
    with closing(Redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always")) as server:
        client = open_client(server.url)
        one = Reader(server.url)
        one.source.collect()
        add(client, "a", id="7000-0")
        log = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
        size = log.stat().st_size
        one.store()
        add(client, "b", id="7000-1")
        one.store()
        server.kill()
        with log.open("r+b") as file:
            file.truncate(size)
        server.start()
        wait_for(
            lambda: (
                one.source.collect()
                or any("older than it was" in problem for problem in one.source.status().problems)
            ),
            "the loss",
        )
        with pytest.raises(Exception, match="equal or smaller"):
            add(client, "c", id="7000-1")
        add(client, "d")
        assert one.store() == ["d"]
        one.source.close()


def test_a_list_is_read_to_its_end_and_neither_loses_nor_keeps_an_element(
    client: Any, reader: Callable[..., Reader]
) -> None:
    """Each is moved in one step into a stream, which is as long as what is not stored."""
    names = [str(number) for number in range(300)]
    client.rpush("tasks", *names)
    dead = reader(queue="tasks", most=100)
    taken = [dead.take(), dead.take()]
    dead.store(taken[0])
    assert client.xlen("{tasks}:logwax") + client.llen("tasks") == 200
    one = reader(queue="tasks", lease=0.0, follow=False)
    rest = [name for _ in range(2) for name in one.store()]
    assert sorted(events(taken[0]) + rest, key=int) == names
    wait_for(lambda: one.source.collect() or one.source.exhausted(), "the end")
    assert client.llen("tasks") == 0
    assert client.xlen("{tasks}:logwax") <= 1
    assert one.source.status().problems == ()


def test_a_status_says_how_much_waits_and_for_how_long(
    client: Any, reader: Callable[..., Reader]
) -> None:
    add(client, *"abc", id="7000-*")
    one = reader(most=2)
    taken = one.take()
    status = one.source.status()
    assert status.lag_records == 3
    assert status.lag_seconds > 1_000_000_000
    one.store(taken)
    one.store()
    wait_for(lambda: one.source.collect() or not one.source.status().lag_records, "no lag")
    assert one.source.status().lag_seconds == 0.0


def test_a_lease_is_kept_while_its_process_lives(
    client: Any, reader: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.sources.redis._TELL", 0.05)
    add(client, "a")
    one = reader(lease=0.5)
    taken = one.take()
    idle = client.xinfo_consumers(STREAM, "logwax")[0]["idle"]
    other = reader(lease=0.5, follow=False)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        assert other.source.collect() is None
        time.sleep(0.05)
    assert idle < 500
    one.store(taken)
    wait_for(lambda: other.source.collect() or other.source.exhausted(), "the end")


@pytest.mark.parametrize("named", ["", "?cluster=true"])
def test_a_cluster_is_noticed_or_named(tmp_path: Path, named: str) -> None:
    """Of one node, which has all slots."""
    port = find_port()
    options = ("--cluster-enabled", "yes", "--port", str(port))
    with closing(Redis(tmp_path, *options)) as server:
        with closing(Client(unix_socket_path=str(server.socket))) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            is_up = {"cluster_state": "ok"}.items()
            wait_for(lambda: is_up <= client.cluster("INFO").items(), "the cluster")
            for name in "ab":
                client.execute_command("XADD", STREAM, "*", "event", name)
            client.rpush("tasks", "c")
        url = f"redis://127.0.0.1:{port}/0{named}"
        assert url_problem(url) == []
        for queue, expected in (("", ["a", "b"]), ("tasks", ["c"])):
            one = Reader(url, queue=queue)
            assert one.store() == expected
            one.source.close()


def test_a_url_with_tls_is_read_over_it(tmp_path: Path) -> None:
    authority, port = trustme.CA(), find_port()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server_cert = authority.issue_cert("127.0.0.1")
    server_cert.private_key_pem.write_to_path(tmp_path / "key.pem")
    server_cert.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    options = ("--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", "ca.pem")
    files = ("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem")
    with closing(Redis(tmp_path, *options, *files)) as server:
        with closing(open_client(server.url)) as client:
            add(client, "a")
        one = Reader(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}")
        assert one.store() == ["a"]
        one.source.close()


def test_what_is_wrong_with_a_url_is_said_and_a_redis_that_is_away_is_waited_for(
    redis: Redis, client: Any
) -> None:
    assert url_problem(redis.url) == []
    assert url_problem(f"redis://127.0.0.1:{find_port()}/0") == []
    (wrong,) = url_problem("http://example.com:6379")
    assert "must specify one of the following schemes" in wrong
    client.execute_command("CONFIG", "SET", "requirepass", "secret")
    (refused,) = url_problem(redis.url)
    assert "Authentication required" in refused
    assert url_problem(f"unix://:secret@{redis.socket}") == []
