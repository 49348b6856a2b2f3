"""Times: ISO 8601 and epoch, one by one and as the compiled part reads them."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.batch import Span, Stream
from connectors.encodings import Encoding
from connectors.errors import MalformedLine
from connectors.sources.records import Piece
from flows.parsing.choice import describe
from flows.parsing.layout import Field, Layout
from flows.parsing.parser import parser
from flows.parsing.times import ISO_8601, epoch, iso, pattern, with_year
from tests.parsing_checks import FILE_ID, PATH, certain, mutated, together, utc

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


# Patterns


def written(way: str) -> Layout:
    """A format whose lines are such times, and nothing else."""
    return Layout((Field("time", "timestamp", time=way),), samples=(), reason="not_times")


def read(way: str, text: str, zone: ZoneInfo = UTC, *, is_fast: bool = True) -> datetime:
    """The time that a text is, by the definition; the compiled part says the same."""
    form = written(way).make(zone)
    assert certain(form, [text]) == [is_fast]
    moment = form.line(text)["timestamp"]
    assert isinstance(moment, datetime)
    return moment


SECOND = utc(2026, 11, 2, 20, 15, 5)


@pytest.mark.parametrize(
    ("way", "text", "expected"),
    [
        ("%Y-%m-%d %H:%M:%S", "2026-11-02 20:15:05", SECOND),
        ("%Y-%m-%d %H:%M:%S", "2026-11-2 20:15:5,25", SECOND.replace(microsecond=250_000)),
        (
            "%Y-%m-%dT%H:%M:%S%z",
            "2026-11-02T20:15:05.5+01:00",
            utc(2026, 11, 2, 19, 15, 5, 500_000),
        ),
        ("%Y-%m-%dT%H:%M:%S%z", "2026-11-02T20:15:05Z", SECOND),
        ("%Y-%m-%d %H:%M:%S %Z", "2026-11-02 20:15:05.000000999 UTC", SECOND),
        ("%Y-%m-%d %H:%M:%S %Z", "2026-11-02 20:15:05 -03", utc(2026, 11, 2, 23, 15, 5)),
        ("%d/%b/%Y:%H:%M:%S %z", "02/Nov/2026:20:15:05 +0000", SECOND),
        ("%a %b %e %H:%M:%S %Y", "Mon Nov  2 20:15:05.000001 2026", SECOND.replace(microsecond=1)),
        ("%m/%d/%Y, %I:%M:%S %p", "11/2/2026, 8:15:05 PM", SECOND),
        ("%m/%d/%Y %I:%M %p", "11/2/2026 12:15 am", utc(2026, 11, 2, 0, 15)),
        ("%y%m%d %H%M%S", "261102 201505", SECOND),
        ("%y%m%d %H:%M:%S", "691102  20:15:05".replace("  ", " "), utc(1969, 11, 2, 20, 15, 5)),
        ("%y%m%d %H:%M:%S", "681102 20:15:05", utc(2068, 11, 2, 20, 15, 5)),
        ("%Y%m%d-%H:%M:%S:%f", "20261102-20:15:5:7", SECOND.replace(microsecond=700_000)),
        ("%Y%m%d%H%M%S", "20261102201505.25", SECOND.replace(microsecond=250_000)),
        ("%s", "1793650505", SECOND),
        ("%s", "1793650505.1234569", SECOND.replace(microsecond=123_456)),
    ],
)
def test_a_pattern_reads_what_it_describes(way: str, text: str, expected: datetime) -> None:
    assert read(way, text) == expected


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("%Y-%m-%d %H:%M:%S", "2026-13-02 20:15:05"),
        ("%Y-%m-%d %H:%M:%S", "2026-02-30 20:15:05"),
        ("%Y-%m-%d %H:%M:%S", "2026-11-02 24:15:05"),
        ("%Y-%m-%d %H:%M:%S", "2300-01-01 00:00:00"),
        ("%Y-%m-%d %H:%M:%S %Z", "2026-11-02 20:15:05 AKST"),
        ("%Y-%m-%d %H:%M:%S %Z", "1900-01-01 00:15:05 +01"),
        ("%m/%d/%Y %I:%M %p", "11/2/2026 13:15 PM"),
        ("%s", "99999999999"),
    ],
)
def test_a_time_that_cannot_be_is_a_bad_one(way: str, text: str) -> None:
    form = written(way).make(UTC)
    assert certain(form, [text]) == [False]
    with pytest.raises(MalformedLine) as refusal:
        form.line(text)
    assert refusal.value.reason == "bad_timestamp"


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("%Y-%m-%d %H:%M:%S", "26-11-02 20:15:05"),
        ("%Y-%m-%d %H:%M:%S", "2026-11-02 20:15:005"),
        ("%Y-%m-%d %H:%M:%S", "2026-11-02 20:15:05."),
        ("%Y-%m-%d %H:%M:%S%z", "2026-11-02 20:15:05+24:00"),
        ("%b %e %Y %H:%M", "NOV 2 2026 20:15"),
        ("%a %d.%m.%y %H:%M", "Abc 02.11.26 20:15"),
        ("%y%m%d %H%M%S", "26112 201505"),
        ("%s", "-1"),
        ("%s", "179365050500"),
    ],
)
def test_what_looks_otherwise_is_no_such_time(way: str, text: str) -> None:
    form = written(way).make(UTC)
    assert certain(form, [text]) == [False]
    with pytest.raises(MalformedLine) as refusal:
        form.line(text)
    assert refusal.value.reason == "not_times"


def test_the_second_behind_the_last_is_the_first_of_the_next_minute() -> None:
    moment = read("%b %d %Y %H:%M:%S", "Dec 31 2016 23:59:60", is_fast=False)
    assert moment == utc(2017, 1, 1)


def test_a_name_of_a_zone_is_what_the_zone_is_called_then() -> None:
    way = "%Y-%m-%d %H:%M:%S %Z"
    assert read(way, "2026-10-24 02:30:00 CEST", BERLIN) == utc(2026, 10, 24, 0, 30)
    for text, hour in (("2026-10-25 02:30:00 CEST", 0), ("2026-10-25 02:30:00 CET", 1)):
        assert read(way, text, BERLIN, is_fast=False) == utc(2026, 10, 25, hour, 30)
    form = written(way).make(BERLIN)
    named = [
        f"2026-{day} 02:30:00 {name}" for day in ("10-24", "10-26") for name in ("CEST", "CET")
    ]
    assert certain(form, named[1:2]) == certain(form, named[2:3]) == [False]
    for wrong in (named[1], named[2], "2026-10-26 02:30:00 AKST"):
        with pytest.raises(MalformedLine, match="is not what LOG_TIMEZONE"):
            form.line(wrong)
    assert certain(form, [named[0], "2026-10-24 02:30:00 UTC", named[3], named[0]]) == [
        *(True, True, False, True)
    ]


def test_a_name_that_the_zone_never_has_is_the_zone_that_has_it_nearly_anywhere() -> None:
    way = "%Y-%m-%d %H:%M:%S %Z"
    assert read(way, "2026-10-26 02:30:00 EST", BERLIN, is_fast=False) == utc(2026, 10, 26, 7, 30)
    shanghai = ZoneInfo("Asia/Shanghai")  # whose CST is another one
    assert read(way, "2026-10-26 10:30:00 CST", shanghai) == utc(2026, 10, 26, 2, 30)


@pytest.mark.parametrize(
    ("way", "problem"),
    [
        ("%Y-%m-%d", "needs a month, a day and a clock"),
        ("%H:%M:%S", "needs a month, a day and a clock"),
        ("%Y-%m-%d %d %H:%M", "each of them once"),
        ("%Y-%m-%d %I:%M", "%I and %p need each other"),
        ("%Y-%m-%d %k:%M", "%k is no directive"),
        ("%Y-%m-%d %H:%M %", "% is no directive"),
        ("%b %d %H:%M %z", "has a zone, but no year"),
        ("%Y\u5e74%m-%d %H:%M", "literals are ASCII"),
    ],
)
def test_a_pattern_that_is_none_says_why(way: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pattern(way)


# Years that nobody wrote

HALF = "%b %e %H:%M:%S"


def micros(moment: datetime) -> int:
    """As `Span.seen` is."""
    return (moment - EPOCH) // MICROSECOND


@pytest.mark.parametrize(
    ("text", "seen", "expected"),
    [
        ("Dec 31 23:59:59", utc(2027, 1, 1, 0, 0, 1), utc(2026, 12, 31, 23, 59, 59)),
        ("Jan  1 00:00:01", utc(2026, 12, 31, 23, 59), utc(2027, 1, 1, 0, 0, 1)),
        ("Nov 22 20:15:05", utc(2026, 11, 23), utc(2026, 11, 22, 20, 15, 5)),
        ("Jun  1 00:00:00", utc(2026, 11, 23), utc(2026, 6, 1)),
        ("Apr  1 00:00:00", utc(2026, 11, 23), utc(2027, 4, 1)),
        ("Mar  1 00:00:00", utc(2027, 3, 1), utc(2027, 3, 1)),
        ("Mar  1 00:00:00", utc(2028, 3, 1), utc(2028, 3, 1)),
        ("Feb 28 23:00:00", utc(2028, 3, 1), utc(2028, 2, 28, 23)),
        ("Feb 29 12:00:00", utc(2028, 2, 29), utc(2028, 2, 29, 12)),
        ("Feb 29 12:00:00", utc(2027, 3, 1), utc(2028, 2, 29, 12)),
        ("Feb 29 12:00:00", utc(2025, 12, 1), utc(2024, 2, 29, 12)),
        ("Feb 29 12:00:00", utc(2100, 1, 1), utc(2096, 2, 29, 12)),
        ("Feb 29 12:00:00", utc(2101, 1, 1), utc(2104, 2, 29, 12)),
    ],
)
def test_a_time_without_a_year_is_the_one_nearest_to_the_first_sight(
    text: str, seen: datetime, expected: datetime
) -> None:
    open_ = read(HALF, text)
    assert (open_.year, open_.hour) == (4, expected.hour)
    assert with_year(open_, micros(seen), UTC) == expected


@given(st.datetimes(datetime(1950, 1, 1), datetime(2250, 1, 1)), st.integers(-180, 180))
def test_a_time_of_half_a_year_around_the_first_sight_is_read_back(
    moment: datetime, days: int
) -> None:
    moment = moment.replace(microsecond=0, tzinfo=timezone.utc)
    seen = micros(moment + timedelta(days))
    if (moment.month, moment.day) != (2, 29):
        assert with_year(read(HALF, f"{moment:%b %e %H:%M:%S}"), seen, UTC) == moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jul  1 12:00:00", utc(2026, 7, 1, 10)),
        ("Mar 26 02:30:00", utc(2026, 3, 26, 1, 30)),  # which was no time in 2000
        ("Mar 29 02:30:00", utc(2026, 3, 29, 1, 30)),  # which is none in 2026
        ("Oct 25 02:30:00", utc(2026, 10, 25, 0, 30)),  # which is two
        ("Jan  1 00:30:00", utc(2025, 12, 31, 23, 30)),
    ],
)
def test_a_time_without_a_year_is_in_the_zone_of_its_year(text: str, expected: datetime) -> None:
    open_ = read(HALF, text, BERLIN)
    assert with_year(open_, micros(utc(2026, 6, 1)), BERLIN) == expected
    for decade in (1950, 2150):  # where Polars does not know the zone
        far = with_year(open_, micros(utc(decade, 6, 1)), BERLIN)
        assert far.astimezone(BERLIN).strftime(HALF) == text or "02:30" in text


def test_streams_of_a_batch_have_the_years_of_their_own_first_sights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(parser.__globals__, "described", lambda *_: written(HALF))
    texts = ["Dec 31 23:59:58", "Dec 31 23:59:60", "Jan  1 00:00:01"]
    data = "".join(f"{text}\n" for text in texts).encode()
    pieces = []
    for number, seen in enumerate((utc(2020, 12, 31), utc(2027, 1, 1))):
        span = Span(Stream(FILE_ID - number, PATH), 0, len(data), 0, 3, seen=micros(seen))
        pieces.append(Piece.of(span, data, Encoding("utf-8")))
    parse = parser("any", "UTC")
    for _ in range(2):  # the same whenever it is
        found = parse(together(*pieces)).rows.sort("file_id", "offset", descending=[True, False])
        assert found["timestamp"].to_list() == [
            *(utc(2020, 12, 31, 23, 59, 58), utc(2021, 1, 1), utc(2021, 1, 1, 0, 0, 1)),
            *(utc(2026, 12, 31, 23, 59, 58), utc(2027, 1, 1), utc(2027, 1, 1, 0, 0, 1)),
        ]


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-22 20:15:05", 20),
        ("2026-11-22T20:15:05,123Z", 20),
        ("2026-11-22t20:15:05.123+0100", 19),
        ("2026-11-22 20:15:05 +01:00", 19),
        ("2026-11-22 20:15:05 UTC", 20),
        ("2026-11-22 20:15:05+01", 19),
    ],
)
def test_an_iso_time_has_a_separator_and_a_zone_of_several_kinds(text: str, hour: int) -> None:
    found = pattern(ISO_8601).read(text, UTC)
    assert found.replace(microsecond=0) == datetime(2026, 11, 22, hour, 15, 5, tzinfo=UTC)


@pytest.mark.parametrize("behind", [" -", " +01 days", " Zebra", "Zebra", " UTCx", " +0160"])
def test_what_is_no_zone_is_no_part_of_an_iso_time(behind: str) -> None:
    found = pattern(ISO_8601).expression.match(f"2026-11-22 20:15:05{behind}")
    assert found
    assert found.group() == "2026-11-22 20:15:05"


def test_a_zone_may_be_a_region() -> None:
    php = pattern("%d-%b-%Y %H:%M:%S %Z")
    assert php.read("22-Nov-2026 20:15:05 Europe/Berlin", UTC).hour == 19
    with pytest.raises(MalformedLine, match="Europe/Nowhere is no zone"):
        php.read("22-Nov-2026 20:15:05 Europe/Nowhere", UTC)
