"""Times: ISO 8601 and epoch, one by one and as the compiled part reads them."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import MalformedLine
from flows.parsing.choice import describe
from flows.parsing.times import epoch, iso
from tests.parsing_checks import certain, mutated, utc

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = utc(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


def compiled(times: list[object], zone: ZoneInfo = UTC) -> list[bool]:
    """Of which times the compiled part is sure; checks that it reads what they mean."""
    lines = [json.dumps({"ts": time}) for time in times]
    return certain(describe("json").make(zone), lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1900-01-01T00:00:00Z", utc(1900, 1, 1)),
        ("2299-12-31T23:59:59.999999Z", utc(2299, 12, 31, 23, 59, 59, 999_999)),
        ("1899-12-31T23:00:00-01:00", utc(1900, 1, 1)),
        ("1970-01-01T00:00:00Z", EPOCH),
        ("2000-02-29T00:00:00Z", utc(2000, 2, 29)),
    ],
)
def test_the_range_of_iso_times(text: str, expected: datetime) -> None:
    assert iso(text, UTC) == expected
    compiled([text])


@pytest.mark.parametrize(
    "text",
    [
        "1899-12-31T23:59:59.999999Z",
        "2300-01-01T00:00:00Z",
        "1900-01-01T00:30:00+01:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00 ",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+01:60",
        "2026-01-01T00:00:00 UTC",
        " 2026-01-01T00:00:00Z",
        "+2026-01-01T00:00:00Z",
        "2026-1-1T00:00:00Z",
        "2026-01-01T 0:00:00Z",
        "2026-01-01T00:00:00.+12Z",
        "202\u0666-01-01T00:00:00Z",
        "2026-01-01",
        "2026-01-01T00:00",
        "20260101T000000Z",
        "",
    ],
)
def test_what_is_no_time_of_the_range(text: str) -> None:
    with pytest.raises(MalformedLine) as refusal:
        iso(text, UTC)
    assert refusal.value.reason == "bad_timestamp"
    for usual in ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123Z", "2026-01-01T00:00:00"):
        assert compiled([usual, text]) == [True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2016-12-31T23:59:60Z", utc(2017, 1, 1)),
        ("2016-12-31T23:59:60.5Z", utc(2017, 1, 1, 0, 0, 0, 500_000)),
        ("2017-01-01T00:59:60+01:00", utc(2017, 1, 1)),
    ],
)
def test_a_leap_second_is_the_first_of_the_next_minute(text: str, expected: datetime) -> None:
    assert iso(text, UTC) == expected
    compiled([text])


@pytest.mark.parametrize("separator", ["T", "t", " "])
def test_every_spelling_is_read_the_fast_way(separator: str) -> None:
    fractions = ["", ".1", ".123", ",123", ".123456", ".1234567", ".000000999"]
    times: list[object] = [f"2026-07-01{separator}12:34:56{fraction}" for fraction in fractions]
    assert all(compiled(times, BERLIN))
    for zone in ("Z", "z", "+00:00", "-0330", "+02"):
        assert all(compiled([f"{time}{zone}" for time in times], BERLIN))


@pytest.mark.parametrize("other", "/:x")  # what is before and after digits in ASCII, and a letter
def test_a_text_with_one_character_that_differs_is_no_time(other: str) -> None:
    usual = "2026-07-01T12:00:00.123+02:00"
    texts = [usual[:place] + other + usual[place + 1 :] for place in range(len(usual))]
    assert compiled([usual, *texts]) == [True, *(text == usual for text in texts)]


TEXTS = st.builds(
    lambda moment, fraction, zone: f"{moment:%FT%T}{fraction}{zone}",
    st.one_of(
        st.datetimes(datetime(2026, 10, 24), datetime(2026, 10, 26)),
        st.datetimes(datetime(1895, 1, 1), datetime(2305, 1, 1)),
    ),
    st.sampled_from(["", "", ".123", ".123456789", ",5"]),
    st.sampled_from(["", "", "Z", "+01:00", "-0330"]),
)


@settings(max_examples=200)
@given(st.lists(mutated(TEXTS, " 0+-:.T9٣"), min_size=1), st.sampled_from([UTC, BERLIN]))
def test_many_times_at_once_agree_with_the_definition(texts: list[str], zone: ZoneInfo) -> None:
    compiled([*texts], zone)


# Epoch


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, EPOCH),
        (-1, EPOCH - timedelta(seconds=1)),
        (99_999_999_999 // 10, utc(2286, 11, 20, 17, 46, 39)),
        (10_413_791_999, utc(2299, 12, 31, 23, 59, 59)),
        (-2_208_988_800, utc(1900, 1, 1)),
        (100_000_000_000, utc(1973, 3, 3, 9, 46, 40)),  # the smallest of milliseconds
        (100_000_000_000_000, utc(1973, 3, 3, 9, 46, 40)),  # of microseconds
        (100_000_000_000_000_000, utc(1973, 3, 3, 9, 46, 40)),  # of nanoseconds
        (1_700_000_000_123_456_999, utc(2023, 11, 14, 22, 13, 20, 123_456)),
        (-1_700_000_000_000_000_001, utc(1916, 2, 18, 1, 46, 39, 999_999)),
        (1_700_000_000.123456, utc(2023, 11, 14, 22, 13, 20, 123_456)),
        (1_700_000_000_123.456, utc(2023, 11, 14, 22, 13, 20, 123_456)),
        (0.0000025, EPOCH + 2 * MICROSECOND),
    ],
)
def test_epoch_numbers_tell_their_unit_by_their_size(number: float, expected: datetime) -> None:
    assert epoch(number) == expected
    compiled([number])


@pytest.mark.parametrize(
    "number", [10_413_792_000, -2_208_988_801, 99_999_999_999, 10**20, -(10**400), 1e300, math.inf]
)
def test_epoch_numbers_out_of_range_are_refused(number: float) -> None:
    with pytest.raises(MalformedLine) as refusal:
        epoch(number)
    assert refusal.value.reason == "bad_timestamp"


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(10**11), 10**11),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-2e16, 2e16),
)


@settings(max_examples=200)
@given(st.lists(NUMBERS, min_size=1))
def test_many_numbers_at_once_agree_with_the_definition(numbers: list[object]) -> None:
    compiled(numbers)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2299, 12, 31), timezones=st.just(timezone.utc)))
def test_microseconds_of_any_time_are_read_back(moment: datetime) -> None:
    micros = (moment - EPOCH) // MICROSECOND
    if 10**14 <= abs(micros) < 10**17:
        assert epoch(micros) == moment
        assert compiled([micros]) == [True]
