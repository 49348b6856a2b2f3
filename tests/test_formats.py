"""Every format, by the samples that its file has."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cli.samples import batch_of
from flows.parsing import FORMATS, OUTER
from flows.parsing.choice import describe
from flows.steps import parse_step
from settings import Settings
from tests.parsing_checks import SEEN, certain, filled, parse, refusal_of, row_of, utc

UTC = ZoneInfo("UTC")
NESTED = {
    f"{outer}:{name}": [
        json.dumps({"log": f"{text}\n", "stream": "stdout", "time": "2026-11-22T20:15:05Z"})
        if outer == "docker"
        else f"2026-11-22T20:15:05Z stdout F {text}"
        for text in describe(name).samples
    ]
    for outer in ("cri", "docker")
    for name in ("json", "combined", "api_requests")
}
SAMPLES = {name: list(describe(name).samples) for name in FORMATS} | NESTED


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_of_a_format_are_lines_of_it(name: str) -> None:
    for line in SAMPLES[name]:
        assert row_of(name, line, "Europe/Berlin")["timestamp"].year == 2026


@pytest.mark.parametrize("name", SAMPLES)
def test_the_first_sample_of_a_format_is_read_the_fast_way(name: str) -> None:
    form = describe(name).make(UTC)
    assert all(certain(form, SAMPLES[name][:1] * 3, spelled=True))


def test_an_attribute_that_is_left_open_is_not_taken_for_the_next_line() -> None:
    usual = SAMPLES["haproxy"][0]
    assert usual.startswith("Nov 22 ")
    lines = [usual.replace("22", "\x12", 1), usual.replace("22", "\x12", 1), usual]
    assert certain(describe("haproxy").make(UTC), lines) == [False, False, True]


def attributes(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["attributes"])
    return found


@pytest.mark.parametrize("name", ["common", "vhost_combined", "nginx", "combined_extra"])
def test_what_is_made_of_combined_means_what_it_means_there(name: str) -> None:
    plain = filled(row_of("combined", SAMPLES["combined"][0]))
    found = filled(row_of(name, SAMPLES[name][0]))
    own = {"attributes"} | ({"referer", "user_agent"} if name == "common" else {"host"})
    assert {key: found[key] for key in plain if key not in own} == {
        key: plain[key] for key in plain if key not in own
    }
    text = SAMPLES[name][0].replace(" cust_1 [", " cust_1 10.0.0.1 [")
    assert refusal_of(name, text)[0] == "not_combined"


def test_every_format_may_be_within_another_one() -> None:
    for outer in OUTER:
        for inner in FORMATS:
            describe(f"{outer}:{inner}").make(UTC)


def test_events_of_cef_behind_a_header_without_a_year_are_within_syslog() -> None:
    event = "CEF:0|Security|threatmanager|1.0|100|worm stopped|10|src=203.0.113.7 spt=1232"
    row = row_of("syslog:cef", f"<134>Nov 22 20:15:05 fw-1 {event}")
    assert row["timestamp"] == utc(2026, 11, 22, 20, 15, 5)
    assert (row["host"], row["client_ip"], row["level"]) == ("fw-1", "203.0.113.7", "critical")
    assert row["message"] == "worm stopped"


@pytest.mark.parametrize("name", ["caddy", "cef", "leef", "ltsv"])
def test_lines_with_labels_are_read_the_fast_way_among_their_like(name: str) -> None:
    read = describe(name).make(UTC)
    for line in SAMPLES[name]:
        assert all(certain(read, [line, line.replace("203.0.113.7", "10.0.0.1")], spelled=True))


def test_a_line_with_other_labels_than_most_means_what_it_means_alone() -> None:
    read = describe("cef").make(UTC)
    head = "CEF:0|a|b|1.0|100|title|5|"
    time, late = "rt=1795378505123", "end=1795378505124"
    usual = [f"{head}{time} msg=text a={number}" for number in range(5)]
    others = [f"{head}{time}", f"{head}msg=text {late}", f"{head}{time} msg=a level=b"]
    assert certain(read, [*usual, *others], spelled=True) == [*5 * [True], *3 * [False]]
    assert certain(read, [f"{usual[0]} {late}", *usual], spelled=True)[0]


def test_the_time_of_a_label_is_in_any_usual_way() -> None:
    at = utc(2026, 11, 22, 20, 15, 5)
    for text in (
        *("2026-11-22T20:15:05Z", "1795378505", "22/Nov/2026:20:15:05 +0000"),
        *("[22/Nov/2026:21:15:05 +0100]", "22/Nov/2026:20:15:05 UTC", "Nov 22 2026 20:15:05 GMT"),
    ):
        assert row_of("ltsv", f"time:{text}")["timestamp"] == at, text
        assert certain(describe("ltsv").make(UTC), [f"time:{text}\ta:b"]) == [True], text


def test_vhost_combined_has_its_host_and_port() -> None:
    first, second = (row_of("vhost_combined", line) for line in SAMPLES["vhost_combined"][:2])
    assert (first["host"], attributes(first)) == (
        "www.example.com",
        {"port": "443", "protocol": "HTTP/1.1"},
    )
    assert (second["host"], attributes(second)) == ("::1", {"port": "80"})


def test_a_user_with_a_space_is_no_virtual_host() -> None:
    line = SAMPLES["combined"][1]
    assert row_of("combined", line)["customer_id"] == "Jane Doe"
    assert refusal_of("vhost_combined", line)[0] == "not_vhost_combined"


def test_a_record_of_postgresql_may_have_several_lines() -> None:
    chosen = Settings(log_format="postgresql_csv")
    error, log = SAMPLES["postgresql_csv"]
    statement = "select 1/0,\n\n  2\n from a where b = ''"
    data = "\n".join([log, error.replace("select 1/0", statement), error, log]) + "\n"
    parsed = parse_step(chosen)(batch_of("a.csv", data.encode(), "postgresql_csv", chosen))
    assert parsed.rejected.is_empty()
    found = [attributes(row).get("statement") for row in parsed.rows.to_dicts()]
    assert sorted(found, key=str) == [None, None, "select 1/0", statement]


def test_nginx_has_the_addresses_that_a_request_came_through() -> None:
    first, second = (row_of("nginx", line) for line in SAMPLES["nginx"])
    assert attributes(first)["x_forwarded_for"] == "10.0.0.1, 10.0.0.2"
    assert (second["user_agent"], second.get("attributes", "{}")) == ("caf\u00e9", "{}")


def test_combined_extra_keeps_what_follows() -> None:
    found = row_of("combined_extra", SAMPLES["combined_extra"][0])
    assert attributes(found)["extra"] == "0.004 upstream=app1"
    assert refusal_of("combined_extra", SAMPLES["combined"][0])[0] == "not_combined"


def test_haproxy_with_and_without_what_syslog_and_captures_add() -> None:
    first, second = (filled(row_of("haproxy", line)) for line in SAMPLES["haproxy"][:2])
    assert first["timestamp"] == utc(2026, 11, 22, 20, 15, 5, 655_000)
    assert (first["client_ip"], first["host"], first["duration"]) == (
        "203.0.113.7",
        "s/srv1",
        0.109,
    )
    assert (first["method"], first["request_path"], first["status_code"]) == (
        "GET",
        "/a?b=c",
        200,
    )
    assert attributes(first) == {
        "syslog": "Nov 22 20:15:05 lb haproxy[14389]",
        "port": "33317",
        "frontend": "in",
        **{"TR": "10", "Tw": "0", "Tc": "30", "Tr": "69"},
        "termination": "----",
        "connections": "1/1/1/1/0",
        "queues": "0/0",
        "request_headers": "1wt.eu",
        "protocol": "HTTP/1.1",
    }
    assert (second["client_ip"], second["duration"]) == ("2001:db8::1", 0.0)
    assert attributes(second)["request"] == "<BADREQ>"


def test_a_line_of_a_container_is_a_message() -> None:
    for name in ("cri", "docker"):
        found = row_of(name, SAMPLES[name][0])
        assert found == {
            "timestamp": utc(2026, 11, 22, 20, 15, 5, 120_456),
            "message": "listening on :8080",
            "attributes": '{"stream":"stdout"}',
        }
    assert refusal_of("docker", '{"time":"2026-11-22T20:15:05Z"}')[0] == "not_docker"
    for other in ("2026-11-22T20:15:05Z stdout", "2026-11-22T20:15:05Z INFO main started"):
        assert refusal_of("cri", other)[0] == "not_cri"


@pytest.mark.parametrize("outer", ["cri", "docker"])
@pytest.mark.parametrize("name", ["json", "combined", "api_requests"])
def test_a_format_within_another_means_what_it_means_alone(outer: str, name: str) -> None:
    for line, alone in zip(NESTED[f"{outer}:{name}"], describe(name).samples, strict=True):
        found, plain = filled(row_of(f"{outer}:{name}", line)), filled(row_of(name, alone))
        stream = {"stream": "stdout"}
        assert attributes(found) == stream | attributes(plain)
        assert {**found, "attributes": ""} == {**plain, "attributes": ""}


@pytest.mark.parametrize(
    "line",
    [
        "Sun Nov 22 15:15:05 EST 2026 GET /a",
        "[GIN] 2026/11/22 - 20:15:05 | 200",
        "203.0.113.7  2026-11-22      20:15:05  GET",
        'date="2026-11-22" time="20:15:05"',
        "2026-11-22\t20:15:05\tHAM50",
        "11/22/2026, 8:15:05 PM  WARN [AuthService] failed",
        "11/22/2026-20:15:05.000000  [**] [1:2200074:2]",
        "at [Sun, 22 Nov 2026 20:15:05.000000 UTC] with [NTLMv2]",
        "2026-11-22 21:15:05.000 CET [4711] LOG",
        "22.11.2026, 20:15:05 no answer",
        "22/11/2026 20:15:05 no answer",
        "11/22/2026 20:15:05 no answer",
        "22-11-2026 20:15:05 no answer",
        "20261122 20:15:05 no answer",
        "Nov 22 2026 15:15:05 EST: no answer",
        "Info: 1795378505.000 42 203.0.113.7",
    ],
)
def test_a_raw_time_is_found_however_it_is_written(line: str) -> None:
    assert row_of("raw", line)["timestamp"] == utc(2026, 11, 22, 20, 15, 5)
    certain(describe("raw").make(UTC), [line] * 3)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ('time=now level="warning" x', "warning"),
        ("severity: Informational x", "Informational"),
        ("pri=alert x", "alert"),
        ("<12>%LINK-3-UPDOWN: ERROR", "err"),
        ("<12>no word", "warning"),
        ("<12>ERROR", "ERROR"),
        ("no level=high", ""),
        ("<999>no priority", ""),
    ],
)
def test_a_raw_level_is_found_however_it_is_said(line: str, level: str) -> None:
    assert row_of("raw", line).get("level", "") == level
    certain(describe("raw").make(UTC), [line] * 3)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-22 20:15:05,000:WARN:no answer",
        "2026-11-22 20:15:05,000::WARN::no answer",
        "2026-11-22 20:15:05: [WARN] no answer",
        "2026-11-22T20:15:05Z [WARN][API]: no answer",
        "[2026-11-22 20:15:05.000][shop::orders][WARN] no answer",
        "[2026-11-22 21:15:05.000 +01:00] [WRN] no answer",
        "WARN: [2026-11-22 20:15:05] no answer",
    ],
)
def test_an_app_writes_its_time_and_level_as_it_likes(line: str) -> None:
    row = row_of("app", line)
    assert row["timestamp"] == utc(2026, 11, 22, 20, 15, 5)
    assert row["level"].lower() == "warn"
    assert row["message"] == "no answer"
    certain(describe("app").make(UTC), [line] * 3)


def test_a_severity_of_cisco_is_a_level_unless_there_is_a_priority() -> None:
    code = "Nov 22 2026 20:15:05 fw-1 app[7]: %ASA-4-106023: Deny tcp"
    for line, level in ((code, "warning"), (f"<131>{code}", "err"), (code.replace("%", "#"), "")):
        assert row_of("syslog", line).get("level", "") == level
        assert all(certain(describe("syslog").make(UTC), [line] * 3))


def test_a_percent_in_a_line_without_attributes_is_none_of_cisco() -> None:
    assert all(certain(describe("syslog").make(UTC), ["Nov 22 20:15:05 web-1 disk 91% full"]))


def test_a_raw_line_without_a_time_is_of_when_its_stream_was_seen_first() -> None:
    parsed = parse("raw", b"no time\nNov 22 20:15:05 one\n2026-13-45 20:15:05 none\n\xff\n")
    seen = datetime.fromtimestamp(SEEN / 1_000_000, timezone.utc)
    times = [seen, utc(2026, 11, 22, 20, 15, 5), seen, seen]
    assert parsed.rows["timestamp"].to_list() == times
    assert parsed.rows["message"].to_list()[3] == "\ufffd"
    assert parsed.rejected.is_empty()


@pytest.mark.parametrize("name", ["app", "log4j", "ruby"])
def test_colours_are_no_part_of_a_line(name: str) -> None:
    plain = SAMPLES[name][0]
    for word in ("INFO", "WARN"):
        coloured = plain.replace(word, f"\x1b[1;32m{word}\x1b[0m")
        assert row_of(name, coloured) == row_of(name, plain)


@pytest.mark.parametrize("behind", ["\r\x1b[m", "\r\r\x1b[m", "\x1b[m\r\x1b[m\x1b[m", "\r\x1b[m\r"])
def test_only_the_last_cr_is_of_the_end_of_a_line_with_colours(behind: str) -> None:
    assert all(certain(describe("go").make(UTC), [f"{SAMPLES['go'][0]}{behind}"] * 3))


def test_a_character_with_a_colour_in_it_is_no_text() -> None:
    line = f"{SAMPLES['go'][0]}\udcc3\x1b[m\udca9"
    assert not any(certain(describe("go").make(UTC), [line] * 3))
    parsed = parse("go", line.encode(errors="surrogateescape"))
    assert parsed.rows["message"][0].endswith("\ufffd\ufffd")


def test_what_only_looks_like_a_level_is_none() -> None:
    for line in ("2026-11-22 20:15:05 Informed of x", "2026-11-22 20:15:05 INFOX x"):
        assert refusal_of("app", line)[0] == "not_app"


def test_a_cr_at_the_end_of_a_text_within_a_line_is_no_part_of_it() -> None:
    line = "2026-11-22T20:15:05Z stdout F no answer\r"
    assert row_of("cri:raw", f"{line}\r")["message"] == "no answer"
    assert all(certain(describe("cri:raw").make(UTC), [f"{line}\r"] * 3))


def test_what_is_behind_a_message_of_monolog_is_text_and_json() -> None:
    begin = "[2026-11-22T20:15:05+00:00] shop.ERROR: no answer"
    row = row_of("monolog", f'{begin} {{"a":NaN,"b":-Infinity,"c":1e400,"d":1.50}} []')
    context = {"a": "NaN", "b": "-Infinity", "c": "1e400", "d": 1.5}
    assert attributes(row) == {"channel": "shop", "context": context}
    for half in ('{"a":"\\ud83d"}', '{"\\ude00":1}', '{"a":1} ["\\ud83d"]'):
        row = row_of("monolog", f"{begin} {half}")
        assert row["message"] == f"no answer {half}"


def test_cells_of_postgresql_say_which_client_and_how_many_there_are() -> None:
    begin = "2026-11-22 20:15:05.123 UTC,,,1234"
    middle = "6b0994d9.4d2,1,,2026-11-22 20:15:00 UTC,,0,LOG,00000,two"
    clients = {'"[local]"': {}, "": {}, '"2001:db8::7:50122"': {"remote_port": "50122"}}
    form = describe("postgresql_csv").make(UTC)
    for client, parts in clients.items():
        for behind in (8, 9, 10, 12):
            line = f"{begin},{client},{middle}{',' * behind}"
            assert all(certain(form, [line] * 3)), line
            found = attributes(row_of("postgresql_csv", line))
            assert {name: found[name] for name in found if name.startswith("remote")} == parts
    line = f"{begin},,{middle}{',' * 11}"
    assert refusal_of("postgresql_csv", line)[0] == "not_postgresql_csv"
    assert not any(certain(form, [line] * 3))


def test_a_value_in_brackets_goes_on_up_to_a_space() -> None:
    line = "2026-11-22 20:15:05 [info     ] order stored   [shop] at=[::1]:80 ids=[1, 2] b='a c'"
    form = describe("structlog").make(UTC)
    assert all(certain(form, [line] * 3))
    row = row_of("structlog", line)
    assert row["message"] == "order stored"
    assert attributes(row) == {"logger": "shop", "at": "[::1]:80", "ids": "[1, 2]", "b": "a c"}


def test_a_part_of_a_line_is_kept_as_it_is_with_its_tag() -> None:
    found = row_of("cri:json", SAMPLES["cri"][1])
    assert found["message"] == '{"ts": "caf\u00e9'
    assert attributes(found) == {"stream": "stderr", "tags": "P"}


def test_a_line_within_that_does_not_fit_is_a_dead_letter_of_its_whole_line() -> None:
    line = "2026-11-22T20:15:05Z stdout F no json"
    parsed = parse("cri:json", line.encode())
    assert parsed.rejected.select("raw", "reason").rows() == [(line.encode(), "bad_json")]


@pytest.mark.parametrize(
    ("line", "following"), [("ts=0 flag", "=on ts=0 flag"), ("ts=0 duration=1m5", "s ts=0 flag")]
)
def test_a_line_within_ends_before_the_next_one(line: str, following: str) -> None:
    texts = ["ts=0 flag=1 duration=1s", line, following]
    lines = [f"2026-11-22T20:15:05Z stdout F {text}" for text in texts]
    certain(describe("cri:logfmt").make(UTC), lines)


def test_what_a_line_within_says_of_its_stream_counts() -> None:
    inner = json.dumps({"ts": 0, "stream": "mine"})
    found = row_of("cri:json", f"2026-11-22T20:15:05Z stdout F {inner}")
    assert attributes(found) == {"stream": "mine"}


def test_lines_in_which_nothing_has_a_value_are_left_open() -> None:
    assert not any(certain(describe("ltsv").make(UTC), ["m", "r:-"], spelled=True))


def test_a_label_of_one_line_holds_no_separator_of_another() -> None:
    head = "<13>1 2026-11-22T20:15:05Z gw LEEF:2.0|Lancope|StealthWatch"
    lines = [f"{head}|1.0|41|^|1.1^sev=8^usrName=cust_1", f"{head}|41|^|1.1^sev=8"]
    certain(describe("leef").make(UTC), lines, spelled=True)
