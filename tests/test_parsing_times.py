"""Times: ISO 8601 and epoch, one by one and as columns."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import MalformedLine
from flows.parsing.times import epoch, epoch_column, iso, iso_column
from tests.parsing_checks import mutated, utc

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = utc(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


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
    assert iso_column(pl.Series([text]), UTC).to_list() == [expected]


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
        assert iso_column(pl.Series([usual, text]), UTC).is_null().to_list() == [False, True]


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
    assert iso_column(pl.Series([text]), UTC).to_list() == [expected]


@pytest.mark.parametrize(
    "fraction", ["", ".1", ".123", ",123", ".123456", ".1234567", ".000000999"]
)
@pytest.mark.parametrize("zone", ["", "Z", "z", "+00:00", "-0330", "+02", " +0100"])
@pytest.mark.parametrize("separator", ["T", "t", " "])
def test_every_spelling_is_read_as_a_column(separator: str, fraction: str, zone: str) -> None:
    text = f"2026-07-01{separator}12:34:56{fraction}{zone}"
    assert iso_column(pl.Series([text] * 3), BERLIN).to_list() == [iso(text, BERLIN)] * 3


def test_fractions_of_different_lengths_are_read_as_a_column() -> None:
    fractions = [".1", "", ".12345678", ".000001", ",5"]
    texts = pl.Series([f"2026-07-01T12:34:56{fraction}Z" for fraction in fractions])
    assert iso_column(texts, UTC).to_list() == [iso(text, UTC) for text in texts]


def test_a_column_is_read_by_the_first_text_that_is_a_time() -> None:
    texts = pl.Series([None, "n/a", "", "2026-07-01T12:00:00Z", "2026-07-01T12:00:00+02:00"])
    assert iso_column(texts, UTC).to_list() == [None, None, None, utc(2026, 7, 1, 12), None]


@pytest.mark.parametrize("other", "/:x")  # what is before and after digits in ASCII, and a letter
def test_a_text_with_one_character_that_differs_is_no_time(other: str) -> None:
    usual = "2026-07-01T12:00:00.123+02:00"
    texts = [usual[:place] + other + usual[place + 1 :] for place in range(len(usual))]
    column = iso_column(pl.Series([usual, *texts]), UTC)
    assert column.is_not_null().to_list() == [True, *(text == usual for text in texts)]


@pytest.mark.parametrize("texts", [[], [None], ["n/a"]])
def test_a_column_without_times_is_null(texts: list[str | None]) -> None:
    column = iso_column(pl.Series(texts, dtype=pl.String), UTC)
    assert column.dtype == pl.Datetime("us", "UTC")
    assert column.null_count() == len(texts)


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
def test_a_column_has_what_each_text_means_or_null(texts: list[str], zone: ZoneInfo) -> None:
    for text, found in zip(texts, iso_column(pl.Series(texts), zone), strict=True):
        assert found is None or found == iso(text, zone), text


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
    assert epoch_column(pl.Series([number])).to_list() == [expected]


@pytest.mark.parametrize(
    "number", [10_413_792_000, -2_208_988_801, 99_999_999_999, 10**20, -(10**400), 1e300, math.inf]
)
def test_epoch_numbers_out_of_range_are_refused(number: float) -> None:
    with pytest.raises(MalformedLine) as refusal:
        epoch(number)
    assert refusal.value.reason == "bad_timestamp"


NUMBERS = [
    st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-(10**11), 10**11))),
    st.lists(
        st.one_of(st.floats(), st.floats(-2e16, 2e16), st.integers(-(10**16), 10**16).map(float))
    ),
]


@settings(max_examples=200)
@given(st.one_of(NUMBERS))
def test_a_column_has_what_each_number_means_or_null(numbers: list[float]) -> None:
    dtype = pl.Float64 if any(isinstance(number, float) for number in numbers) else pl.Int64
    for number, found in zip(numbers, epoch_column(pl.Series(numbers, dtype=dtype)), strict=True):
        assert found is None or found == epoch(number), number


@given(st.datetimes(datetime(1900, 1, 1), datetime(2299, 12, 31), timezones=st.just(timezone.utc)))
def test_microseconds_of_any_time_are_read_back(moment: datetime) -> None:
    micros = (moment - EPOCH) // MICROSECOND
    if 10**14 <= abs(micros) < 10**17:
        assert epoch(micros) == moment
        assert epoch_column(pl.Series([micros])).to_list() == [moment]
