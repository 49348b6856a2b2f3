"""What answers say of their own completeness, and the dead letters that are in no row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from fastapi import FastAPI

from api.app import create_app
from connectors.batch import REJECTED, BlockId, Parsed
from connectors.status import SourceStatus
from connectors.store import Reader, Store
from tests.conftest import wait_for
from tests.opened_stores import opened
from tests.tailing import Memory, Tail, append
from tests.test_clickhouse_store import span
from tests.test_logs_api import answer, get
from tests.test_statistics import Running

OK = ("/a", 200, 0.1)
LETTERS = [
    (b"first \xff", "bad_timestamp", "'31/Foo/2024' is not an ISO 8601 time"),
    (b"second", "bad_timestamp", """"it's 5" is not an ISO 8601 time"""),
    (b"x" * 1000, "bad_json", "Expecting value: line 1 column 5 (char 4)"),
    (b"fourth", "bad_timestamp", "'' is not an ISO 8601 time"),
    (b"fifth", "bad_json", "Expecting value: line 1 column 17 (char 16)"),
    (b"sixth", "empty", ""),
]


def letters(first: int, found: list[tuple[bytes, str, str]]) -> Parsed:
    """A batch of dead letters only, each at a byte of its own."""
    place = span(first, first + len(found))
    rows = [
        (place.stream.id, first + number, first + number, "/var/log/a.log", *letter)
        for number, letter in enumerate(found)
    ]
    return Parsed((place,), rejected=pl.DataFrame(rows, REJECTED, orient="row"))


@pytest.fixture
def tailed(tmp_path: Path, tail: Callable[..., Tail]) -> Tail:
    (tmp_path / "a.log").write_bytes(b"one\n")
    made = tail(tmp_path / "*.log")
    wait_for(lambda: made.batch(), "the first line")
    return made


def test_a_source_is_complete_to_when_the_oldest_line_that_waits_was_noticed(
    tailed: Tail, tmp_path: Path
) -> None:
    began = time.time()
    assert tailed.is_quiet()
    complete_to = tailed.source.status().complete_to
    assert complete_to is not None
    assert began <= complete_to <= time.time()
    append(tmp_path / "a.log", b"two\n")
    tailed.poll_soon()
    [taken] = tailed.partition.next_batch()
    noticed = time.time()
    wait_for(lambda: time.time() > noticed, "a later time")
    assert tailed.partition.next_batch() == []
    behind = tailed.source.status()
    assert behind.files_behind == 1
    assert complete_to <= (behind.complete_to or 0) <= noticed
    taken.acknowledge()
    assert tailed.is_quiet()
    after = tailed.source.status()
    assert (after.files_behind, (after.complete_to or 0) > noticed) == (0, True)


def test_since_when_lines_wait_that_were_there_at_the_start_is_not_known(
    tail: Callable[..., Tail], tmp_path: Path
) -> None:
    (tmp_path / "a.log").write_bytes(b"one\n")
    tailed = tail(tmp_path / "a.log")
    [taken] = tailed.partition.next_batch()
    assert (tailed.source.status().files_behind, tailed.source.status().complete_to) == (1, None)
    taken.acknowledge()
    assert tailed.is_quiet()
    assert tailed.source.status().complete_to


def test_while_a_block_is_in_doubt_no_time_is_named(
    tail: Callable[..., Tail], tmp_path: Path
) -> None:
    memory = Memory()
    memory.in_doubt = {BlockId(1, 1): [span(0, 4)]}  # of a file that is not there
    tailed = tail(tmp_path / "a.log", memory)
    assert tailed.is_quiet()
    assert (tailed.source.status().blocks_in_doubt, tailed.source.status().complete_to) == (1, None)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with closing(Running(tmp_path / "data")) as made:
        yield made


def test_an_answer_that_was_kept_says_how_complete_it_is_now(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SourceStatus(files_behind=1, blocks_in_doubt=2, complete_to=1700000000.5)
    completing = "api.completeness._FRESH"
    monkeypatch.setattr(completing, 0.0)
    monkeypatch.setattr("tests.test_statistics.SourceStatus", lambda: now)
    running.over(sees_writes=True)
    running.store_it("a", OK)

    def told() -> dict[str, Any]:
        first, second = (running.get("/stats").json() for _ in range(2))
        assert first == second
        return cast("dict[str, Any]", first["completeness"])

    assert told() == {
        "complete_to": "2023-11-14T22:13:20.500000Z",
        "files_behind": 1,
        "blocks_in_doubt": 2,
        "dead_letters": 0,
    }
    tag = running.get("/stats").headers["ETag"]
    now = SourceStatus()
    assert told() == dict.fromkeys(("files_behind", "blocks_in_doubt", "dead_letters"), 0) | {
        "complete_to": None
    }
    assert running.get("/stats", **{"If-None-Match": tag}).status_code == 304
    running.sink.write_batch([letters(1000, LETTERS)])
    running.sink.wait()
    assert told()["dead_letters"] == len(LETTERS)
    assert running.get("/stats?to_date=1999-12-31").json()["completeness"]["dead_letters"] == 0
    assert running.get("/stats", **{"If-None-Match": tag}).status_code == 304


def test_every_answer_about_rows_or_requests_says_it(running: Running) -> None:
    running.store_it("a", OK)
    running.sink.write_batch([letters(1000, LETTERS)])
    running.sink.wait()
    ever = "from=1900-01-01&to=2200-01-01"
    for path in (
        *("/stats", "/customers/a/stats", "/customers/a/stats?interval=hour"),
        *("/customers", "/endpoints"),
        *(f"/logs?{ever}", f"/logs/histogram?{ever}", f"/logs/facets?{ever}"),
    ):
        assert running.get(path).json()["completeness"]["dead_letters"] == len(LETTERS), path


def test_without_a_pipeline_only_the_dead_letters_are_known(running: Running) -> None:
    app = create_app(cast(Reader, running.store.reader))
    assert answer(app, "/stats")["completeness"] == {
        "complete_to": None,
        "files_behind": None,
        "blocks_in_doubt": None,
        "dead_letters": 0,
    }


# --- dead letters ----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["embedded", "sqlite", "clickhouse", "influxdb", "mongodb"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with opened(request, tmp_path_factory) as made:
        writer = made.writer()
        writer.write(letters(0, LETTERS[:3]))
        writer.write(letters(3, LETTERS[3:]))
        writer.close()
        yield made


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    return create_app(cast(Reader, store.reader))


def test_dead_letters_are_told_by_reason_with_the_first_the_last_and_one_between(
    app: FastAPI,
) -> None:
    told = answer(app, "/dead-letters")
    assert told["total"] == len(LETTERS)
    found = {one["reason"].partition(":")[0]: one for one in told["reasons"]}
    assert [(name, one["count"]) for name, one in found.items()] == [
        ("bad_timestamp", 3),
        ("bad_json", 2),
        ("empty", 1),
    ]
    assert {name: [sample["raw"] for sample in one["samples"]] for name, one in found.items()} == {
        "bad_timestamp": ["first \\xff", "second", "fourth"],
        "bad_json": ["x" * 256, "fifth"],
        "empty": ["sixth"],
    }
    [sample] = found["empty"]["samples"]
    assert (sample["source"], sample["offset"]) == ("/var/log/a.log", 5)
    for one in found.values():
        times = [sample["time"] for sample in one["samples"]]
        assert (one["first"], one["last"]) == (times[0], times[-1])


def test_dead_letters_are_chosen_by_time_and_bounded(app: FastAPI) -> None:
    first = min(one["first"] for one in answer(app, "/dead-letters")["reasons"])
    before = {"from": "1970-01-01", "to": first}
    assert answer(app, "/dead-letters", **before) == {"total": 0, "reasons": []}
    assert answer(app, "/dead-letters", **{"from": first})["total"] == len(LETTERS)
    few = answer(app, "/dead-letters", limit=1)
    assert (few["total"], [one["count"] for one in few["reasons"]]) == (len(LETTERS), [3])
    assert get(app, "/dead-letters", **{"from": "2024-01-02", "to": "2024-01-01"}).json() == {
        "detail": "from is after to."
    }


def test_a_reason_is_its_word_and_what_does_not_vary(store: Store, app: FastAPI) -> None:
    if not store.reader or not store.reader.logs:
        return  # of the others only the word
    assert [one["reason"] for one in answer(app, "/dead-letters")["reasons"]] == [
        "bad_timestamp: '…' is not an ISO N time",
        "bad_json: Expecting value: line N column N (char N)",
        "empty",
    ]
