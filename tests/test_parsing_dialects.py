"""Dialects of `json` and `logfmt`: real lines of programs, and what each of their keys means.

`tests/dialects/DIALECT.PROGRAM.FORMAT` are lines as a program wrote them, or, where the program is
called `definition`, as its documentation describes them. Beside each file are its rows.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flows.parsing.choice import describe
from flows.parsing.dialects import DIALECTS, USUAL
from flows.parsing.formats.logfmt import Logfmt
from flows.parsing.keys import Table, dialect_of
from tests.parsing_checks import certain, filled, misfits_of, row_of, utc

FOLDER = Path(__file__).parent / "dialects"
SAMPLES = {
    path.name: path.read_text(encoding="utf-8").splitlines()
    for path in sorted(FOLDER.iterdir())
    if path.suffix != ".rows"
}
FORMS = {name: describe(name).make(ZoneInfo("UTC")) for name in ("json", "logfmt")}
NOON = "2026-11-01T12:00:00Z"
SLOW = {
    *SAMPLES["log4j2.definition.json"][:4],  # a time in two numbers
    *SAMPLES["sophos.definition.logfmt"],  # a day and a clock
    SAMPLES["google.definition.json"][4],
    SAMPLES["journald.definition.json"][3],  # a text in bytes
    SAMPLES["otel.definition.json"][3],  # an object as the text
    SAMPLES["ecs.definition.json"][2],  # a misfit
}
"""Lines that are read one by one."""


def of(kind: str) -> list[str]:
    """All lines of a format."""
    return [*chain(*(lines for name, lines in SAMPLES.items() if name.endswith(kind)))]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_key_of_a_dialect_becomes_what_it_means(name: str) -> None:
    rows = map(json.loads, (FOLDER / f"{name}.rows").read_text(encoding="utf-8").splitlines())
    form = FORMS[name.rpartition(".")[2]]
    for line, expected in zip(SAMPLES[name], rows, strict=True):
        found: dict[str, Any] = form.line(line)
        found["timestamp"] = found["timestamp"].isoformat()
        expected["attributes"] = json.dumps(expected.get("attributes", {}))
        assert filled(found) == filled(expected), line


@pytest.mark.parametrize("name", SAMPLES)
def test_lines_of_a_dialect_are_read_the_fast_way(name: str) -> None:
    for line in SAMPLES[name]:
        form = FORMS[name.rpartition(".")[2]]
        assert all(certain(form, [line] * 3, spelled=True)) == (line not in SLOW), line


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.endswith("json")])
def test_a_dialect_is_told_by_its_keys(name: str) -> None:
    for line in SAMPLES[name]:
        assert dialect_of(json.loads(line)).name == name.partition(".")[0]


def test_a_level_of_ecs_that_came_through_logstash_is_one() -> None:
    line = {"@version": "1", "@timestamp": NOON, "ecs": {}, "log": {"level": "warning"}}
    assert row_of("json", json.dumps(line))["level"] == "warning"


def test_a_message_of_logstash_itself_is_one() -> None:
    line = {"loggerName": "a", "timeMillis": 0, "logEvent": {"message": "started"}}
    assert row_of("json", json.dumps(line))["message"] == "started"


def test_every_dialect_has_five_samples() -> None:
    for dialect in DIALECTS:
        lines = [SAMPLES[name] for name in SAMPLES if name.partition(".")[0] == dialect.name]
        assert len([*chain(*lines)]) >= 5, dialect.name


def test_a_key_that_means_something_only_in_what_is_within_it_is_an_attribute_as_it_is() -> None:
    for dialect in (USUAL, *DIALECTS):
        table = Table.of(dialect)
        for key in table.firsts.keys() - table.keys:
            for tell in dialect.tells or [()]:
                pairs = " ".join(f"{one}=1" for one in tell if one != key)
                line = f"time={NOON} ts={NOON} {pairs} {key}"
                lines = [line + value for value in ("", "=", '=""', "=null", "=a")]
                certain(FORMS["logfmt"], lines, spelled=True)
    row = row_of("logfmt", "date=2026-11-22 time=20:15:05 eventtime=1795378505 logid=7 log")
    assert json.loads(row["attributes"])["log"] is True


@pytest.mark.parametrize("kind", FORMS)
def test_dialects_may_stand_side_by_side(kind: str) -> None:
    lines = of(kind)
    certain(FORMS[kind], lines, spelled=True)
    certain(FORMS[kind], lines[::-1], spelled=True)


REQUESTS = {
    '"request":"GET /a HTTP/1.1"': {"method": "GET", "request_path": "/a"},
    '"request":"GET /caf\u00e9 HTTP/2.0","method":"PUT"': {"method": "PUT"},
    '"request":"GET /a HTTP/1.1","path":"/b"': {"request_path": "/b"},
    '"request":"GET /a HTTP/1.1","protocol":"h2"': {},
    '"request":"GET /a b HTTP/1.1"': {},
    '"request":"7f3a"': {},
    '"request":""': {},
    '"request":null': {},
    '"request":0': {},
    '"request":{"line":"GET /a HTTP/1.1"}': {},
}
"""Members of a line, and what of a request line becomes a column."""


@pytest.mark.parametrize("member", REQUESTS)
def test_a_request_line_is_taken_apart_where_no_other_key_has_a_part(member: str) -> None:
    line = f'{{"ts":"{NOON}",{member}}}'
    row = row_of("json", line)
    found = {name: row[name] for name in ("method", "request_path") if row.get(name)}
    assert found == REQUESTS[member]
    kept = json.loads(row["attributes"])
    is_apart = found == {"method": "GET", "request_path": "/a"}
    assert ("request" in kept) == (not is_apart and json.loads(line)["request"] not in ("", None))
    assert ("protocol" in kept) == (is_apart or "protocol" in member)


@pytest.mark.parametrize("usual", REQUESTS)
def test_lines_with_and_without_a_request_line_stand_side_by_side(usual: str) -> None:
    lines = [f'{{"ts":"{NOON}",{member}}}' for member in (*[usual] * 12, *REQUESTS)]
    certain(FORMS["json"], lines, spelled=True)
    certain(FORMS["json"], lines[::-1], spelled=True)


def test_one_line_of_a_dialect_among_others_with_its_keys_is_read_by_itself() -> None:
    usual = [f'{{"ts":0,"level":3,"{key}":"1"}}' for key in ("version", "short_message")]
    special = '{"ts":0,"level":3,"version":"1","short_message":"1"}'
    assert certain(FORMS["json"], [*usual * 9, special]) == [True] * 18 + [False]
    assert certain(FORMS["json"], [*[special] * 9, usual[0]]) == [True] * 9 + [False]


TRAPS = [
    '"request":{"method":"GET","method":"PUT"}',
    '"request":{"meth\\u006fd":"GET"}',
    '"request":{"method":null}',
    '"request":{"method":{"a":1}}',
    '"request":{"method":"GET","a":1}',
    '"request":{"a":1,"method":"GET","b":2}',
    '"request":{}',
    '"request":[{"method":"GET"}]',
    '"request":null',
    '"request":"GET"',
    '"request":{"headers":{"User-Agent":["a","b"]}}',
    '"request":{"headers":{"User-Agent":[]}}',
    '"request":{"headers":{"User-Agent":"a"}}',
    '"request":{"headers":{"User-Agent":[null],"Referer":["\\u00e9"]}}',
    '"request":{"client_ip":null,"remote_ip":"::1"}',
    '"request":{"client_ip":"::1","remote_ip":null}',
    '"request":{"remote_ip":"::1"}',
    '"request":{"client_ip":"::2","remote_ip":"\\u003a:1"}',
    '"request":{"host":"a"},"host":"b"',
    '"request":{"host":"a"},"host":{"b":null}',
    '"request":{"host":null},"host":"b"',
    '"request.method":"GET"',
    '"request.method":"GET","request":{"method":"PUT"}',
]
CADDY = f'{{"ts":"{NOON}","resp_headers":{{}},"status":200,'


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("others", [0, 1, 4, 16, 18])
def test_what_is_within_values_means_the_same_in_many_lines(trap: str, others: int) -> None:
    usual = f"{CADDY}{TRAPS[others]}}}"
    certain(FORMS["json"], [*[usual] * 5, f"{CADDY}{trap}}}", usual], spelled=True)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.7:80", "203.0.113.7"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::1:80", "::1:80"),
        ("203.0.113.7", "203.0.113.7"),
        ("web1:80", "web1"),
        ("web1:", "web1:"),
        (":80", ""),
        ("[]:80", ""),
        ("[::1]", "[::1]"),
        ("[[::1]]:80", "[[::1]]:80"),
        ("a:800000", "a:800000"),
        ("-", ""),
        ("", ""),
    ],
)
def test_a_port_behind_an_address_is_left_out(address: str, expected: str) -> None:
    line = json.dumps({"start_time": NOON, "response_code": 200, "x_forwarded_for": address})
    assert filled(row_of("json", line))["client_ip"] == expected
    assert all(certain(FORMS["json"], [line] * 3))


def test_a_value_within_another_that_does_not_fit_stays_there() -> None:
    line = SAMPLES["ecs.definition.json"][2]
    row, misfits = misfits_of("json", line)
    assert json.loads(row["attributes"])["http"] == {"response": {"status_code": "n/a"}}
    assert misfits == {"status_code": 1}


def test_a_number_of_a_level_means_what_it_means_in_its_dialect() -> None:
    for more, level in (({}, "30"), ({"short_message": "", "version": "1.1"}, "3")):
        found = row_of("json", json.dumps({"time": NOON, "level": int(level), **more}))["level"]
        assert found == {"30": "info", "3": "err"}[level]
    assert row_of("json", json.dumps({"time": NOON, "level": 35}))["level"] == "35"


def test_the_unit_of_a_duration_is_that_of_the_dialect_whatever_the_setting() -> None:
    form = describe("json").make(ZoneInfo("UTC"), 9)
    line = SAMPLES["envoy.definition.json"][0]
    assert form.line(line)["duration"] == 0.048
    assert all(certain(form, [line] * 3))


@pytest.mark.parametrize(
    ("written", "zone", "hour"),
    [("UTC", "UTC", 12), ("GMT", "Asia/Tokyo", 12), ("CET", "Europe/Berlin", 11)],
)
def test_a_time_may_name_its_zone_as_postgresql_does(written: str, zone: str, hour: int) -> None:
    line = json.dumps({"timestamp": f"2026-11-01 12:00:00.120 {written}", "error_severity": "LOG"})
    assert row_of("json", line, zone)["timestamp"] == utc(2026, 11, 1, hour, 0, 0, 120_000)
    certain(describe("json").make(ZoneInfo(zone)), [line] * 3)


def test_of_the_hour_that_occurs_twice_the_name_of_the_zone_says_which_it_is() -> None:
    for name, hour in (("CEST", 0), ("CET", 1)):
        line = json.dumps({"timestamp": f"2026-10-25 02:30:00 {name}", "error_severity": "LOG"})
        assert row_of("json", line, "Europe/Berlin")["timestamp"] == utc(2026, 10, 25, hour, 30)


@pytest.mark.parametrize(
    "fraction", ["652752123", "5241024", "000000499", "9999996", "123456789012"]
)
def test_seconds_with_many_digits_are_read_the_fast_way(fraction: str) -> None:
    line = f'{{"ts":1795768586.{fraction}}}'
    assert certain(FORMS["json"], [line] * 3) == [len(fraction) < 10] * 3


def test_a_key_of_a_dialect_alone_is_no_value_in_logfmt() -> None:
    form = Logfmt(ZoneInfo("UTC"), 0)
    lines = [f"logger=a t={NOON} uname size=1", f"logger=a t={NOON} uname=bob size="]
    assert certain(form, lines * 3, spelled=True) == [True] * 6
    assert "attributes" in form.line(lines[0])
    assert form.line(lines[1])["customer_id"] == "bob"


def test_a_line_without_a_time_is_of_the_time_of_its_first_object_that_has_one() -> None:
    line = json.dumps({"a": {"b": 1}, "meta": {"time": NOON}, "more": {"ts": 5}})
    assert row_of("json", line)["timestamp"] == utc(2026, 11, 1, 12)
    certain(FORMS["json"], [line] * 3)
