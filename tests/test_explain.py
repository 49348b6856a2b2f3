"""`/explain` over real stores: what some rows have more of than others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, cast

import pytest
from fastapi import FastAPI

from api.app import create_app
from connectors.contrast import Share, ranked
from connectors.sinks import sql_contrast
from connectors.store import Reader
from tests.test_logs_api import answer, get, insert, open_made

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
EVER = {"from": "2023-01-01", "to": "2030-01-01"}
CAUSES = {  # what is planted -> the status by which it is seen
    "host": 500,
    "customer_id": 501,
    "endpoint": 502,
    "attr.region": 503,
    "attr.odd key": 504,
}


def rows() -> Iterator[dict[str, Any]]:
    """Requests, of which one of two with a cause has its status, and one of fifty of the others."""
    random = Random(7)
    for number in range(6000):
        host = f"web-{random.randrange(8)}"
        found: dict[str, Any] = {
            "host": host,
            "customer_id": f"c{random.randrange(40)}",
            "endpoint": f"/e{random.randrange(12)}",
            "attr.region": f"r{random.randrange(5)}",
            "attr.odd key": random.randrange(9),
        }
        status = 200
        for name, code in CAUSES.items():
            is_cause = str(found[name])[-1] == "3"
            if random.random() < (0.5 if is_cause else 0.02):
                status = code
        yield {
            "timestamp": START + timedelta(seconds=number),
            **{name: value for name, value in found.items() if not name.startswith("attr.")},
            "method": random.choice(["GET", "POST"]),
            "status_code": status,
            "status_class": f"{status // 100}xx",
            "success": status < 400,
            "source": f"/var/log/{host}.log",
            "message": f"request {number}",
            "attributes": json.dumps(
                {
                    "region": found["attr.region"],
                    "odd key": found["attr.odd key"],
                    "trace": f"{random.getrandbits(64):x}",
                    "deep": {"cached": bool(random.getrandbits(1))},
                }
            ),
            "file_id": 7,
            "offset": number * 100,
        }


ROWS = list(rows())


@pytest.fixture(scope="module", params=["embedded", "sqlite"])  # a server has the same questions
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    store = open_made(request.param, tmp_path_factory.mktemp(request.param))
    insert(store, ROWS)
    yield create_app(cast(Reader, store.reader))
    store.close()


def explain(app: FastAPI, filter_: str, **asked: object) -> Any:
    return answer(app, "/explain", filter=filter_, **{**EVER, **asked})


def test_the_cause_of_each_status_comes_first_with_exact_numbers(app: FastAPI) -> None:
    for name, status in CAUSES.items():
        told = explain(app, f"status_code = {status}")
        selected = [row for row in ROWS if row["status_code"] == status]
        others = [row for row in ROWS if row["status_code"] != status]
        assert (told["selected"], told["baseline"]) == (len(selected), len(others))
        assert told["estimated"] is False
        first = told["findings"][0]
        key = name.removeprefix("attr.")

        def value(row: dict[str, Any], key: str = key) -> Any:
            return row[key] if key in row else json.loads(row["attributes"])[key]

        assert first["field"] == ('attr."odd key"' if " " in name else name)
        assert str(first["value"])[-1] == "3"
        assert first["selected"] == sum(value(row) == first["value"] for row in selected)
        assert first["baseline"] == sum(value(row) == first["value"] for row in others)
        assert first["lift"] > 2
        assert first["score"] > 0


def test_what_is_found_can_be_asked_for(app: FastAPI) -> None:
    for status in CAUSES.values():
        first = explain(app, f"status_code = {status}")["findings"][0]
        value = first["value"] if isinstance(first["value"], int) else f'"{first["value"]}"'
        filter_ = f"status_code = {status} and {first['field']} = {value}"
        assert answer(app, "/logs/histogram", filter=filter_, **EVER)["total"] == first["selected"]


def test_columns_that_say_what_the_filter_says_are_left_aside(app: FastAPI) -> None:
    for filter_ in ("status_code = 500", 'attr.region = "r3"', 'host = "web-3"'):
        found = {one["field"] for one in explain(app, filter_, limit=100)["findings"]}
        aside = {"status_code", "status_class", "success", "level", "attr.trace", "message"}
        assert not found & (aside if "status" in filter_ else {filter_.split()[0], "attr.trace"})
    assert explain(app, 'host = "web-3"')["findings"][0]["field"] == "source"  # which it implies


def test_rows_can_be_compared_with_others_than_all_the_rest(app: FastAPI) -> None:
    told = explain(app, "status_code = 503", baseline="status_code in (503, 504)")
    assert told["baseline"] == sum(row["status_code"] == 504 for row in ROWS)
    assert told["findings"][0]["field"] == "attr.region"
    none = explain(app, "")
    assert (none["selected"], none["baseline"], none["findings"]) == (len(ROWS), 0, [])
    assert explain(app, "status_code = 999")["findings"] == []
    wrong = get(app, "/explain", baseline="nothing = 1", **EVER)
    assert (wrong.status_code, wrong.json()["detail"][:9]) == (422, "baseline:")


def test_of_many_rows_a_sample_tells_the_same_and_always_the_same(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_contrast, "READ_ALL", 100)
    monkeypatch.setattr(sql_contrast, "SAMPLE", 900)
    monkeypatch.setattr(sql_contrast, "_FEWEST", 1)  # all these rows are one group
    for name, status in CAUSES.items():
        told = explain(app, f"status_code = {status}")
        assert told["estimated"] is True
        assert told["selected"] == sum(row["status_code"] == status for row in ROWS)
        assert told["findings"][0]["field"].replace('"', "") == name
        assert explain(app, f"status_code = {status}")["findings"] == told["findings"]


def share(selected: int, others: int, of: int = 10_000, column: str = "host") -> Share:
    return Share(column, None, "x", selected, others, of, of)


def test_neither_a_rare_value_nor_a_frequent_weak_one_comes_before_a_cause() -> None:
    cause, rare, weak = share(4000, 400), share(12, 0), share(6000, 5500)
    assert ranked([rare, weak, cause], 10)[0] == cause
    assert [share(3, 1).score, share(5050, 5000).score, share(100, 4000).score] == [0, 0, 0]
    for sure in (share(10_000, 0), share(10_000, 10), share(5000, 0)):
        assert sure.score > cause.score
    same = [share(4000, 400, column=name) for name in ("source", "level", "host")]
    assert [one.column for one in ranked(same, 10)] == ["host", "level", "source"]
