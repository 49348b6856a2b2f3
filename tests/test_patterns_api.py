"""`/patterns` over real stores: what messages are about, and which of it is new."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from fastapi import FastAPI

from api.app import create_app
from cli.patterns import _time, run
from connectors import patterns
from connectors.batch import COLUMNS, Parsed
from connectors.patterns import MANY, common
from connectors.status import Status
from connectors.store import Reader, Store
from flows.enrichment.patterns import make, pattern_id
from settings import Settings
from tests.conftest import Pipeline
from tests.test_clickhouse_store import span
from tests.test_logs_api import answer, get, open_made

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
USERS = ("ann", "bob", "cat", "dan", "eve", "fay", "gus")
DAY_BEFORE = ["Listening on port 80", *(f"Disk of volume {name} is full" for name in USERS[:MANY])]
MESSAGES = [
    *(f"Request {number} took {number % 7} ms" for number in range(90)),
    *(f"Disk of volume {name} is full" for name in USERS),
    "Listening on port 8080",
    "Out of memory in worker 3",
    "",
]
EVER = {"from": "2023-01-01", "to": "2030-01-01"}
DAY = {"from": "2024-01-01", "to": "2024-01-02"}


def insert(store: Store, messages: list[str], start: datetime, place: int) -> None:
    rows = pl.DataFrame(
        {
            "timestamp": [start + timedelta(seconds=number) for number in range(len(messages))],
            "message": messages,
            "level": ["error" if "memory" in message else "info" for message in messages],
            "file_id": [7] * len(messages),
            "offset": range(place, place + len(messages)),
        },
        {name: COLUMNS[name] for name in ("timestamp", "message", "level", "file_id", "offset")},
    )
    made = make(Settings(_env_file=None), Status())(rows)
    store.writer().write(Parsed((span(place, place + len(messages)),), rows=made))


@pytest.fixture(scope="module", params=["embedded", "sqlite"])  # a server has the same questions
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    store = open_made(request.param, tmp_path_factory.mktemp(request.param))
    insert(store, DAY_BEFORE, START - timedelta(days=1), 0)
    insert(store, MESSAGES, START, 100)
    yield create_app(cast(Reader, store.reader))
    store.close()


def counts(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(one["pattern"], one["count"]) for one in found["patterns"]]


def test_patterns_are_counted_exactly_the_most_frequent_first(app: FastAPI) -> None:
    found = answer(app, "/patterns", **DAY)
    assert counts(found) == [
        ("Request <*> took <*>", 90),
        ("Disk of volume <*> is full", 7),
        ("Listening on port <*>", 1),
        ("Out of memory in worker <*>", 1),
    ]
    assert (found["total"], found["found"], found["unseen"]) == (99, 4, 0)
    first = found["patterns"][0]
    assert first["share"] == round(90 / 99, 6)
    assert first["first"] == "2024-01-01T00:00:00.000000Z"
    assert first["last"] == "2024-01-01T00:01:29.000000Z"
    assert first["example"] == "Request 89 took 5 ms"


def test_what_many_differ_in_is_shown_as_one_and_all_its_rows_can_be_asked_for(
    app: FastAPI,
) -> None:
    disks = answer(app, "/patterns", **DAY)["patterns"][1]
    assert (disks["patterns"], len(disks["pattern_ids"])) == (7, 7)
    filter_ = f"pattern_id in ({', '.join(disks['pattern_ids'])})"
    rows = answer(app, "/logs", filter=filter_, order="oldest", **DAY)["rows"]
    assert [row["message"] for row in rows] == [f"Disk of volume {name} is full" for name in USERS]


def test_new_is_what_no_row_before_has_not_one_more_word_at_a_place_of_many(app: FastAPI) -> None:
    found = answer(app, "/patterns", new=True, **DAY)
    assert counts(found) == [("Request <*> took <*>", 90), ("Out of memory in worker <*>", 1)]
    assert counts(answer(app, "/patterns", new=True, **EVER)) == counts(
        answer(app, "/patterns", **EVER)
    )


def test_the_rarest_can_come_first(app: FastAPI) -> None:
    found = answer(app, "/patterns", order="rare", limit=1, filter="level = error", **EVER)
    assert counts(found) == [("Out of memory in worker <*>", 1)]


def test_rows_whose_patterns_are_too_many_are_counted(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.patterns.MOST", 1)
    found = answer(app, "/patterns", **DAY)
    assert (counts(found), found["unseen"]) == ([("Request <*> took <*>", 90)], 9)


def test_patterns_are_fields_of_filters_facets_and_explanations(app: FastAPI) -> None:
    facets = answer(app, "/logs/facets", columns="pattern", limit=1, **DAY)["facets"]["pattern"]
    assert facets["values"] == [{"value": "Request <*> took <*>", "count": 90}]
    told = answer(app, "/logs/histogram", filter='pattern = "Request <*> took <*>"', **DAY)
    assert told["total"] == 90
    within = f'timestamp < "{(START + timedelta(seconds=80)).isoformat()}"'
    findings = answer(app, "/explain", filter=within, **DAY)["findings"]
    assert ("pattern", "Request <*> took <*>") in [(one["field"], one["value"]) for one in findings]
    assert "pattern_id" not in [one["field"] for one in findings]


def test_a_text_is_not_looked_for_in_ids(app: FastAPI) -> None:
    [memory] = answer(app, "/patterns", filter="level = error", **DAY)["patterns"]
    [pattern_id] = memory["pattern_ids"]
    assert answer(app, "/logs", filter=pattern_id, **DAY)["rows"] == []
    assert len(answer(app, "/logs", filter=f"pattern_id = {pattern_id}", **DAY)["rows"]) == 1


def test_a_table_without_patterns_says_so(tmp_path: Path) -> None:
    store = open_made("sqlite", tmp_path, enrichers="none")
    got = get(create_app(cast(Reader, store.reader)), "/patterns")
    store.close()
    assert (got.status_code, got.json()) == (501, {"detail": "The table has no column pattern_id."})


def test_patterns_are_shown_as_one_whatever_their_order() -> None:
    many = [f"Disk of volume {name} is full" for name in USERS]
    shown = common(many)
    assert set(shown.values()) == {"Disk of volume <*> is full"}
    assert common(reversed(many)) == shown


@pytest.mark.parametrize(
    "alike",
    [
        [f"Disk of volume {name} is full" for name in USERS[: patterns.MANY - 1]],
        [f"{name} starts up now" for name in USERS],  # what happens
        [f"Disk {name}" for name in USERS],  # too little is the same
        [f"Disk of volume {name} is {'so ' * number}full" for number, name in enumerate(USERS)],
    ],
)
def test_patterns_that_may_mean_something_else_stay_apart(alike: list[str]) -> None:
    assert common(alike) == {one: one for one in alike}


# The command


def test_the_command_prints_each_pattern_with_its_count_share_times_and_an_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORE", "sqlite")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    store = open_made("sqlite", tmp_path / "data")
    insert(store, DAY_BEFORE, START - timedelta(days=1), 0)
    insert(store, MESSAGES, START, 100)
    store.close()
    assert run(since="2024-01-01", new=True) == 0
    out = "\n".join(" ".join(line.split()) for line in capfd.readouterr().out.splitlines())
    assert (
        out
        == """90 90.91% Request <*> took <*>
2024-01-01T00:00:00 to 2024-01-01T00:01:29, such as:
Request 89 took 5 ms
1 1.01% Out of memory in worker <*>
2024-01-01T00:01:38 to 2024-01-01T00:01:38, such as:
Out of memory in worker 3
2 new patterns in 99 rows with a message, from 2024-01-01T00:00:00 to 2024-01-01T00:01:39."""
    )
    assert run(since="yesterday", new=False) == 1
    assert "must be a time such as" in capfd.readouterr().err


def test_since_may_be_so_long_ago() -> None:
    ago = datetime.now(timezone.utc) - datetime.fromisoformat(_time("2h"))
    assert timedelta(hours=2) <= ago < timedelta(hours=2, seconds=60)


def test_one_rare_line_among_many_is_found_whatever_workers_and_batches(
    tmp_path: Path, soak: bool
) -> None:
    """Counts are exact, and ids those of one message alone: here 10,000,000 with `--soak`."""
    pieces, count = (400, 25_000) if soak else (4, 2_000)
    line = '{"ts": 1793527200, "message": "%s"}\n'
    for number in range(pieces):
        with (tmp_path / f"{number}.log").open("w") as log:
            log.writelines(
                line % f"Request {number}-{one} took {one % 97} ms" for one in range(count)
            )
            if number == pieces // 2:
                log.write(line % "Checksum of block 17 is wrong")
    settings = {"LOG_PATHS": "*.log", "LOG_FORMAT": "json", "STORE": "sqlite", "INSTANCE": "a"}
    more = {"STREAM_MAX_SIZE": 100_000 if soak else 777}
    done = Pipeline(tmp_path, 0).run("-w4", deadline=3600, **settings, **more)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "data" / "logwax.sqlite")) as db:
        found = db.execute(
            "SELECT pattern_id, pattern, count(*) FROM logs GROUP BY 1, 2 ORDER BY 3"
        )
        expected = [("Checksum of block <*> is wrong", 1), ("Request <*> took <*>", pieces * count)]
        assert list(found) == [(pattern_id(text), text, times) for text, times in expected]
