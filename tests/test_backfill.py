"""`logwax backfill` on a real store: the lines of an old file, once, beside the tail."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import pytest
from backports import zstd

from flows import line_ranges
from tests.conftest import wait_for
from tests.test_audit import line, logwax, on_the_store, total, write_log

PACKED = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
}


def hour(number: int, count: int = 10) -> str:
    return "".join(line(n, f"2026-11-01 {number:02}:00:{n:02}") for n in range(count))


def backfill(pipeline, *arguments: str, **settings: object) -> str:
    done = logwax(pipeline, "backfill", *arguments, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def old(pipeline):
    """An old file of three hours, with a dead letter, empty lines and an unfinished last one."""
    text = hour(7) + "\n" + hour(8) + "nonsense\n\r\n" + hour(9)
    path = pipeline.directory / "old.log"
    path.write_text(text.removesuffix("\n"), newline="")
    return path


@pytest.mark.parametrize("packed", PACKED)
def test_stores_an_old_file_once(pipeline, old, packed, open_client):
    data = old.read_bytes()
    packed_one = old.with_suffix(f".{packed}")
    packed_one.write_bytes(PACKED[packed](data))
    first = backfill(pipeline, packed_one.name)
    assert first == "lines=31 in_span=31 stored=30 dead=1 stored_before=0\n"
    again = backfill(pipeline, str(old))  # which is the same file, by its content
    assert again == "lines=31 in_span=31 stored=0 dead=0 stored_before=31\n"
    found = open_client().query("SELECT offset, request_path, source, success FROM logs")
    assert len(found.result_rows) == 30
    for offset, path, source, success in found.result_rows:
        assert data[offset:].split(b" ", 4)[3] == path.encode()
        assert (source, success) == (str(packed_one), True)


@pytest.mark.parametrize(
    ("bounds", "stored"),
    [
        (("--from", "2026-11-01 08:00:00"), 20),
        (("--to", "2026-11-01T08:00:00Z"), 10),
        (("--from", "2026-11-01T08:00:00Z", "--to", "2026-11-01T10:00:00+01:00"), 10),
        (("--from", "2026-11-02"), 0),
    ],
)
def test_stores_only_the_lines_of_the_span(pipeline, old, bounds, stored, open_client):
    out = backfill(pipeline, "old.log", *bounds)
    assert f"in_span={stored} stored={stored} dead=0 " in out
    assert backfill(pipeline, "old.log").endswith(
        f"stored={30 - stored} dead=1 stored_before={stored}\n"
    )
    found = open_client().query("SELECT count(), uniqExact(file_id, offset) FROM logs")
    assert found.result_rows == [(30, 30)]


def test_the_tail_never_stores_it_again(pipeline, old):
    backfill(pipeline, "old.log", "--from", "2026-11-01 09:00:00")
    log = old.rename(write_log(pipeline, ""))
    done = pipeline.run()
    assert done.stdout.startswith("lines=0 "), done.stdout
    write_log(pipeline, "\n" + line(1))
    assert pipeline.run().stdout.startswith("lines=2 stored=1 ")
    audit = logwax(pipeline, "audit")
    assert (audit.returncode, total(audit.stdout)["lines"]) == (0, 11), audit.stdout
    assert log.exists()


def test_what_a_tail_skipped_can_be_stored_later(pipeline):
    log = write_log(pipeline, hour(7))
    pipeline.start(LOG_START="end")
    pipeline.wait_until_healthy()
    write_log(pipeline, hour(8))
    pipeline.wait_until_stored(10)
    assert pipeline.get("/ready").json() == {"status": "ready"}
    assert pipeline.get("/stats").json()["total_requests"] == 10
    assert "Age" in pipeline.get("/stats").headers  # it is kept
    out = backfill(pipeline, str(log))  # while it is read
    assert out == "lines=20 in_span=20 stored=10 dead=0 stored_before=10\n"
    assert pipeline.get("/stats").json()["total_requests"] == 20
    write_log(pipeline, hour(9))
    pipeline.wait_until_stored(30)
    assert total(logwax(pipeline, "audit").stdout)["lines"] == 30
    assert pipeline.stop() == 0
    audit = logwax(pipeline, "audit")
    assert (audit.returncode, total(audit.stdout)["stored"]) == (0, 30), audit.stdout


def test_what_the_tail_has_not_read_yet_is_left_to_it(pipeline):
    log = write_log(pipeline, hour(7))
    pipeline.run()
    write_log(pipeline, hour(8))
    out = backfill(pipeline, str(log))
    assert out.startswith("lines=10 in_span=10 stored=0 dead=0 stored_before=10\nThe last ")
    assert pipeline.run().stdout.startswith("lines=10 stored=10 ")
    assert logwax(pipeline, "audit").returncode == 0


def test_beside_a_running_tail_under_load(pipeline, old, open_client):
    log = write_log(pipeline, "")
    with pipeline.generator():
        pipeline.start()
        pipeline.wait_until_healthy()
        wait_for(lambda: log.stat().st_size, "a generated line")
        pipeline.wait_until_stored(1)
        backfill(pipeline, str(log))
        assert "stored=30 dead=1 " in backfill(pipeline, str(old))
        new = old.rename(log.with_name("turned_up.log"))
    assert pipeline.stop() == 0
    done = pipeline.run(LOG_PATHS="data/logs/*.log")
    assert done.returncode == 0, done.stderr
    assert logwax(pipeline, "audit", LOG_PATHS="data/logs/*.log").returncode == 0
    found = open_client().query("SELECT count(), uniqExact(file_id, offset) FROM logs")
    lines = log.read_bytes().count(b"\n")
    assert found.result_rows == [(lines + 30, lines + 30)]
    assert new.exists()


def test_a_running_tail_knows_what_was_backfilled(pipeline, old):
    write_log(pipeline, "")
    pipeline.start(LOG_PATHS="data/logs/*.log")
    pipeline.wait_until_healthy()
    backfill(pipeline, str(old))
    old.rename(pipeline.directory / "data/logs/turned_up.log")
    write_log(pipeline, line(1), "data/logs/new.log")
    pipeline.wait_until_stored(32)
    write_log(pipeline, "\n" + line(1), "data/logs/turned_up.log")
    pipeline.wait_until_stored(33)
    assert pipeline.stop() == 0
    audit = logwax(pipeline, "audit", LOG_PATHS="data/logs/*.log")
    assert audit.returncode == 0, audit.stdout
    health = total(audit.stdout)
    assert (health["stored"], health["dead"]) == (32, 1)


def test_a_longer_line_is_a_dead_letter_with_its_first_bytes(pipeline, open_client):
    old = pipeline.directory / "old.log"
    old.write_text(line(1) + "x" * 5000 + "\n" + line(2) + "y" * 2000)
    out = backfill(pipeline, "old.log", LOG_MAX_LINE_BYTES=1024)
    assert out == "lines=4 in_span=4 stored=2 dead=2 stored_before=0\n"
    found = open_client().query("SELECT raw, reason, detail FROM dead_letters ORDER BY offset")
    assert found.result_rows == [
        ("x" * 1024, "too_long", "5001 bytes with its line end; LOG_MAX_LINE_BYTES is 1024"),
        ("y" * 1024, "too_long", "2000 bytes with its line end; LOG_MAX_LINE_BYTES is 1024"),
    ]


def test_repairs_what_an_audit_finds_missing_again_and_again(pipeline):
    log = write_log(pipeline, hour(7))
    pipeline.run()
    for _ in range(2):
        on_the_store(
            pipeline,
            "ALTER TABLE logs DELETE WHERE offset < 200 AND offset > 0 SETTINGS mutations_sync = 1",
        )
        assert "missing=3 " in logwax(pipeline, "audit").stdout
        assert "stored=3 dead=0 stored_before=7" in backfill(pipeline, str(log))
        assert logwax(pipeline, "audit").returncode == 0


def test_a_file_whose_beginning_is_known_under_another_name_is_read_on(pipeline):
    log = write_log(pipeline, hour(7))
    pipeline.run()
    other = pipeline.directory / "backup.log.gz"
    data = log.read_bytes() + hour(8).encode()
    other.write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
    log.unlink()
    log.write_bytes(b"")
    assert backfill(pipeline, str(other)) == (
        "lines=20 in_span=20 stored=10 dead=0 stored_before=10\n"
    )
    assert "stored=0 dead=0 stored_before=20\n" in backfill(pipeline, str(other))
    audit = logwax(pipeline, "audit")
    assert audit.returncode == 0, audit.stdout
    log.write_bytes(data + hour(9).encode())  # it turns up, and has grown
    assert pipeline.run().stdout.startswith("lines=10 stored=10 ")


def test_a_copy_of_the_beginning_of_a_known_file_is_stored_already(pipeline):
    log = write_log(pipeline, hour(7, 60))
    pipeline.run(STREAM_MAX_SIZE=25)
    copy = pipeline.directory / "copy.log"
    copy.write_bytes(log.read_bytes()[:2000])  # within a line
    whole = log.read_bytes()[:2000].count(b"\n")
    out = backfill(pipeline, str(copy))
    assert out.startswith(f"lines={whole} in_span={whole} stored=0 dead=0 stored_before={whole}\n")


def test_of_a_damaged_file_the_lines_before_are_stored_and_the_rest_when_it_is_whole(
    pipeline, old, open_client
):
    packed = pipeline.directory / "old.log.gz"
    first, rest = old.read_bytes()[:905], old.read_bytes()[905:]
    whole = gzip.compress(first) + gzip.compress(rest)
    packed.write_bytes(whole[:-20])
    for stored in (True, False):
        done = logwax(pipeline, "backfill", str(packed))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "is damaged" in done.stderr
        assert ("stored=0 " not in done.stdout) is stored
    packed.write_bytes(whole)
    out = backfill(pipeline, str(packed))
    assert "lines=31 in_span=31 " in out
    assert "stored=0 " not in out
    found = open_client().query(
        "SELECT count(), uniqExact(offset), uniqExact(file_id), "
        "(SELECT count() FROM dead_letters) FROM logs"
    )
    assert found.result_rows == [(30, 30, 1, 1)]


def test_what_cannot_be_done_is_said_in_a_sentence(pipeline, old):
    log = write_log(pipeline, "")
    damaged = pipeline.directory / "damaged.gz"
    damaged.write_bytes(gzip.compress(old.read_bytes())[:10])
    (pipeline.directory / "empty.log").touch()
    (pipeline.directory / "image").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    os.mkfifo(pipeline.directory / "pipe")
    pipeline.start(LOG_PATHS="data/logs/*.log", LOG_FORMAT="json")
    pipeline.wait_until_healthy()
    matched = log.with_name("b.log")
    matched.write_text("half a li")
    for arguments, sentence in [
        (("nowhere.log",), "Cannot read"),
        (("data",), "Cannot read"),
        (("damaged.gz",), "is damaged"),
        (("empty.log",), "it has no lines"),
        (("image",), "it looks like a PNG image"),
        (("pipe",), "not a regular file"),
        (("old.log", "--from", "yesterday"), "'yesterday' is not a time"),
        (("old.log", "--from", "2400-01-01"), "outside of the years"),
        (("old.log", "--from", "2026-11-02", "--to", "2026-11-01"), "No time is from"),
        (("old.log", "--from", "2026-11-02", "--to", "2026-11-02T00:00:00Z"), "No time is from"),
        ((str(matched),), "is one of the files that the running pipeline reads"),
    ]:
        done = logwax(pipeline, "backfill", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert sentence in done.stderr
    pipeline.stop()


def test_a_beginning_at_the_end_comes_first(pipeline, old):
    done = logwax(pipeline, "backfill", "old.log", LOG_START="end")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "start the pipeline once" in done.stderr


def test_lines_that_cross_chunks_are_stored_once(tmp_path, monkeypatch):
    from connectors.accounts import accounts_of
    from connectors.store import open_store
    from flows import backfill as module
    from flows.commands import Commands
    from settings import Settings

    monkeypatch.setattr(line_ranges, "CHUNK", 700)
    monkeypatch.setattr(module, "CHUNK", 500)
    (tmp_path / "old.log").write_text("\n".join([hour(7, 60), "x" * 3000, hour(8, 60)]))
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    store = open_store(settings)
    try:
        commands = Commands(settings, store, accounts_of(store, settings))
        for stored, dead in ((120, 1), (0, 0)):
            *_, counts, _ = commands.backfill(str(tmp_path / "old.log"))
            assert (counts["lines"], counts["stored"], counts["dead"]) == (121, stored, dead)
    finally:
        store.close()
