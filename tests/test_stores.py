"""What every store that keeps lines must do, on the real engines and servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from clickhouse_connect import get_client

from connectors.errors import StoreError
from connectors.sinks import STORES
from connectors.sinks.clickhouse.store import ClickHouseStore
from connectors.sinks.influxdb.line_protocol import MEASUREMENT
from connectors.sinks.influxdb.store import InfluxStore
from connectors.sinks.mongodb.server import LOGS
from connectors.sinks.mongodb.store import MongoStore
from connectors.sinks.retry import Retry
from connectors.store import Store, open_reader, open_store
from settings import Settings
from tests.servers.clickhouse_http import Server
from tests.servers.influxd import Influxd
from tests.test_clickhouse_store import batch, span

FILE = span(0, 1).stream.id
KEEPING = [name for name, kind in STORES.items() if kind.keeps]

Open = Callable[..., Store]


@pytest.fixture(params=KEEPING)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    """The settings of an empty store."""
    always = {"store": request.param, "data_dir": tmp_path / "data", "instance": "host"}
    if request.param == "clickhouse":
        server = Server(tmp_path / "server")
        yield {**always, "clickhouse_url": server.url}
        server.close()
    elif request.param == "influxdb":
        with Influxd(tmp_path / "influxd") as influxd:
            influxd.create()
            yield {**always, "influxdb_url": influxd.url, "influxdb_api": "v1"}
    elif request.param == "mongodb":
        yield always | request.getfixturevalue("mongodb")
    else:
        yield always


@pytest.fixture
def open_it(settings: dict[str, object]) -> Iterator[Open]:
    """Opens the store, closing it first if it is open: a restart, without a word of the writers."""
    opened: list[Store] = []

    def open_again(**more: object) -> Store:
        while opened:
            opened.pop().close()
        opened.append(open_store(Settings(_env_file=None, **{**settings, **more})))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


def rows(store: Store) -> int:
    """Rows with a status: each of them, not each place."""
    assert store.reader
    found = asyncio.run(store.reader.statistics("cust_1", date(1970, 1, 1), date(1970, 1, 1)))
    return found.overall.total if found else 0


def places(store: Store) -> list[int]:
    return sorted(store.offsets(FILE, 0, 2**40))


def test_what_is_written_is_there_and_the_next_start_knows_how_far(open_it):
    store = open_it()
    assert store.ledger().is_new
    writer = store.writer()
    stored = writer.write(batch(0, 5, bad=(3,)))
    assert (stored.rows, stored.dead) == (4, {"bad": 1})
    writer.write(batch(5, 9))
    writer.write(replace(batch(0, 0), spans=(span(0, 3, file_id=7, path="/b"),)))
    writer.close()
    store = open_it()
    assert (rows(store), places(store)) == (8, list(range(9)))
    ledger = store.ledger()
    assert (ledger.is_new, ledger.in_doubt) == (False, {})
    known = {found.stream.id: found for found in ledger.files}
    assert known == {7: span(0, 3, file_id=7, path="/b"), FILE: span(5, 9)}
    assert list(store.ledger([7]).files) == [known[7]]
    assert list(store.ledger([8]).files) == []


def test_a_batch_is_stored_once_though_its_writer_died_before_it_said_so(open_it):
    """Right behind the write: nobody knows whether the next start is told of it."""
    open_it().writer().write(batch(0, 6, bad=(2,)))
    store = open_it()
    ledger = store.ledger()
    for block, spans in ledger.in_doubt.items():
        assert list(spans) == [span(0, 6)]
        store.writer().write(batch(0, 6, bad=(2,), in_doubt=block))
    writer = store.writer()
    writer.write(batch(6, 8))
    writer.close()
    store = open_it()
    assert (rows(store), places(store)) == (7, list(range(8)))
    assert (list(store.ledger().files), store.ledger().in_doubt) == ([span(6, 8)], {})


def test_a_start_without_files_is_a_start_and_positions_may_be_chosen(open_it):
    open_it().start_at([])
    store = open_it()
    assert (list(store.ledger().files), store.ledger().is_new) == ([], False)
    store.start_at([span(100, 100)])
    assert list(open_it().ledger().files) == [span(100, 100)]


def test_instances_do_not_know_each_others_files(open_it):
    open_it().start_at([span(100, 100)])
    assert open_it(instance="other").ledger().is_new
    assert list(open_it(instance="other").ledger().files) == []


def test_a_span_before_a_place_is_found(open_it):
    store = open_it()
    store.writer().write(batch(0, 5))
    assert store.before(FILE, 4) is None
    assert store.before(FILE, 5) == store.before(FILE, 6) == span(0, 5)
    assert store.before(7, 6) is None


def test_a_file_that_has_just_gone_is_not_forgotten(open_it):
    store = open_it()
    store.writer().write(batch(0, 5))
    assert not store.keep([], [FILE])
    assert not store.keep([], [FILE])
    assert not store.keep([FILE], [])
    assert list(open_it().ledger().files) == [span(0, 5)]


def test_a_file_that_comes_back_was_read_from_where_it_was_read(open_it):
    store = open_it()
    store.writer().write(batch(0, 5))
    store.keep([], [FILE])
    store.keep([FILE], [])
    accounts = store.accounts()
    assert accounts
    assert accounts.begins() == {}


def test_commands_are_told_which_lines_there_are(open_it):
    store = open_it()
    writer = store.writer()
    writer.write(batch(0, 5, bad=(3,)))
    writer.write(batch(5, 9))
    accounts = store.accounts()
    assert accounts
    offsets, dead = accounts.places(FILE, 2, 8)
    assert sorted(zip(offsets.tolist(), dead.tolist(), strict=True)) == [
        (place, place == 3) for place in range(2, 8)
    ]
    assert accounts.sums().rows() == [(FILE, 0, 9, 1, sum(range(9)), sum(n * n for n in range(9)))]
    assert accounts.reasons() == {"bad": 1}
    assert accounts.samples("bad", 5).drop("raw").rows() == [("/var/log/a.log", 3, "bad", "why")]
    assert accounts.cuts(FILE).tolist()[-1] == 5


def test_columns_of_an_enricher_are_stored_once_it_is_turned_on(open_it, settings):
    """In a store that was made without it; a server is not changed, but told what to change."""
    open_it().writer().write(batch(0, 2))
    chosen = {"enrichers": "user_agent"}
    try:
        store = open_it(**chosen)
    except StoreError as error:
        assert settings["store"] == "clickhouse"
        with closing(get_client(dsn=str(settings["clickhouse_url"]))) as client:
            client.command(str(error).partition("To add them: ")[2])
        store = open_it(**chosen)
    more = batch(2, 4)
    words = pl.lit("Tablet").alias("device_type"), pl.lit(True).alias("is_bot")
    store.writer().write(replace(more, rows=more.rows.with_columns(words)))
    assert of_agents(store) == [("", False)] * 2 + [("Tablet", True)] * 2
    open_it().writer().write(batch(4, 5))
    assert of_agents(open_it(**chosen))[4:] == [("", False)]


def test_a_store_of_before_goes_on_when_nobody_has_asked_for_patterns(open_it, settings, capfd):
    """A server is not changed: its rows have none, and the start says what to change."""
    open_it(enrichers="none").writer().write(batch(0, 2))
    more, words = batch(2, 4), (pl.lit("a <*>").alias("pattern"), pl.lit("1").alias("pattern_id"))
    capfd.readouterr()
    store = open_it()
    store.writer().write(replace(more, rows=more.rows.with_columns(words)))
    assert rows(store) == 4
    is_told = "ALTER TABLE logs ADD COLUMN pattern " in capfd.readouterr().err
    assert is_told == (settings["store"] == "clickhouse")


def test_an_empty_store_gets_the_columns_of_its_enrichers(open_it):
    more = batch(0, 1)
    words = pl.lit("PC").alias("device_type"), pl.lit(False).alias("is_bot")
    store = open_it(enrichers="user_agent")
    store.writer().write(replace(more, rows=more.rows.with_columns(words)))
    assert of_agents(store) == [("PC", False)]


def of_agents(store: Store) -> list[tuple[str, bool]]:
    """Two columns of an enricher, of each row in turn."""
    if isinstance(store, InfluxStore):
        asked = store._server.ask(f'SELECT device_type, is_bot, "offset" FROM {MEASUREMENT}')
        found = sorted(asked, key=lambda row: row["offset"])
        return [(row["device_type"] or "", bool(row["is_bot"])) for row in found]
    if isinstance(store, MongoStore):
        documents = store._server[LOGS].find().sort("_id")
        return [(one.get("device_type", ""), one.get("is_bot", False)) for one in documents]
    asked = "SELECT device_type, is_bot FROM logs ORDER BY offset"
    if isinstance(store, ClickHouseStore):
        return [(row[0], row[1]) for row in store._client.query(asked).result_rows]
    accounts = store.accounts()
    assert accounts
    return [(row[0], bool(row[1])) for row in accounts.select(asked, 100).rows]


def test_several_writers_do_not_mix_up_their_batches(open_it):
    store = open_it()
    one, other = store.writer(), store.writer()
    of_other = batch(0, 4)
    there = of_other.rows["file_id"].clear().extend_constant(7, 4)
    other.write(
        replace(
            of_other,
            spans=(span(0, 4, file_id=7),),
            rows=of_other.rows.with_columns(file_id=there),
        )
    )
    one.write(batch(0, 5))
    one.close()
    other.close()
    store = open_it()
    assert (rows(store), places(store)) == (9, list(range(5)))
    assert sorted(store.offsets(7, 0, 100)) == list(range(4))
    assert {found.stream.id: found.end for found in store.ledger().files} == {FILE: 5, 7: 4}


def test_a_shared_store_can_be_asked_beside_whoever_has_it_open(open_it, settings):
    store = open_it()
    store.writer().write(batch(0, 5, bad=(3,)))
    chosen = Settings(_env_file=None, **settings)
    if not chosen.store_kind.is_shared:
        assert store.reader
        reader = store.reader
    else:
        reader = open_reader(chosen, Retry())
    assert asyncio.run(reader.has_customer("cust_1"))
    assert not asyncio.run(reader.has_customer("cust_2"))
    assert asyncio.run(reader.counts()) in [(4, 1), (None, None)]
    reader.cancel()


def test_the_kind_of_a_store_says_where_it_is(open_it, settings, tmp_path):
    kind = Settings(_env_file=None, **settings).store_kind
    assert kind.is_there(tmp_path / "data") == (not kind.kept_in)
    open_it()
    assert kind.is_there(tmp_path / "data")
