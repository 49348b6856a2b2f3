"""ClickHouse over HTTP: every fault of a server and of the way to it, each line exactly once."""

from __future__ import annotations

import asyncio
import random
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import clickhouse_connect
import polars as pl
import pytest
import trustme

from connectors import preflight
from connectors.batch import Span, Stream
from connectors.errors import StoreError
from connectors.sinks.clickhouse.accounts import ClickHouseAccounts
from connectors.sinks.clickhouse.errors import LINES_AT_FAULT, TRANSIENT, WHOLE_REQUEST
from connectors.sinks.clickhouse.query import select
from connectors.sinks.clickhouse.server import _connector
from connectors.sinks.clickhouse.store import ClickHouseStore
from connectors.sinks.retry import Retry, Trouble, seconds_asked
from connectors.status import Status
from connectors.store import open_reader, open_store
from settings import Settings
from tests.conftest import ROOT, Pipeline, wait_for
from tests.servers.clickhouse_http import Answer, Delay, Fault, Reset, Server, refusal
from tests.servers.faulty import Half, Request, Write
from tests.test_clickhouse_store import (
    CONSTRAINT,
    PROOF,
    REFUSED,
    TAKEN,
    batch,
    brewing,
    offsets,
)

SECRET = "ge%2Fheim"  # percent-encoded: ge/heim
LINE = "2026-11-01 10:00:00 cust_{} /orders/{} 200 0.5\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "server")
    yield made
    made.close()


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def open_at(status: Status) -> Iterator[Callable[..., ClickHouseStore]]:
    opened: list[ClickHouseStore] = []

    def open_it(url: str, stop: threading.Event | None = None) -> ClickHouseStore:
        chosen = {"store": "clickhouse", "clickhouse_url": url, "instance": "host"}
        store = open_store(Settings(_env_file=None, **chosen), Retry(stop, status))
        assert isinstance(store, ClickHouseStore)
        opened.append(store)
        return store

    yield open_it
    for store in opened:
        store.close()


def with_password(port: int) -> str:
    """The address of a server on this port, with a user."""
    return f"http://logwax:{SECRET}@127.0.0.1:{port}"


def write_log(directory: Path, lines: int, first: int = 0) -> Path:
    log = directory / "in.log"
    with log.open("a", encoding="utf-8") as file:
        file.writelines(LINE.format(n % 3, n) for n in range(first, first + lines))
    return log


def counted(server: Server, table: str = "logs") -> tuple[int, int]:
    """Rows, and distinct lines among them."""
    client = clickhouse_connect.get_client(dsn=server.url)
    (found,) = client.query(f"SELECT count(), uniqExact(file_id, offset) FROM {table}").result_rows
    client.close()
    return found[0], found[1]


# --- trying again -----------------------------------------------------------------------------


class Pauses(threading.Event):
    """A stop that never comes, and the pauses in which it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        return False


def test_pauses_grow_to_5_seconds_and_add_to_what_is_asked(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    pauses, failures = Pauses(), iter([0, 0, 0, 0, 0, 0, 0, 0, 9])

    def attempt() -> str:
        for asked in failures:
            raise OSError(asked)
        return "done"

    retry = Retry(pauses)
    assert retry(attempt, lambda error: Trouble("busy", error.args[0])) == "done"
    assert pauses.seconds == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 14])


def test_what_stays_wrong_is_raised_at_once(status):
    def attempt() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        Retry(Pauses(), status)(attempt, lambda error: None)
    assert status.last_error == ""


def test_an_error_stands_until_that_very_trouble_is_overcome(status):
    status.report("first", 1)
    status.report("second", 2)
    status.report("first, again", 1)
    assert status.last_error == "first, again"
    status.overcome(1)
    assert status.last_error == "second"
    status.overcome(2)
    assert status.last_error == ""


# --- one insert fails -------------------------------------------------------------------------

FAULTS: dict[str, Fault] = {
    "status 503": Answer(503),
    "status 502": Answer(502),
    "status 429": Answer(429, headers={"Retry-After": "1"}),
    "reset before executing": Reset(after=False),
    "reset after executing": Reset(after=True),
    "later than the client waits": Delay(2.0),
    "too many parts": refusal(252, "TOO_MANY_PARTS"),
    "too many queries": refusal(202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    "no memory": refusal(241, "MEMORY_LIMIT_EXCEEDED"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_stores_once_whatever_happens_to_an_insert(server, open_at, status, fault):
    store = open_at(f"{server.url}?send_receive_timeout=1")
    twice = fault == Reset(after=True) or isinstance(fault, Delay)
    for insert in range(4):  # the block, the dead letters, the rows, what is stored
        start, before = 5 * insert, server.inserts
        writer = store.writer()
        server.faults.extend([None] * insert + [fault])
        writer.write(batch(start, start + 5, bad=(start + 3,)))
        writer.close()
        assert not server.faults
        wait_for(lambda: server.inserts == before + 4 + twice, "the insert that was late")  # noqa: B023
        there = range(start + 5)
        assert offsets(store) == [one for one in there if one % 5 != 3]
        assert offsets(store, "dead_letters") == [one for one in there if one % 5 == 3]
        (entries,) = store._client.query("SELECT count() FROM ingest_blocks").result_rows
        assert entries == (2 * (insert + 1),)
        assert store.ledger().in_doubt == {}
        assert status.last_error == ""


def test_settling_is_repeated_as_well(server, open_at):
    store = open_at(server.url)
    store.writer().write(batch(0, 5, bad=(2,)))
    (block,) = store.ledger().in_doubt
    store._client.command("ALTER TABLE logs DELETE WHERE offset > 2 SETTINGS mutations_sync = 2")
    server.faults.extend([Reset(after=True), Answer(503), Reset(after=False)])
    store.writer().write(batch(0, 5, bad=(2,), in_doubt=block))
    assert offsets(store) == [0, 1, 3, 4]
    assert store.ledger().in_doubt == {}


@pytest.mark.parametrize("fault", [Reset(after=True), Answer(503)], ids=["answer lost", "busy"])
def test_refused_rows_are_found_once_though_every_other_insert_fails(server, open_at, fault):
    store = open_at(server.url)
    store._client.command(CONSTRAINT)
    server.faults.extend([None, fault] * 20)
    assert store.writer().write(brewing()).dead["rejected"] == len(REFUSED)
    assert (offsets(store), offsets(store, "dead_letters")) == (TAKEN, list(REFUSED))


def test_waits_as_long_as_the_server_asks(server, open_at):
    writer = open_at(server.url).writer()
    server.faults.append(Answer(503, headers={"Retry-After": "1"}))
    began = time.monotonic()
    writer.write(batch(0, 5))
    assert time.monotonic() - began >= 1


def test_goes_on_when_a_server_that_was_away_is_back(tmp_path, open_at, status):
    server = Server(tmp_path / "server")
    store = open_at(server.url)
    writer = store.writer()
    writer.write(batch(0, 5))
    server.close()
    writing = threading.Thread(target=writer.write, args=[batch(5, 9)], daemon=True)
    writing.start()
    wait_for(lambda: "trying again: Connection refused" in status.last_error, "an error")
    server = Server(tmp_path / "server", server.port)
    try:
        writing.join(60)
        assert status.last_error == ""
        assert offsets(store) == list(range(9))
    finally:
        server.close()


def test_gives_up_when_it_is_stopped(tmp_path, open_at):
    server, stop = Server(tmp_path / "server"), threading.Event()
    writer = open_at(server.url, stop).writer()
    writer.write(batch(0, 5))
    server.close()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(StoreError, match="Stopped while the store could not be used"):
        writer.write(batch(5, 9))
    writer.close()
    server = Server(tmp_path / "server", server.port)
    try:
        store = open_at(server.url)
        (block,) = store.ledger().in_doubt  # the one before, of which nobody said that it is stored
        store.writer().write(batch(0, 5, in_doubt=block))
        assert offsets(store) == [0, 1, 2, 3, 4]
    finally:
        server.close()


@pytest.mark.parametrize(
    ("insert", "code", "name"),
    [
        (0, 60, "UNKNOWN_TABLE"),
        (0, 243, "NOT_ENOUGH_SPACE"),
        (1, 497, "ACCESS_DENIED"),
        (1, 469, "VIOLATED_CONSTRAINT"),  # of what is no line of the table of lines
        (2, 81, "UNKNOWN_DATABASE"),
        (2, 516, "AUTHENTICATION_FAILED"),
        (2, 243, "NOT_ENOUGH_SPACE"),
    ],
)
def test_waits_for_help_with_what_does_not_pass_by_itself(
    server, open_at, status, capfd, insert, code, name
):
    store = open_at(server.url)
    writer = store.writer()
    server.faults.extend([None] * insert + [refusal(code, name)] * 2)
    writing = threading.Thread(target=writer.write, args=[batch(0, 5, bad=(3,))], daemon=True)
    writing.start()
    wait_for(lambda: name in status.last_error, "a refusal")
    assert "Nothing is lost" in status.last_error
    assert offsets(store) == []
    writing.join(60)
    assert status.last_error == ""
    assert (offsets(store), offsets(store, "dead_letters")) == ([0, 1, 2, 4], [3])
    (said,) = capfd.readouterr().err.splitlines()
    assert name in said


def test_gives_up_waiting_for_help_when_it_is_stopped(server, open_at, status):
    stop = threading.Event()
    store = open_at(server.url, stop)
    server.faults.extend([refusal(243, "NOT_ENOUGH_SPACE")] * 100)
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(StoreError, match=r"Stopped .*NOT_ENOUGH_SPACE.* settles"):
        store.writer().write(batch(0, 5))


def test_says_so_when_a_server_that_was_away_is_back_and_refuses(server, open_at, capfd):
    store = open_at(server.url)
    server.faults.extend([Answer(503), Answer(503), refusal(516, "AUTHENTICATION_FAILED")])
    store.writer().write(batch(0, 5))
    away, refuses = capfd.readouterr().err.splitlines()
    assert "cannot be used now" in away
    assert "AUTHENTICATION_FAILED" in refuses


def test_the_codes_have_the_names_that_the_engine_gives_them(server):
    client = clickhouse_connect.get_client(dsn=server.url)
    for code, name in {**TRANSIENT, **WHOLE_REQUEST, **LINES_AT_FAULT}.items():
        query = "SELECT errorCodeToName({code:UInt32})"
        assert client.query(query, {"code": code}).result_rows == [(name,)]
    client.close()


# --- answers that are none ----------------------------------------------------------------------

PAGE = "<html><body>We are down for maintenance</body></html>"
NO_MEMORY = "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)"
NO_ANSWERS: dict[str, Fault] = {
    "a page": Answer(200, PAGE),
    "nothing": Answer(200, ""),
    "status 201": Answer(201, "{}"),
    "status 204": Answer(204),
    "a page that says it is ClickHouse's": Answer(200, PAGE, {"X-ClickHouse-Summary": "{}"}),
    "an exception under status 200": Answer(200, NO_MEMORY, {"X-ClickHouse-Summary": "{}"}),
    "half an answer": Half(executed=False),
    "half an answer to what was executed": Half(executed=True),
}


@pytest.mark.parametrize("fault", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_only_an_answer_of_clickhouse_says_that_lines_are_stored(server, open_at, status, fault):
    store = open_at(server.url)
    writer = store.writer()
    server.faults.extend([fault, None, fault, None, fault, None])  # ledger, dead letters, rows
    writer.write(batch(0, 5, bad=(3,)))
    assert not server.faults
    assert (offsets(store), offsets(store, "dead_letters")) == ([0, 1, 2, 4], [3])
    blocks = "SELECT count() FROM ingest_blocks WHERE kind = 'block'"
    assert store._client.query(blocks).result_rows == [(1,)]
    assert status.last_error == ""


OF_MANY = {
    name: fault
    for name, fault in (FAULTS | NO_ANSWERS).items()
    if isinstance(fault, Reset | Half)
    or name in ("status 503", "a page", "nothing")
    or name.startswith("a page that")
}


@pytest.mark.parametrize("fault", OF_MANY.values(), ids=OF_MANY)
def test_many_lines_are_made_anew_for_each_attempt_to_send_them(server, open_at, fault):
    store = open_at(server.url)
    server.faults.extend([None, fault])  # the block, the rows
    store.writer().write(batch(0, 3000))
    assert not server.faults
    assert counted(server) == (3000, 3000)


class Login(Server):
    """Answers questions about the ledger, or inserts, with a redirect to a page that notes all."""

    status = 0
    asked = "INSERT INTO logs"

    def __init__(self, directory: Path) -> None:
        self.seen: list[Request] = []
        super().__init__(directory)

    def respond(self, request: Request) -> Answer | Write:
        text = request.params.get("query", "") + request.body[:100].decode(errors="replace")
        if request.path == "/login":
            self.seen.append(request)
            return Answer(200, PAGE, {"X-ClickHouse-Summary": "{}"})
        if self.status and self.asked in text:
            answer = Answer(self.status, "", {"Location": f"{self.url}/login?session=secret"})
            self.status = 0
            return answer
        return super().respond(request)


@pytest.mark.parametrize("asked", ["INSERT INTO logs", "FROM ingest_blocks"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_follows_no_redirect_and_says_where_to(tmp_path, open_at, capfd, code, asked):
    server = Login(tmp_path / "server")
    try:
        store = open_at(server.url)
        server.status, server.asked = code, asked
        store.ledger()
        store.writer().write(batch(0, 5))
        assert (server.seen, offsets(store)) == ([], [0, 1, 2, 3, 4])
        (said,) = capfd.readouterr().err.splitlines()
        assert f"a redirect (status {code}) to {server.url}/login, which is not followed" in said
    finally:
        server.close()


def test_a_login_page_at_the_start_is_a_sentence(tmp_path, open_at):
    server = Login(tmp_path / "server")
    try:
        server.status, server.asked = 302, ""
        with pytest.raises(StoreError, match="answers with a redirect"):
            open_at(server.url)
        assert server.seen == []
    finally:
        server.close()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0.5", 0.5), ("-5", 0), ("nan", 0), ("soon", 0), ("", 0), (None, 0)]
    + [(value, 300) for value in ("301", "inf", "1e99", "9" * 5000)]
    + [("Fri, 31 Dec 9999 23:59:59 GMT", 300), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)]
    + [("Wed, 99 Oct 99999999999 07:28:00 GMT", 0), ("Mon, 01 Jan 0001 00:00:00 +2359", 0)],
)
def test_a_server_is_left_alone_for_5_minutes_at_most(value, seconds):
    assert seconds_asked(value) == seconds


def test_says_for_how_long_the_server_asks(server, open_at, capfd):
    server.faults.append(Answer(503, "busy", {"Retry-After": "1"}))
    open_at(server.url).writer().write(batch(0, 5))
    assert "trying again in 1 s, as it asks: status 503 busy" in capfd.readouterr().err


# --- what is too much, or not as it should be -----------------------------------------------------


@pytest.mark.parametrize("fault", [None, Reset(after=True)], ids=["", "an answer is lost"])
def test_what_is_too_large_for_a_proxy_is_sent_in_pieces_and_stored_once(server, open_at, fault):
    server.most_bytes = 20_000
    files = tuple(
        Span(Stream(id, f"/var/log/{'long' * 20}/{id}.log"), 0, 1, 0, 1, PROOF)
        for id in range(1, 301)
    )
    made = batch(0, 2000, bad=tuple(range(0, 2000, 4)))
    raw = pl.lit(b"x" * 100)
    made = replace(
        made,
        spans=(*made.spans, *files),
        rejected=made.rejected.with_columns(raw.alias("raw")),
    )
    store = open_at(server.url)
    server.faults.extend([fault, None] * 100)
    store.writer().write(made)
    assert offsets(store) == [offset for offset in range(2000) if offset % 4]
    assert offsets(store, "dead_letters") == list(range(0, 2000, 4))
    (block,) = store.ledger().in_doubt
    assert len(store.ledger().in_doubt[block]) == 301
    store.writer().write(replace(made, in_doubt=block))
    assert counted(server) == (1500, 1500)
    assert counted(server, "dead_letters") == (500, 500)


def test_a_dead_letter_that_is_too_large_even_alone_keeps_its_beginning(server, open_at):
    server.most_bytes = 5_000
    store = open_at(server.url)
    made = batch(0, 3, bad=(1,))
    raw = pl.lit(b"x" * 6_000)
    store.writer().write(replace(made, rejected=made.rejected.with_columns(raw.alias("raw"))))
    found = store._client.query("SELECT offset, length(raw) FROM dead_letters").result_rows
    assert (found, offsets(store)) == ([(1, 1024)], [0, 2])


class Wall(Server):
    """A firewall in front of it stops what looks like an attack."""

    def respond(self, request: Request) -> Answer | Write:
        if b"UNION SELECT" in request.body:
            return Answer(403, "<html>Forbidden</html>")
        return super().respond(request)


def test_a_line_that_a_wall_in_between_does_not_let_through_is_a_dead_letter(tmp_path, open_at):
    server = Wall(tmp_path / "server")
    try:
        store = open_at(server.url)
        attack = pl.when(pl.col("offset") == 4).then(pl.lit("1 UNION SELECT")).otherwise(pl.lit(""))
        made = batch(0, 11)
        made = replace(made, rows=made.rows.with_columns(request_path=attack))
        assert store.writer().write(made).dead["rejected"] == 1
        assert offsets(store) == [0, 1, 2, 3, *range(5, 11)]
        assert offsets(store, "dead_letters") == [4]
    finally:
        server.close()


@pytest.mark.parametrize(("code", "name"), [(53, "TYPE_MISMATCH"), (4711, "NEVER_HEARD_OF")])
def test_an_error_that_nobody_knows_and_that_passes_makes_no_dead_letter(
    server, open_at, code, name
):
    store = open_at(server.url)
    server.faults.extend([None, *[refusal(code, name)] * 2])
    assert store.writer().write(batch(0, 5)).dead["rejected"] == 0
    assert offsets(store) == [0, 1, 2, 3, 4]


def test_lists_of_any_length_fit_into_parameters(server, open_at):
    store = open_at(server.url)
    ids = range(2**63, 2**63 + 7000)
    store.start_at([Span(Stream(id, f"/{id}"), 5, 5, 0, 0, PROOF) for id in ids])
    assert len(store.ledger(ids).files) == 7000
    store.keep([], ids)
    marked = "SELECT uniqExact(file_id) FROM ingest_blocks WHERE kind = 'gone'"
    assert store._client.query(marked).result_rows == [(7000,)]
    store._client.command(
        "ALTER TABLE ingest_blocks UPDATE recorded_at = recorded_at - INTERVAL 1 YEAR WHERE true "
        "SETTINGS mutations_sync = 2"
    )
    assert len(store.keep([], ids)) == 7000
    assert store.ledger().files == []


def test_6_000_dead_letters_are_looked_for_changed_and_deleted(server, open_at):
    store = open_at(server.url)
    made = batch(0, 6_000, bad=tuple(range(6_000)))
    store.writer().write(made)
    accounts = ClickHouseAccounts(
        store._connect, store._new_client(), store._new_client(), "logs", "host"
    )
    paths = [f"/somewhere/else/{'long' * 20}/{number}" for number in range(3000)]
    letters = accounts.letters((0, 0), "", [*paths, made.spans[0].stream.name], 6_000, 10**9)
    assert len(letters) == 6_000
    assert len(accounts.held(letters)) == 0
    accounts.update_dead(letters.with_columns(reason=pl.lit("worse"), detail=pl.lit("x" * 100)))
    assert len(accounts.letters((0, 0), "worse", [], 6_000, 10**9)) == 6_000
    accounts.delete_dead(letters)
    assert counted(server, "dead_letters") == (0, 0)


PROFILES = [
    {"async_insert": "1", "wait_for_async_insert": "0"},
    {"insert_deduplicate": "0", "deduplicate_insert": "disable"},
    {"max_insert_block_size": "2", "min_insert_block_size_rows": "1"},
    {"input_format_defaults_for_omitted_fields": "0"},
    {"apply_deleted_mask": "0"},
    {"empty_result_for_aggregation_by_empty_set": "1"},
    {"date_time_input_format": "basic", "session_timezone": "Asia/Tokyo"},
]


@pytest.mark.parametrize("profile", PROFILES, ids=str)
def test_settings_of_the_users_profile_change_nothing(server, open_at, profile):
    server.profile = profile
    store = open_at(server.url)
    server.faults.extend([None, None, Reset(after=True)])
    store.writer().write(batch(0, 5, bad=(3,)))
    (block,) = store.ledger().in_doubt
    store.writer().write(batch(0, 5, bad=(3,), in_doubt=block))
    assert store.ledger().in_doubt == {}
    server.profile = {}
    query = "SELECT offset, attributes FROM logs ORDER BY offset"
    found = server._engine.query(query).result_rows
    assert found == [(offset, "{}") for offset in (0, 1, 2, 4)]


def test_a_user_who_may_not_change_what_has_to_be_is_refused_at_the_start(server, open_at):
    server.profile = {"readonly": "1"}
    with pytest.raises(StoreError, match=r"does not let the user default change .*async_insert"):
        open_at(server.url)


def test_a_reader_that_may_change_no_settings_answers(server, open_at):
    open_at(server.url).writer().write(batch(0, 5, bad=(3,)))
    server.profile = {"readonly": "1"}
    settings = Settings(_env_file=None, store="clickhouse", clickhouse_url=server.url, instance="x")
    reader = open_reader(settings, Retry())
    day = date(1970, 1, 1)
    found = asyncio.run(reader.statistics("cust_1", day, day))
    assert found is not None and found.overall.total == 4
    everybody = asyncio.run(reader.statistics(None, day, day))
    assert everybody is not None and everybody.overall.total == 4
    assert asyncio.run(reader.counts()) == (4, 1)


# --- opening ----------------------------------------------------------------------------------


def test_makes_the_database_that_is_missing(server, open_at):
    open_at(f"{server.url}/web%20logs").writer().write(batch(0, 5))
    again = open_at(f"{server.url}/web%20logs")
    assert offsets(again) == [0, 1, 2, 3, 4]
    assert again._client.database == "web logs"


def test_needs_no_right_to_make_tables_that_are_there(server, open_at):
    server.forbidden = "CREATE|ALTER"
    with pytest.raises(StoreError, match=r"could not make its tables: .*ACCESS_DENIED"):
        open_at(server.url)
    server.forbidden = ""
    open_at(server.url)
    server.forbidden = "CREATE|ALTER"
    store = open_at(server.url)
    store.writer().write(batch(0, 5))
    assert offsets(store) == [0, 1, 2, 3, 4]


def test_goes_on_where_only_the_view_must_not_be_made(server, open_at, capfd):
    server.forbidden = "CREATE VIEW"
    store = open_at(server.url)
    store.writer().write(batch(0, 5))
    assert offsets(store) == [0, 1, 2, 3, 4]
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("There is no view otel_logs, for what reads OpenTelemetry's logs: ")


@pytest.mark.parametrize("right", ["INSERT", "SELECT"])
def test_stops_before_it_reads_when_a_right_is_missing(tmp_path, server, run, right):
    write_log(tmp_path, 10)
    assert run().returncode == 0
    server.forbidden = right
    done = run()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "ACCESS_DENIED" in done.stderr
    assert "heim" not in done.stderr


def test_warns_once_of_a_version_that_is_not_tested(server, open_at, monkeypatch, capfd):
    open_at(server.url)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr("connectors.sinks.clickhouse.server.TESTED", ("25.8", "2"))
    version = open_at(server.url).version
    assert capfd.readouterr().err == (
        f"ClickHouse {version} at 127.0.0.1:{server.port} is unverified: "
        "Logwax is tested with 25.8, 2.\n"
    )


def test_trusts_a_ca_that_is_named_and_no_other(tmp_path, open_at):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    server = Server(tmp_path / "server", tls=tls)
    try:
        store = open_at(f"{server.url}?ca_cert={tmp_path}/ca.pem")
        store.writer().write(batch(0, 5))
        assert offsets(store) == [0, 1, 2, 3, 4]
        with pytest.raises(
            StoreError, match=r"certificate verify failed.* add \?ca_cert="
        ) as caught:
            open_at(server.url)
        assert "\n" not in str(caught.value)
        with pytest.raises(StoreError, match="CA file that cannot be read: /nowhere"):
            open_at(f"{server.url}?ca_cert=/nowhere")
    finally:
        server.close()


def test_says_where_no_server_is(open_at, free_port):
    with pytest.raises(StoreError, match=f"127.0.0.1:{free_port}: Connection refused"):
        open_at(with_password(free_port))


def test_says_which_option_is_wrong(server, open_at):
    with pytest.raises(StoreError, match=r"CLICKHOUSE_URL has a wrong option: .*'nonsense'"):
        open_at(f"{server.url}?nonsense=1")
    with pytest.raises(StoreError, match="'soon' for option connect_timeout"):
        open_at(f"{server.url}?connect_timeout=soon")


def test_lets_in_with_the_password_and_never_says_it(tmp_path, open_at):
    server = Server(tmp_path / "server", user="logwax:ge/heim")
    try:
        good = with_password(server.port)
        assert open_at(good).ledger().is_new
        with pytest.raises(StoreError, match="AUTHENTICATION_FAILED") as caught:
            open_at(good.replace("logwax", "other"))
        assert "heim" not in str(caught.value)
    finally:
        server.close()


@pytest.mark.parametrize(
    "url",
    [
        with_password(1),
        f"http://logwax:{SECRET}@127.0.0.1:1/db?connect_timeout=1",
        f"http://127.0.0.1:1/?password={SECRET}",
        f"http://127.0.0.1:1?access_token={SECRET}&connect_timeout=1",
        "http://logwax:ge/heim@127.0.0.1:1",  # these are wrong
        "http://logwax:ge@heim@127.0.0.1:0",
        "http://logwax:ge?heim@127.0.0.1:1",
        f"logwax:{SECRET}@127.0.0.1:1",
        f"clickhouse://logwax:{SECRET}@127.0.0.1:1",
        "http://logwax:ge/heim",
    ],
)
def test_never_shows_the_password(tmp_path, url):
    pipeline = Pipeline(tmp_path, 0)
    (tmp_path / "in.log").touch()
    environment = {"STORE": "clickhouse", "CLICKHOUSE_URL": url, "INSTANCE": "x"}
    checked = subprocess.run(
        [sys.executable, "-m", "cli", "check"],
        cwd=tmp_path,
        env=pipeline.environment(**environment, LOG_PATHS="in.log"),
        capture_output=True,
        text=True,
    )
    assert "CLICKHOUSE_URL" in checked.stdout
    done = pipeline.run(**environment)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = checked.stdout + checked.stderr + done.stdout + done.stderr
    assert "127.0.0.1:1" in done.stderr or "CLICKHOUSE_URL" in done.stderr
    assert "heim" not in said


def test_a_container_needs_an_instance(tmp_path, monkeypatch):
    monkeypatch.delenv("INSTANCE", raising=False)
    here = {"_env_file": None, "api_port": 0, "data_dir": tmp_path}

    def problems(**settings: object) -> list[str]:
        return preflight.problems(Settings(**here, **settings))

    monkeypatch.setattr(preflight, "CONTAINER_MARKS", (tmp_path / "mark",))
    assert problems(store="clickhouse") == []
    (tmp_path / "mark").touch()
    (problem,) = problems(store="clickhouse")
    assert "INSTANCE is not set" in problem
    assert problems(store="clickhouse", instance="web-1") == []
    assert problems(store="embedded") == []


# --- the pipeline -----------------------------------------------------------------------------


@pytest.fixture
def run(pipeline: Pipeline, server: Server) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run_it(**settings: object) -> subprocess.CompletedProcess[str]:
        return pipeline.run(**chosen(server, **settings))

    return run_it


def chosen(server: Server, **settings: object) -> dict[str, object]:
    return {
        "STORE": "clickhouse",
        "CLICKHOUSE_URL": f"{with_password(server.port)}?send_receive_timeout=1",
        "INSTANCE": "web-1",
        "LOG_PATHS": "in.log",
        **settings,
    }


def test_nothing_depends_on_the_data_directory(tmp_path, server, run):
    write_log(tmp_path, 100)
    assert run().stdout.startswith("lines=100 stored=100 ")
    shutil.rmtree(tmp_path / "data")
    write_log(tmp_path, 50, first=100)
    assert run().stdout.startswith("lines=50 stored=50 ")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["claims"]
    assert counted(server) == (150, 150)


def test_stores_every_line_once_with_many_faults(tmp_path, server, run):
    server.ratio = 0.3
    write_log(tmp_path, 2000)
    done = run(STREAM_MAX_SIZE=100)
    assert done.stdout.startswith("lines=2000 stored=2000 "), done.stderr
    assert "heim" not in done.stderr
    assert counted(server) == (2000, 2000)


def test_slows_down_by_itself_when_inserts_make_too_many_parts(tmp_path, server, run):
    server.most = 10
    write_log(tmp_path, 2000)
    done = run(STREAM_MAX_SIZE=100)
    assert done.stdout.startswith("lines=2000 stored=2000 "), done.stderr
    assert "TOO_MANY_PARTS" in done.stderr
    assert server.refused > 0
    assert counted(server) == (2000, 2000)


def test_a_refused_line_keeps_its_bytes_and_redrive_makes_it_a_row_once_it_fits(
    tmp_path, pipeline, server, run
):
    run()
    client = clickhouse_connect.get_client(dsn=server.url)
    client.command("ALTER TABLE logs ADD CONSTRAINT few CHECK customer_id != 'cust_2'")
    log = write_log(tmp_path, 300)
    done = run()
    assert done.stdout.startswith("lines=300 stored=200 dead=100 "), done.stderr
    letters = client.query("SELECT offset, raw FROM dead_letters WHERE reason = 'rejected'")
    data = log.read_bytes()
    for offset, raw in letters.result_rows:
        assert data[offset:].split(b"\n", 1)[0] == raw.encode()
        assert b" cust_2 " in raw.encode()

    def redrive() -> str:
        return subprocess.run(
            [sys.executable, "-m", "cli", "redrive"],
            cwd=tmp_path,
            env=pipeline.environment(**{name: str(v) for name, v in chosen(server).items()}),
            capture_output=True,
            text=True,
        ).stdout

    assert redrive() == (
        "rejected: tried=100 stored=0 dead=100\ntotal: tried=100 stored=0 dead=100\n"
    )
    client.command("ALTER TABLE logs DROP CONSTRAINT few")
    client.close()
    assert "total: tried=100 stored=100 dead=0" in redrive()
    assert (counted(server), counted(server, "dead_letters")) == ((300, 300), (0, 0))


def test_killed_again_and_again_beside_a_server_with_faults(tmp_path, pipeline, server, soak):
    server.ratio = 0.1
    moments = random.Random(4)
    settings = chosen(server, STREAM_MAX_SIZE=2000)
    with pipeline.generator(LOG_FILE_PATH="in.log", LOG_GENERATOR_BAD_RATIO=0.01):
        for _ in range(100 if soak else 4):
            process = pipeline.start("-w", "2", API_PORT=0, **settings)
            time.sleep(1.5 + 2 * moments.random())  # any moment will do: this waits for nothing
            process.kill()
            process.communicate()
    done = pipeline.run(**chosen(server))
    assert done.returncode == 0, done.stderr
    rows, dead = counted(server), counted(server, "dead_letters")
    assert rows[0] == rows[1]
    assert dead[0] == dead[1]
    assert rows[0] + dead[0] == (tmp_path / "in.log").read_bytes().count(b"\n")


def test_is_red_while_it_waits_for_help_and_goes_on_by_itself(tmp_path, pipeline, server):
    write_log(tmp_path, 10)
    server.faults.extend([None, *[refusal(497, "ACCESS_DENIED")] * 1000])
    process = pipeline.start(**chosen(server))

    def is_waiting() -> bool:
        answer = pipeline.get("/health")
        return answer.status_code == 503 and "ACCESS_DENIED" in answer.json()["last_error"]

    wait_for(lambda: len(server.faults) < 1000, "a refusal")
    wait_for(is_waiting, "a red light")
    server.faults.clear()
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(10)
    process.terminate()
    _, said = process.communicate(timeout=5)
    assert process.returncode == 0
    assert said.count("Nothing is lost") == 1
    assert "heim" not in said
    assert counted(server) == (10, 10)


def test_a_stop_while_it_waits_for_help_takes_no_5_seconds(tmp_path, pipeline, server, run):
    write_log(tmp_path, 10)
    server.faults.extend([None, *[refusal(243, "NOT_ENOUGH_SPACE")] * 1000])
    pipeline.start(**chosen(server))
    wait_for(lambda: len(server.faults) < 999, "two refusals")
    assert pipeline.stop(deadline=5) != 0
    server.faults.clear()
    assert run().returncode == 0
    assert counted(server) == (10, 10)


def test_the_api_answers_from_the_server(tmp_path, pipeline, server):
    write_log(tmp_path, 90)
    pipeline.start(**chosen(server))
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(90)
    assert pipeline.get("/stats").json()["total_requests"] == 90
    assert pipeline.get("/customers/cust_1/stats").json()["total_requests"] == 30
    assert pipeline.stop() == 0
    assert not (tmp_path / "data" / "clickhouse").exists()


def lose_server(directory: Path, pipeline: Pipeline) -> Server:
    """The server of a running pipeline, closed after 10 lines; 10 more are written since."""
    server = Server(directory / "server")
    write_log(directory, 10)
    pipeline.start(**chosen(server))
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(10)
    server.close()
    write_log(directory, 10, first=10)
    return server


def test_is_red_while_the_server_is_away_and_green_when_it_is_back(tmp_path, pipeline):
    server = lose_server(tmp_path, pipeline)

    def is_retrying() -> bool:
        answer = pipeline.get("/health")
        return answer.status_code == 503 and "trying again" in answer.json()["last_error"]

    wait_for(is_retrying, "a red light")
    server = Server(tmp_path / "server", server.port)
    try:
        pipeline.wait_until_healthy()
        pipeline.wait_until_stored(20)
        assert pipeline.stop() == 0
        assert counted(server) == (20, 20)
    finally:
        server.close()


def test_a_stop_while_the_server_is_away_takes_no_5_seconds(tmp_path, pipeline):
    server = lose_server(tmp_path, pipeline)
    wait_for(lambda: "trying again" in pipeline.get("/health").json()["last_error"])
    pipeline.stop(deadline=5)
    server = Server(tmp_path / "server", server.port)
    try:
        done = pipeline.run(**chosen(server))
        assert done.returncode == 0, done.stderr
        assert counted(server) == (20, 20)
    finally:
        server.close()


def test_a_stop_while_the_server_hangs_takes_no_5_seconds(tmp_path, pipeline, server):
    write_log(tmp_path, 10)
    pipeline.start(**chosen(server, CLICKHOUSE_URL=with_password(server.port)))
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(10)
    server.faults.extend([None, Delay(60)])  # the rows
    write_log(tmp_path, 10, first=10)
    wait_for(lambda: not server.faults, "an insert that hangs")
    assert pipeline.stop(deadline=5) != 0
    done = pipeline.run(**chosen(server))
    assert done.returncode == 0, done.stderr
    assert counted(server) == (20, 20)


def test_the_bridge_runs_as_a_program(tmp_path, pipeline, free_port):
    write_log(tmp_path, 1000)
    command = ["tests.servers.clickhouse_http", "--port", str(free_port), "--data", "server"]
    bridge = subprocess.Popen(
        [sys.executable, "-m", *command, "--faults", "0.1", "--seed", "7"],
        cwd=tmp_path,
        env=pipeline.environment(PYTHONPATH=ROOT),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert bridge.stdout is not None
        assert bridge.stdout.readline() == f"serving on http://127.0.0.1:{free_port}\n"
        url = f"http://127.0.0.1:{free_port}?send_receive_timeout=1"
        done = pipeline.run(
            STORE="clickhouse", CLICKHOUSE_URL=url, INSTANCE="web-1", LOG_PATHS="in.log"
        )
        assert done.stdout.startswith("lines=1000 stored=1000 "), done.stderr
    finally:
        bridge.terminate()
        assert bridge.wait(10) == 0


def test_a_question_of_a_person_changes_nothing_on_a_server_and_is_cut(server, open_at):
    open_at(server.url)  # which makes the tables
    url = Settings(_env_file=None, store="clickhouse", clickhouse_url=server.url)
    connect = _connector(url, Retry(), writes=False)  # what is set stays in the test's engine
    found = select(connect, "SELECT 1 AS a, 'x' AS b FROM numbers(5)", 3, "mark")
    assert (found.names, found.rows, found.is_whole) == (["a", "b"], [[1, "x"]] * 3, False)
    for sql in (
        "INSERT INTO logs SELECT * FROM logs",
        "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'a String')",
        "SELECT 1 SETTINGS readonly = 0",
    ):
        with pytest.raises(StoreError, match=r"can be asked|READONLY"):
            select(connect, sql, 3, "mark")
