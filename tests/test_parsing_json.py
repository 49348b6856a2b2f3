"""Format `json`: what a line means, and that many lines at once mean the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.parsing.choice import describe
from flows.parsing.dialects import ALIASES, Alias
from flows.parsing.parser import Format, parser
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

UTC = describe("json").make(ZoneInfo("UTC"))
BERLIN = describe("json").make(ZoneInfo("Europe/Berlin"))
NOON = "2026-11-01T12:00:00Z"
USUAL = json.dumps(
    {"ts": NOON, "customer": "c", "status": 200, "duration_ms": 1.5, "ip": "::1", "id": "x", "n": 1}
)


def line(**fields: Any) -> str:
    return json.dumps({"ts": NOON, **fields})


def attributes(text: str) -> str:
    """The attributes of a line, as stored."""
    stored = row_of("json", text)["attributes"]
    assert isinstance(stored, str)
    return stored


def by_column(column: str) -> list[Alias]:
    return [alias for alias in ALIASES if alias.column == column]


# Keys and columns


@pytest.mark.parametrize("alias", by_column("timestamp"), ids=lambda alias: alias.key)
def test_every_alias_of_the_time(alias: Alias) -> None:
    assert row_of("json", json.dumps({alias.key: NOON})) == {"timestamp": utc(2026, 11, 1, 12)}


@pytest.mark.parametrize("alias", by_column("duration"), ids=lambda alias: alias.key)
def test_every_alias_of_the_duration_is_converted_to_seconds(alias: Alias) -> None:
    unit = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}.get(alias.key[-2:], 1)
    assert row_of("json", line(**{alias.key: 42.75}))["duration"] == 42.75 / unit


@pytest.mark.parametrize(
    "alias",
    [alias for alias in ALIASES if alias.column not in ("timestamp", "duration")],
    ids=lambda alias: alias.key,
)
def test_every_other_alias(alias: Alias) -> None:
    value = 404 if alias.column in ("status_code", "bytes_sent") else "some é text"
    assert row_of("json", line(**{alias.key: value})) == {
        "timestamp": utc(2026, 11, 1, 12),
        alias.column: value,
    }


def test_of_two_aliases_the_first_in_the_table_wins_and_the_other_is_an_attribute() -> None:
    row = row_of("json", line(http_status=500, status=200, verb="PUT", method="GET"))
    assert (row["status_code"], row["method"]) == (200, "GET")
    assert json.loads(row["attributes"]) == {"http_status": 500, "verb": "PUT"}


def test_which_of_two_aliases_wins_is_decided_for_each_line() -> None:
    lines = [line(status=200), line(http_status=500), line(status=200, http_status=500)] * 50
    parsed = parse("json", "\n".join(lines).encode())
    in_order = parsed.rows.sort("offset")
    assert in_order["status_code"].to_list() == [200, 500, 200] * 50
    assert in_order["attributes"].to_list() == ["{}", "{}", '{"http_status":500}'] * 50


NAMED = {
    'app: {"ts":"%s"}': {"named": "app"},
    'app_v2.1 -:{"ts":"%s","a":1}': {"named": "app_v2.1", "a": 1},
    '@cee: {"ts":"%s","a":1}': {"a": 1},
    '@cee:{ "ts":"%s"}': {},
}
"""Lines with something in front of an object, and their attributes."""


@pytest.mark.parametrize("text", NAMED)
def test_what_is_in_front_of_an_object_is_a_name_or_the_cookie_of_syslog(text: str) -> None:
    line = text % NOON
    assert all(certain(UTC, [line] * 3, spelled=True))
    row = filled(row_of("json", line))
    assert json.loads(str(row["attributes"])) == NAMED[text]
    assert row["timestamp"] == utc(2026, 11, 1, 12)


@pytest.mark.parametrize(
    "text", ['two words: {"ts":"%s"}', 'app: ["%s"]', "app: %s", 'a{"ts":"%s"}']
)
def test_other_texts_in_front_of_an_object_are_no_name(text: str) -> None:
    assert refusal_of("json", text % NOON)[0] == "bad_json"


def test_a_known_key_that_is_null_is_as_good_as_missing() -> None:
    row = row_of("json", line(status=None, http_status=404, customer_id=None, duration_ms=None))
    assert filled(row) == filled({"timestamp": utc(2026, 11, 1, 12), "status_code": 404})


@pytest.mark.parametrize(
    "text",
    [
        '{"recordedAt":"2026-11-22T20:15:05Z"}',
        '{"EventTime":"2026-11-22T20:15:05Z"}',
        '{"record":"1","isotimestamp":"2026-11-22 20:15:05"}',
        '{"logged_ts":1795378505}',
        '{"date_create":1795378505}',
        '{"time":"11/22/2026 8:15:05 PM"}',
        '{"meta":{"eventCreationTime":1795378505000},"id":1}',
        '{"a":{"b":{"timestampUtc":"1795378505"}}}',
        '{"expirationDate":"2027-01-01T00:00:00Z","occurred_at":"2026-11-22T20:15:05Z"}',
        '{"a":{"sent_at":"2026-11-22T20:15:06Z"},"creation_date":"2026-11-22T20:15:05Z"}',
        '{"TimeNotBefore":1795000000,"TimeGenerated":"2026-11-22T20:15:05Z"}',
        '{"TIMESTAMP_DERIVED":"2026-11-22T20:15:05Z"}',
        '{"TimeReceived":"2026-11-22T20:15:09Z","DetectedDateTime":"2026-11-22T20:15:05Z"}',
        '{"ingestion_timestamp":"2026-11-22T20:15:09Z","TimeDetected":"2026-11-22T20:15:05Z"}',
        '{"received_at":"2026-11-22T20:15:05Z"}',
        '{"occurred":"22-Nov-2026 20:15:05"}',
        '{"end":"2026-11-22T20:15:09Z","rt":"2026-11-22T20:15:05Z"}',
        '{"EventEndTime":"1970-01-01T00:00:00Z","EventTimeString":"11/22/2026 8:15:05 PM +00:00"}',
        '{"start":1795378505,"end":1795378560}',
        '{"time":"Sun Nov 22 20:15:05 2026"}',
        '{"time":"Sun, 22 Nov 2026 20:15:05 GMT"}',
        '{"time":"2026-11-22 20:15:05.000 +0000 UTC"}',
        '{"time":"2026/11/22T20:15:05"}',
        '{"date":"11/22/2026","time":"8:15:05 PM"}',
        '{"date":"2026-11-22","time":"20:15:05"}',
        '{"date":"2026-11-22","time":"15:15:05","tz":"-0500"}',
        '{"date":"2026-11-22","time":"21:15:05","timezone":"CET"}',
        '{"date":"2026-11-22","time":"20:15:05","timezone":"nowhere"}',
    ],
)
def test_a_key_that_says_a_time_by_its_words_gives_it(text: str) -> None:
    row, misfits = misfits_of("json", text)
    assert row["timestamp"] == utc(2026, 11, 22, 20, 15, 5)
    assert not misfits


@pytest.mark.parametrize(
    "text",
    [
        '{"expires_at":"2026-11-22T20:15:05Z"}',
        '{"valid_until_date":"2026-11-22T20:15:05Z"}',
        '{"lastSeenTime":"2026-11-22T20:15:05Z"}',
        '{"elapsedTime":1795378505}',
        '{"responseTime":1795378505}',
        '{"local_time":48.5}',
        '{"format":"2026-11-22T20:15:05Z"}',
        '{"date":"2026-11-22","clock":"20:15:05"}',
    ],
)
def test_a_time_of_something_else_is_not_that_of_a_line(text: str) -> None:
    assert refusal_of("json", text)[0] in ("no_timestamp", "bad_timestamp")


def test_of_a_repeated_key_the_last_value_counts() -> None:
    text = '{"ts":1,"status":200,"a":1,"status":404,"a":"x","ts":1700000000}'
    row = row_of("json", text)
    assert row["timestamp"] == utc(2023, 11, 14, 22, 13, 20)
    assert (row["status_code"], row["attributes"]) == (404, '{"a":"x"}')


def test_many_lines_of_little_but_attributes_and_escapes_are_read_to_the_last() -> None:
    long = [{"ua": 'a "quoted" name\n' * 9, "extra": "x" * 300, "n": n} for n in range(3000)]
    parsed = parse("json", "".join(line(**fields) + "\n" for fields in long).encode())
    assert parsed.rows["user_agent"].to_list() == [fields["ua"] for fields in long]
    found = [json.loads(text) for text in parsed.rows["attributes"]]
    assert found == [{"extra": fields["extra"], "n": fields["n"]} for fields in long]


def test_unknown_keys_are_attributes_with_their_types() -> None:
    unknown = {
        "text": 'a "quoted" \\ é 😀 \n',
        "integer": 2**53 + 1,
        "large": 2**64,
        "float": 0.1,
        "whole": 1.0,
        "yes": True,
        "null": None,
        "list": [1, "a", None, {"b": 2.0}],
        "object": {"status": 500, "deep": {"er": [[]]}},
        "": "empty key",
    }
    assert attributes(line(**unknown)) == json.dumps(
        unknown, ensure_ascii=False, separators=(",", ":")
    )


def test_text_columns_keep_other_values_as_json() -> None:
    row = row_of("json", line(customer_id=17, host=True, message={"a": [1, "é"]}, level=1.5))
    assert (row["customer_id"], row["host"], row["level"]) == ("17", "true", "1.5")
    assert json.loads(row["message"]) == {"a": [1, "é"]}


@pytest.mark.parametrize(
    ("value", "status"), [("200", 200), ("404", 404), (204.0, 204), (0, 0), (65535, 65535)]
)
def test_a_status_may_be_a_text_or_a_whole_number(value: object, status: int) -> None:
    assert row_of("json", line(status=value))["status_code"] == status


def test_bytes_up_to_64_bits() -> None:
    assert row_of("json", line(bytes=2**64 - 1))["bytes_sent"] == 2**64 - 1
    assert row_of("json", line(bytes=str(2**64 - 1)))["bytes_sent"] == 2**64 - 1


def test_white_space_between_the_parts_changes_nothing() -> None:
    spread = '\t{ "ts" : "2026-11-01T12:00:00Z" ,\t"status":\r 200 , "a" :\t[ 1 ] } '
    assert row_of("json", spread) == row_of("json", line(status=200, a=[1]))


# Times


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-01T12:00:00Z", utc(2026, 11, 1, 12)),
        ("2026-11-01T12:00:00.5z", utc(2026, 11, 1, 12, 0, 0, 500_000)),
        ("2026-11-01t12:00:00.123456789+02:00", utc(2026, 11, 1, 10, 0, 0, 123_456)),
        ("2026-11-01 12:00:00,123 -0330", utc(2026, 11, 1, 15, 30, 0, 123_000)),
        ("2026-11-01 12:00:00+01", utc(2026, 11, 1, 11)),
        ("2026-11-01 12:00:00", utc(2026, 11, 1, 11)),  # LOG_TIMEZONE
        ("2026-07-01T12:00:00.000001", utc(2026, 7, 1, 10, 0, 0, 1)),
        (1_793_534_400, utc(2026, 11, 1, 12)),
        (1_793_534_400.25, utc(2026, 11, 1, 12, 0, 0, 250_000)),
        (1_793_534_400_250, utc(2026, 11, 1, 12, 0, 0, 250_000)),
        (1_793_534_400_250.5, utc(2026, 11, 1, 12, 0, 0, 250_500)),
        (1_793_534_400_250_001, utc(2026, 11, 1, 12, 0, 0, 250_001)),
        (1_793_534_400_250_001_999, utc(2026, 11, 1, 12, 0, 0, 250_001)),
        ("1793534400", utc(2026, 11, 1, 12)),
        ("1793534400.25", utc(2026, 11, 1, 12, 0, 0, 250_000)),
        ("1793534400250", utc(2026, 11, 1, 12, 0, 0, 250_000)),
        (0, utc(1970, 1, 1)),
        (-1.5, utc(1969, 12, 31, 23, 59, 58, 500_000)),
    ],
)
def test_times(value: object, expected: datetime) -> None:
    assert row_of("json", json.dumps({"ts": value}), "Europe/Berlin")["timestamp"] == expected


# Lines that are refused


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "bad_json"),
        ("Traceback (most recent call last):", "bad_json"),
        (USUAL[:-1], "bad_json"),
        (USUAL + "}", "bad_json"),
        (USUAL + USUAL, "bad_json"),
        (USUAL.replace("200", "0200"), "bad_json"),
        (USUAL.replace("200", "nan"), "bad_json"),
        (USUAL.replace("200", "NaN").replace('"c"', r'"\ud800"'), "bad_json"),
        (USUAL.replace(": ", ":\x0b"), "bad_json"),
        (USUAL.replace("200", "20\0" + "0"), "bad_json"),
        (USUAL.replace('"c"', r'"\ud800"'), "bad_json"),
        (USUAL.replace('"c"', '"\t"'), "bad_json"),
        (f"[{USUAL}]", "not_an_object"),
        ("17", "not_an_object"),
        ("null", "not_an_object"),
        ("{}", "no_timestamp"),
        ('{"status":"OK"}', "no_timestamp"),
        ('{"ts":null,"status":200}', "no_timestamp"),
        ('{"ts":"yesterday"}', "bad_timestamp"),
        ('{"ts":"2026-02-30T00:00:00Z"}', "bad_timestamp"),
        ('{"ts":"1899-12-31T23:59:59Z"}', "bad_timestamp"),
        ('{"ts":true}', "bad_timestamp"),
        ('{"ts":[]}', "bad_timestamp"),
        ('{"ts":1e30}', "bad_timestamp"),
        ('{"ts":"-"}', "bad_timestamp"),
        ('{"ts":"1e400"}', "bad_timestamp"),
        ('{"ts":NaN}', "bad_timestamp"),
        ('{"timestamp":"yesterday","ts":true}', "bad_timestamp"),
    ],
)
@pytest.mark.parametrize("surrounded", [False, True])
def test_refused_with_a_reason(text: str, reason: str, surrounded: bool) -> None:
    if not surrounded and text:
        assert refusal_of("json", text)[0] == reason
    form = describe("json").make(ZoneInfo("UTC"))
    sure = certain(form, [USUAL, text, USUAL] if surrounded else [text])
    assert not sure[len(sure) // 2]


def test_the_refusal_says_what_was_found() -> None:
    assert refusal_of("json", '{"ts":["now"]}')[1] == 'ts is ["now"]'
    assert refusal_of("json", '{"ts":"now","time":[]}')[1] == "'now' is not an ISO 8601 time"


# Values that do not fit


@pytest.mark.parametrize(
    ("key", "value", "column"),
    [
        ("status", "70000", "status_code"),
        ("status", "-1", "status_code"),
        ("status", "1.5", "status_code"),
        ("status", '"OK"', "status_code"),
        ("http_status", '"2_00"', "status_code"),
        ("status", "true", "status_code"),
        ("status", '{"code":200}', "status_code"),
        ("bytes", str(2**64), "bytes_sent"),
        ("response_size", "-1", "bytes_sent"),
        ("bytes", "[5]", "bytes_sent"),
        ("duration_ms", "-0.5", "duration"),
        ("duration_ms", '"fast"', "duration"),
        ("duration", '"inf"', "duration"),
        ("duration", '"-1.2ms"', "duration"),
        ("duration", '"1.2 parsecs"', "duration"),
        ("duration", '"1ms1s"', "duration"),
        ("duration", '"ms"', "duration"),
        ("duration", "false", "duration"),
        ("duration", "9" * 400, "duration"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_an_attribute(
    key: str, value: str, column: str
) -> None:
    text = f'{{"ts":"{NOON}","path":"/a","{key}":{value}}}'
    row, misfits = misfits_of("json", text)
    attributes = f'{{"{key}":{value}}}'
    assert row["attributes"] == attributes
    expected = {"timestamp": utc(2026, 11, 1, 12), "request_path": "/a", "attributes": attributes}
    assert filled(row) == filled(expected)
    assert misfits == {column: 1}
    assert not certain(UTC, [USUAL, text, USUAL])[1]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "-2.5E+400"])
def test_what_is_no_number_of_64_bits_is_a_text_in_the_attributes(value: str) -> None:
    text = f'{{"ts":"{NOON}","duration":{value},"x":[{value},0.5]}}'
    row, misfits = misfits_of("json", text)
    assert json.loads(row["attributes"]) == {"duration": value, "x": [value, 0.5]}
    assert misfits == {"duration": 1}
    assert not any(certain(UTC, [text] * 3))


@pytest.mark.parametrize("value", ['"-"', '""', "null"])
@pytest.mark.parametrize("key", ["status", "bytes", "duration", "request_time"])
def test_no_value_is_empty_and_no_misfit(key: str, value: str) -> None:
    text = f'{{"ts":"{NOON}","{key}":{value}}}'
    row, misfits = misfits_of("json", text)
    assert filled(row) == filled({"timestamp": utc(2026, 11, 1, 12)})
    assert misfits == {}
    assert all(certain(UTC, [text] * 3))


def test_a_dash_is_a_text_where_texts_are() -> None:
    assert row_of("json", line(customer="-", message="-"))["customer_id"] == "-"


def test_of_two_aliases_the_first_that_fits_counts() -> None:
    text = line(status="OK", http_status=204, timestamp="yesterday", duration="-", duration_ms=5)
    row, misfits = misfits_of("json", text)
    assert (row["timestamp"], row["status_code"]) == (utc(2026, 11, 1, 12), 204)
    assert row["duration"] == 0.005
    assert json.loads(row["attributes"]) == {"status": "OK", "timestamp": "yesterday"}
    assert misfits == {"status_code": 1, "timestamp": 1}


# Durations


@pytest.mark.parametrize(("written", "seconds"), GO_DURATIONS)
@pytest.mark.parametrize("key", ["duration", "request_time", "duration_ms", "elapsed_ns"])
def test_a_duration_of_go_names_its_unit_itself(key: str, written: str, seconds: float) -> None:
    text = json.dumps({"ts": NOON, key: written}, ensure_ascii=False)
    assert row_of("json", text)["duration"] == seconds
    certain(UTC, [text] * 3)


def test_durations_of_go_are_read_the_fast_way() -> None:
    lines = [line(duration="1.2ms"), line(duration="1m3.5s"), line(duration="0s")]
    assert all(certain(UTC, lines * 3))


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_the_setting_is_the_unit_of_plain_durations_only(unit: str, scale: int) -> None:
    texts = [
        line(duration=42.75),
        line(duration="42.75"),
        line(duration="42.75s"),
        line(request_time=42.75),
        line(duration_s=42.75),
        line(duration_ms=42_750),
    ]
    read = parser("json", "UTC", duration_unit=unit)(batch("\n".join(texts).encode()))
    durations = read.rows.sort("offset")["duration"].to_list()
    assert durations == [42.75 / scale, 42.75 / scale, *[42.75] * 4]


@pytest.mark.parametrize("depth", [100, 900, 1_020, 5_000, 150_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_deeply_nested_line_costs_at_most_itself(depth: int, opening: str, closing: str) -> None:
    deep = f'{{"ts":0,"a":{opening * depth}1{closing * depth}}}'
    parsed = parse("json", "\n".join([USUAL, deep, USUAL]).encode())
    assert parsed.rows.height + parsed.rejected.height == 3
    assert parsed.rejected["raw"].to_list() in ([], [deep.encode()])


# Whole batches


def test_keys_of_one_in_10_000_lines_are_all_found() -> None:
    rare = {
        5_000: {"never_seen": 1},
        15_000: {"another": {"nested": [1, {"deep": None}]}},
        25_000: {"line": None},
        35_000: {"line": "of a file", "status_text": "OK"},
        45_000: {"customer_id": "an alias not used before"},
    }
    lines = [
        line(customer="c", n=number, text=f"t{number}", **rare.get(number, {}))
        for number in range(50_000)
    ]
    parsed = parse("json", "\n".join(lines).encode())
    stored = parsed.rows.sort("offset")["attributes"].to_list()
    for number, text in enumerate(stored):
        expected = {"n": number, "text": f"t{number}", **rare.get(number, {})}
        if number == 45_000:
            expected = {"n": number, "text": f"t{number}", "customer": "c"}
        assert json.loads(text) == expected


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("200", "tru"),
        lambda text: "\1" * 64,
        lambda text: text.replace('"c"', r'"\ud800"'),
    ],
    ids=["truncated", "malformed", "hole", "surrogate"],
)
def test_one_bad_line_in_a_thousand_costs_exactly_the_bad_ones(spoil: Callable[[str], str]) -> None:
    lines = [USUAL] * 5_000
    bad = range(0, 5_000, 1_000)
    for number in bad:
        lines[number] = spoil(USUAL)
    parsed = parse("json", "\n".join(lines).encode())
    assert parsed.rows.height == 4_995
    assert parsed.rejected["raw"].to_list() == [lines[number].encode() for number in bad]


@pytest.mark.parametrize("odd", ['"n/a"', "70000", "1e400", "true", "-1", "[200]"])
def test_odd_values_in_one_of_a_thousand_lines_cost_no_line(odd: str) -> None:
    lines = [USUAL] * 5_000
    for number in range(0, 5_000, 1_000):
        lines[number] = USUAL.replace("200", odd)
    parsed = parse("json", "\n".join(lines).encode())
    assert (parsed.rows.height, parsed.rejected.height) == (5_000, 0)
    assert parsed.misfits == {"status_code": 5}
    assert parsed.rows["status_code"].to_list().count(0) == 5


@pytest.mark.parametrize(
    ("others", "odd"),
    [
        ({"status": 500}, '"status":500,"status":null'),
        ({"status": 500}, '"status":null,"status":500'),
        ({"status": None}, r'"x\"status":null'),
        ({"a": "t"}, '"a":["x"]'),
        ({"a": "t", "b": "t"}, '"a":1,"b":["x","y"]'),
        ({"a": "t", "b": 1}, '"a":1,"b":"1"'),
        ({"line": 1}, '"rare":1'),
        ({"a": 1}, '"b":{"a":1}'),
        ({"a": 1}, '"a" :1,"b":2'),
        ({"a": 1}, '"a"     :1,"b":2'),
        ({"a": 1}, '"a":-0.0'),
        ({"a": 1.5}, '"a":1'),
        ({"a": 1.5}, '"a":1.0'),
        ({"a": 1.5}, '"a":12345678901234567890'),
        ({"*": 1, "a": 2}, '"*":3,"a":4'),
        ({"^a$": "x", "a": 2}, '"^a$":"y","a":4'),
        ({"ok": False}, '"ok":true'),
        ({"text": "t", "number": 1}, r'"text":"a\":","number":2'),
        ({"text": "t", "number": 1}, r'"text":"::1","number":2'),
        ({":": "t"}, r'":":["x"]'),
        ({r"a\":": "t"}, r'"a\":":["x"]'),
        ({"a": "t"}, r'":":1'),
        ({"a": "t"}, r'"a":"\ud83d\ude00"'),
        ({"duration_ns": 2.0}, '"duration_ns":3.0'),
        ({"status": 200, "http_status": None}, '"status":200,"http_status":null'),
    ],
)
def test_traps(others: dict[str, Any], odd: str) -> None:
    trap = f'{{"ts":"{NOON}",{odd}}}'
    certain(UTC, [line(**others)] * 5 + [trap] + [line(**others)] * 5)
    certain(UTC, [json.dumps({"ts": NOON, **others}, separators=(",", ":"))] * 5 + [trap])


@pytest.mark.parametrize(
    "value",
    [
        *("0.0001", "0.00001", "0.00012", "0.000012", "1.0", "1.50", "0.00", "-1.5", "-0", "-0.0"),
        *("123456789012345", "1234567890123456789", "12345678.9012345", "9.007199254740993"),
        *(
            "01",
            "00.5",
            "1.",
            ".5",
            "1e5",
            "true",
            "null",
            r'"\u001F\b\f\/\""',
            r'"\ud83d\uDE00 long"',
        ),
        *(r'"\udc00"', r'"\ud83dx"', "65536", '"1.0"'),
    ],
)
def test_values_are_spelled_as_in_the_definition(value: str) -> None:
    for key in ("a", "host", "status", "bytes", "duration_us", "ts"):
        lines = [f'{{"a":1,"host":"h","ts":"{NOON}","status":1,"bytes":1,"duration_us":1}}'] * 5
        at_time = "" if key == "ts" else f'"ts":"{NOON}",'
        trap = f'{{{at_time}"{key}":{value}}}'
        repeated = f'{{{at_time}"{key}":1,"{key}":{value}}}'
        certain(UTC, [*lines, trap, repeated], spelled=True)


# Many lines at once mean what each of them means


@pytest.mark.parametrize(
    "usual",
    [
        USUAL,
        USUAL.replace(": ", ":"),
        USUAL.replace("Z", ".123+01:00"),
        USUAL.replace("T", " ").replace("Z", ",123"),
        USUAL.replace(f'"{NOON}"', "1793534400250"),
        USUAL.replace(f'"{NOON}"', "1793534400.25"),
        USUAL.replace("1.5", "7"),
        USUAL.replace('"c"', "null"),
        USUAL.replace('"x"', r'"a\"b\\c\u00e9: é"'),
    ],
)
def test_usual_lines_are_read_the_fast_way(usual: str) -> None:
    assert all(certain(BERLIN, [usual] * 300))


TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ['":', '":"', ":", " :", "a :b", '"', "\\", '{"a":1}', 'x":null', "null", "é😀"]
    ),
)
TIMES = st.builds(
    lambda moment, pattern, zone: moment.strftime(pattern) + zone,
    st.one_of(
        st.datetimes(datetime(2026, 3, 28), datetime(2026, 3, 30)),
        st.datetimes(datetime(1890, 1, 1), datetime(2310, 1, 1)),
    ),
    st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S,%f", "%Y-%m-%dT%H:%M:%S.%f9", "%F"]),
    st.sampled_from(["", "Z", "+00:00", "-0330", "+02", " +0100", "+24:00"]),
)
ESCAPES = [
    *(r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0000", r"\u001F", r"\u007f"),
    *(r"\u00e9", r"\u20ac", r"\ud83d\uDE00", "é", "x" * 9),
]
NUMBERS = st.one_of(
    st.from_regex(pattern, fullmatch=True)
    for pattern in (r"[1-9][0-9]{13,18}", r"0?[0-9]{1,4}\.[0-9]{9,18}", r"0\.0{0,6}[1-9]{0,4}0?")
)
LITERALS: dict[str, st.SearchStrategy[str]] = {
    "text": st.builds(json.dumps, TEXTS, ensure_ascii=st.booleans()),
    "escaped": st.lists(st.sampled_from(ESCAPES), max_size=6).map(lambda all: f'"{"".join(all)}"'),
    "number": NUMBERS | NUMBERS.map("-{}".format),
    "amount": NUMBERS | NUMBERS.map('"{}"'.format),
    "int": st.one_of(st.integers(-(2**70), 2**70), st.integers(0, 700)).map(str),
    "float": st.one_of(
        st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 9).map(float)
    ).map(repr),
    "bool": st.sampled_from(["true", "false"]),
    "go": st.sampled_from([f'"{written}"' for written, _ in GO_DURATIONS]),
    "quoted epoch": st.integers(0, 2 * 10**13).map(lambda moment: f'"{moment / 1000}"'),
    "noon": st.just(f'"{NOON}"'),
    "time": mutated(TIMES, "0 9:-+.T").map(json.dumps),
    "epoch": st.one_of(
        st.integers(-(10**20), 10**20), st.integers(0, 2 * 10**9), st.floats(-1e18, 1e18)
    ).map(repr),
    "odd": st.sampled_from(
        [
            *("null", "-0", "-0.0", "1.0", "1e3", "1E400", "01", "1.", "NaN", "+1", "9" * 400),
            *("9223372036854775807", "9223372036854775808", "18446744073709551616"),
            *("[]", '["x"]', '[":"]', '["x","y"]', "[1]", "{}", '{"status":null}', '{"b":{"c":1}}'),
            *(r'"\ud800"', r'"\ud83d\ude00"', r'"\u0041"', r'"\q"', r'"\\ud800"', r'"a\":"'),
            *('"-"', '""', '"0s"', '"1.2ms"', '"1m3.5s"', '"1.5ns"', '"1767225600.123"'),
            *('"200"', '"1.5"', '"true"', '"\x01"', "1\0", "1\0" + "2"),
        ]
    ),
}
ODD_KEYS = ["line", "ok", "a", "b", "", "*", "^a$", "é", "a b", "x:y", r"x\"status", r"\u0061"]
ODD_KEYS += ["ab", "t", "status_"]  # one is how another begins
KEYS = st.sampled_from([*(alias.key for alias in ALIASES), *ODD_KEYS])
KINDS = {
    "timestamp": ["noon", "noon", "time", "epoch", "quoted epoch"],
    "status_code": ["int"],
    "bytes_sent": ["int", "amount"],
    "duration": ["float", "amount", "go"],
}
SPACES = ["", "", "", " ", "\t", " \t ", "\x0b"]
COLUMN = {alias.key: alias.column for alias in ALIASES}


@st.composite
def batches(draw: st.DrawFn) -> list[str]:
    """Lines that mostly have the same keys and types, as those of one file do."""
    usual = ["text", "escaped", "int", "float", "number", "bool"]
    keys = ["ts", *draw(st.lists(KEYS, max_size=5))]
    kinds = {key: draw(st.sampled_from(KINDS.get(COLUMN.get(key, ""), usual))) for key in keys}
    separator = draw(st.sampled_from([":", ":", ": ", " : ", ":\t", "    :"]))

    def member(key: str, kind: str) -> str:
        if draw(st.integers(0, 30)) == 0:
            kind = draw(st.sampled_from(sorted(LITERALS)))
        return f'"{key}"{separator}{draw(LITERALS[kind])}'

    lines = []
    for _ in range(draw(st.integers(1, 8))):
        members = [member(key, kinds[key]) for key in keys]
        if draw(st.integers(0, 5)) == 0:
            members.pop(draw(st.integers(0, len(members) - 1)))
        if draw(st.integers(0, 5)) == 0:
            members.append(member(draw(KEYS), "odd"))
        if draw(st.integers(0, 5)) == 0:
            members.reverse()
        space, end = draw(st.sampled_from(SPACES)), draw(st.sampled_from(["", "", "\r"]))
        lines.append(f"{space}{{{space}{f'{space},{space}'.join(members)}{space}}}{space}{end}")
    return lines


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches(), st.sampled_from([UTC, BERLIN]))
def test_many_lines_at_once_agree_with_the_definition(lines: list[str], form: Format) -> None:
    certain(form, lines, spelled=True)


@settings(max_examples=300, deadline=None)
@given(mutated(st.just(USUAL), '"\\:,{}[]0-. \0\r\x0cné'))
def test_malformed_lines_agree_with_the_definition(text: str) -> None:
    certain(UTC, [USUAL, text, USUAL])


# Values within values

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.sampled_from('ab"\\/\n\x01é😀{}[]:,'), max_size=4),
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text("ab\\é", max_size=2), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(NESTED, min_size=1, max_size=5), st.sampled_from([(",", ":"), (" , ", " : ")]))
def test_values_within_values_agree_with_the_definition(
    values: list[Any], separators: tuple[str, str]
) -> None:
    lines = [
        json.dumps({"ts": NOON, "message": value, "more": value}, separators=separators)
        for value in values
    ]
    certain(UTC, lines, spelled=True)


@pytest.mark.parametrize("nested", ['{"a":1,"a":2}', '{"b":{"é":1,"\\u00e9":2}}', "[1,]", '{"a"}'])
def test_what_python_reads_otherwise_within_values_is_left_to_it(nested: str) -> None:
    assert certain(UTC, [f'{{"ts":"{NOON}","more":{nested}}}'] * 3) == [False] * 3


def test_quoted_epochs_are_read_the_fast_way() -> None:
    lines = [f'{{"ts":"{moment}"}}' for moment in ("1793534400", "1793534400.25", "1793534400250")]
    assert all(certain(UTC, lines * 3))


@pytest.mark.parametrize("level", ["\x1b[34mINFO\x1b[0m", "\x1b[1;38;5;196mINFO\x1b[K", "INFO"])
def test_a_level_has_no_colours(level: str) -> None:
    lines = [line(level=level, message=level)] * 3
    stored = parse("json", "\n".join(lines).encode()).rows
    assert stored["level"].to_list() == ["INFO"] * 3
    assert stored["message"].to_list() == [level] * 3
    certain(UTC, lines)


def test_values_within_values_are_read_the_fast_way() -> None:
    usual = json.dumps({"ts": NOON, "http": {"url": "/a", "tags": ["x", {"n": 1.5}]}})
    assert all(certain(UTC, [usual] * 3))


def test_of_several_records_in_a_list_the_first_is_read_however_little_it_says() -> None:
    records = [{"timeUnixNano": "1795378505123000000"}, {"severityText": "FATAL", "body": "b"}]
    line = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]})
    row = row_of("json", line)
    assert (row["timestamp"], row.get("level")) == (utc(2026, 11, 22, 20, 15, 5, 123000), None)
    assert json.loads(row["attributes"])["resourceLogs"][0]["scopeLogs"] == [
        {"logRecords": [records[1]]}
    ]
