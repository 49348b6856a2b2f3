"""The MongoDB store beyond what every store does: documents, validators, faults, kills.

On FerretDB, or the server at `MONGODB_TEST_URL`; validators and faults on a proxy in front of it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timezone
from urllib.parse import unquote

import hypothesis
import polars as pl
import pymongo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database

from connectors.batch import Parsed
from connectors.errors import SettingsError, StoreError
from connectors.sinks.mongodb.documents import SCHEMA, attributes_of, of_letters, of_rows, why_not
from connectors.sinks.mongodb.store import MongoStore
from connectors.sinks.retry import Retry
from connectors.status import Status
from connectors.store import open_store
from settings import Settings, load
from tests.conftest import Pipeline, wait_for
from tests.kill_harness import Plan, kill_and_count
from tests.servers.mongo_proxy import MongoProxy, validator_of
from tests.test_audit import line, logwax, write_log
from tests.test_clickhouse_store import batch, span
from tests.test_keeping import audited, lines
from tests.test_pii import SECRETS, write_secrets

FILE = span(0, 1).stream.id
EVENT = {"event_name": "event.home.view", "view_args": [], "view_kwargs": {}}


@pytest.fixture
def proxy(mongodb_server: str) -> Iterator[MongoProxy]:
    with closing(MongoProxy(mongodb_server)) as made:
        yield made


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def store(mongodb, proxy, status, tmp_path) -> Iterator[MongoStore]:
    """A store whose server is reached through the proxy."""
    chosen = {**mongodb, "mongodb_url": proxy.url, "data_dir": tmp_path, "instance": "host"}
    made = open_store(Settings(_env_file=None, **chosen), Retry(status=status))
    assert isinstance(made, MongoStore)
    yield made
    made.close()


@pytest.fixture
def database(mongodb) -> Iterator[Database]:
    """The database as anybody sees it."""
    with pymongo.MongoClient(mongodb["mongodb_url"]) as client:
        yield client[mongodb["mongodb_database"]]


def with_columns(count: int, **columns: object) -> Parsed:
    """A batch of rows with these columns, one value a row."""
    made = batch(0, count)
    return replace(made, rows=made.rows.with_columns(**columns))


def events(*attributes: object, paths: list[str] | None = None) -> Parsed:
    texts = pl.Series([json.dumps(one) for one in attributes])
    return with_columns(
        len(texts), attributes=texts, request_path=pl.Series(paths or ["/"] * len(texts))
    )


def test_a_document_has_the_columns_of_the_row_and_its_microseconds(store, database):
    time = datetime(1969, 12, 31, 23, 59, 59, 123456, tzinfo=timezone.utc)
    attributes = '{"http.status": 7, "$set": {"a%": [1.5, true, null]}, "n": "a\\u0000b"}'
    times = pl.Series([time], dtype=pl.Datetime("us", "UTC"))
    written = with_columns(
        1,
        timestamp=times,
        attributes=pl.lit(attributes),
        bytes_sent=pl.lit(2**63 - 1, pl.UInt64),
        duration=pl.lit(0.25),
    )
    assert store.writer().write(written).rows == 1
    assert list(database.logs.find()) == [
        {
            "_id": FILE.to_bytes(8, "big") + bytes(8),
            "timestamp": datetime(1969, 12, 31, 23, 59, 59, 123000),
            "timestamp_us": -876_544,
            "day": -1,
            "customer_id": "cust_1",
            "status_code": 200,
            "duration": 0.25,
            "bytes_sent": 2**63 - 1,
            "attributes": {"http%2Estatus": 7, "%24set": {"a%25": [1.5, True, None]}, "n": "a\0b"},
            "file_id": FILE,
            "offset": 0,
        }
    ]


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (r'{"a": "\ud800x"}', {"a": "\\ud800x"}),
        ('{"a": 18446744073709551616, "b": -9223372036854775808}', None),
        ('{"a": 1e400, "b": 0.1}', {"a": "1e400", "b": 0.1}),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_what_bson_cannot_hold_is_kept_as_text(text, stored):
    assert attributes_of(text) == (stored or {"a": str(2**64), "b": -(2**63)})


@hypothesis.settings(max_examples=25)
@hypothesis.example({"%24": None, "a%2Eb": None})
@given(st.dictionaries(st.text("aé.%$\0", max_size=4), st.none(), max_size=3))
def test_names_of_attributes_can_be_had_back(found):
    stored = attributes_of(json.dumps(found))
    assert not any("." in name or name.startswith("$") or "\0" in name for name in stored)
    assert {unquote(name) for name in stored} == set(found)


def test_a_row_that_is_no_document_is_a_dead_letter_that_says_why(store, database):
    deep = '{"a": ' + "[" * 120 + "]" * 120 + "}"
    written = with_columns(
        3,
        attributes=pl.Series(["{}", deep, "{}"]),
        bytes_sent=pl.Series([2**63, 1, 2], dtype=pl.UInt64),
        message=pl.Series(["", "", "x" * 2**24]),
    )
    stored = store.writer().write(written)
    assert (stored.rows, stored.dead) == (0, {"rejected": 3})
    letters = database.dead_letters.find({"reason": "rejected"}).sort("_id", 1)
    said = [letter["detail"] for letter in letters]
    assert "8-byte ints" in said[0]
    assert said[1] == "it has more than 100 levels"
    assert "and MongoDB takes 16777216" in said[2]
    assert list(of_rows(written.rows)) == said


def test_a_dead_letter_that_is_too_large_keeps_its_beginning():
    letters = batch(0, 1, bad=(0,)).rejected.with_columns(raw=pl.lit(b"x" * 2**24))
    [made] = of_letters(letters)
    assert made["raw"] == b"x" * 1024


def test_an_event_that_breaks_a_rule_is_a_dead_letter_and_the_others_are_rows(store, database):
    bad = [
        {**EVENT, "event_name": "eventXhome"},
        {**EVENT, "event_name": "event.a\n"},
        {**EVENT, "view_args": {}},
        {**EVENT, "view_kwargs": []},
        {**EVENT, "request_data": "text"},
    ]
    stored = store.writer().write(events(EVENT, *bad, EVENT, paths=["/"] * 6 + ["home"]))
    assert (stored.rows, stored.dead) == (1, {"rejected": 6})
    said = [letter["detail"] for letter in database.dead_letters.find().sort("_id", 1)]
    assert [words.partition(":")[0] for words in said] == [
        "event_name",
        "event_name",
        "view_args",
        "view_kwargs",
        "request_data",
        "request_path",
    ]


def test_lines_of_files_pass_the_validator_whatever_their_fields_are(store):
    lines = [
        {"event_name": "login"},
        {"view_args": "x", "request_data": 1},
        {"event_name": 7, "a.b": {}},
        {},
    ]
    assert store.writer().write(events(*lines, paths=["*", "", "http://x/", "a\n"])).rows == 4


_VALUES = st.sampled_from(
    ["event.a", "event.", "eventXa", "event.a\n", "event.\n", 7, [], {}, None]
)
_PATHS = st.sampled_from(["", "/", "/a", "a", "/a\n", "/\n", "\n/"])


@given(st.dictionaries(st.sampled_from([*EVENT, "request_data", "visitor"]), _VALUES), _PATHS)
def test_what_is_checked_before_is_what_the_validator_of_the_collection_says(attributes, path):
    document = {"attributes": attributes, "request_path": path}
    rules = {name: part for name, part in SCHEMA.items() if name != "required"}
    assert (why_not(document) == "") == validator_of(rules).is_valid(document)


def test_what_the_server_refuses_is_a_dead_letter_with_its_words(store, database, proxy):
    """Somebody has given the collection a rule of their own."""
    [(name, _)] = proxy.validators.items()
    proxy.validators[name] = validator_of({"properties": {"method": {"bsonType": "int"}}})
    methods = with_columns(2, method=pl.Series(["GET", "PUT"]))
    proxy.validators[name] = validator_of({"properties": {"method": {"pattern": "^G"}}})
    stored = store.writer().write(methods)
    assert (stored.rows, stored.dead) == (1, {"rejected": 1})
    [letter] = database.dead_letters.find()
    assert letter["detail"] == (
        "Document failed validation; method: regular expression did not match, it is 'PUT'"
    )
    assert store.offsets(FILE, 0, 9) == {0, 1}


@pytest.mark.parametrize(
    "fault",
    [
        "before",
        "after",
        {"ok": 0.0, "code": 11602, "errmsg": "interrupted", "codeName": "Interrupted"},
        {"ok": 0.0, "code": 10107, "errmsg": "not primary", "codeName": "NotWritablePrimary"},
        {"ok": 1.0, "n": 9, "writeConcernError": {"code": 64, "errmsg": "timed out"}},
        {"ok": 1.0, "n": 0, "writeErrors": [{"index": 0, "code": 91, "errmsg": "shutdown"}]},
    ],
    ids=str,
)
def test_stores_once_whatever_happens_to_an_insert(store, database, proxy, fault):
    proxy.faults += [fault] * 3
    stored = store.writer().write(batch(0, 9, bad=(4,)))
    assert (stored.rows, stored.dead) == (8, {"bad": 1})
    assert not proxy.faults
    assert (database.logs.count_documents({}), database.dead_letters.count_documents({})) == (8, 1)


def test_waits_for_help_with_what_does_not_pass_by_itself(store, proxy, status):
    proxy.faults += [{"ok": 0.0, "code": 13, "errmsg": "not authorized on logwax"}] * 999
    writing = threading.Thread(target=lambda: store.writer().write(batch(0, 2)))
    writing.start()
    wait_for(lambda: status.last_error, "a red status")
    assert "MongoDB: not authorized on logwax" in str(status.last_error)
    proxy.faults.clear()
    writing.join()
    assert store.offsets(FILE, 0, 9) == {0, 1}


def test_a_stop_does_not_wait_for_a_server_that_hangs(mongodb, proxy, tmp_path):
    stop = threading.Event()
    chosen = {**mongodb, "mongodb_url": proxy.url, "data_dir": tmp_path, "instance": "host"}
    store = open_store(Settings(_env_file=None, **chosen), Retry(stop))
    client = store._server._client
    other = client.start_session()  # of another worker: a client says farewell to its sessions
    client.admin.command("ping", session=other)
    proxy.faults.append("hang")

    def write_and_close() -> None:
        with pytest.raises(StoreError, match="Stopped while the store did not answer"):
            store.writer().write(batch(0, 2))
        store.close()

    writing = threading.Thread(target=write_and_close)
    writing.start()
    wait_for(lambda: proxy.is_hanging, "a server that hangs")
    other.end_session()
    stop.set()
    writing.join(30)
    assert not writing.is_alive()


def test_a_writer_that_died_before_its_position_leaves_lines_that_do_not_count(store):
    writer = store.writer()
    writer.write(batch(0, 4))
    writer.insert_all(batch(4, 8, bad=(5,)))  # and dies
    accounts = store.accounts()
    assert accounts.places(FILE, 0, 9)[0].tolist() == [0, 1, 2, 3]
    assert accounts.sums()["lines"].to_list() == [4]
    store.writer().write(batch(4, 9, bad=(5,)))
    offsets, dead = accounts.places(FILE, 0, 10)
    assert dict(zip(offsets.tolist(), dead.tolist(), strict=True)) == {n: n == 5 for n in range(9)}


def test_what_is_old_is_cleared_and_the_position_stays(store, database):
    store.writer().write(batch(0, 4))
    old = datetime(2000, 1, 1)
    database.ingest_blocks.update_many({}, {"$set": {"recorded_at": old}})
    assert not store.keep([FILE], [])
    assert database.ingest_blocks.count_documents({}) == 0
    assert list(store.ledger().files) == [span(0, 4)]
    store.keep([], [FILE])
    database.positions.update_many({}, {"$set": {"recorded_at": old}})
    assert list(store.keep([], [FILE])) == [FILE]
    assert list(store.ledger().files) == []


def test_figures_are_exact_where_columns_are_missing(store):
    durations = pl.Series([0.5, 0.1, 0.2, 0.4])
    codes = pl.Series([200, 500, 0, 204], dtype=pl.UInt16)
    success = pl.Series([True, False, False, True])
    writer = store.writer()
    writer.write(with_columns(4, duration=durations, status_code=codes, success=success))
    found = asyncio.run(store.reader.statistics("cust_1", date.min, date.max)).overall
    assert (found.total, found.successful, found.median) == (3, 2, 0.4)
    assert (found.average, found.p99) == (pytest.approx(1 / 3), pytest.approx(0.498))
    assert asyncio.run(store.reader.statistics("nobody", date.min, date.max)) is None
    assert not asyncio.run(store.reader.has_customer(""))


def test_an_address_that_cannot_be_used_is_refused_before_the_start_without_its_password(
    monkeypatch,
):
    monkeypatch.setenv("MONGODB_URL", "http://me:geheim@host")
    monkeypatch.setenv("MONGODB_DATABASE", "a.b")
    with pytest.raises(SettingsError) as raised:
        load()
    assert "MONGODB_URL=***: must be mongodb://" in str(raised.value)
    assert "MONGODB_DATABASE='a.b': it must have 1 to 63" in str(raised.value)
    assert "geheim" not in str(raised.value)


def test_a_server_that_is_away_is_named(free_port, tmp_path):
    url = f"mongodb://me:geheim@127.0.0.1:{free_port}/?serverSelectionTimeoutMS=100"
    settings = Settings(_env_file=None, store="mongodb", mongodb_url=url, data_dir=tmp_path)
    with pytest.raises(
        StoreError, match=rf"MongoDB at mongodb://127.0.0.1:{free_port}: .*refused"
    ) as raised:
        open_store(settings)
    assert "geheim" not in str(raised.value)


def test_commands_work_as_on_other_stores(pipeline: Pipeline, mongodb):
    settings = {name.upper(): value for name, value in mongodb.items()} | {"INSTANCE": "host"}
    text = "".join(line(n) for n in range(200))
    broken = text.replace(line(7), '{"ts": "2026-11-01T10:00:00Z"}\n')
    write_log(pipeline, broken)
    done = pipeline.run(STREAM_MAX_SIZE=60, **settings)
    assert done.stdout.startswith("lines=200 stored=199 dead=1"), done.stderr
    old = pipeline.directory / "old.log"
    old.write_text("".join(line(n) for n in range(300, 340)))
    steps = [
        (("audit",), "All is accounted for."),
        (("backfill", "old.log"), "lines=40 in_span=40 stored=40 dead=0 stored_before=0"),
        (("backfill", "old.log"), "lines=40 in_span=40 stored=0 dead=0 stored_before=40"),
    ]
    for command, expected in steps:
        told = logwax(pipeline, *command, **settings)
        assert (told.returncode, told.stderr) == (0, "")
        assert expected in told.stdout
    redriven = logwax(pipeline, "redrive", LOG_FORMAT="json", **settings)
    assert "tried=1 stored=1 dead=0" in redriven.stdout, redriven.stderr


def test_no_document_has_what_is_hidden_and_the_audit_balances_with_a_sample(
    pipeline: Pipeline, mongodb, database
):
    settings = {name.upper(): value for name, value in mongodb.items()} | {"INSTANCE": "host"}
    write_secrets(pipeline.directory, "a.log")
    (pipeline.directory / "b.log").write_bytes(lines(range(300)))
    pii = "email=mask,card=mask,token=drop,address=mask,attributes.customer=drop,customer_id=drop"
    settings |= {"LOG_FORMAT": "json", "LOG_PATHS": "*.log"}
    rules = {"PII": pii, "KEEP": "level != debug", "SAMPLE": "level = info: 0.1"}
    done = pipeline.run(STREAM_MAX_SIZE=100, **settings, **rules)
    documents = [one for name in database.list_collection_names() for one in database[name].find()]
    told = repr(documents) + done.stdout + done.stderr
    assert [secret for secret in SECRETS if secret in told] == []
    code, found = audited(pipeline, **settings, **rules)
    assert (code, found["lines"], found["dead"]) == (0, 312, 36)
    assert found["dropped"] == 312 - 36 - found["stored"] > 100
    assert database["logs"].count_documents({}) == found["stored"] > 90


def test_has_every_line_once_though_processes_are_killed(mongodb, tmp_path, soak):
    settings = {name.upper(): str(value) for name, value in mongodb.items()}
    plan = (
        Plan(kills=30, processes=2, rate=5_000, gzip=True, settings=settings)
        if soak
        else Plan(kills=2, processes=2, files=2, rate=2_000, settings=settings)
    )
    outcome = kill_and_count(tmp_path / "kills", plan)
    assert outcome.is_exact, f"seed {plan.seed}: {outcome}"
    assert outcome.stored_by_killed > 0 or not soak, "nobody was killed at work"
