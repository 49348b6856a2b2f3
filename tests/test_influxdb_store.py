"""STORE=influxdb on a real InfluxDB 1.6: each line is one point, however often it is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from connectors.batch import Parsed, Span, Stream
from connectors.errors import StoreError
from connectors.sinks.influxdb.line_protocol import point
from connectors.sinks.influxdb.server import InfluxError
from connectors.sinks.influxdb.store import InfluxStore
from connectors.sinks.retry import Retry
from connectors.status import Status
from connectors.store import open_store
from settings import Settings
from tests.conftest import wait_for
from tests.servers.faulty import HANG, Answer, Request, Reset, Write
from tests.servers.influxd import Influxd
from tests.servers.influxdb_http import Server, refusal
from tests.servers.scripted import ScriptedInfluxDB
from tests.test_clickhouse_store import batch, span

DAY = 86_400 * 10**9  # nanoseconds

Open = Callable[..., InfluxStore]


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def open_it(influxd: Influxd, status: Status) -> Iterator[Open]:
    """Opens the store of the test's server, or of another `url`."""
    opened: list[InfluxStore] = []

    def open_one(url: str = "", stop: threading.Event | None = None, **chosen: Any) -> InfluxStore:
        chosen = {"influxdb_api": "v1", "instance": "host", **chosen}
        settings = Settings(
            _env_file=None, store="influxdb", influxdb_url=url or influxd.url, **chosen
        )
        store = open_store(settings, Retry(stop, status))
        assert isinstance(store, InfluxStore)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def faulty(influxd: Influxd) -> Iterator[Server]:
    """InfluxDB 2.x in front of the test's server, with the token `secret`."""
    made = Server(influxd.url, token="secret", org="us")
    yield made
    made.close()


def found(influxd: Influxd, query: str) -> list[dict[str, Any]]:
    return [
        dict(zip(series["columns"], row, strict=True))
        for series in influxd.query(query)
        for row in series["values"]
    ]


def offsets(influxd: Influxd, measurement: str = "api_requests") -> list[int]:
    """Where the stored lines begin: one for each point."""
    rows = found(influxd, f'SELECT "offset" FROM "{measurement}"')
    return sorted(row["offset"] for row in rows)


def with_customers(one: Parsed, names: list[str]) -> Parsed:
    return replace(one, rows=one.rows.with_columns(pl.Series("customer_id", names)))


def test_a_point_has_the_columns_as_tags_and_fields_and_the_time_of_its_line(open_it, influxd):
    time = 1_795_397_203_123_456
    one = batch(7, 8)
    rows = one.rows.with_columns(
        pl.lit(time).cast(pl.Datetime("us", "UTC")).alias("timestamp"),
        pl.lit(0.25).alias("duration"),
        pl.lit(True).alias("success"),
    )
    open_it().writer().write(replace(one, rows=rows))
    assert found(influxd, 'SELECT * FROM "api_requests"') == [
        {
            "time": time // 1000 * 1_000_000 + 7,
            "event_time": time,
            "customer_id": "cust_1",
            "status_code": 200,
            "duration": 0.25,
            "success": "true",
            "file_id": str(2**63 - 1),
            "offset": 7,
        }
    ]


def test_lines_of_one_time_and_series_are_points_of_their_own_and_still_are_when_repeated(
    open_it, influxd
):
    for _ in range(2):
        store = open_it()
        store.writer().write(batch(0, 100_000))
        influxd.query('DROP MEASUREMENT "logwax_positions"')
    assert found(influxd, 'SELECT COUNT("offset") FROM "api_requests"')[0]["count"] == 100_000


def test_a_dead_letter_stands_at_the_time_of_the_row_before_it(open_it, influxd):
    one = batch(0, 4, bad=(2,))
    times = pl.Series([1_000_000, 2_000_000, 3_000_000]).cast(pl.Datetime("us", "UTC"))
    rows = one.rows.with_columns(times.alias("timestamp"))
    open_it().writer().write(replace(one, rows=rows))
    assert found(influxd, 'SELECT * FROM "dead_letters"') == [
        {
            "time": 2_000_000_000 + 2,
            "file_id": str(2**63 - 1),
            "offset": 2,
            "source": "/var/log/a.log",
            "raw": "\\xff\x00",
            "reason": "bad",
            "million": "0",
            "detail": "why",
        }
    ]


def test_dead_letters_overwrite_themselves_however_the_file_is_cut_into_batches(open_it, influxd):
    for size in (10, 4):
        writer = open_it().writer()
        for start in range(0, 20, size):
            bad = tuple(at for at in range(start, min(start + size, 20)) if at % 5 == 4)
            writer.write(batch(start, min(start + size, 20), bad=bad))
        influxd.query('DROP MEASUREMENT "logwax_positions"')
    assert offsets(influxd, "dead_letters") == [4, 9, 14, 19]


# --- positions --------------------------------------------------------------------------------


def test_positions_of_an_earlier_version_go_on(open_it, influxd):
    former = {"inode": "11", "head_length": 4, "head_hash": str(2**64 - 1), "tail_hash": "5"}
    fields = {"path": "/a", "start": 0, "end": 9, "first_line": 0, "lines": 9, **former}
    fields |= {"content_hash": "6", "last_event": 0, "gone_since": 0}
    tags = {"instance": "host", "file_id": "7", "kind": "stored"}
    store = open_it()
    store._server.write(point("logwax_positions", tags, fields, 0))
    known = Span(Stream(7, "/a"), 0, 9, 0, 9, f"11 4 {2**64 - 1} 5 6")
    assert open_it().ledger().files == [known]
    # It died in the midst of the next batch: some of its lines are there.
    begun = {"reach": 12, "demoted": "customer_id", "born": 5}
    store._server.write(point("logwax_positions", {**tags, "kind": "begun"}, begun, 0))
    of_seven = replace(batch(9, 12), spans=(replace(known, start=9, end=12, first=9, records=3),))
    of_seven = replace(of_seven, rows=of_seven.rows.with_columns(file_id=pl.lit(7, pl.UInt64)))
    fields = {"status_code": 200, "offset": 9, "event_time": 0, "customer_id_text": "cust_1"}
    store._server.write(point("api_requests", {"file_id": "7"}, fields, 9))
    store = open_it()
    store.writer().write(of_seven)
    assert open_it().ledger().files == [*of_seven.spans]
    assert offsets(influxd) == [9, 10, 11]
    assert store.accounts().begins() == {}


def test_remembers_where_every_file_was_left(open_it):
    store = open_it()
    assert store.ledger().is_new
    writer = store.writer()
    writer.write(batch(0, 5))
    writer.write(batch(5, 9))
    other = replace(batch(0, 0), spans=(span(0, 3, file_id=7, path='/b "c", d\\'),))
    writer.write(other)
    ledger = open_it().ledger()
    assert not ledger.is_new
    assert sorted(ledger.files, key=lambda s: s.stream.id) == [*other.spans, span(5, 9)]
    assert ledger.in_doubt == {}


def test_remembers_files_for_each_instance(open_it):
    open_it().writer().write(batch(0, 5))
    assert open_it(instance="another").ledger().is_new


def test_is_not_new_once_it_was_started_without_a_file(open_it):
    open_it().start_at([])
    assert not open_it().ledger().is_new


def test_chosen_positions_are_kept(open_it):
    open_it().start_at([span(4, 4)])
    assert open_it().ledger().files == [span(4, 4)]


def die_writing(store: InfluxStore, one: Parsed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a batch and die before it can be recorded as stored."""

    def die(*arguments: object) -> None:
        raise StoreError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(store, "finish", die)
        with pytest.raises(StoreError, match="killed"):
            store.writer().write(one)


def test_after_a_crash_reading_goes_on_where_all_is_stored_and_the_rest_overwrites_itself(
    open_it, influxd, monkeypatch
):
    store = open_it()
    store.writer().write(batch(0, 3))
    die_writing(store, batch(3, 9, bad=(3, 5)), monkeypatch)
    again = open_it()
    assert (again.ledger().files, again.ledger().in_doubt) == ([span(0, 3)], {})
    writer = again.writer()
    writer.write(batch(3, 5, bad=(3,)))
    writer.write(batch(5, 12, bad=(5,)))
    assert offsets(influxd) == [0, 1, 2, 4, 6, 7, 8, 9, 10, 11]
    assert offsets(influxd, "dead_letters") == [3, 5]
    assert again.ledger().files == [span(5, 12)]


def test_a_dead_letter_that_begins_a_batch_waits_for_the_time_of_the_row_before(open_it, influxd):
    store = open_it()

    @contextmanager
    def in_order() -> Iterator[None]:
        store.writer().write(batch(0, 5))  # by another worker, which has taken its time
        yield

    store.writer().write(replace(batch(5, 9, bad=(5,)), in_order=in_order))
    influxd.query('DROP MEASUREMENT "logwax_positions"')
    open_it().writer().write(batch(0, 9, bad=(5,)))
    assert offsets(influxd, "dead_letters") == [5]


def test_a_position_that_arrives_late_does_not_lead_to_another_point(open_it, influxd):
    writer = open_it().writer()
    for start, end, bad in ((0, 5, (3,)), (5, 9, (6,))):
        writer.write(batch(start, end, bad=bad))
    late = open_it()
    late.begin([span(0, 5)], frozenset())  # as sent by one that was killed
    late._stored.clear()
    late.finish([span(0, 5)], {})
    again = open_it()
    assert again.ledger().files == [span(0, 5)]
    again.writer().write(batch(5, 9, bad=(6,)))
    assert offsets(influxd) == [0, 1, 2, 4, 5, 7, 8]
    assert offsets(influxd, "dead_letters") == [3, 6]


def test_positions_cost_one_point_a_file_and_day(open_it, influxd):
    writer = open_it().writer()
    for start in range(0, 50, 5):
        writer.write(batch(start, start + 5))
    rows = found(influxd, 'SELECT "end" FROM "logwax_positions"')
    assert [row["end"] for row in rows] == [50]


def on_day(store: InfluxStore, day: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store believe in another day."""
    monkeypatch.setattr("time.time_ns", lambda: day * DAY + 5)


def test_positions_are_renewed_daily_and_old_ones_deleted(open_it, influxd, monkeypatch):
    store = open_it()
    for day in (20_000, 20_001, 20_005):
        on_day(store, day, monkeypatch)
        if day == 20_000:
            store.writer().write(batch(0, 5))
        store.keep([2**63 - 1], [])
    assert store.ledger().files == [span(0, 5)]
    rows = found(influxd, 'SELECT "end" FROM "logwax_positions"')
    assert {row["time"] // DAY for row in rows} == {20_005}
    assert not open_it().ledger().is_new


def test_files_that_are_long_gone_are_forgotten_but_not_those_of_which_not_all_may_be_stored(
    open_it, monkeypatch
):
    store = open_it(ledger_keep_days=2)
    on_day(store, 20_000, monkeypatch)
    store.writer().write(batch(0, 5))
    other = span(0, 3, file_id=7)
    store.writer().write(replace(batch(0, 0), spans=(other,)))
    die_writing(store, replace(batch(0, 0), spans=(replace(other, end=9),)), monkeypatch)
    gone = [2**63 - 1, 7]
    assert store.keep([], gone) == []
    on_day(store, 20_001, monkeypatch)
    assert store.keep([], gone) == []
    on_day(store, 20_003, monkeypatch)
    assert store.keep([], gone) == [2**63 - 1]
    assert store.ledger().files == [other]


def test_a_file_that_came_back_is_kept(open_it, monkeypatch):
    store = open_it(ledger_keep_days=2)
    on_day(store, 20_000, monkeypatch)
    store.writer().write(batch(0, 5))
    store.keep([], [2**63 - 1])
    store.keep([2**63 - 1], [])
    on_day(store, 20_003, monkeypatch)
    assert store.keep([], [2**63 - 1]) == []


# --- the cardinality guard --------------------------------------------------------------------


def test_a_tag_with_too_many_values_becomes_a_field_and_no_point_is_lost(
    open_it, influxd, status, capfd
):
    writer = open_it(influxdb_max_tag_values=3).writer()
    writer.write(with_customers(batch(0, 3), ["a", "b", "c"]))
    assert status.demoted_tags == frozenset()
    writer.write(with_customers(batch(3, 5), ["c", "d"]))
    writer.write(with_customers(batch(5, 6), ["a"]))
    rows = found(influxd, 'SELECT "offset", "customer_id", "customer_id_text" FROM "api_requests"')
    assert [(row["customer_id"], row["customer_id_text"]) for row in rows] == [
        ("a", None),
        ("b", None),
        ("c", None),
        (None, "c"),
        (None, "d"),
        (None, "a"),
    ]
    assert status.demoted_tags == {"customer_id"}
    assert "customer_id has more than INFLUXDB_MAX_TAG_VALUES=3 values" in capfd.readouterr().err


def test_a_tag_becomes_a_field_when_what_was_written_before_is_recorded(
    open_it, influxd, monkeypatch
):
    store = open_it(influxdb_max_tag_values=2)
    first = with_customers(batch(0, 2), ["a", "b"])
    second = with_customers(batch(2, 4), ["c", "d"])
    die_writing(store, first, monkeypatch)

    @contextmanager
    def in_order() -> Iterator[None]:
        raise StoreError("The batch before this one is not stored.")
        yield

    with pytest.raises(StoreError, match="The batch before"):
        store.writer().write(replace(second, in_order=in_order))
    writer = open_it(influxdb_max_tag_values=2).writer()
    for one in (first, second):
        writer.write(one)
    assert offsets(influxd) == [0, 1, 2, 3]


def test_a_tag_that_became_a_field_stays_one_and_others_are_counted_on(open_it, influxd, status):
    open_it(influxdb_max_tag_values=2).writer().write(with_customers(batch(0, 3), list("abc")))
    status.demoted_tags = frozenset()
    again = open_it(influxdb_max_tag_values=2).writer()
    assert status.demoted_tags == {"customer_id"}
    again.write(with_customers(batch(3, 4), ["a"]))
    assert found(influxd, 'SHOW TAG VALUES FROM "api_requests" WITH KEY = "customer_id"') == []


def test_values_are_counted_over_restarts(open_it, status):
    open_it(influxdb_max_tag_values=2).writer().write(with_customers(batch(0, 2), ["a", "b"]))
    open_it(influxdb_max_tag_values=2).writer().write(with_customers(batch(2, 3), ["c"]))
    assert status.demoted_tags == {"customer_id"}


def test_what_was_written_before_a_crash_is_repeated_with_the_tags_that_it_had(
    open_it, influxd, monkeypatch
):
    one = with_customers(batch(0, 4), ["a", "b", "a", "b"])
    store = open_it(influxdb_max_tag_values=2)
    die_writing(store, one, monkeypatch)
    file = replace(batch(0, 1), spans=(span(0, 1, file_id=7),))
    rows = file.rows.with_columns(file_id=pl.lit(7, pl.UInt64), customer_id=pl.lit("c"))
    store.writer().write(replace(file, rows=rows))  # which makes a field of the tag
    writer = open_it(influxdb_max_tag_values=2).writer()
    for start, end in ((0, 3), (3, 6), (6, 8)):
        names = (["a", "b"] * 4)[start:end]
        writer.write(with_customers(batch(start, end), names))
    assert offsets(influxd) == [0, 0, 1, 2, 3, 4, 5, 6, 7]
    fields = found(influxd, 'SELECT "offset", "customer_id_text" FROM "api_requests"')
    made = {row["offset"] for row in fields if row["customer_id_text"] and row["offset"]}
    assert made == {6, 7}  # from where nobody had written


def test_files_of_one_batch_keep_the_tags_that_each_had(open_it, influxd, monkeypatch):
    store = open_it(influxdb_max_tag_values=1)
    die_writing(store, batch(0, 2), monkeypatch)
    part = span(0, 2, file_id=7)
    more = batch(0, 2).rows.with_columns(file_id=pl.lit(7, pl.UInt64), customer_id=pl.lit("new"))
    both = replace(batch(0, 2), spans=(span(0, 2), part), rows=pl.concat([batch(0, 2).rows, more]))
    open_it(influxdb_max_tag_values=1).writer().write(both)
    assert offsets(influxd) == [0, 0, 1, 1]


def test_other_tags_than_those_of_the_bucket_are_refused(open_it, influxd):
    open_it().writer().write(batch(0, 1))
    with pytest.raises(StoreError, match="customer_id was written under another INFLUXDB_TAGS"):
        open_it(influxdb_tags="method")
    with pytest.raises(StoreError, match="method was written under another INFLUXDB_TAGS"):
        rows = batch(1, 2).rows.with_columns(method=pl.lit("GET"))
        open_it().writer().write(replace(batch(1, 2), rows=rows))
        open_it(influxdb_tags="customer_id")


# --- rows that the server refuses -------------------------------------------------------------


def test_a_row_of_another_type_than_the_server_has_is_a_dead_letter_and_the_rest_is_stored(
    open_it, influxd
):
    influxd.write(b"api_requests,file_id=1 duration=1i 1\n")
    one = batch(0, 100)
    durations = pl.when(pl.col("offset") % 40 == 30).then(0.5)
    rows = one.rows.with_columns(duration=durations)
    slow = replace(one, rows=rows.with_columns(pl.col("duration").fill_null(0.0)))
    only = replace(slow, rows=slow.rows.filter(pl.col("duration") > 0))
    none = replace(slow, rows=slow.rows.filter(pl.col("duration") == 0).drop("duration"))
    mixed = replace(one, rows=pl.concat([only.rows, none.rows], how="diagonal").sort("offset"))
    open_it().writer().write(mixed)
    assert offsets(influxd) == sorted(set(range(100)) - {30, 70})
    letters = found(influxd, 'SELECT * FROM "dead_letters"')
    assert [letter["offset"] for letter in letters] == [30, 70]
    assert {letter["reason"] for letter in letters} == {"rejected"}
    assert "field type conflict" in letters[0]["detail"]


def test_lines_older_than_the_bucket_keeps_are_dead_letters(open_it, influxd):
    influxd.query('ALTER RETENTION POLICY "autogen" ON "logwax" DURATION 7d')
    one = batch(0, 4)
    now = pl.lit(1_900_000_000_000_000).cast(pl.Datetime("us", "UTC"))
    new = pl.col("offset") == 2
    rows = one.rows.with_columns(timestamp=pl.when(new).then(now).otherwise(pl.col("timestamp")))
    open_it().writer().write(replace(one, rows=rows))
    assert offsets(influxd) == [2]
    letters = found(influxd, 'SELECT * FROM "dead_letters"')
    assert sorted(letter["offset"] for letter in letters) == [0, 1, 3]
    assert "points beyond retention policy" in letters[0]["detail"]


def test_old_lines_that_are_refused_batch_after_batch_hold_up_nothing(open_it, influxd):
    influxd.query('ALTER RETENTION POLICY "autogen" ON "logwax" DURATION 7d')
    writer = open_it().writer()
    for start in (0, 5):
        writer.write(batch(start, start + 5, bad=(start + 2,)))
    assert offsets(influxd) == []
    letters = found(influxd, 'SELECT * FROM "dead_letters"')
    assert sorted(letter["offset"] for letter in letters) == list(range(10))
    assert "the server refused it" in letters[0]["detail"]


def test_dead_letters_beyond_a_million_in_a_file_are_points_of_their_own(open_it, influxd):
    writer = open_it().writer()
    for start in (0, 1_000_000):
        writer.write(batch(start, start + 3, bad=tuple(range(start, start + 3))))
    assert len(offsets(influxd, "dead_letters")) == 6


def test_a_stop_is_heeded_while_refused_rows_are_searched(open_it, influxd):
    influxd.query('ALTER RETENTION POLICY "autogen" ON "logwax" DURATION 7d')
    one, stop = batch(0, 20_000), threading.Event()
    now = pl.lit(1_900_000_000_000_000).cast(pl.Datetime("us", "UTC"))
    odd = pl.col("offset") % 2 == 1
    rows = one.rows.with_columns(timestamp=pl.when(odd).then(now).otherwise(pl.col("timestamp")))
    writer = open_it(stop=stop).writer()
    stop.set()
    with pytest.raises(StoreError, match="the next start settles"):
        writer.write(replace(one, rows=rows))


def test_requests_that_are_too_large_are_cut(open_it, influxd):
    server = ScriptedInfluxDB()
    try:
        store = open_it(server.url)
        server.faults.extend([None, refusal(413)])
        store.writer().write(batch(0, 8))
        bodies = [body for body in server.written if body.startswith(b"api_requests")]
        whole, *halves = [body.count(b"\n") for body in bodies]
        assert (whole, halves) == (8, [4, 4])
    finally:
        server.close()


def test_lines_that_a_server_had_no_time_for_are_written_again_as_they_were(open_it):
    server = ScriptedInfluxDB()
    try:
        store = open_it(server.url)
        server.faults.extend([None, Answer(500, '{"error":"timeout"}')])
        store.writer().write(batch(0, 8))
        bodies = [body for body in server.written if body.startswith(b"api_requests")]
        assert [body.count(b"\n") for body in bodies] == [8, 8]
    finally:
        server.close()


def test_a_line_that_a_proxy_calls_too_large_once_is_no_dead_letter(open_it, influxd, faulty):
    given = {"influxdb_api": "v2", "influxdb_token": "secret", "influxdb_org": "us"}
    writer = open_it(faulty.url, **given).writer()
    faulty.faults.extend([None, Answer(413, "<html>Come back later</body>")])
    writer.write(batch(0, 1))
    assert offsets(influxd) == [0]
    assert offsets(influxd, "dead_letters") == []


# --- failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_what_passes_is_waited_for_and_every_line_is_one_point(
    open_it, influxd, faulty, status, api
):
    given = {"influxdb_token": "secret", "influxdb_org": "us"}
    if api == "v1":
        given = {"influxdb_user": "any", "influxdb_password": "secret"}
    writer = open_it(faulty.url, influxdb_api=api, **given).writer()
    faulty.faults.extend(
        [refusal(429, retry_after=0), Reset(after=True), None, refusal(503), Reset(after=False)]
    )
    writer.write(batch(0, 10, bad=(3,)))
    assert offsets(influxd) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert status.last_error == ""


@pytest.mark.parametrize(
    "answer", [Answer(200, "<html>"), Answer(200, ""), Answer(201, "{}"), Answer(206)]
)
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_only_status_204_says_that_points_are_stored(open_it, influxd, faulty, api, answer):
    given = {"influxdb_token": "secret", "influxdb_user": "any", "influxdb_password": "secret"}
    writer = open_it(faulty.url, influxdb_api=api, influxdb_org="us", **given).writer()
    faulty.faults.extend([answer, None] * 4)
    writer.write(batch(0, 10, bad=(3,)))
    assert not faulty.faults
    assert (offsets(influxd), offsets(influxd, "dead_letters")) == ([0, 1, 2, *range(4, 10)], [3])


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("api", ["v1", "v2"])
def test_follows_no_redirect_and_says_where_to(open_it, faulty, status, capfd, api, code):
    other = ScriptedInfluxDB()
    try:
        given = {"influxdb_token": "secret", "influxdb_user": "any", "influxdb_password": "secret"}
        writer = open_it(faulty.url, influxdb_api=api, influxdb_org="us", **given).writer()
        faulty.faults.append(Answer(code, "", {"Location": f"{other.url}/login?secret"}))
        writer.write(batch(0, 1))
        assert other.requests == []
        assert f"a redirect to {other.url}/login, which is not followed" in capfd.readouterr().err
    finally:
        other.close()


class Choosy(ScriptedInfluxDB):
    """Refuses points of one line, by a status that says nothing about lines; sometimes all."""

    def __init__(self, answer: Answer) -> None:
        self.refuses = b"offset=3i"
        self.answer = answer
        self.stored: list[bytes] = []
        super().__init__()

    def respond(self, request: Request) -> Answer | Write:
        if not request.path.endswith("/write"):
            return super().respond(request)
        if b"api_requests" in request.body and self.refuses in request.body:
            return self.answer
        if self.refuses == b"":
            return self.answer
        self.stored += request.body.splitlines()
        return Answer(204)


WORDS_OF_NO_LINE = [
    refusal(500, "unexpected error writing points to database: partial write: points beyond"),
    Answer(500, "panic"),
    Answer(400, "<html>Bad Request</html>"),
    Answer(403, "<html>Forbidden</html>"),
    Answer(409, "{}"),
]


@pytest.mark.parametrize("answer", WORDS_OF_NO_LINE, ids=lambda answer: str(answer.status))
def test_one_line_that_never_gets_through_is_a_dead_letter_whatever_the_status(open_it, answer):
    server = Choosy(answer)
    try:
        writer = open_it(server.url).writer()
        assert writer.write(batch(0, 10)).dead["rejected"] == 1
        stored = {
            line.split(b"offset=")[1].split(b"i")[0]
            for line in server.stored
            if b"api_requests" in line
        }
        assert sorted(map(int, stored)) == [0, 1, 2, *range(4, 10)]
        (letter,) = [line for line in server.stored if line.startswith(b"dead_letters")]
        assert b"offset=3i" in letter
    finally:
        server.close()


def test_a_server_that_refuses_everything_makes_no_dead_letters(open_it, status):
    server = Choosy(Answer(500, "panic"))
    try:
        writer = open_it(server.url).writer()
        server.refuses = b""
        writing = threading.Thread(target=writer.write, args=[batch(0, 10)], daemon=True)
        writing.start()
        wait_for(lambda: "panic" in status.last_error, "a refusal")
        server.refuses = b"nothing"
        writing.join(60)
        assert not any(line.startswith(b"dead_letters") for line in server.stored)
        assert sum(line.startswith(b"api_requests") for line in server.stored) >= 10
    finally:
        server.close()


def test_positions_of_many_files_are_cut_where_they_are_too_large(open_it, influxd):
    class Small(Server):
        def respond(self, request: Request) -> Answer | Write:
            return refusal(413) if len(request.body) > 20_000 else super().respond(request)

    server = Small(influxd.url)
    try:
        store = open_it(server.url)
        store.start_at([span(0, 5, file_id=id) for id in range(1, 1001)])
        assert len(store.ledger().files) == 1000
        assert len(store.ledger(range(1, 501)).files) == 500
    finally:
        server.close()


def test_retry_after_is_honoured(open_it, faulty):
    waited: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0)
            return False

    given = {"influxdb_api": "v2", "influxdb_token": "secret", "influxdb_org": "us"}
    writer = open_it(faulty.url, Stop(), **given).writer()
    faulty.faults.append(refusal(429, retry_after=7))
    writer.write(batch(0, 1))
    assert 7 <= waited[0] <= 7.1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"influxdb_token": "wrong"}, "status 401"),
        ({"influxdb_bucket": "nowhere"}, "status 404"),
        ({"influxdb_org": "them"}, "status 404"),
    ],
)
def test_what_needs_a_person_is_said_when_the_store_is_opened(open_it, faulty, given, why):
    right = {"influxdb_api": "v2", "influxdb_token": "secret", "influxdb_org": "us"}
    with pytest.raises(StoreError, match=f"Cannot open InfluxDB at .*{why}") as error:
        open_it(faulty.url, **{**right, **given})
    assert "secret" not in str(error.value)


def test_a_server_that_is_not_there_is_said_when_the_store_is_opened(open_it, free_port):
    with pytest.raises(StoreError, match=f"127.0.0.1:{free_port}: Connection refused"):
        open_it(f"http://127.0.0.1:{free_port}")


def test_a_server_of_another_version_is_named_and_used(open_it, capfd):
    server = ScriptedInfluxDB()  # says no version at all
    try:
        open_it(server.url)
        assert "is unverified: Logwax is tested with 1.6." in capfd.readouterr().err
    finally:
        server.close()


def test_where_nothing_may_be_deleted_positions_are_renewed_all_the_same(
    open_it, influxd, monkeypatch, capfd
):
    store = open_it()
    ask = store._server.ask

    def refuse(statement: str, **values: object) -> list[dict[str, Any]]:
        if statement.startswith("DELETE"):
            raise InfluxError(403, "not allowed")
        return ask(statement, **values)

    monkeypatch.setattr(store._server, "ask", refuse)
    on_day(store, 20_000, monkeypatch)
    store.writer().write(batch(0, 5))
    on_day(store, 20_005, monkeypatch)
    assert store.keep([2**63 - 1], []) == ()
    assert "Old positions stay in the bucket: status 403" in capfd.readouterr().err
    rows = found(influxd, 'SELECT "end" FROM "logwax_positions"')
    assert {row["time"] // DAY for row in rows} == {20_000, 20_005}


def test_a_database_that_vanishes_is_waited_for_and_said(open_it, influxd, status):
    writer = open_it().writer()
    writer.write(batch(0, 2))
    influxd.query('DROP DATABASE "logwax"')
    writing = threading.Thread(target=writer.write, args=[batch(2, 4)])
    writing.start()
    wait_for(lambda: "database not found" in status.last_error, "an error")
    assert "goes on by itself" in status.last_error
    influxd.create()
    writing.join(timeout=60)
    assert not writing.is_alive()
    assert offsets(influxd) == [2, 3]
    assert status.last_error == ""


def test_a_stop_in_the_middle_of_trying_again_leaves_the_block_in_doubt(open_it, influxd):
    stop = threading.Event()
    store = open_it(stop=stop)
    writer = store.writer()
    writer.write(batch(0, 2))
    influxd.stop()
    stop.set()
    with pytest.raises(StoreError, match="the next start settles"):
        writer.write(batch(2, 4))
    influxd.start()
    assert open_it().ledger().files == [span(0, 2)]


def test_a_server_that_hangs_holds_up_a_stop_for_seconds_only(open_it, influxd):
    server = ScriptedInfluxDB()
    try:
        stop = threading.Event()
        writer = open_it(server.url, stop).writer()
        server.faults.append(HANG)
        stop.set()
        with pytest.raises(StoreError, match="the next start settles"):
            writer.write(batch(0, 2))
    finally:
        server.close()


def test_knows_which_lines_of_a_file_it_has(open_it, influxd):
    store = open_it()
    store.writer().write(batch(0, 9, bad=(4,)))
    assert store.offsets(2**63 - 1, 3, 7) == {3, 4, 5, 6}
    assert store.before(2**63 - 1, 9) == span(0, 9)
    assert store.before(2**63 - 1, 8) is None
