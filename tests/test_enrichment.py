"""Enrichment: columns made of other columns."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.batch import COLUMNS
from flows.enrichment import endpoint, outcome
from flows.enrichment.enricher import enricher
from tests.parsing_checks import parse

pytestmark = pytest.mark.usefixtures("both_ways")

UUID = "8f31d35c-e7be-4a96-8061-7ca3b1390a2c"


def endpoints(paths: list[str]) -> list[str]:
    rows = endpoint.enrich(
        pl.DataFrame({"request_path": paths}, schema={"request_path": pl.String})
    )
    return rows["endpoint"].to_list()


# Outcome


@pytest.mark.parametrize(
    ("code", "success", "status_class"),
    [
        (0, False, ""),
        (99, False, ""),
        (100, False, "1xx"),
        (199, False, "1xx"),
        (200, True, "2xx"),
        (299, True, "2xx"),
        (300, True, "3xx"),
        (399, True, "3xx"),
        (400, False, "4xx"),
        (499, False, "4xx"),
        (500, False, "5xx"),
        (599, False, "5xx"),
        (600, False, ""),
        (65535, False, ""),
    ],
)
def test_outcome_of_a_status_code(code: int, success: bool, status_class: str) -> None:
    codes = pl.DataFrame({"status_code": [code]}, schema={"status_code": pl.UInt16})
    assert outcome.enrich(codes).rows() == [(code, success, status_class)]


def test_outcomes_of_all_codes_at_once() -> None:
    codes = pl.DataFrame({"status_code": list(range(2**16))}, schema={"status_code": pl.UInt16})
    made = outcome.enrich(codes)
    assert made["success"].arg_true().to_list() == list(range(200, 400))
    assert made["status_class"].to_list() == [
        f"{code // 100}xx" if 100 <= code <= 599 else "" for code in range(2**16)
    ]


# Endpoint


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/users/17", "/users/:id"),
        ("/users/17/orders/4711", "/users/:id/orders/:id"),
        ("/1/2/3/4/5", "/:id/:id/:id/:id/:id"),
        (f"/a/{UUID}/{UUID.upper()}/17", "/a/:id/:id/:id"),
        ("/commits/0123456789abcdef", "/commits/:id"),
        ("/commits/0123456789ABCDEF0", "/commits/:id"),
        ("/commits/0123456789abcde", "/commits/0123456789abcde"),
        ("/commits/0123456789abcdeg", "/commits/0123456789abcdeg"),
        (f"/a/{UUID}0", f"/a/{UUID}0"),
        ("/v1/users", "/v1/users"),
        ("/17a", "/17a"),
        ("/-17", "/-17"),
        ("/1.5", "/1.5"),
        ("/٣", "/٣"),
        ("/users/17?full=/18/", "/users/:id"),
        ("/users?id=17", "/users"),
        ("/users/17/", "/users/:id/"),
        ("/users/", "/users/"),
        ("/users//17", "/users//:id"),
        ("/", "/"),
        ("/?q", "/"),
        ("?q", ""),
        ("", ""),
        ("*", "*"),
        ("17", "17"),
        ("/:id/17", "/:id/:id"),
        ("http://example.com/17", "http://example.com/:id"),
        ("/caf\u00e9/17/\n", "/caf\u00e9/:id/\n"),
    ],
)
def test_endpoint_of_a_path(path: str, expected: str) -> None:
    assert endpoints([path]) == [expected]  # as many distinct ones as rows
    assert endpoints([path] * 5) == [expected] * 5  # few distinct ones


def by_definition(path: str) -> str:
    """The endpoint in plain Python, segment by segment."""
    first, *segments = path.partition("?")[0].split("/")
    hexadecimal = "[0-9a-fA-F]"
    uuid = "-".join(f"{hexadecimal}{{{digits}}}" for digits in (8, 4, 4, 4, 12))
    is_id = re.compile(f"[0-9]+|{uuid}|{hexadecimal}{{16,}}")
    return "/".join([first, *(":id" if is_id.fullmatch(each) else each for each in segments)])


SEGMENTS = st.one_of(
    st.sampled_from(
        ["", "users", "17", "a", "f", "0", UUID, "0123456789abcdef", "?", "a?b", ":id"]
    ),
    st.text("0123456789abcdefABCDEF-/? \né", max_size=20),
)
PATHS = st.lists(SEGMENTS, max_size=6).map("/".join)


@given(st.lists(PATHS))
def test_endpoints_of_many_different_paths(paths: list[str]) -> None:
    assert endpoints(paths) == [by_definition(path) for path in paths]


@given(st.lists(PATHS, min_size=1, max_size=4), st.randoms())
def test_endpoints_of_few_paths_that_occur_often(paths: list[str], order: object) -> None:
    many = paths * 5
    order.shuffle(many)  # type: ignore[attr-defined]
    assert endpoints(many) == [by_definition(path) for path in many]


def test_endpoints_of_no_rows() -> None:
    assert endpoints([]) == []


# The step


def test_every_enricher_is_applied_to_the_rows_of_a_batch() -> None:
    data = b"2026-11-01 12:00:00 cust_1 /users/17?full=1 304 0.5\n" * 3
    enriched = enricher()(parse("api_requests", data + b"bad\n"))
    added = enriched.rows.select("success", "status_class", "endpoint", "offset")
    assert added.rows() == [(True, "3xx", "/users/:id", 52 * number) for number in range(3)]
    assert enriched.rejected.height == 1
    for name, dtype in enriched.rows.schema.items():
        assert dtype == COLUMNS[name], name
    assert sum(enriched.rows.null_count().row(0)) == 0


def test_rows_without_status_and_path_stay_as_they_are() -> None:
    parsed = parse("json", b'{"ts":0,"msg":"started"}\n')
    assert enricher()(parsed).rows.equals(parsed.rows)


def test_a_batch_without_rows_can_be_enriched() -> None:
    assert enricher()(parse("json", b"\n")).rows.is_empty()
    assert enricher()(parse("json", b"bad\n")).rows.is_empty()
