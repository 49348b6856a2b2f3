"""`logwax redrive` on a real store: dead letters become rows, each once."""

from __future__ import annotations

import json

import pytest

from connectors.accounts import accounts_of
from connectors.errors import StoreError
from connectors.sinks.clickhouse.accounts import ClickHouseAccounts
from connectors.store import open_store
from flows import redrive as module
from flows.commands import Commands
from settings import Settings
from tests.test_audit import line, logwax, on_the_store, write_log

JSON = json.dumps(
    {"ts": "2026-11-01T10:00:00Z", "path": "/orders/17?x=1", "status": 200}, separators=(",", ":")
)


@pytest.fixture
def wrong_format(pipeline):
    """JSON lines that were read in the wrong format, one of which is broken, and one fitting."""
    write_log(pipeline, f"{JSON}\n{line(0)}{{broken\n{JSON}\r\n\xff\n", "data/logs/a.log")
    write_log(pipeline, f"{JSON}\n", "data/logs/b.log")
    done = pipeline.run(LOG_PATHS="data/logs/*.log")
    assert done.stdout.startswith("lines=6 stored=1 dead=5")
    return pipeline


def redrive(pipeline, *options: str, **settings: object) -> str:
    done = logwax(
        pipeline, "redrive", *options, LOG_PATHS="data/logs/*.log", LOG_FORMAT="json", **settings
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_makes_rows_of_what_fits_now(wrong_format, open_client):
    first = redrive(wrong_format)
    assert first == ("missing_fields: tried=5 stored=3 dead=2\ntotal: tried=5 stored=3 dead=2\n")
    assert redrive(wrong_format) == (
        "bad_json: tried=2 stored=0 dead=2\ntotal: tried=2 stored=0 dead=2\n"
    )
    audit = logwax(wrong_format, "audit", LOG_PATHS="data/logs/*.log")
    assert audit.returncode == 0, audit.stdout
    client = open_client()
    rows = client.query(
        "SELECT source, offset, endpoint, success, request_path FROM logs "
        "WHERE endpoint = '/orders/:id' AND request_path LIKE '%x=1' ORDER BY source, offset"
    ).result_rows
    a, b = (str(wrong_format.directory / f"data/logs/{name}.log") for name in "ab")
    second = len(JSON) + 1 + len(line(0)) + len("{broken\n")
    path = "/orders/17?x=1"
    assert rows == [(s, o, "/orders/:id", True, path) for s, o in ((a, 0), (a, second), (b, 0))]
    left = client.query(
        "SELECT raw, reason FROM dead_letters ORDER BY offset", column_formats={"raw": "bytes"}
    ).result_rows
    assert left == [(b"{broken", "bad_json"), ("\xff".encode(), "bad_json")]


def test_a_dry_run_changes_nothing(wrong_format, open_client):
    assert redrive(wrong_format, "--dry-run") == (
        "missing_fields: tried=5 stored=3 dead=2\n"
        "dry run, nothing is changed: tried=5 stored=3 dead=2\n"
    )
    assert open_client().query("SELECT count() FROM dead_letters").result_rows == [(5,)]


@pytest.mark.parametrize(
    ("options", "tried"),
    [
        (("--reason", "missing_fields"), 5),
        (("--source", "data/logs/b.log"), 1),
        (("--source", "data/*/a.*"), 4),
        (("--source", "data/logs/a.log", "--reason", "missing_fields"), 4),
    ],
)
def test_takes_only_what_is_asked_for(wrong_format, options, tried):
    assert f": tried={tried} " in redrive(wrong_format, "--dry-run", *options).splitlines()[-1]


def test_what_no_dead_letter_has_is_an_error_that_says_which_there_are(wrong_format):
    for option, sentence in (
        (("--reason", "bad_status"), "the reason 'bad_status'; there are missing_fields."),
        (("--source", "data/*/c.*"), "data/logs/a.log, "),
    ):
        done = logwax(wrong_format, "redrive", *option, LOG_FORMAT="json")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert sentence in done.stderr


@pytest.mark.parametrize("reason", ["too_long", "continued"])
def test_fragments_stay_what_they_are(wrong_format, reason):
    on_the_store(
        wrong_format,
        f"ALTER TABLE dead_letters UPDATE reason = '{reason}' WHERE 1 SETTINGS mutations_sync = 1",
    )
    assert redrive(wrong_format) == "total: tried=0 stored=0 dead=0\n"
    done = logwax(wrong_format, "redrive", "--reason", reason)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("method", ["insert", "delete_dead", "update_dead"])
def test_a_crash_on_the_way_heals_at_the_next_time(wrong_format, monkeypatch, method, open_client):
    monkeypatch.chdir(wrong_format.directory)
    settings = Settings(_env_file=None, log_format="json", log_paths="data/logs/*.log")
    monkeypatch.setattr(module, "LETTERS_AT_ONCE", 2)

    def crash(*_: object) -> None:
        raise StoreError("the power is gone")

    store = open_store(settings)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(ClickHouseAccounts, method, crash)
            with pytest.raises(StoreError):
                list(Commands(settings, store, accounts_of(store, settings)).redrive())
        list(Commands(settings, store, accounts_of(store, settings)).redrive())
    finally:
        store.close()
    audit = logwax(wrong_format, "audit", LOG_PATHS="data/logs/*.log")
    assert audit.returncode == 0, audit.stdout
    counted = open_client().query(
        "SELECT (SELECT count() FROM logs), (SELECT count() FROM dead_letters)"
    )
    assert counted.result_rows == [(4, 2)]


def test_a_row_that_is_there_already_only_loses_its_dead_letter(wrong_format, open_client):
    on_the_store(
        wrong_format,
        "INSERT INTO logs (file_id, offset, source) SELECT file_id, offset, source "
        "FROM dead_letters WHERE offset = 0",
    )
    redrive(wrong_format)
    found = open_client().query(
        "SELECT count(), uniqExact(file_id, offset), countIf(endpoint = '') FROM logs"
    )
    assert found.result_rows == [(4, 4, 2)]


def test_a_dead_letter_goes_only_when_its_row_is_there(wrong_format, open_client):
    """Also when the token of an earlier redrive drops the rows, which were deleted since."""
    on_the_store(
        wrong_format,
        "CREATE TABLE kept AS dead_letters ENGINE = Log",
        "INSERT INTO kept SELECT * FROM dead_letters",
    )
    redrive(wrong_format)
    on_the_store(
        wrong_format,
        "ALTER TABLE logs DELETE WHERE request_path LIKE '%x=1' SETTINGS mutations_sync = 1",
        "TRUNCATE TABLE dead_letters",
        "INSERT INTO dead_letters SELECT * FROM kept",
    )
    redrive(wrong_format)
    audit = logwax(wrong_format, "audit", LOG_PATHS="data/logs/*.log")
    assert audit.returncode == 0, audit.stdout
    counted = open_client().query(
        "SELECT (SELECT count() FROM logs), (SELECT count() FROM dead_letters)"
    )
    assert counted.result_rows == [(4, 2)]


def test_redrives_in_a_running_pipeline(wrong_format):
    wrong_format.start(LOG_PATHS="data/logs/*.log", LOG_FORMAT="json")
    wrong_format.wait_until_healthy()
    assert redrive(wrong_format).endswith("total: tried=5 stored=3 dead=2\n")
    health = wrong_format.get("/health").json()
    assert (health["rows_stored"], health["dead_letters"]) == (4, 2)
    assert logwax(wrong_format, "audit").returncode == 0


def test_takes_many_in_batches(pipeline, open_client):
    bad = "".join(f"2026-11-01T10:00:00Z{n} bad\n" for n in range(11_000))
    write_log(pipeline, "".join(f'{{"ts": 1793527200, "n": {n}}}\n' for n in range(11_000)) + bad)
    assert pipeline.run().stdout.startswith("lines=22000 stored=0 dead=22000")
    done = logwax(pipeline, "redrive", LOG_FORMAT="json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tried=22000 stored=11000 dead=11000" in done.stdout
    assert logwax(pipeline, "audit").returncode == 0
    reasons = open_client().query("SELECT reason, count() FROM dead_letters GROUP BY reason")
    assert reasons.result_rows == [("bad_json", 11_000)]
