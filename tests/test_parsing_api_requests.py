"""Format `api_requests`: what a line means, and that many lines at once mean the same."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.parsing.choice import describe
from flows.parsing.parser import parser
from tests.parsing_checks import (
    GO_DURATIONS,
    batch,
    certain,
    filled,
    misfits_of,
    mutated,
    parse,
    refusal_of,
    row_of,
    utc,
)

pytestmark = pytest.mark.usefixtures("both_ways")

LINE = "2026-11-01 12:00:00 cust_1 /api/v1/users/17?full=1 200 0.12345"
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def test_the_six_fields() -> None:
    assert row_of("api_requests", LINE) == {
        "timestamp": utc(2026, 11, 1, 12),
        "customer_id": "cust_1",
        "request_path": "/api/v1/users/17?full=1",
        "status_code": 200,
        "duration": 0.12345,
    }


def test_several_spaces_are_as_good_as_one() -> None:
    spread = row_of("api_requests", LINE.replace(" ", "   ") + "  ")
    assert filled(spread) == filled(row_of("api_requests", LINE))


def test_a_dash_for_customer_or_path_is_empty() -> None:
    row = row_of("api_requests", "2026-11-01 12:00:00 - - 200 0")
    assert (row["customer_id"], row["request_path"]) == ("", "")


@pytest.mark.parametrize("rest", ["eu-west-1", 'GET "curl/8.0" é \\ -', "200 0.5", "a b c d e f"])
def test_later_fields_are_kept_as_extra(rest: str) -> None:
    assert json.loads(row_of("api_requests", f"{LINE} {rest}")["attributes"]) == {"extra": rest}


def test_later_fields_are_kept_for_the_lines_that_have_them() -> None:
    lines = [LINE, f"{LINE} a", f"{LINE}  b  c ", f"{LINE} "]
    stored = parse("api_requests", "\n".join(lines).encode()).rows.sort("offset")
    extras = [json.loads(text).get("extra") for text in stored["attributes"]]
    assert extras == [None, "a", "b c", None]


@pytest.mark.parametrize(
    ("fraction", "microseconds"), [(".5", 500_000), (".123456789", 123_456), (",250", 250_000)]
)
def test_seconds_may_have_a_fraction(fraction: str, microseconds: int) -> None:
    row = row_of("api_requests", LINE.replace("12:00:00", f"12:00:00{fraction}"))
    assert row["timestamp"] == utc(2026, 11, 1, 12, 0, 0, microseconds)


def test_a_time_with_an_offset_is_not_in_the_zone_of_the_settings() -> None:
    text = LINE.replace("12:00:00", "12:00:00+05:30")
    assert row_of("api_requests", text, "Europe/Berlin")["timestamp"] == utc(2026, 11, 1, 6, 30)


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-03-29 01:59:59", utc(2026, 3, 29, 0, 59, 59)),
        ("2026-03-29 02:30:00", utc(2026, 3, 29, 1, 30)),  # in the gap: the offset before it
        ("2026-03-29 03:00:00", utc(2026, 3, 29, 1)),
        ("2026-10-25 01:59:59", utc(2026, 10, 24, 23, 59, 59)),
        ("2026-10-25 02:30:00", utc(2026, 10, 25, 0, 30)),  # happens twice: the earlier one
        ("2026-10-25 03:00:00", utc(2026, 10, 25, 2)),
    ],
)
def test_when_the_clock_changes_in_berlin(local: str, expected: datetime) -> None:
    text = LINE.replace("2026-11-01 12:00:00", local)
    assert row_of("api_requests", text, "Europe/Berlin")["timestamp"] == expected
    form = describe("api_requests").make(ZoneInfo("Europe/Berlin"))
    assert certain(form, [text] * 3) == [True] * 3


@pytest.mark.parametrize("zone", ZONES)
def test_local_times_are_those_of_datetime_with_fold_0(zone: str) -> None:
    moments = [datetime(2026, 1, 1) + timedelta(minutes=17 * step) for step in range(31_000)]
    data = "\n".join(f"{moment} c / 200 0.1" for moment in moments).encode()
    stored = parse("api_requests", data, zone).rows.sort("offset")["timestamp"].to_list()
    assert stored == [
        moment.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(timezone.utc) for moment in moments
    ]


@pytest.mark.parametrize("year", [1901, 1999, 2099, 2150, 2299])
def test_local_times_of_other_centuries(year: int) -> None:
    local = datetime(year, 7, 1, 12)
    stored = row_of("api_requests", f"{local} c / 200 0", "Europe/Berlin")["timestamp"]
    assert stored == local.replace(tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Traceback (most recent call last):", "missing_fields"),
        (LINE.rpartition(" ")[0], "missing_fields"),
        (LINE.replace("2026-11-01", "01.11.2026"), "bad_timestamp"),
        (LINE.replace("2026-11-01", "2026-11-31"), "bad_timestamp"),
        (LINE.replace("2026-11-01", "2026-1-1"), "bad_timestamp"),
        (LINE.replace("2026-11-01", "0226-11-01"), "bad_timestamp"),
        (LINE.replace("12:00:00", "25:00:00"), "bad_timestamp"),
        (LINE.replace("12:00:00", "\t2:00:00"), "bad_timestamp"),
        ("2026-11-01 12:00:00 INFO worker started again", "not_api_requests"),
        ("2026-11-01 12:00:00,123 [main] WARN com.example.Db - 17 rows lost", "not_api_requests"),
        (LINE.replace("200 0.12345", "OK fast"), "not_api_requests"),
    ],
)
def test_refused_with_a_reason(text: str, reason: str) -> None:
    assert refusal_of("api_requests", text)[0] == reason
    assert not certain(describe("api_requests").make(ZoneInfo("UTC")), [LINE, text, LINE])[1]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status_code", "OK"),
        ("status_code", "0200"),
        ("status_code", "+20"),
        ("status_code", "99"),
        ("status_code", "600"),
        ("duration", "fast"),
        ("duration", "-0.1"),
        ("duration", "nan"),
        ("duration", "1e400"),
        ("duration", "1_0"),
        ("duration", "-1.2ms"),
    ],
)
@pytest.mark.parametrize("rest", ["", " a b"])
def test_a_value_that_does_not_fit_its_column_is_an_attribute(
    column: str, value: str, rest: str
) -> None:
    text = LINE.replace({"status_code": "200", "duration": "0.12345"}[column], value) + rest
    row, misfits = misfits_of("api_requests", text)
    extra = {"extra": rest.strip()} if rest else {}
    assert json.loads(row["attributes"]) == {column: value, **extra}
    usual = row_of("api_requests", LINE)
    del usual[column]
    expected = {**usual, "attributes": row["attributes"]}
    assert filled(row) == filled(expected)
    assert misfits == {column: 1}
    assert not certain(describe("api_requests").make(ZoneInfo("UTC")), [LINE, text, LINE])[1]


def test_a_dash_is_no_status_and_no_duration() -> None:
    row, misfits = misfits_of("api_requests", LINE.replace("200 0.12345", "- -"))
    assert filled(row) == filled(
        {**row_of("api_requests", LINE), "status_code": 0, "duration": None}
    )
    assert misfits == {}


@pytest.mark.parametrize(("written", "seconds"), GO_DURATIONS)
def test_a_duration_of_go_names_its_unit_itself(written: str, seconds: float) -> None:
    assert row_of("api_requests", LINE.replace("0.12345", written))["duration"] == seconds


def test_the_setting_of_units_is_not_for_this_format() -> None:
    read = parser("api_requests", "UTC", duration_unit="ms")(batch(LINE.encode()))
    assert read.rows["duration"].to_list() == [0.12345]


def test_one_bad_line_in_a_thousand_costs_exactly_the_bad_ones() -> None:
    lines = [LINE] * 5_000
    bad = range(0, 5_000, 1_000)
    for number in bad:
        lines[number] = LINE.replace("2026", "2O26")
    parsed = parse("api_requests", "\n".join(lines).encode())
    assert parsed.rows.height == 4_995
    assert parsed.rejected["raw"].to_list() == [lines[number].encode() for number in bad]


# Many lines at once mean what each of them means


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "usual",
    [
        LINE,
        LINE + "\r",
        LINE + " extra fields",
        LINE.replace("12:00:00", "12:00:00.123"),
        LINE.replace("0.12345", "1e-3"),
    ],
)
def test_usual_lines_are_read_the_fast_way(usual: str, zone: str) -> None:
    assert all(certain(describe("api_requests").make(ZoneInfo(zone)), [usual] * 1_000))


TIMES = st.builds(
    lambda moment, pattern: moment.strftime(pattern),
    st.one_of(
        st.datetimes(datetime(2026, 3, 28), datetime(2026, 4, 6)),
        st.datetimes(datetime(1895, 1, 1), datetime(2305, 1, 1)),
    ),
    st.sampled_from(["%F %T", "%F %T", "%F %T.%f", "%F %T,%f", "%F %H:%M:60", "%F %TZ", "%FT%T x"]),
)
WELL_FORMED = st.builds(
    "{} {} {} {} {}{}".format,
    TIMES,
    st.sampled_from(["cust_1", "-", "é", "a\tb", "😀"]),
    st.sampled_from(["/", "/a?b=c", "-", '/"q"\\']),
    st.one_of(st.just(200), st.integers(0, 700), st.sampled_from(["-", "OK"])),
    st.one_of(
        st.floats(0, 1e6),
        st.sampled_from(["1", ".5", "1.", "+1", "-0", "-1", "inf", "nan", "1_0", "1e400", "٣"]),
        st.sampled_from(["1.2ms", "0s", "-"]),
    ),
    st.sampled_from(["", "", "", " extra", "  two  spaces ", ' é\\"', "\r"]),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(mutated(WELL_FORMED, " -+0:.\t\r\xa0e_"), min_size=1, max_size=20),
    st.sampled_from(ZONES),
)
def test_many_lines_at_once_agree_with_the_definition(lines: list[str], zone: str) -> None:
    certain(describe("api_requests").make(ZoneInfo(zone)), lines)
