"""The ClickHouse store on a real engine: tables, the ledger, and every line exactly once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from connectors.batch import REJECTED, BlockId, Parsed, Span, Stream
from connectors.errors import StoreBusyError, StoreError
from connectors.sinks.clickhouse.insert import insert_lines
from connectors.sinks.clickhouse.store import ClickHouseStore, ClickHouseWriter
from connectors.sinks.clickhouse.tables import prepare_tables
from connectors.sources.files import FileSource
from connectors.store import open_store
from settings import Settings
from tests.conftest import wait_for
from tests.servers.clickhouse_http import Server

PROOF = "11 4 18446744073709551615 5 0"


@pytest.fixture(params=["embedded", "clickhouse"])
def open_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., ClickHouseStore]]:
    opened: list[ClickHouseStore] = []
    always: dict[str, object] = {"data_dir": tmp_path / "data", "instance": "host"}
    server = Server(tmp_path / "server") if request.param == "clickhouse" else None
    if server:
        always |= {"store": "clickhouse", "clickhouse_url": server.url}

    def open_again(**settings: object) -> ClickHouseStore:
        """Open the store, closing it first if it is open: a restart."""
        while opened:
            opened.pop().close()
        opened.append(open_store(Settings(_env_file=None, **{**always, **settings})))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()
    if server:
        server.close()


def span(start: int, end: int, file_id: int = 2**63 - 1, path: str = "/var/log/a.log") -> Span:
    return Span(Stream(file_id, path), start, end, start, end - start, PROOF)


def batch(start: int, end: int, bad: tuple[int, ...] = (), **options: object) -> Parsed:
    """A batch of one line a byte from `start` to `end`, of which `bad` are dead letters."""
    part = span(start, end)
    offsets = [offset for offset in range(start, end) if offset not in bad]
    rows = pl.DataFrame(
        {
            "timestamp": pl.Series([0] * len(offsets), dtype=pl.Datetime("us", "UTC")),
            "customer_id": ["cust_1"] * len(offsets),
            "status_code": pl.Series([200] * len(offsets), dtype=pl.UInt16),
            "file_id": pl.Series([part.stream.id] * len(offsets), dtype=pl.UInt64),
            "offset": pl.Series(offsets, dtype=pl.UInt64),
            "line": pl.Series(offsets, dtype=pl.UInt64),
        }
    )
    rejected = pl.DataFrame(
        [
            (part.stream.id, offset, offset, part.stream.name, b"\xff\x00", "bad", "why")
            for offset in bad
        ],
        schema=REJECTED,
        orient="row",
    )
    return Parsed((part,), rows=rows, rejected=rejected, **options)  # type: ignore[arg-type]


def offsets(store: ClickHouseStore, table: str = "logs") -> list[int]:
    found = store._client.query(f"SELECT offset FROM {table} ORDER BY offset").result_rows
    return [row[0] for row in found]


def test_stores_rows_and_dead_letters_with_their_places(open_it):
    store = open_it()
    store.writer().write(batch(0, 5, bad=(3,)))
    assert offsets(store) == [0, 1, 2, 4]
    found = store._client.query(
        "SELECT file_id, offset, source, raw, reason, detail FROM dead_letters",
        column_formats={"raw": "bytes"},
    ).result_rows
    assert found == [(2**63 - 1, 3, "/var/log/a.log", b"\xff\x00", "bad", "why")]


@pytest.mark.parametrize("how", ["query", "query_arrow", "raw_query"])
def test_a_question_that_fails_in_the_midst_of_its_answer_spoils_no_other(open_it, how):
    client = open_it()._client
    fails = "SELECT repeat('x', 1000) FROM numbers(200000) WHERE throwIf(number = 150000) = 0"
    with pytest.raises(DatabaseError, match="throwIf"):
        getattr(client, how)(fails, settings={"max_threads": 1})
    assert client.query("SELECT 7").result_rows == [(7,)]


def test_fills_columns_that_a_format_does_not_have(open_it):
    store = open_it()
    store.writer().write(batch(0, 1))
    found = store._client.query("SELECT method, bytes_sent, attributes, duration FROM logs")
    assert found.result_rows == [("", 0, "{}", None)]


def test_remembers_where_every_file_was_left(open_it):
    store = open_it()
    assert store.ledger().is_new
    writer = store.writer()
    writer.write(batch(0, 5))
    writer.write(batch(5, 9))
    other = replace(batch(0, 0), spans=(span(0, 3, file_id=7, path="/b"),))
    writer.write(other)
    writer.close()
    ledger = open_it().ledger()
    assert not ledger.is_new
    assert sorted(ledger.files, key=lambda s: s.stream.id) == [
        span(0, 3, file_id=7, path="/b"),
        span(5, 9),
    ]
    assert ledger.in_doubt == {}


def test_remembers_positions_that_were_chosen(open_it):
    open_it().start_at([span(100, 100)])
    ledger = open_it().ledger()
    assert (ledger.files, ledger.in_doubt, ledger.is_new) == ([span(100, 100)], {}, False)


def test_remembers_a_first_start_that_found_no_files(open_it):
    open_it().start_at([])
    assert not open_it().ledger().is_new


def test_keeps_the_files_of_other_instances_apart(open_it):
    open_it().writer().write(batch(0, 5))
    ledger = open_it(instance="other").ledger()
    assert (ledger.files, ledger.in_doubt, ledger.is_new) == ([], {}, True)


def test_doubts_only_the_last_block_of_a_writer_that_died(open_it):
    store = open_it()
    dead, alive = store.writer(), store.writer()
    dead.write(batch(0, 5))
    dead.write(batch(5, 9))
    alive.write(batch(9, 12))
    alive.close()
    assert list(open_it().ledger().in_doubt.values()) == [[span(5, 9)]]


@pytest.mark.parametrize("died", ["before the dead letters", "before the rows", "after the rows"])
def test_settles_a_block_in_doubt_wherever_its_writer_died(open_it, monkeypatch, died):
    store = open_it()
    writer = store.writer()
    inserted: list[str] = []
    insert = writer._insert

    def die_in_time(batch: Parsed, table: str, *what: Any) -> bool:
        if died == "before the dead letters" or (died == "before the rows" and table == "logs"):
            raise KeyboardInterrupt
        inserted.append(table)
        return insert(batch, table, *what)

    monkeypatch.setattr(writer, "_insert", die_in_time)
    if died == "after the rows":
        writer.write(batch(0, 5, bad=(2,)))
    else:
        with pytest.raises(KeyboardInterrupt):
            writer.write(batch(0, 5, bad=(2,)))
    restarted = open_it()
    (block,) = restarted.ledger().in_doubt
    restarted.writer().write(batch(0, 5, bad=(2,), in_doubt=block))
    assert offsets(restarted) == [0, 1, 3, 4]
    assert offsets(restarted, "dead_letters") == [2]
    assert restarted.ledger().in_doubt == {}


def test_settles_a_block_of_which_some_rows_are_there(open_it):
    store = open_it()
    store.writer().write(batch(0, 5, bad=(2,)))
    (block,) = store.ledger().in_doubt
    store._client.command("ALTER TABLE logs DELETE WHERE offset > 2 SETTINGS mutations_sync = 2")
    restarted = open_it()
    restarted.writer().write(batch(0, 5, bad=(2,), in_doubt=block))
    assert offsets(restarted) == [0, 1, 3, 4]


def test_drops_the_same_block_sent_twice(open_it):
    store = open_it()
    writer = store.writer()
    writer.write(batch(0, 5))
    writer._insert_all(batch(0, 5), writer._block, None)  # an acknowledgement that got lost
    assert offsets(store) == [0, 1, 2, 3, 4]


def test_a_block_in_doubt_stays_in_doubt_until_it_is_settled(open_it):
    open_it().writer().write(batch(0, 5))
    (block,) = open_it().ledger().in_doubt
    assert list(open_it().ledger().in_doubt) == [block]


def test_writes_nothing_when_a_writer_that_wrote_nothing_stops(open_it):
    open_it().writer().close()
    assert open_it().ledger().is_new


def test_one_insert_is_one_part_even_for_the_largest_batch(open_it):
    store = open_it(stream_max_size=200_000)
    store._client.command("SYSTEM STOP MERGES")
    store.writer().write(batch(0, 200_000))
    parts = store._client.query("SELECT count() FROM system.parts WHERE table = 'logs' AND active")
    assert parts.result_rows == [(1,)]


def test_an_insert_sends_the_texts_of_its_rows_and_no_others(open_it, monkeypatch):
    client, sent = open_it()._client, list[int]()
    insert = client.raw_insert

    def spy(table: str, names: object, data: bytes, **options: Any) -> object:
        sent.append(len(data))
        return insert(table, names, data, **options)

    monkeypatch.setattr(client, "raw_insert", spy)
    text = b"".join(b"a message of its own, number %7d\n" % number for number in range(10_000))
    lines = pl.Series([text]).cast(pl.String).str.split("\n").explode(empty_as_null=True)[:-1]
    rows = pl.DataFrame({"message": lines, "request_path": lines, "referer": lines})

    insert_lines(client, "logs", rows.head(100), "token")

    assert sent[0] < 20_000
    assert client.query("SELECT count() FROM logs").result_rows == [(100,)]


def test_sets_and_lifts_the_retention(open_it):
    def engine() -> str:
        query = "SELECT engine_full FROM system.tables WHERE name = 'logs'"
        return str(opened._client.query(query).result_rows[0][0])

    for days, expected in ((30, True), (7, True), (0, False)):
        opened = open_it(retention_days=days)
        assert (f"TTL (timestamp + toIntervalDay({days})) + " in engine()) is expected
        assert ("TTL" in engine()) is expected


def test_deletes_what_is_older_than_the_retention_and_nothing_else(open_it):
    store = open_it()
    old = batch(0, 2)
    now = pl.lit("2026-01-01").str.to_datetime(time_zone="UTC", time_unit="us")
    store.writer().write(old)
    young = batch(2, 4)
    store.writer().write(
        replace(young, rows=young.rows.with_columns(now.dt.offset_by("100y").alias("timestamp")))
    )
    store = open_it(retention_days=30)
    store._client.command("OPTIMIZE TABLE logs FINAL")
    assert offsets(store) == [2, 3]


def test_uses_the_table_that_is_configured(open_it):
    store = open_it(clickhouse_table="requests")
    store.writer().write(batch(0, 5, bad=(1,)))
    assert offsets(store, "requests") == [0, 2, 3, 4]
    assert asyncio.run(store.reader.counts()) == (4, 1)


@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_says_who_has_the_store_and_where_its_api_is(open_it, tmp_path):
    open_it()
    with pytest.raises(StoreBusyError, match=r"in use by process \d+, its API is at http://127"):
        open_store(Settings(_env_file=None, data_dir=tmp_path / "data"))


def test_a_block_that_was_refused_stays_in_doubt_when_its_writer_is_closed(open_it, monkeypatch):
    writer = open_it().writer()

    def refuse(*what: Any) -> bool:
        raise StoreError("Stopped")

    monkeypatch.setattr(writer, "_insert", refuse)
    with pytest.raises(StoreError, match="Stopped"):
        writer.write(batch(0, 5))
    writer.close()  # Bytewax does so after a failed write, too
    restarted = open_it()
    (block,) = restarted.ledger().in_doubt
    restarted.writer().write(batch(0, 5, in_doubt=block))
    assert offsets(restarted) == [0, 1, 2, 3, 4]


def test_settles_each_line_once_though_the_format_was_changed_in_between(open_it):
    store = open_it()
    store.writer().write(batch(0, 5, bad=(1, 2)))
    (block,) = store.ledger().in_doubt
    store.writer().write(batch(0, 5, bad=(2, 3), in_doubt=block))
    assert offsets(store) == [0, 3, 4]
    assert offsets(store, "dead_letters") == [1, 2]


# --- tables that exist already ----------------------------------------------------------------


def test_leaves_other_columns_alone_and_their_defaults_fill_them(open_it):
    store = open_it()
    store._client.command(
        "ALTER TABLE logs ADD COLUMN team String DEFAULT concat('team of ', customer_id), "
        "ADD COLUMN note Nullable(String)"
    )
    store = open_it()
    store.writer().write(batch(0, 2))
    found = store._client.query("SELECT team, note FROM logs").result_rows
    assert found == [("team of cust_1", None)] * 2


@pytest.mark.parametrize("table", ["logs", "dead_letters", "ingest_blocks"])
def test_says_which_columns_are_missing_and_how_to_add_them(open_it, table):
    name = {"logs": "referer", "dead_letters": "detail", "ingest_blocks": "lines"}[table]
    client = open_it()._client
    client.command(f"ALTER TABLE {table} DROP COLUMN {name}")
    with pytest.raises(StoreError, match=rf"table {table} lacks columns: {name}\. ") as caught:
        prepare_tables(client, "logs", is_shared=True)
    client.command(str(caught.value).partition("To add them: ")[2])
    open_it().writer().write(batch(0, 5, bad=(1,)))


@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_the_embedded_store_adds_a_column_that_is_missing(open_it):
    open_it()._client.command("ALTER TABLE logs DROP COLUMN referer")
    store = open_it()
    store.writer().write(batch(0, 2))
    assert store._client.query("SELECT referer FROM logs").result_rows == [("",), ("",)]


OTEL = """
SELECT Timestamp, TraceId, SpanId, SeverityText, SeverityNumber, ServiceName, Body,
    ResourceAttributes['host.name'], LogAttributes['http.response.status_code'],
    LogAttributes['a.b'], LogAttributes['http.server.request.duration']
FROM otel_logs ORDER BY Timestamp
"""


def test_a_view_has_the_rows_with_the_columns_of_opentelemetry(open_it):
    open_it()._client.command("DROP VIEW otel_logs")  # as in a store of an earlier version
    store = open_it()
    attributes = '{"trace_id": "abc", "span_id": "d", "service": "shop", "a.b": 1.5, "c": {"d": 1}}'
    for values in (
        f"(1, 'WARN', 'slow', '', '', 0, NULL, 'h', '{attributes}')",
        "(2, '', '', 'GET', '/a', 503, 0, '', '')",
    ):
        store._client.command(
            "INSERT INTO logs (timestamp, level, message, method, request_path, status_code, "
            f"duration, host, attributes) VALUES {values}"
        )
    first, second = store._client.query(OTEL).result_rows
    assert first[1:] == ("abc", "d", "WARN", 13, "shop", "slow", "h", "", "1.5", "")
    assert second[1:] == ("", "", "error", 17, "", "GET /a", "", "503", "", "0")
    assert first[0].timestamp() == 1
    found = store._client.query("SELECT LogAttributes FROM otel_logs ORDER BY Timestamp")
    assert found.result_rows[0][0]["c"] == '{"d":1}'
    # what the Collector's own table has, and in which types
    columns = dict(
        store._client.query(
            "SELECT name, type FROM system.columns WHERE table = 'otel_logs'"
        ).result_rows
    )
    assert columns["SeverityNumber"] == "UInt8"
    assert columns["LogAttributes"] == columns["ResourceAttributes"] == columns["ScopeAttributes"]


HARMLESS = [
    "status_code UInt32",
    "status_code Nullable(Int64)",
    "method String",
    "method LowCardinality(Nullable(String))",
    "method Enum8('' = 0, 'GET' = 1)",
    "success UInt8",
    "referer Nullable(String)",
]


@pytest.mark.parametrize("column", HARMLESS)
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_leaves_a_column_whose_type_changes_no_value(open_it, column):
    client = open_it()._client
    client.command("ALTER TABLE logs DROP PROJECTION rows_by_time")  # it holds the type of `level`
    client.command(f"ALTER TABLE logs MODIFY COLUMN {column}")
    store = open_it()
    store.writer().write(batch(0, 5))
    assert offsets(store) == [0, 1, 2, 3, 4]
    name, _, type_ = column.partition(" ")
    kept = f"SELECT type FROM system.columns WHERE table = 'logs' AND name = '{name}'"
    assert store._client.query(kept).result_rows == [(type_,)]


@pytest.mark.parametrize(
    "column",
    ["status_code UInt8", "status_code Enum16('OK' = 200)", "bytes_sent UInt32", "method UUID"],
)
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_refuses_a_column_whose_type_would_change_values(open_it, column):
    open_it()._client.command(f"ALTER TABLE logs MODIFY COLUMN {column}")
    with pytest.raises(StoreError, match=f"The column {column.split()[0]} of the table logs is"):
        open_it()


@pytest.mark.parametrize(
    ("engine", "words"),
    [("MergeTree ORDER BY tuple()", "would not notice"), ("Memory", "is of engine Memory")],
)
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_refuses_a_table_that_would_take_an_insert_twice(open_it, engine, words):
    client = open_it()._client
    client.command(f"CREATE TABLE mine ENGINE = {engine} AS SELECT * FROM logs")
    with pytest.raises(StoreError, match=words):
        open_it(clickhouse_table="mine")


@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_leaves_a_retention_alone_that_somebody_else_has_set(open_it):
    own = "TTL ingested_at + toIntervalDay(3)"
    open_it()._client.command(f"ALTER TABLE logs MODIFY {own}")
    (made,) = open_it()._client.query("SHOW CREATE TABLE logs").result_rows
    assert own in made[0]


# --- what is forgotten, and what is known of parts -------------------------------------------


def write_file(store: ClickHouseStore, file_id: int, *, close: bool = True) -> None:
    writer = store.writer()
    writer.write(replace(batch(0, 5), spans=(span(0, 5, file_id=file_id),)))
    if close:
        writer.close()


def make_older(store: ClickHouseStore, days: int, where: str) -> None:
    store._client.command(
        f"ALTER TABLE ingest_blocks UPDATE recorded_at = recorded_at - INTERVAL {days} DAY "
        f"WHERE {where} SETTINGS mutations_sync = 2"
    )


def test_the_ledger_has_the_last_position_of_each_of_many_files(open_it):
    store = open_it()
    for end in (20, 30, 10):
        store.start_at([span(0, end, file_id=number) for number in range(1, 10_001)])

    files = open_it().ledger().files

    assert {file.stream.id: file.end for file in files} == dict.fromkeys(range(1, 10_001), 30)
    assert len(files) == 10_000


def test_a_start_with_thousands_of_known_files_takes_each_where_it_was(open_it, tmp_path):
    for number in range(2_000):
        (tmp_path / f"{number}.log").write_text(f"line of {number}\n" * (1 + number % 3))

    def start(store: ClickHouseStore) -> FileSource:
        return FileSource([str(tmp_path / "*.log")], store, follow=False)

    store = open_it()
    source, writer = start(store), store.writer()
    while taken := source._catalog.collect():
        writer.write(taken.parsed())
        taken.acknowledge()
    writer.close()
    before = {file.path: file for file in source.files()}
    source.close()
    again = start(open_it())

    assert len(before) == 2_000
    assert {file.path: file for file in again.files()} == before
    assert again.status().lag_bytes == 0
    assert again._catalog.collect() is None
    again.close()


def known(store: ClickHouseStore) -> set[int]:
    return {file.stream.id for file in store.ledger().files}


def test_forgets_files_that_have_been_gone_for_long_and_only_those(open_it):
    store = open_it()
    for file_id in (6, 7, 8, 9):
        write_file(store, file_id)
    make_older(store, 1000, "true")  # quiet for years, which does not matter
    assert store.keep(found=[9], gone=[6, 7, 8]) == set()
    make_older(store, 31, "file_id IN (6, 7)")
    assert store.keep(found=[6, 9], gone=[7, 8]) == {7}
    assert known(store) == {6, 8, 9}
    assert store.keep(found=[9], gone=[6, 8]) == set()  # it was back in between
    restarted = open_it()
    assert known(restarted) == {6, 8, 9}
    assert restarted.ledger().in_doubt == {}


def test_never_forgets_a_file_in_doubt(open_it):
    store = open_it()
    write_file(store, 7, close=False)
    store.keep(found=[], gone=[7])
    make_older(store, 1000, "true")
    assert store.keep(found=[], gone=[7]) == set()
    assert len(open_it().ledger().in_doubt) == 1


def test_notes_only_once_that_a_file_is_gone(open_it):
    store = open_it()
    write_file(store, 7)
    store.keep(found=[], gone=[7])
    count = "SELECT count() FROM ingest_blocks"
    before = store._client.query(count).result_rows
    store.keep(found=[], gone=[7])
    assert store._client.query(count).result_rows == before


def test_clears_the_ledger_of_old_blocks_that_nothing_needs(open_it):
    store = open_it()
    quiet, busy = store.writer(), store.writer()
    quiet.write(replace(batch(0, 5), spans=(span(0, 5, file_id=7),)))
    quiet.write(replace(batch(0, 1), spans=(span(0, 1),)))
    for at in range(1, 20):
        busy.write(batch(at, at + 1))
    before = store.ledger()
    make_older(store, 31, "true")
    store.keep(found=[7], gone=[])
    after = open_it().ledger()
    assert sorted(after.files, key=str) == sorted(before.files, key=str)
    assert after.in_doubt == before.in_doubt
    blocks = open_it()._client.query("SELECT count() FROM ingest_blocks WHERE kind = 'block'")
    assert blocks.result_rows == [(3,)]


def test_a_clock_that_steps_back_changes_no_position(open_it):
    store = open_it()
    writer = store.writer()
    writer.write(batch(0, 5))
    writer.write(batch(5, 9))
    writer.close()
    make_older(store, 1, "end = 9 OR kind = 'stored'")
    ledger = open_it().ledger()
    assert ([file.end for file in ledger.files], ledger.in_doubt) == ([9], {})


def test_knows_where_stored_lines_begin_and_the_segment_before_an_offset(open_it):
    store = open_it()
    writer = store.writer()
    writer.write(batch(0, 5, bad=(3,)))
    writer.write(batch(5, 9))
    file_id = span(0, 5).stream.id
    assert store.offsets(file_id, 2, 7) == {2, 3, 4, 5, 6}
    assert store.before(file_id, 8) == span(0, 5)
    assert store.before(file_id, 4) is None


def test_settles_a_block_of_which_every_line_was_rejected(open_it):
    everything = tuple(range(5))
    store = open_it()
    crashed = store.writer()
    crashed._insert = lambda *_: None  # killed between the ledger and the dead letters
    crashed.write(batch(0, 5, bad=everything))
    ((block, _),) = open_it().ledger().in_doubt.items()
    for _ in range(2):  # and killed before it was said that it is settled
        settling = open_it().writer()
        settling._record = lambda *_: None
        settling.write(batch(0, 5, bad=everything, in_doubt=block))
    open_it().writer().write(batch(0, 5, bad=everything, in_doubt=block))
    store = open_it()
    assert (offsets(store), offsets(store, "dead_letters")) == ([], [0, 1, 2, 3, 4])
    assert store.ledger().in_doubt == {}


def test_settles_a_block_of_many_small_files(open_it):
    ids = range(1, 301)
    parts = tuple(span(0, 1, file_id=id, path=f"/var/log/{id}.log") for id in ids)
    rows = batch(0, 1).rows
    rows = pl.concat([rows.with_columns(pl.lit(id, pl.UInt64).alias("file_id")) for id in ids])
    rows = rows.select(batch(0, 1).rows.columns)
    crashed = open_it().writer()
    crashed._insert = lambda *_: None
    crashed.write(Parsed(parts, rows=rows))
    ((block, spans),) = open_it().ledger().in_doubt.items()
    assert len(spans) == 300
    open_it().writer().write(Parsed(parts, rows=rows, in_doubt=block))
    store = open_it()
    found = store._client.query("SELECT count(), uniqExact(file_id) FROM logs").result_rows
    assert (found, store.ledger().in_doubt) == ([(300, 300)], {})


def test_settles_parts_of_a_block_whose_lines_begin_at_the_same_offsets(open_it):
    two = (span(0, 5), span(0, 5, file_id=7))
    other = batch(0, 5).rows.with_columns(pl.lit(7, pl.UInt64).alias("file_id"))
    open_it().writer().write(replace(batch(0, 0), spans=two))
    ((block, _),) = open_it().ledger().in_doubt.items()
    open_it().writer().write(batch(0, 5, in_doubt=block, is_whole=False))
    both = pl.concat([batch(0, 5).rows, other])
    open_it().writer().write(Parsed(two, rows=both, in_doubt=block))
    assert offsets(open_it()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_settles_a_part_of_a_block_without_closing_it(open_it):
    store = open_it()
    two = (span(0, 5), span(0, 3, file_id=7))
    store.writer().write(replace(batch(0, 5), spans=two, rows=batch(0, 0).rows))
    store = open_it()
    ((block, spans),) = store.ledger().in_doubt.items()
    assert len(spans) == 2
    store.writer().write(batch(0, 5, in_doubt=block, is_whole=False))
    assert offsets(store) == [0, 1, 2, 3, 4]
    assert block in open_it().ledger().in_doubt
    open_it().writer().write(batch(0, 5, in_doubt=block))
    assert offsets(open_it()) == [0, 1, 2, 3, 4]
    assert open_it().ledger().in_doubt == {}


@pytest.mark.parametrize("end", [3, 5, 8], ids=["fewer lines", "the same lines", "more lines"])
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
@pytest.mark.parametrize("number", [1, 2], ids=["dead letters", "rows"])
def test_a_block_that_was_recorded_late_is_settled_after_the_one_that_has_its_lines(
    open_it, end, number
):
    store = open_it()
    late, next_one = store.writer(), store.writer()
    late._block, next_one._block = BlockId(1, 0), BlockId(2, 0)
    records: list[tuple[Any, ...]] = []

    def die(*what: Any) -> None:
        records.append(what)
        raise KeyboardInterrupt

    late._record = die  # type: ignore[method-assign]
    on_its_way = die_at(next_one, number)
    for writer, last in ((late, end), (next_one, 5)):
        with suppress(KeyboardInterrupt):
            writer.write(batch(0, last, bad=(1,)))
    store.writer()._record(*records[0])
    blocks = store.ledger().in_doubt.items()
    assert len(blocks) == 2
    for block, spans in blocks:
        store.writer().write(batch(0, spans[0].end, bad=(1,), in_doubt=block))
        while on_its_way:
            on_its_way.pop()(store.writer())
    assert (offsets(store), offsets(store, "dead_letters")) == ([0, *range(2, max(5, end))], [1])
    assert store.ledger().in_doubt == {}


def of_two_files(*ids: int, **options: object) -> Parsed:
    """Of a block of files 7 and 8 what is of these: three lines each."""
    rows = pl.concat(
        [batch(0, 3).rows.with_columns(pl.lit(id, pl.UInt64).alias("file_id")) for id in ids]
    )
    spans = tuple(span(0, 3, file_id=id) for id in ids)
    return Parsed(spans, rows=rows, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
@pytest.mark.parametrize("settled", [0, 1, 2], ids=["at once", "after one part", "after both"])
@pytest.mark.parametrize("together", [False, True], ids=["then the other part", "then the whole"])
def test_what_arrives_late_of_a_block_that_is_settled_in_parts_is_stored_once(
    open_it, settled, together
):
    store = open_it()
    writer = store.writer()
    on_its_way = die_at(writer, 1)
    with suppress(KeyboardInterrupt):
        writer.write(of_two_files(7, 8))
    (block,) = store.ledger().in_doubt
    rest = (
        of_two_files(7, 8, in_doubt=block)
        if together
        else of_two_files(8, in_doubt=block, is_whole=False)
    )
    parts = [of_two_files(7, in_doubt=block, is_whole=False), rest]
    for part in parts[:settled]:
        store.writer().write(part)
    on_its_way.pop()(store.writer())
    for part in parts[settled:]:
        store.writer().write(part)
    assert offsets(store) == [0, 0, 1, 1, 2, 2]


# --- rows that the table refuses --------------------------------------------------------------

CONSTRAINT = "ALTER TABLE logs ADD CONSTRAINT known CHECK method != 'BREW'"
ENUM = "ALTER TABLE logs MODIFY COLUMN method Enum8('' = 0, 'GET' = 1)"
REFUSED = (0, 4, 5, 10)
TAKEN = [1, 2, 3, 6, 7, 8, 9]


def brewing(bad: tuple[int, ...] = REFUSED, **options: object) -> Parsed:
    """A batch of 11 lines, of which these have a method that the table does not take."""
    made = batch(0, 11, **options)
    method = pl.when(pl.col("offset").is_in(bad)).then(pl.lit("BREW")).otherwise(pl.lit("GET"))
    return replace(made, rows=made.rows.with_columns(method.alias("method")))


@pytest.mark.parametrize(
    ("refuse", "words"),
    [(CONSTRAINT, "method = 'BREW'. (VIOLATED_CONSTRAINT)"), (ENUM, "(UNKNOWN_ELEMENT_OF_ENUM)")],
    ids=["constraint", "enum"],
)
def test_exactly_the_refused_rows_are_dead_letters_with_the_words_of_the_store(
    open_it, refuse, words
):
    store = open_it()
    store._client.command(refuse)
    writer = store.writer()
    assert writer.write(brewing()).dead["rejected"] == len(REFUSED)
    assert offsets(store) == TAKEN
    letters = store._client.query("SELECT offset, reason, detail FROM dead_letters ORDER BY offset")
    assert [row[:2] for row in letters.result_rows] == [(at, "rejected") for at in REFUSED]
    assert all(words in row[2] and "\n" not in row[2] for row in letters.result_rows)
    writer.close()
    assert store.ledger().in_doubt == {}


def test_every_row_may_be_refused(open_it):
    store = open_it()
    store._client.command(CONSTRAINT)
    assert store.writer().write(brewing(bad=tuple(range(11)))).dead["rejected"] == 11
    assert (offsets(store), offsets(store, "dead_letters")) == ([], list(range(11)))


Insert = Callable[[ClickHouseWriter], object]


def die_at(writer: ClickHouseWriter, number: int) -> list[Insert]:
    """Let a writer be killed at its insert of this number; holds that one, once it is."""
    insert, on_its_way, numbers = writer._insert, list[Insert](), count(1)

    def die_in_time(*what: Any, **how: Any) -> bool:
        if next(numbers) == number:
            on_its_way.append(lambda other: other._insert(*what, **how))
            raise KeyboardInterrupt
        return insert(*what, **how)

    writer._insert = die_in_time  # type: ignore[method-assign]
    return on_its_way


def be_late(writer: ClickHouseWriter, on_its_way: list[Insert], other: ClickHouseWriter) -> None:
    """Let inserts arrive just before the first one of `writer`."""
    insert = writer._insert

    def insert_late(*what: Any, **how: Any) -> bool:
        while on_its_way:
            with suppress(DatabaseError):  # which may be refused itself
                on_its_way.pop()(other)
        return insert(*what, **how)

    writer._insert = insert_late  # type: ignore[method-assign]


@pytest.mark.parametrize("arrives", [False, True], ids=["is lost", "arrives late"])
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_refused_rows_are_found_once_wherever_it_is_killed_and_what_was_on_its_way(
    open_it, arrives
):
    store = open_it()
    store._client.command(CONSTRAINT)
    for number in count(1):
        for table in ("logs", "dead_letters", "ingest_blocks"):
            store._client.command(f"TRUNCATE TABLE {table}")
        writer, settling = store.writer(), store.writer()
        on_its_way = die_at(writer, number)
        try:
            writer.write(brewing())
        except KeyboardInterrupt:
            if arrives:
                be_late(settling, on_its_way, store.writer())
            (block,) = store.ledger().in_doubt
            settling.write(brewing(in_doubt=block))
            assert offsets(store) == TAKEN, number
            assert offsets(store, "dead_letters") == list(REFUSED), number
            assert store.ledger().in_doubt == {}
        else:
            break
    assert number > 10


def test_a_view_that_fails_makes_no_dead_letters(open_it, capfd):
    store = open_it()
    store._client.command("CREATE TABLE seen (method Enum8('GET' = 1)) ENGINE = Memory")
    store._client.command("CREATE MATERIALIZED VIEW see TO seen AS SELECT method FROM logs")
    assert store.writer().write(brewing()).dead["rejected"] == 0
    assert (offsets(store), offsets(store, "dead_letters")) == (list(range(11)), [])
    assert "A view of logs lacks rows: " in capfd.readouterr().err


# Own columns and constraints, and a value of `method` that makes each of them fail.
OWN = {
    "division by zero": ("n UInt64 MATERIALIZED intDiv(10, method != 'BREW')", "ILLEGAL_DIVISION"),
    "a month that is none": (
        "day Date MATERIALIZED makeDate(2026, 1, 1) + throwIf(method = 'BREW', 'no')",
        "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    ),
    "an array without elements": (
        "n UInt8 MATERIALIZED arrayReduce('sum', range(if(method = 'BREW', 1000000000, 1)))",
        "range",
    ),
    "a pattern that is none": (
        "n UInt8 MATERIALIZED toUInt8(length(repeat('x', if(method = 'BREW', 999999999, 1))) > 0)",
        "TOO_LARGE_STRING_SIZE",
    ),
    "no number": ("n UInt64 MATERIALIZED toUInt64(if(method = 'BREW', 'x', '1'))", "'x'"),
}


@pytest.mark.parametrize(("column", "words"), OWN.values(), ids=OWN)
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_a_line_that_makes_an_expression_of_somebodys_own_fail_is_a_dead_letter(
    open_it, column, words
):
    store = open_it()
    store._client.command(f"ALTER TABLE logs ADD COLUMN {column}")
    assert store.writer().write(brewing()).dead["rejected"] == len(REFUSED)
    assert (offsets(store), offsets(store, "dead_letters")) == (TAKEN, list(REFUSED))
    (detail,) = store._client.query("SELECT any(detail) FROM dead_letters").result_rows[0]
    assert words in detail


@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_what_is_left_of_many_refused_lines_is_one_part(open_it):
    store = open_it()
    store._client.command(CONSTRAINT)
    made = batch(0, 3000)
    bad = pl.when(pl.col("offset") % 7 == 3).then(pl.lit("BREW")).otherwise(pl.lit("GET"))
    rows = made.rows.with_columns(bad.alias("method"))
    assert store.writer().write(replace(made, rows=rows)).dead["rejected"] == 429
    assert offsets(store) == [offset for offset in range(3000) if offset % 7 != 3]
    parts = "SELECT rows FROM system.parts WHERE table = 'logs'"
    assert store._client.query(parts).result_rows == [(3000 - 429,)]


def test_waits_while_the_table_takes_no_line_at_all(open_it):
    store = open_it()
    for name in ("figures_by_day", "figures_by_customer", "requests_of_customer"):
        store._client.command(f"ALTER TABLE logs DROP PROJECTION {name}")
    store._client.command("ALTER TABLE logs DROP COLUMN status_code")
    writing = threading.Thread(target=store.writer().write, args=[batch(0, 5)], daemon=True)
    writing.start()
    status = store._retry.status
    wait_for(lambda: "status_code" in status.last_error, "a refusal")
    assert offsets(store, "dead_letters") == []
    store._client.command("ALTER TABLE logs ADD COLUMN status_code UInt16")
    writing.join(60)
    assert (offsets(store), offsets(store, "dead_letters")) == ([0, 1, 2, 3, 4], [])


def make_own(store: ClickHouseStore, rest: str) -> None:
    """A table `logs` of somebody's own in place of ours."""
    store._client.command("CREATE TABLE mine AS logs ENGINE = Memory")
    names = store._client.query("SELECT name, type FROM system.columns WHERE table = 'mine'")
    columns = ", ".join(f"{name} {type_}" for name, type_ in names.result_rows)
    store._client.command("DROP TABLE mine")
    store._client.command("DROP TABLE logs")
    store._client.command(f"CREATE TABLE logs ({columns}) ENGINE = {rest}")


@pytest.mark.parametrize("arrives", [False, True], ids=["is lost", "arrives late"])
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_a_batch_of_too_many_partitions_is_stored_once_in_pieces_wherever_it_is_killed(
    open_it, arrives
):
    store = open_it()
    window = "non_replicated_deduplication_window = 10000"
    make_own(store, f"MergeTree PARTITION BY offset ORDER BY offset SETTINGS {window}")

    def writer() -> ClickHouseWriter:
        made = store.writer()
        made._client.set_client_setting("max_partitions_per_insert_block", 3)
        return made

    for number in count(1):
        for table in ("logs", "dead_letters", "ingest_blocks"):
            store._client.command(f"TRUNCATE TABLE {table}")
        first, settling = writer(), writer()
        on_its_way = die_at(first, number)
        try:
            first.write(brewing())
        except KeyboardInterrupt:
            if arrives:
                be_late(settling, on_its_way, writer())
            (block,) = store.ledger().in_doubt
            settling.write(brewing(in_doubt=block))
            assert offsets(store) == list(range(11)), number
            assert store.ledger().in_doubt == {}
        else:
            break
    assert number > 5


FOLDING = (
    "Replacing",
    "Summing",
    "Aggregating",
    "Collapsing(sign)",
    "VersionedCollapsing(sign, n)",
)
ENGINES = [
    *(("logs", engine) for engine in (*FOLDING, "Log", "Null")),
    ("dead_letters", FOLDING[0]),
    ("ingest_blocks", FOLDING[1]),
    ("ingest_blocks", "Memory"),
]


@pytest.mark.parametrize(("table", "engine"), ENGINES)
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_refuses_a_table_of_an_engine_that_does_not_keep_every_line(open_it, engine, table):
    client = open_it()._client
    rest = engine
    if engine in FOLDING:
        name, _, arguments = engine.partition("(")
        rest = f"{name}MergeTree({arguments or ')'} ORDER BY tuple()"
    client.command(f"CREATE TABLE mine (sign Int8, n UInt8, file_id UInt64) ENGINE = {rest}")
    client.command(f"DROP TABLE {table}")
    client.command(f"RENAME TABLE mine TO {table}")
    with pytest.raises(StoreError, match=f"^The table {table} is of engine {rest[:3]}"):
        open_it()


@pytest.mark.parametrize("view", ["VIEW", "MATERIALIZED VIEW"])
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_refuses_a_view_in_the_place_of_a_table(open_it, view):
    client = open_it()._client
    to = "" if view == "VIEW" else "ENGINE = MergeTree ORDER BY offset "
    client.command(f"CREATE {view} mine {to}AS SELECT * FROM logs")
    with pytest.raises(StoreError, match="is of engine"):
        open_it(clickhouse_table="mine")


TTLS = (
    "timestamp + toIntervalDay(3)",
    "ingested_at + toIntervalDay(3)",
    "timestamp + INTERVAL 1 WEEK",
)


@pytest.mark.parametrize("ttl", TTLS)
@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_leaves_a_ttl_alone_that_retention_days_has_not_set(open_it, ttl):
    store = open_it()
    store._client.command(f"ALTER TABLE logs MODIFY TTL {ttl}")
    made = store._client.query("SHOW CREATE TABLE logs").result_rows
    assert "TTL" in made[0][0]
    assert open_it()._client.query("SHOW CREATE TABLE logs").result_rows == made


@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_does_not_replace_a_ttl_of_somebodys_own(open_it):
    open_it()._client.command(f"ALTER TABLE logs MODIFY TTL {TTLS[1]}")
    with pytest.raises(StoreError, match=r"has a TTL of its own, .*Set RETENTION_DAYS=0"):
        open_it(retention_days=7)


@pytest.mark.parametrize("open_it", ["embedded"], indirect=True)
def test_a_retention_of_an_earlier_version_goes_on(open_it):
    store = open_it()
    store._client.command("ALTER TABLE logs MODIFY TTL timestamp + toIntervalDay(7)")
    made = store._client.query("SHOW CREATE TABLE logs").result_rows
    store = open_it(retention_days=7)
    assert store._client.query("SHOW CREATE TABLE logs").result_rows == made
    store = open_it(retention_days=8)
    assert "toIntervalDay(8)" in store._client.query("SHOW CREATE TABLE logs").result_rows[0][0]
    store = open_it()
    assert "TTL" not in store._client.query("SHOW CREATE TABLE logs").result_rows[0][0]


# As a version before streams made it; the first one had no content_hash, and fewer kinds.
FORMER_LEDGER = """
CREATE TABLE ingest_blocks (
    instance String,
    writer UInt64,
    sequence UInt64,
    kind Enum8({kinds}),
    file_id UInt64,
    path String,
    inode UInt64,
    head_length UInt16,
    head_hash UInt64,
    tail_hash UInt64,
    start UInt64,
    end UInt64,
    first_line UInt64,
    lines UInt64,{content_hash}
    recorded_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
) ENGINE = MergeTree ORDER BY (instance, file_id, end)
SETTINGS non_replicated_deduplication_window = 10000
"""
FORMER_LEDGERS = {
    "of files": (
        FORMER_LEDGER.format(
            kinds="'block' = 1, 'stored' = 2, 'position' = 3, 'gone' = 4",
            content_hash="\n    content_hash UInt64,",
        ),
        f"11, 4, {2**64 - 1}, 5, 0, 9, 0, 9, {2**64 - 2}",
        f"11 4 {2**64 - 1} 5 {2**64 - 2}",
    ),
    "of the first version": (
        FORMER_LEDGER.format(kinds="'block' = 1, 'stored' = 2, 'position' = 3", content_hash=""),
        f"11, 4, {2**64 - 1}, 5, 0, 9, 0, 9",
        f"11 4 {2**64 - 1} 5 0",
    ),
}


@pytest.mark.parametrize("former", FORMER_LEDGERS)
def test_a_ledger_of_an_earlier_version_goes_on(open_it, former):
    made, entry, proof = FORMER_LEDGERS[former]
    client = open_it()._client
    client.command("DROP TABLE ingest_blocks")
    client.command(made)
    client.command(
        f"INSERT INTO ingest_blocks SELECT 'host', 1, 1, 'block', 7, '/a', {entry}, now64(6)"
    )
    known = Span(Stream(7, "/a"), 0, 9, 0, 9, proof)
    ledger = open_it().ledger()
    assert (ledger.files, ledger.in_doubt, ledger.is_new) == (
        [known],
        {BlockId(1, 1): [known]},
        False,
    )
    writer = open_it().writer()
    writer.write(replace(batch(0, 9), spans=(known,), in_doubt=BlockId(1, 1)))
    writer.write(batch(0, 5))
    writer.close()
    store = open_it()
    assert sorted(store.ledger().files, key=lambda s: s.stream.id) == [known, span(0, 5)]
    assert (store.ledger().in_doubt, store.before(7, 9)) == ({}, known)


# As commit a099835 made it.
FORMER_LOGS = """
CREATE TABLE logs (
    timestamp DateTime64(6, 'UTC'),
    customer_id String,
    method LowCardinality(String),
    request_path String,
    endpoint LowCardinality(String),
    status_code UInt16,
    status_class LowCardinality(String),
    success Bool,
    duration Float64,
    client_ip String,
    user_agent LowCardinality(String),
    referer String,
    bytes_sent UInt64,
    level LowCardinality(String),
    message String,
    host LowCardinality(String),
    source LowCardinality(String),
    attributes String DEFAULT '{}',
    file_id UInt64,
    offset UInt64,
    ingested_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    PROJECTION daily (
        SELECT toDate32(timestamp, 'UTC'), count(), countIf(success), sum(duration),
            quantilesTDigestState(0.5, 0.99)(duration)
        GROUP BY toDate32(timestamp, 'UTC')),
    PROJECTION daily_by_customer (
        SELECT customer_id, toDate32(timestamp, 'UTC'), count(), countIf(success), sum(duration),
            quantilesTDigestState(0.5, 0.99)(duration)
        GROUP BY customer_id, toDate32(timestamp, 'UTC')) WITH SETTINGS (index_granularity = 256)
) ENGINE = MergeTree ORDER BY (customer_id, timestamp)
SETTINGS lightweight_mutation_projection_mode = 'rebuild', min_parts_to_merge_at_once = 50,
    non_replicated_deduplication_window = 10000, fsync_after_insert = 1,
    fsync_part_directory = 1, min_bytes_for_wide_part = 268435456
"""


@pytest.mark.parametrize("rows_are_there", [False, True])
def test_a_store_of_an_earlier_version_goes_on_in_the_midst_of_a_batch(open_it, rows_are_there):
    """Its writer had stored [0, 9) and, of [9, 18), the dead letter at 9, and perhaps the rows."""
    made, *_ = FORMER_LEDGERS["of files"]
    client = open_it()._client
    for table, statement in (("ingest_blocks", made), ("logs", FORMER_LOGS)):
        client.command(f"DROP TABLE {table}")
        client.command(statement)
    entry = f"'block', {2**63 - 1}, '/var/log/a.log', 11, 4, {2**64 - 1}, 5"
    columns = "timestamp, customer_id, status_code, file_id, offset"
    for sequence, start, end, first in ((1, 0, 9, 0), (2, 9, 18, 10)):
        client.command(
            f"INSERT INTO ingest_blocks SELECT 'host', 1, {sequence}, {entry}, "
            f"{start}, {end}, {start}, 9, 0, now64(6)"
        )
        if sequence == 1 or rows_are_there:
            client.command(
                f"INSERT INTO logs ({columns}) SETTINGS "
                f"insert_deduplication_token = 'host:1:{sequence}' "
                f"SELECT toDateTime64(0, 6), 'cust_1', 200, {2**63 - 1}, number "
                f"FROM numbers({first}, {end - first})"
            )
    client.command(
        "INSERT INTO dead_letters (file_id, offset, source, raw, reason, detail) "
        f"SELECT {2**63 - 1}, 9, '/var/log/a.log', 'x', 'bad', 'why'"
    )
    store = open_it()
    ledger = store.ledger()
    assert (ledger.files, ledger.in_doubt) == ([span(9, 18)], {BlockId(1, 2): [span(9, 18)]})
    writer = store.writer()
    writer.write(batch(9, 18, bad=(9,), in_doubt=BlockId(1, 2)))
    writer.write(batch(18, 20))
    writer.close()
    store = open_it()
    assert offsets(store) == [offset for offset in range(20) if offset != 9]
    assert offsets(store, "dead_letters") == [9]
    assert (store.ledger().files, store.ledger().in_doubt) == ([span(18, 20)], {})
