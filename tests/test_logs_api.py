"""`/logs`, `/logs/histogram` and `/logs/facets` over real stores, and the filters they take."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import polars as pl
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from api.app import create_app
from connectors.batch import COLUMNS, REJECTED, Parsed
from connectors.errors import FilterError
from connectors.filtering import expression, filled
from connectors.filters import TYPES, And, Condition, Filter, Not, Or, Text, parse
from connectors.logs import SHOWN
from connectors.sinks.clickhouse.store import ClickHouseStore
from connectors.store import Reader, Store
from tests.opened_stores import open_made, opened
from tests.test_clickhouse_store import FORMER_LOGS, span

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
HOSTILE = [
    "it's",
    'say "a"',
    "back\\slash",
    "nul\0end",
    "100%",
    "{v0:String}",
    "%(v0)s",
    ":v0",
    "' OR 1=1 --",
    "tab\tand\nline",
    "Ünï",
    "",
]
ATTRIBUTES: list[dict[str, Any]] = [
    {},
    {"user": 7},
    {"user": "7"},
    {"user": "seven", "deep": {"a": [1]}},
    {"user": None, "ok": True},
    {"user": 7.5, "ok": False},
    {'odd "key': "back\\slash", "ok": "true"},
    {"user": -3, "big": 9007199254740993},
    {"big": 9007199254740992, "nul\0": "nul\0end"},
]
LEVELS = ["ERROR", "info", ""]


def row(number: int) -> dict[str, Any]:
    """One of the rows that every store has."""
    return {
        "timestamp": START + timedelta(seconds=17 * (number // 2)),
        "customer_id": HOSTILE[number % len(HOSTILE)],
        "method": ["GET", "POST"][number % 2],
        "endpoint": ["/x", "/Y/x", "/z"][number % 3],
        "status_code": [200, 404, 500, 0][number % 4],
        "status_class": ["2xx", "4xx", "5xx", ""][number % 4],
        "success": number % 4 == 0,
        "duration": [0.5, 0.0, 2.0, None, 0.25][number % 5],
        "level": LEVELS[number % 3],
        "message": HOSTILE[(number * 5) % len(HOSTILE)],
        "attributes": json.dumps(ATTRIBUTES[number % len(ATTRIBUTES)], ensure_ascii=False),
        "file_id": 2**62 + number % 2,
        "offset": number * 10,
    }


ROWS = [row(number) for number in range(60)]
EVER = {"from": "2023-01-01", "to": "2030-01-01T00:00:00Z"}


def insert(store: Store, rows: list[dict[str, Any]]) -> None:
    schema = {name: COLUMNS[name] for name in rows[0]}
    place = rows[0]["offset"]
    writer = store.writer()
    writer.write(Parsed((span(place, place + 1),), rows=pl.DataFrame(rows, schema)))
    writer.close()


def get(app: FastAPI, path: str, **asked: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, params={key: str(one) for key, one in asked.items()})

    return asyncio.run(ask())


def answer(app: FastAPI, path: str, **asked: object) -> Any:
    got = get(app, path, **asked)
    assert got.status_code == 200, got.text
    return got.json()


def pages(app: FastAPI, **asked: object) -> Iterator[list[dict[str, Any]]]:
    page = answer(app, "/logs", **asked)
    yield page["rows"]
    while page["cursor"]:
        page = answer(app, "/logs", cursor=page["cursor"], **asked)
        yield page["rows"]


@pytest.fixture(scope="module", params=["embedded", "sqlite", "clickhouse"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with opened(request, tmp_path_factory) as made:
        insert(made, ROWS)
        yield made


@pytest.fixture(scope="module")
def app(store: Store) -> FastAPI:
    return create_app(cast(Reader, store.reader))


# --- what a filter means, in plain Python ----------------------------------------------------


def lower(text: str) -> str:
    return "".join(one.lower() if one.isascii() else one for one in text)


def as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def as_number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool | None) else float(value)
    except (TypeError, ValueError):
        return None


def takes(part: Filter, row: dict[str, Any]) -> bool:
    if isinstance(part, Not):
        return not takes(part.part, row)
    if isinstance(part, And):
        return all(takes(one, row) for one in part.parts)
    if isinstance(part, Or):
        return any(takes(one, row) for one in part.parts)
    if isinstance(part, Text):
        return any(
            lower(part.text) in lower(row.get(name, ""))
            for name, dtype in COLUMNS.items()
            if dtype == pl.String()
        )
    return compares(part, row)


def compares(part: Condition, row: dict[str, Any]) -> bool:
    dtype = TYPES[part.field.column]
    value = row.get(part.field.column, "" if dtype == pl.String() else 0)
    if part.field.key is not None:
        inside = json.loads(row["attributes"]).get(part.field.key)
        value = as_text(inside) if isinstance(part.value, str) else as_number(inside)
    elif isinstance(value, datetime):
        value = (value - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    if value is None:
        return False
    wanted: Any = part.value
    if isinstance(value, str) and part.operator not in "=~":
        value, wanted = value.encode(), wanted.encode()
    return {
        "=": lambda: value == wanted,
        "<": lambda: value < wanted,
        "<=": lambda: value <= wanted,
        ">": lambda: value > wanted,
        ">=": lambda: value >= wanted,
        "~": lambda: lower(wanted) in lower(value),
    }[part.operator]()


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


ODD = 'attr."odd \\"key"'
texts = st.sampled_from([*HOSTILE, "a", "X", "GET", "7", "true", "ERROR", "ü"]).map(quoted)
text_fields = st.sampled_from(["customer_id", "method", "endpoint", "level", "message"])
keys = st.sampled_from(["attr.user", "attr.ok", "attr.big", "attr.none", ODD])
numbers = st.sampled_from(["0", "7", "7.5", "-3", "404.5", "5e2", "9007199254740993", "0.5"])
orders = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
conditions = st.one_of(
    texts,
    st.builds("{} {} {}".format, text_fields | keys, orders | st.sampled_from(["~", "!~"]), texts),
    st.builds(
        "{} {} {}".format,
        keys | st.sampled_from(["status_code", "duration", "file_id", "offset", "bytes_sent"]),
        orders,
        numbers,
    ),
    st.builds(
        "{} {}({}, {})".format, text_fields, st.sampled_from(["in", "not in "]), texts, texts
    ),
    st.builds("success {} {}".format, st.sampled_from(["=", "!="]), st.sampled_from(["true", "0"])),
    st.builds("timestamp {} 2024-01-01T00:02:33Z".format, orders),
)
filters = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds("not ({})".format, inner),
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or", ""]), inner),
    ),
    max_leaves=5,
)


@settings(settings.get_profile("few"))
@given(filter_=filters)
def test_list_histogram_facets_and_export_agree_on_any_filter(app: FastAPI, filter_: str) -> None:
    taken = [one for one in ROWS if takes(parse(filter_, COLUMNS), one)]
    listed = answer(app, "/logs", filter=filter_, order="oldest", limit=1000, **EVER)["rows"]
    assert sorted(one["offset"] for one in listed) == [one["offset"] for one in taken]
    asked = {"from": "2024-01-01", "to": "2024-01-01T00:10:00", "order": "oldest"}
    exported = get(app, "/logs/export", filter=filter_, format="ndjson", **asked)
    without_cut = [{name: one[name] for name in one if name != "cut"} for one in listed]
    assert list(map(json.loads, exported.text.splitlines())) == without_cut
    histogram = answer(app, "/logs/histogram", filter=filter_, **EVER)
    counts = [Counter(bucket["counts"]) for bucket in histogram["buckets"]]
    levels = Counter(one["level"] for one in taken)
    assert histogram["total"] == len(taken)
    assert sum(counts, Counter()) == levels
    by_time = answer(app, "/logs/requests", filter=filter_, **EVER)["buckets"]
    requests = [one for one in taken if one["status_code"]]
    assert sum(bucket["total_requests"] for bucket in by_time) == len(requests)
    facets = answer(app, "/logs/facets", filter=filter_, columns="level,customer_id", **EVER)
    found = {one["value"]: one["count"] for one in facets["facets"]["level"]["values"]}
    assert (found, facets["total"]) == (levels, len(taken))
    of_customers = facets["facets"]["customer_id"]
    assert of_customers["others"] + sum(one["count"] for one in of_customers["values"]) == len(
        taken
    )


@pytest.mark.parametrize("filter_", ["severity >= warn", "severity = info", "severity != error"])
def test_every_store_has_one_scale_of_severities(app: FastAPI, filter_: str) -> None:
    columns = [name for name in COLUMNS if name != "line"]
    rows = filled(pl.DataFrame(ROWS, {name: COLUMNS[name] for name in ROWS[0]}), columns)
    expected = rows.filter(expression(parse(filter_, columns), columns))["offset"].to_list()
    listed = answer(app, "/logs", filter=filter_, order="oldest", limit=1000, **EVER)["rows"]
    assert sorted(one["offset"] for one in listed) == expected
    assert 0 < len(expected) < len(ROWS)


HALF_HOUR = 1800 * 10**6
SPREAD = [  # before and after 1970, in the pieces of time and where they begin
    {**row(number), "timestamp": EPOCH + timedelta(microseconds=(number - 200) * HALF_HOUR // 7)}
    for number in range(400)
]


@pytest.fixture(scope="class", params=["new", "of an earlier version"])  # once a test
def spread(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    directory = tmp_path_factory.mktemp("spread")
    made = open_made("embedded", directory)
    if request.param != "new":
        client = cast(ClickHouseStore, made)._client
        client.command("DROP TABLE logs")
        client.command(FORMER_LOGS)
        made.close()
        made = open_made("embedded", directory)
    insert(made, SPREAD[::2])
    insert(made, SPREAD[1::2])
    yield create_app(cast(Reader, made.reader))
    made.close()


@settings(settings.get_profile("few"))
@given(
    start=st.integers(-101 * HALF_HOUR, 0),
    hours=st.integers(9, 40),
    more=st.sampled_from([0, 1, HALF_HOUR // 6, HALF_HOUR // 7]),
    filter_=st.sampled_from(["", "level = info", "not (status_class in (2xx, 4xx))", "method=GET"]),
)
def test_a_histogram_counts_the_rows_of_its_range_to_the_microsecond(
    spread: FastAPI, start: int, hours: int, more: int, filter_: str
) -> None:
    first = EPOCH + timedelta(microseconds=start // HALF_HOUR * HALF_HOUR + more)
    last = first + timedelta(hours=hours, microseconds=more)
    part = parse(filter_, COLUMNS)
    taken = [one for one in SPREAD if first <= one["timestamp"] < last and takes(part, one)]
    asked = {"from": first.isoformat(), "to": last.isoformat(), "filter": filter_}
    found = answer(spread, "/logs/histogram", by="status_class", **asked)
    width = timedelta(seconds=found["width"])
    wanted: dict[str, Counter[str]] = {}
    for one in taken:
        begin = EPOCH + (one["timestamp"] - EPOCH) // width * width
        shown = begin.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        wanted.setdefault(shown, Counter())[one["status_class"]] += 1
    assert {one["start"]: one["counts"] for one in found["buckets"]} == wanted


@pytest.mark.parametrize("is_newest_first", [True, False])
def test_pages_show_every_row_once_while_others_arrive(is_newest_first: bool, tmp_path: Path):
    made = open_made("sqlite", tmp_path)
    insert(made, ROWS)
    app = create_app(cast(Reader, made.reader))
    seen: list[int] = []
    order = "newest" if is_newest_first else "oldest"
    for number, page in enumerate(pages(app, order=order, limit=7)):
        seen += [one["offset"] for one in page]
        late = {"timestamp": START + timedelta(days=1), "offset": 1000 + number, "file_id": 5}
        insert(made, [{**ROWS[0], **late}])
    key = ("timestamp", "file_id", "offset")
    by_place = sorted(ROWS, key=lambda one: [one[name] for name in key], reverse=is_newest_first)
    assert seen == [one["offset"] for one in by_place]
    made.close()


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [3, 5, 7, 50])  # of a minute there are 8 rows at most
@pytest.mark.parametrize("filter_", ["", "status_code >= 0"])
def test_pages_of_every_store_go_by_time_file_and_offset(
    app: FastAPI, order: str, limit: int, filter_: str
) -> None:
    found = [*pages(app, limit=limit, order=order, filter=filter_)]
    assert {len(page) for page in found[:-1]} <= {limit}
    seen = [(one["timestamp"], one["file_id"], one["offset"]) for page in found for one in page]
    by_place = sorted(ROWS, key=lambda one: [one["timestamp"], one["file_id"], one["offset"]])
    wanted = [one["offset"] for one in by_place]
    assert [offset for *_, offset in seen] == (wanted if order == "oldest" else wanted[::-1])


# Seconds before the newest row.
FAR = (100 * 365 * 86400, 400 * 86400, 86401, 86400, 6100, 6000, 6000, 61, 60, 60, 59, 1, 0)


def test_rows_are_found_however_far_they_are_apart(tmp_path: Path) -> None:
    made = open_made("embedded", tmp_path)
    for number, age in enumerate(FAR):  # in parts of their own
        time = START - timedelta(seconds=age)
        insert(made, [{**ROWS[0], "timestamp": time, "file_id": 1, "offset": number}])
    app = create_app(cast(Reader, made.reader))
    asked = {"from": "1910-01-01", "to": "2200-01-01"}
    for filter_, limit in product(["", "not level = never", "offset >= 1"], [1, 2, 5, 100]):
        wanted = [*range("offset" in filter_, len(FAR))]
        for order, places in (("oldest", wanted), ("newest", wanted[::-1])):
            found = pages(app, limit=limit, order=order, filter=filter_, **asked)
            assert [one["offset"] for page in found for one in page] == places
    made.close()


def test_the_range_is_the_last_hour_of_what_is_stored_by_default(app: FastAPI) -> None:
    page = answer(app, "/logs", limit=1)
    assert page["to"] == "2024-01-01T00:08:13.000001Z"
    assert page["from"] == "2023-12-31T23:08:13.000001Z"
    assert page["rows"][0]["timestamp"] == "2024-01-01T00:08:13.000000Z"
    day_before = answer(app, "/logs/histogram", to="2024-01-01")
    assert (day_before["from"], day_before["total"]) == ("2023-12-31T23:00:00.000000Z", 0)


@pytest.mark.parametrize(
    ("ages", "newest"),
    [
        ((100, 50), 50),
        ((-5, 30), 30),
        ((-1000, 30), 30),
        ((-5, 100_000), 100_000),
        ((-100, -5), -100),
    ],
)
def test_rows_of_the_future_are_in_the_default_range_only_where_all_are(
    ages: tuple[int, int], newest: int, tmp_path: Path
) -> None:
    now = datetime.now(timezone.utc)
    for name in ("embedded", "sqlite"):
        made = open_made(name, tmp_path / name)
        times = [now - timedelta(minutes=minutes) for minutes in ages]
        insert(made, [{**row(0), "timestamp": time, "offset": n} for n, time in enumerate(times)])
        found = answer(create_app(cast(Reader, made.reader)), "/logs", limit=1)["rows"]
        assert [one["offset"] for one in found] == [ages.index(newest)]
        made.close()


def test_a_row_has_its_columns_as_they_are_stored(app: FastAPI) -> None:
    found = answer(app, "/logs", filter="offset = 30", **EVER)["rows"]
    expected = {**ROWS[3], "timestamp": "2024-01-01T00:00:17.000000Z", "file_id": str(2**62 + 1)}
    assert [{name: one[name] for name in expected} for one in found] == [expected]
    assert found[0]["cut"] == []
    assert found[0]["bytes_sent"] == 0


def test_a_long_text_is_cut_and_the_row_says_so(tmp_path: Path) -> None:
    for name in ("embedded", "sqlite"):
        made = open_made(name, tmp_path / name)
        whole = {"offset": 1, "level": "é" * SHOWN}
        insert(made, [{**ROWS[0], "message": "é" * (SHOWN + 1)}, {**ROWS[0], **whole}])
        cut, uncut = answer(create_app(cast(Reader, made.reader)), "/logs", order="oldest")["rows"]
        assert (cut["message"], cut["cut"]) == ("é" * SHOWN, ["message"])
        assert (uncut["level"], uncut["cut"]) == ("é" * SHOWN, [])
        made.close()


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_an_export_has_every_row_once_in_order_however_pages_fall(
    app: FastAPI, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = answer(app, "/logs", order=order, limit=1000, **EVER)["rows"]
    for name in ("_FEWEST", "_FIRST", "_MOST"):
        monkeypatch.setattr(f"api.export.{name}", 7)
    asked = {"from": "2023-12-31", "to": "2024-01-01T01:00:00"}
    got = get(app, "/logs/export", format="arrow", order=order, **asked)
    assert got.headers["content-disposition"] == 'attachment; filename="logs.arrow"'
    found = pl.read_ipc_stream(got.content)
    assert found["offset"].to_list() == [one["offset"] for one in listed]
    assert found.schema["timestamp"] == TYPES["timestamp"]
    assert found["file_id"].to_list() == [int(one["file_id"]) for one in listed]
    assert found["duration"].to_list() == [one["duration"] for one in listed]
    lines = get(app, "/logs/export", format="ndjson", order=order, **asked).text.splitlines()
    assert [json.loads(one)["duration"] for one in lines] == found["duration"].to_list()


def test_an_export_of_no_time_at_all_has_no_rows(app: FastAPI) -> None:
    end = {"from": "9999-12-31T23:59:59.999999Z"}
    csv_, lines, arrow = (
        get(app, "/logs/export", format=form, **end).content for form in ("csv", "ndjson", "arrow")
    )
    [header] = csv.reader(StringIO(csv_.decode()))
    assert header[0] == "timestamp"
    assert lines == b""
    assert pl.read_ipc_stream(arrow).is_empty()


FORMULAS = ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "\uff1d1", 'say "=1"', "a=1", ""]


def test_an_export_has_whole_texts_and_no_formulas(tmp_path: Path) -> None:
    for name in ("embedded", "sqlite"):
        made = open_made(name, tmp_path / name)
        rows = [
            {
                **{**ROWS[0], "duration": [None, 0.0][n % 2], "offset": n},
                **{"message": text, "level": "é" * (SHOWN + 1)},
            }
            for n, text in enumerate(FORMULAS)
        ]
        insert(made, rows)
        app = create_app(cast(Reader, made.reader))
        got = get(app, "/logs/export", order="oldest")
        assert got.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        found = list(csv.DictReader(StringIO(got.text, newline="")))
        harmless = [f"'{text}" for text in FORMULAS[:8]] + FORMULAS[8:]
        assert [one["message"] for one in found] == harmless
        assert {one["level"] for one in found} == {"é" * (SHOWN + 1)}
        assert [one["duration"] for one in found[:2]] == ["", "0.0"]
        assert found[0]["timestamp"] == "2024-01-01T00:00:00.000000Z"
        empty = get(app, "/logs/export", filter="nothing")
        assert len(empty.text.splitlines()) == 1
        arrow = pl.read_ipc_stream(
            get(app, "/logs/export", filter="nothing", format="arrow").content
        )
        assert (arrow.columns, len(arrow)) == (list(found[0]), 0)
        made.close()


def test_a_line_is_shown_with_those_beside_it_dead_letters_among_them(tmp_path: Path) -> None:
    for name in ("embedded", "sqlite"):
        made = open_made(name, tmp_path / name)
        others = [{**ROWS[0], "file_id": 6, "offset": n} for n in (5, 25)]
        insert(made, [*({**ROWS[1], "file_id": 5, "offset": n * 10} for n in range(9)), *others])
        letters = {
            "file_id": 5,
            "offset": [35, 45],
            "line": 0,
            "source": "",
            "raw": [b"\xff{", b"x" * 9000],
            "reason": "bad_json",
            "detail": "",
        }
        rejected = pl.DataFrame(letters).cast(REJECTED).select(*REJECTED)
        writer = made.writer()
        writer.write(Parsed((span(100, 101),), rejected=rejected))
        writer.close()
        app = create_app(cast(Reader, made.reader))
        found = answer(app, "/logs/5/40", before=2, after=3)
        assert found["row"] == answer(app, "/logs", filter="file_id=5 offset=40", **EVER)["rows"][0]
        assert found["before"][1] == {"offset": 35, "raw": "\ufffd{", "reason": "bad_json"}
        assert [one["offset"] for one in found["before"]] == [30, 35]
        assert [one["offset"] for one in found["after"]] == [45, 50, 60]
        assert (found["after"][0]["raw"], found["from"]) == ("x" * SHOWN, "store")
        of_letter = answer(app, "/logs/5/35", before=100, after=0)
        assert of_letter["row"]["reason"] == "bad_json"
        assert [one["offset"] for one in of_letter["before"]] == [0, 10, 20, 30]
        assert of_letter["after"] == []
        missing = get(app, "/logs/5/41")
        assert (missing.status_code, missing.json()["detail"]) == (
            404,
            "No line of file 5 is stored that begins at 41.",
        )
        assert get(app, f"/logs/5/{2**63}").status_code == 422
        made.close()


def test_buckets_of_a_histogram_have_a_round_width(app: FastAPI) -> None:
    asked = {"from": "2024-01-01T00:00:01Z", "to": "2024-01-01T00:08:00Z"}
    found = answer(app, "/logs/histogram", by="status_class", filter="level=ERROR", **asked)
    assert found["width"] == 5
    taken = [one for one in ROWS if one["level"] == "ERROR"]
    expected: dict[str, Counter[str]] = {}
    for one in taken:
        seconds = (one["timestamp"] - START) // timedelta(seconds=1)
        if 1 <= seconds < 480:
            start = START + timedelta(seconds=seconds // 5 * 5)
            name = start.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            expected.setdefault(name, Counter())[one["status_class"]] += 1
    assert {one["start"]: one["counts"] for one in found["buckets"]} == expected


def test_requests_by_time_have_their_failures_and_percentiles(app: FastAPI) -> None:
    asked = {"from": "2024-01-01", "to": "2024-01-01T00:10:00"}
    told = answer(app, "/logs/requests", **asked)
    assert (told["width"], told["estimated"]) == (10, False)
    for bucket in told["buckets"]:
        start = datetime.fromisoformat(bucket["start"])
        these = [
            one
            for one in ROWS
            if start <= one["timestamp"] < start + timedelta(seconds=10) and one["status_code"]
        ]
        assert bucket["total_requests"] == len(these)
        assert bucket["failed_requests"] == sum(not one["success"] for one in these)
        durations = [one["duration"] for one in these if one["duration"] is not None]
        wanted = np.percentile(durations, (50, 95, 99)) if durations else [None] * 3
        found = [bucket[f"{name}_latency"] for name in ("median", "p95", "p99")]
        assert found == pytest.approx(list(wanted), abs=1e-5)
    assert {0.0, None} < {bucket["p95_latency"] for bucket in told["buckets"]}


def test_facets_are_typed_and_name_attributes(app: FastAPI) -> None:
    asked = 'success,status_code,attr.user,attr."odd \\"key",attr.user'
    found = answer(app, "/logs/facets", columns=asked, limit=2, **EVER)["facets"]
    assert list(found) == ["success", "status_code", "attr.user", 'attr."odd \\"key"']
    assert found["success"] == {
        "values": [{"value": False, "count": 45}, {"value": True, "count": 15}],
        "others": 0,
    }
    assert found["status_code"] == {
        "values": [{"value": 0, "count": 15}, {"value": 200, "count": 15}],
        "others": 30,
    }
    users = Counter(as_text(json.loads(one["attributes"]).get("user")) for one in ROWS)
    first, second = sorted(users.items(), key=lambda one: (-one[1], one[0]))[:2]
    assert [tuple(one.values()) for one in found["attr.user"]["values"]] == [first, second]
    assert {"value": "back\\slash", "count": 6} in found['attr."odd \\"key"']["values"]


@pytest.mark.parametrize("text", ["0.5", "500ms", "0.5s", "500000us"])
def test_a_duration_may_have_a_unit(app: FastAPI, text: str) -> None:
    found = answer(app, "/logs", filter=f"duration = {text}", **EVER)["rows"]
    assert {one["duration"] for one in found} == {0.5}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_is_but_a_value(app: FastAPI, text: str) -> None:
    found = answer(app, "/logs", filter=f"customer_id = {quoted(text)}", **EVER)["rows"]
    assert len(found) == 5
    assert {one["customer_id"] for one in found} == {text}


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        ("/logs", {"filter": "status = 5"}, "did you mean status_code?"),
        ("/logs", {"filter": "level = 'a"}, "at character 9: this quote is not closed."),
        ("/logs", {"from": "today"}, "from 'today': must be a time such as 2024-01-31T12:00:00Z."),
        ("/logs", {"from": "2024-01-02", "to": "2024-01-01"}, "is after to"),
        ("/logs", {"cursor": "n_1"}, "cursor is none that an answer of /logs has."),
        ("/logs", {"limit": 1001}, "less than or equal to 1000"),
        ("/logs/histogram", {"by": "message"}, "by 'message'"),
        ("/logs/facets", {"columns": "level,nothing"}, "columns: there is no column 'nothing'"),
        ("/logs/facets", {"columns": ",".join(f"attr.{n}" for n in range(21))}, "up to 20"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_sentence(
    app: FastAPI, path: str, asked: dict[str, object], said: str
) -> None:
    got = get(app, path, **asked)
    assert got.status_code == 422
    assert said in got.json()["detail"]


def test_an_empty_store_has_no_rows(tmp_path: Path) -> None:
    for name in ("embedded", "sqlite"):
        made = open_made(name, tmp_path / name)
        app = create_app(cast(Reader, made.reader))
        assert answer(app, "/logs")["rows"] == []
        assert answer(app, "/logs/histogram")["total"] == 0
        facets = answer(app, "/logs/facets", columns="level")
        assert (facets["total"], facets["facets"]["level"]["values"]) == (0, [])
        made.close()


def test_a_store_that_answers_nothing_about_rows_says_so() -> None:
    class Other:
        logs = None

    got = get(create_app(cast(Reader, Other())), "/logs")
    assert (got.status_code, got.json()["detail"]) == (
        501,
        "This store tells statistics only, no rows: ask it by itself.",
    )
    in_sql = get(create_app(cast(Reader, Other())), "/query", sql="SELECT 1")
    assert in_sql.status_code == 501
    assert "embedded ClickHouse" in in_sql.json()["detail"]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("status_code >= x", 16, "must be a number"),
        ("status_code >= 1ms", 16, "must be a number"),
        ("ip = ::1", 1, "did you mean client_ip?"),
        ("(level = a", 1, "not closed"),
        ("level = a)", 10, "too much"),
        ("level =", 8, "needs a value, not the end"),
        ("level in (a b)", 13, "where a bracket should close"),
        ("a and", 6, "the end stands where"),
        ("or a", 1, "'or' stands where"),
        ("nothing = 1", 1, "attr.nothing"),
        ("attr. = 1", 1, "attr. needs a key"),
        ("success = maybe", 11, "true or false"),
        ("timestamp > noon", 13, "must be a time"),
        ("status_code ~ 5", 13, "~ is for text"),
        ("status_code = 1e999", 15, "too large"),
        ("a > b ( = )", 1, "no column 'a'"),
        ("(" * 51, 51, "more than 50 brackets"),
        ("a " * 101, 201, "100 values"),
        ('"a', 1, "quote is not closed"),
        ("= 1", 1, "where a condition should begin"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong_and_where(text: str, place: int, said: str) -> None:
    with pytest.raises(FilterError) as error:
        parse(text, COLUMNS)
    assert said in str(error.value)
    assert error.value.place == place


@given(st.text("()\"'\\=!<>~,.{}% \0aé1") | st.text())
def test_any_text_is_a_filter_or_an_error(text: str) -> None:
    try:
        parse(text, COLUMNS)
    except FilterError as error:
        assert 1 <= error.place <= len(text) + 1


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a b", '"a" and "b"'),
        ("level=a OR level=b AND c", 'level = "a" or (level = "b" and "c")'),
        ("not not a", "a"),
        ("level != a", "not level = a"),
        ("level not in (a, b)", "not level in (a, b)"),
        ("level in (a)", "(level = a)"),
        ("don't", '"don\'t"'),
        ("'it\\'s'", '"it\'s"'),
        ("attr.user = 7", 'attr."user" = 7'),
        ("  ", ""),
    ],
)
def test_a_filter_may_be_written_in_several_ways(text: str, same: str) -> None:
    def plain(part: Filter) -> Filter:
        return plain(part.parts[0]) if isinstance(part, Or) and len(part.parts) == 1 else part

    assert plain(parse(text, COLUMNS)) == plain(parse(same, COLUMNS))
