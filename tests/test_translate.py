"""Formats in the languages of other programs: nginx's, Apache's, Python's, logback's, grok."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import SettingsError
from flows.parsing.choice import describe
from flows.settings import load
from tests.parsing_checks import certain, filled, misfits_of, mutated, refusal_of, row_of, utc

UTC = ZoneInfo("UTC")
NGINX = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent"'
)
APACHE = r"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\""
REGEX = r"(?P<timestamp>\S+ \S+) (?P<level>\w+) \[(?P<thread>[^\]]*)\] (?P<message>.*)"
TIMED = NGINX + ' $request_time "$upstream_response_time" $upstream_addr'
CLOCKS = '%v %a [%{msec}t] %m %U%q %H %s %D "%{X-Request-Id}o"'
COMBINED = describe("combined").samples[0]
LINES = {
    NGINX: COMBINED,
    TIMED: COMBINED + ' 0.25 "0.1, 0.2" 10.0.0.1:80, 10.0.0.2:80',
    APACHE: COMBINED,
    CLOCKS: 'www 10.0.0.1 [1795378505120] GET /a?b HTTP/1.1 200 1500 "x-1"',
    "$time_iso8601|$msec|$status": "2026-11-22T20:15:05+00:00|1795378505.120|200",
    '"$time_local" "$request"': '"22/Nov/2026:20:15:05 +0000" "GET /a HTTP/1.1"',
    "%(asctime)s %(levelname)-8s [%(threadName)s] %(name)s:%(lineno)d - %(message)s": (
        "2026-11-22 20:15:05,123 WARNING  [Main Thread] shop.orders:12 - disk: 91% full"
    ),
    "{asctime} | {levelname:>8} | {name} | {message}": (
        "2026-11-22 20:15:05,123 |  WARNING | shop.orders | a | b"
    ),
    "%(created)f %(process)d %% %(message)s": "1795378505.12345 1234 % done",
    "%d{yyyy-MM-dd HH:mm:ss.SSS} [%15.15t] %-5level %-40.40logger{36} : %msg%n%ex": (
        "2026-11-22 20:15:05.123 [           main] WARN  com.example.Shop           : a : b"
    ),
    "%d %-5p [%t] %c{1}: %m%n": "2026-11-22 20:15:05,123 INFO  [Socket Reader #1] c.e.Shop: said",
    "%highlight(%-5level) %date{ISO8601} %X{request:--} %F:%L \\(%M\\) %m": (
        "INFO  2026-11-22T20:15:05,123+01:00 r-17 Shop.java:12 (store) said"
    ),
    "%clr(%d{${F:-yyyy-MM-dd'T'HH:mm:ss.SSSXXX}}){faint} %clr(%5p) ${PID:- } --- %m%n${W:-%wEx}": (
        "2026-11-22T20:15:05.123+01:00  INFO 1234 --- said"
    ),
    "[%d{dd MMM yyyy hh:mm:ss:SSS a}] %highlight{%p}{FATAL=red} %m (%c)": (
        "[22 Nov 2026 08:15:05:123 PM] INFO said (c.e.Shop)"
    ),
    "%d{UNIX_MILLIS} %p %m%n": "1795378505123 INFO said",
}


def attributes(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["attributes"])
    return found


def test_the_formats_of_nginx_and_apache_mean_what_combined_means() -> None:
    expected = filled(row_of("combined", COMBINED))
    assert filled(row_of(NGINX, COMBINED)) == expected
    assert filled(row_of(APACHE, COMBINED)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "log_format main '$remote_addr - $remote_user [$time_local] \"$request\" '\n"
        '    \'$status $body_bytes_sent "$http_referer" "$http_user_agent"\';',
        f'LogFormat "{APACHE}" combined',
    ],
)
def test_a_format_may_be_as_it_stands_in_the_configuration(text: str) -> None:
    assert filled(row_of(text, COMBINED)) == filled(row_of("combined", COMBINED))


def test_escapes_are_those_that_a_log_format_names() -> None:
    line = r'"a\tb" [22/Nov/2026:20:15:05 +0000]'
    for escape, user in (("json", "a\tb"), ("none", r"a\tb")):
        text = f"log_format a escape={escape} '\"$remote_user\" [$time_local]';"
        assert row_of(text, line)["customer_id"] == user


def test_a_refusal_names_the_words_that_a_line_lacks() -> None:
    line = "10.0.0.1 [22/Nov/2026:20:15:05 +0000] 200 12"
    _, detail = refusal_of("$remote_addr [$time_local] status $body_bytes_sent", line)
    assert detail.startswith("status body_bytes_sent is missing")


def test_what_is_no_column_is_an_attribute_of_its_name() -> None:
    row = row_of(TIMED, LINES[TIMED])
    assert row["duration"] == 0.25
    assert attributes(row) == {
        "protocol": "HTTP/1.1",
        "upstream_response_time": "0.1, 0.2",
        "upstream_addr": "10.0.0.1:80, 10.0.0.2:80",
    }


def test_times_and_units_are_those_of_the_directive() -> None:
    row = row_of(CLOCKS, LINES[CLOCKS])
    assert (row["timestamp"], row["duration"]) == (utc(2026, 11, 22, 20, 15, 5, 120_000), 0.0015)
    assert (row["host"], row["client_ip"], row["method"]) == ("www", "10.0.0.1", "GET")
    assert attributes(row)["sent_x_request_id"] == "x-1"


def test_of_two_fields_for_a_column_the_second_is_an_attribute() -> None:
    row = row_of("$time_iso8601|$msec|$status", LINES["$time_iso8601|$msec|$status"])
    assert (row["timestamp"], row["status_code"]) == (utc(2026, 11, 22, 20, 15, 5), 200)
    assert attributes(row) == {"msec": "1795378505.120"}


@pytest.mark.parametrize("text", LINES)
def test_they_are_read_the_fast_way(text: str) -> None:
    assert all(certain(describe(text).make(UTC), [LINES[text]] * 3, spelled=True))


@pytest.mark.parametrize("text", LINES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_compiled_agrees_with_the_definition(text: str, data: st.DataObject) -> None:
    lines = mutated(st.just(LINES[text]), '" \\[]|?-+0:/\t\r\xa0x,.')
    certain(describe(text).make(UTC), data.draw(st.lists(lines, min_size=1)), spelled=True)


@pytest.mark.parametrize(
    ("text", "level", "message", "others"),
    [
        (
            "%(asctime)s %(levelname)-8s [%(threadName)s] %(name)s:%(lineno)d - %(message)s",
            *("WARNING", "disk: 91% full"),
            {"thread": "Main Thread", "logger": "shop.orders", "line": "12"},
        ),
        (
            "{asctime} | {levelname:>8} | {name} | {message}",
            *("WARNING", "a | b", {"logger": "shop.orders"}),
        ),
        ("%(created)f %(process)d %% %(message)s", "", "done", {"pid": "1234"}),
        (
            "%d{yyyy-MM-dd HH:mm:ss.SSS} [%15.15t] %-5level %-40.40logger{36} : %msg%n%ex",
            *("WARN", "a : b", {"thread": "main", "logger": "com.example.Shop"}),
        ),
        (
            "%d %-5p [%t] %c{1}: %m%n",
            *("INFO", "said", {"thread": "Socket Reader #1", "logger": "c.e.Shop"}),
        ),
        (
            "%highlight(%-5level) %date{ISO8601} %X{request:--} %F:%L \\(%M\\) %m",
            *("INFO", "said"),
            {"request": "r-17", "file": "Shop.java", "line": "12", "function": "store"},
        ),
        (
            "%clr(%d{${F:-yyyy-MM-dd'T'HH:mm:ss.SSSXXX}}){faint} %clr(%5p) ${PID:- } --- %m%n"
            "${W:-%wEx}",
            *("INFO", "said", {"pid": "1234"}),
        ),
        (
            "[%d{dd MMM yyyy hh:mm:ss:SSS a}] %highlight{%p}{FATAL=red} %m (%c)",
            *("INFO", "said", {"logger": "c.e.Shop"}),
        ),
        ("%d{UNIX_MILLIS} %p %m%n", "INFO", "said", {}),
    ],
)
def test_what_python_and_logback_call_fields_are_columns_and_attributes(
    text: str, level: str, message: str, others: dict[str, str]
) -> None:
    row = filled(row_of(text, LINES[text]))
    assert row["timestamp"].replace(hour=20, microsecond=0) == utc(2026, 11, 22, 20, 15, 5)
    assert (row["level"], row["message"]) == (level, message)
    assert attributes(row) == others


def test_a_time_of_logback_is_read_by_its_pattern() -> None:
    for pattern, text, moment in (
        ("yyyy/MM/dd HH:mm:ss,SSS", "2026/11/22 20:15:05,123", (20, 15, 5, 123_000)),
        ("dd-MMM-yyyy HH:mm:ss.SSS", "22-Nov-2026 20:15:05.123", (20, 15, 5, 123_000)),
        ("yy/MM/dd HH:mm:ss", "26/11/22 20:15:05", (20, 15, 5)),
        ("yyyyMMdd HHmmss", "20261122 201505", (20, 15, 5)),
        ("ISO8601_OFFSET_DATE_TIME_HHMM", "2026-11-22T21:15:05,5+0100", (20, 15, 5, 500_000)),
        ("EEE MMM dd HH:mm:ss yyyy", "Sun Nov 22 20:15:05 2026", (20, 15, 5)),
    ):
        row = row_of(f"%d{{{pattern}}} %m", f"{text} said")
        assert (row["timestamp"], row["message"]) == (utc(2026, 11, 22, *moment), "said")


GROK = {
    "%{TIMESTAMP_ISO8601:timestamp} %{LOGLEVEL:level} %{GREEDYDATA:message}": (
        "2026-11-22 20:15:05,123 WARN 17 rows lost",
        {"level": "WARN", "message": "17 rows lost"},
        {},
    ),
    "%{COMBINEDAPACHELOG}": (
        COMBINED,
        {
            **{"client_ip": "203.0.113.7", "customer_id": "cust_1", "method": "GET"},
            **{"request_path": "/a?b=c", "status_code": 200, "bytes_sent": 512},
            "user_agent": "curl/8.7.1",
        },
        {"protocol": "HTTP/1.1"},
    ),
    "%{SYSLOGLINE}": (
        "Nov 22 20:15:05 web-1 sshd[1234]: Invalid user deploy",
        {"host": "web-1", "message": "Invalid user deploy"},
        {"program": "sshd", "pid": "1234"},
    ),
    r"\[%{HTTPDATE:timestamp}\] %{IP:[source][address]} (%{WORD:a}|%{INT:b:int})(?<rest>.*)": (
        "[22/Nov/2026:20:15:05 +0000] ::1 word and more",
        {"client_ip": "::1"},
        {"a": "word", "rest": " and more"},
    ),
}


@pytest.mark.parametrize("text", GROK)
def test_an_expression_of_grok_names_columns_and_attributes(text: str) -> None:
    line, columns, others = GROK[text]
    row = row_of(text, line)
    assert row["timestamp"].replace(microsecond=0) == utc(2026, 11, 22, 20, 15, 5)
    assert {name: row[name] for name in columns} == columns
    assert json.loads(row.get("attributes", "{}")) == others


def test_a_percent_sign_still_means_apache() -> None:
    text = '%h %{UNIQUE_ID}e %t "%r" %>s %{ms}T'
    row = row_of(text, '::1 Zx9 [22/Nov/2026:20:15:05 +0000] "GET /a HTTP/1.1" 200 12')
    assert (row["duration"], attributes(row)["env_unique_id"]) == (0.012, "Zx9")


def test_a_regular_expression_names_columns_and_attributes() -> None:
    row = row_of(REGEX, "2026-11-22 20:15:05,120 WARN [main] 17 rows lost", "Europe/Berlin")
    assert row == {
        "timestamp": utc(2026, 11, 22, 19, 15, 5, 120_000),
        "level": "WARN",
        "message": "17 rows lost",
        "attributes": '{"thread":"main"}',
    }
    assert refusal_of(REGEX, "Traceback")[0] == "not_log_format"


@pytest.mark.parametrize(
    "time", ["2026-11-22T20:15:05Z", "22/Nov/2026:20:15:05 +0000", "1795378505"]
)
def test_a_regular_expression_takes_times_of_several_spellings(time: str) -> None:
    text = r"(?P<timestamp>[^|]+)\|(?P<request>[^|]+)\|(?P<status_code>.*)"
    row, misfits = misfits_of(text, f"{time}|GET /a HTTP/1.1|OK")
    assert (row["timestamp"], row["method"]) == (utc(2026, 11, 22, 20, 15, 5), "GET")
    assert misfits == {"status_code": 1}


def test_a_group_that_a_line_leaves_out_is_empty_but_for_the_time() -> None:
    text = r"(?:(?P<timestamp>\d+) )?(?:(?P<level>[A-Z]+) )?(?P<message>.*)"
    assert row_of(text, "1795378505 hello") == {
        "timestamp": utc(2026, 11, 22, 20, 15, 5),
        "message": "hello",
    }
    assert refusal_of(text, "hello")[0] == "no_timestamp"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$remote_addr$status $time_local", "nothing is before the field at 13"),
        ("$status $status $time_local", "the field at 9 is here a second time"),
        ("$remote_addr $status", "no field is a time"),
        ('log_format a escape=json \'{"a":"$msec"}\';', "its lines are JSON: LOG_FORMAT=json"),
        ("log_format a escape=odd '$msec';", "escape=odd is none of default, json, none"),
        ("$status $ $time_local", r"\$ at 9 is no variable"),
        ("%h %t %{%Y}t", "%{%Y}t at 7 cannot be read"),
        ("%h %t %Z", "%Z at 7 cannot be read"),
        ("%h %t %", "% at 7 is no directive"),
        ("%h%t", None),
        ("%(asctime)s%(message)s %(levelname)", "% at 24 is no field"),
        ("%(levelname)s %(message)s", "no field is a time"),
        ("{asctime} {message} }", "} at 21 is no field"),
        ("%d %p %q", "%q at 7 cannot be read"),
        ("%d{HH:mm:ss} %m", "needs a month"),
        ("%d{yyyy-MM-dd kk:mm} %m", "kk of the time at 1 cannot be read"),
        ("%d{ISO8601}{UTC} %m", "leave out the zone of the time at 1"),
        ("%d ${NAME} %m", r"\${NAME} at 4 has no value"),
        ("%d %m %", "% at 7 is no conversion word"),
        ("%{MORSE:timestamp} %{DATA:a}", "%{MORSE} at 1 is unknown"),
        ("%{TIMESTAMP_ISO8601:timestamp} (", "no expression of grok"),
        ("%{WORD:level} %{DATA:a}", "no field is named timestamp"),
        ("%{WORD:timestamp} %{DATA:timestamp}", "timestamp is here more than once"),
        ("%h %u", "no field is a time"),
        ("(?P<timestamp>.*", "no regular expression: .* at 1"),
        ("(?P<time>.*)", "no group is named timestamp"),
        ("(?P<timestamp>.*) (.*)", "a group has no name"),
        ("cri:morse", "'morse' is unknown"),
        ("combined:json", "'combined:json' is unknown"),
    ],
)
def test_what_a_format_cannot_mean_is_said_at_the_start_with_its_place(
    text: str, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", text)
    if why is None:
        assert load().log_format == text
    else:
        with pytest.raises(SettingsError, match=why):
            load()
