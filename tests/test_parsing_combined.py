"""Format `combined`: what a line means, and that many lines at once mean the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.errors import MalformedLine
from flows.parsing.choice import describe
from tests.conftest import ROOT
from tests.parsing_checks import (
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

FORM = describe("combined").make(ZoneInfo("UTC"))
REAL = ROOT.parent / "shared" / "data" / "apache_combined.log"


def line(**fields: str) -> str:
    given = {
        "host": "192.0.2.7",
        "ident": "-",
        "user": "frank",
        "time": "10/Oct/2000:13:55:36 -0700",
        "request": "GET /apache_pb.gif HTTP/1.0",
        "status": "200",
        "bytes": "2326",
        "referer": "http://www.example.com/start.html",
        "agent": "Mozilla/4.08 [en] (Win98; I ;Nav)",
        **fields,
    }
    return (
        '{host} {ident} {user} [{time}] "{request}" {status} {bytes} "{referer}" "{agent}"'
    ).format_map(given)


def row(**fields: str) -> dict[str, Any]:
    return row_of("combined", line(**fields))


def test_the_line_of_the_apache_documentation() -> None:
    assert row() == {
        "timestamp": utc(2000, 10, 10, 20, 55, 36),
        "client_ip": "192.0.2.7",
        "customer_id": "frank",
        "method": "GET",
        "request_path": "/apache_pb.gif",
        "status_code": 200,
        "bytes_sent": 2326,
        "referer": "http://www.example.com/start.html",
        "user_agent": "Mozilla/4.08 [en] (Win98; I ;Nav)",
        "attributes": '{"protocol":"HTTP/1.0"}',
    }


@pytest.mark.parametrize(
    ("field", "column", "empty"),
    [
        ("host", "client_ip", ""),
        ("user", "customer_id", ""),
        ("bytes", "bytes_sent", 0),
        ("referer", "referer", ""),
        ("agent", "user_agent", ""),
    ],
)
def test_a_dash_is_empty(field: str, column: str, empty: object) -> None:
    assert filled(row(**{field: "-"}))[column] == empty


def test_an_identd_name_is_an_attribute() -> None:
    assert json.loads(row(ident="joe")["attributes"]) == {"protocol": "HTTP/1.0", "ident": "joe"}


@pytest.mark.parametrize("user", ["Jane Doe", "a [b] c", "é", 'x"y', "Doe, Jane", r"corp\\\\j doe"])
def test_users_of_any_spelling(user: str) -> None:
    assert row(user=user)["customer_id"] == user.replace(r"\\", "\\")


@pytest.mark.parametrize(
    "first_fields",
    [
        "10.0.0.1, 192.168.0.1 - -",
        "10.0.0.1, 192.168.0.1 - frank",
        "10.0.0.1,192.168.0.1 - frank",
        "2001:db8::1, 10.0.0.1, unknown - -",
        "www.example.com:443 203.0.113.7 - -",
        "www.example.com 203.0.113.7 - frank",
        "www.example.com 2001:db8::1 - frank",
        "localhost gate.example.org - frank",
        "www.example.com 203.0.113.7 frank",
        "203.0.113.7 www.example.com -",
        "203.0.113.7 - www.example.org www.example.org -",
        "203.0.113.7 - www.example.org frank",
        "203.0.113.7 - www.example.org:8443 frank",
        "203.0.113.7 - 10.0.0.1, 10.0.0.2 frank",
        "203.0.113.7 - frank 0.005",
        "203.0.113.7 - frank 4711",
        "203.0.113.7 - - frank",
        "203.0.113.7 - frank -",
        "203.0.113.7 -  frank",
        '203.0.113.7 - "" frank',
        "203.0.113.7 joe frank smith",
    ],
)
def test_a_line_with_a_field_more_is_never_a_shifted_row(first_fields: str) -> None:
    text = first_fields + line(host="").removeprefix(" - frank")
    assert refusal_of("combined", text)[0] == "not_combined"
    assert certain(FORM, [line(), text, line()]) == [True, False, True]


def test_the_refusal_says_which_field_is_another() -> None:
    for fields, told in [
        ({"host": "192.0.2.7,"}, "host '192.0.2.7,' is more than one"),
        ({"ident": "::1"}, "identd name '::1' is another field"),
        ({"user": "frank -"}, "user 'frank -' is more than one field"),
    ]:
        assert refusal_of("combined", line(**fields)) == ("not_combined", told)


@pytest.mark.parametrize("written", [r"\xc3\xa9", r"\xC3\xA9"])
def test_escapes_in_names_are_undone(written: str) -> None:
    found = row(user=f"ren{written}", ident=rf"j\"{written}")
    assert found["customer_id"] == "ren\u00e9"
    assert json.loads(found["attributes"])["ident"] == 'j"\u00e9'
    certain(FORM, [line(user=f"ren{written}")] * 3)


def test_the_empty_user_of_apache() -> None:
    assert row(user='""', status="401")["customer_id"] == ""


@pytest.mark.parametrize("host", ["2001:db8::1", "::1", "gate.example.org"])
def test_hosts_of_any_kind(host: str) -> None:
    assert row(host=host)["client_ip"] == host


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("17/May/2015:10:05:03 +0000", utc(2015, 5, 17, 10, 5, 3)),
        ("01/Jan/2016:00:30:00 +0530", utc(2015, 12, 31, 19, 0)),
        ("31/Dec/2015:23:30:00 -0330", utc(2016, 1, 1, 3, 0)),
        ("31/Dec/2016:23:59:60 +0000", utc(2017, 1, 1)),
        ("29/Feb/2024:00:00:00 +0000", utc(2024, 2, 29)),
    ],
)
def test_times_are_stored_in_utc(time: str, expected: datetime) -> None:
    assert row(time=time)["timestamp"] == expected


@pytest.mark.parametrize(
    ("request_line", "method", "path", "attributes"),
    [
        ("M-SEARCH * HTTP/1.1", "M-SEARCH", "*", {"protocol": "HTTP/1.1"}),
        ("GET /a b c HTTP/2.0", "GET", "/a b c", {"protocol": "HTTP/2.0"}),
        ("GET /a  HTTP/1.1", "", "", {"request": "GET /a  HTTP/1.1"}),
        ("GET /old", "GET", "/old", {}),
        ("GET http://example.com/?q=%22 HTTP/3", "GET", "http://example.com/?q=%22",
         {"protocol": "HTTP/3"}),
        (r"GET /?q=\"x\" HTTP/1.1", "GET", '/?q="x"', {"protocol": "HTTP/1.1"}),
        ("-", "", "", {}),
        ("", "", "", {}),
        ("hello", "", "", {"request": "hello"}),
        (r"\x16\x03\x01", "", "", {"request": "\x16\x03\x01"}),
        (r"\x80\x9e", "", "", {"request": r"\x80\x9e"}),
    ],
)  # fmt: skip
def test_requests(request_line: str, method: str, path: str, attributes: dict[str, str]) -> None:
    got = filled(row(request=request_line))
    assert (got["method"], got["request_path"]) == (method, path)
    assert json.loads(got["attributes"]) == attributes


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"say \"hello\"", 'say "hello"'),
        (r"C:\\Windows\\", "C:\\Windows\\"),
        (r"a\tb\nc\rd\be\vf", "a\tb\nc\rd\be\vf"),
        (r"\x22caf\xc3\xa9\x22", '"café"'),
        (r"\xC3\xA9", "é"),
        (r"\xff", r"\xff"),
        (r"\q", r"\q"),
        ("ends with a backslash: \\\\", "ends with a backslash: \\"),
        ("", ""),
        ('é 😀 "'.replace('"', r"\""), 'é 😀 "'),
    ],
)
def test_escapes_in_quoted_fields_are_undone(written: str, meant: str) -> None:
    assert row(agent=written)["user_agent"] == meant
    assert row(referer=written)["referer"] == meant


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "host"),
        ("Traceback (most recent call last):", "[time]"),
        (line().partition(" [")[0], "[time]"),
        (line().replace("] ", " "), "[time]"),
        (line().partition(' "GET')[0], '"request"'),
        (line().replace('HTTP/1.0"', r"HTTP/1.0\"").partition(" 200")[0], '"request"'),
        (line().partition(" 200")[0], "status"),
        (line().partition(" 2326")[0], "bytes"),
        (line().partition(' "http')[0], '"referer"'),
        (line()[:-1], '"user agent"'),
        (line(agent="ends with an escape \\"), '"user agent"'),
    ],
)
def test_the_refusal_says_which_field_does_not_fit(text: str, field: str) -> None:
    if text:
        assert refusal_of("combined", text)[0] == "not_combined"
    with pytest.raises(MalformedLine) as refusal:
        FORM.line(text)
    assert refusal.value.detail.startswith(f"{field} is missing, or does not end")


@pytest.mark.parametrize("rest", [" ", ' "more"', " 0.003", '"'])
def test_nothing_may_follow(rest: str) -> None:
    assert refusal_of("combined", line() + rest)[1].startswith("something follows")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"time": "32/May/2015:10:05:03 +0000"}, "bad_timestamp"),
        ({"time": "17/Mai/2015:10:05:03 +0000"}, "bad_timestamp"),
        ({"time": "17/MAY/2015:10:05:03 +0000"}, "bad_timestamp"),
        ({"time": "17/05/2015:10:05:03 +0000"}, "bad_timestamp"),
        ({"time": " 7/May/2015:10:05:03 +0000"}, "bad_timestamp"),
        ({"time": "17/May/2015:10:05:03"}, "bad_timestamp"),
        ({"time": "17/May/2015:24:00:00 +0000"}, "bad_timestamp"),
        ({"time": "17/May/1815:10:05:03 +0000"}, "bad_timestamp"),
        ({"time": "17/May/2015:10:05:03 +2400"}, "bad_timestamp"),
    ],
)
def test_fields_that_are_refused(fields: dict[str, str], reason: str) -> None:
    assert refusal_of("combined", line(**fields))[0] == reason
    assert certain(FORM, [line(), line(**fields), line()]) == [True, False, True]


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("status", "OK", "status_code"),
        ("status", "000", "status_code"),
        ("status", "600", "status_code"),
        ("status", "+20", "status_code"),
        ("status", "0200", "status_code"),
        ("bytes", "-1", "bytes_sent"),
        ("bytes", "+5", "bytes_sent"),
        ("bytes", "1.5", "bytes_sent"),
        ("bytes", str(2**64), "bytes_sent"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_an_attribute(
    field: str, value: str, column: str
) -> None:
    text = line(**{field: value})
    found, misfits = misfits_of("combined", text)
    assert json.loads(found["attributes"]) == {"protocol": "HTTP/1.0", column: value}
    expected = {**row(), column: 0, "attributes": found["attributes"]}
    assert filled(found) == filled(expected)
    assert misfits == {column: 1}
    assert certain(FORM, [line(), text, line()]) == [True, False, True]


def test_no_status_is_no_misfit() -> None:
    found, misfits = misfits_of("combined", line(status="-", bytes="-"))
    assert filled(found) == filled({**row(), "status_code": 0, "bytes_sent": 0})
    assert misfits == {}


def test_a_long_line_of_brackets_is_refused_at_once() -> None:
    assert refusal_of("combined", "a b " + " [" * 100_000)[0] == "not_combined"


# Many lines at once mean what each of them means


@pytest.mark.parametrize(
    "usual",
    [
        line(),
        line(user="-", bytes="-", referer="-"),
        line(request="POST /é?q=1 HTTP/2.0", status="503", host="2001:db8::1"),
        line(bytes=str(2**64 - 1), agent=""),
        line(request="OPTIONS * HTTP/3", host="-"),
    ],
)
@pytest.mark.parametrize("ending", ["", "\r"])
def test_usual_lines_are_read_the_fast_way(usual: str, ending: str) -> None:
    assert all(certain(FORM, [usual + ending] * 10))


@pytest.mark.parametrize(
    "usual",
    [
        line(user='""', agent='say "hello"'.replace('"', r"\"")),
        line(request=r"GET /\x22\\ HTTP/3", referer=r"\t\x7f"),
        line(request="GET /a b HTTP/1.1"),
    ],
)
def test_the_compiled_part_undoes_escapes_and_knows_spaces_in_paths(usual: str) -> None:
    assert all(certain(FORM, [usual] * 10))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1],
        lambda text: text.replace("Oct", "Okt"),
        lambda text: "\1" * 64,
    ],
    ids=["truncated", "time", "hole"],
)
def test_one_bad_line_in_a_thousand_costs_exactly_the_bad_ones(spoil: Callable[[str], str]) -> None:
    lines = [line(user=f"u{number}") for number in range(5_000)]
    bad = range(0, 5_000, 1_000)
    for number in bad:
        lines[number] = spoil(lines[number])
    parsed = parse("combined", "\n".join(lines).encode())
    assert parsed.rows["customer_id"].to_list() == [f"u{n}" for n in range(5_000) if n not in bad]
    assert parsed.rejected["raw"].to_list() == [lines[number].encode() for number in bad]


def test_many_lines_with_rarities_come_through_with_what_is_rare_in_them() -> None:
    lines = [line(), line(ident="joe"), line(request="-"), line(request="GET /old")] * 1_500
    parsed = parse("combined", "\n".join(lines).encode())
    stored = parsed.rows.sort("offset").select("method", "attributes").rows()
    assert stored[:4] * 1_500 == stored
    assert stored[1:4] == [
        ("GET", '{"protocol":"HTTP/1.0","ident":"joe"}'),
        ("", "{}"),
        ("GET", "{}"),
    ]


QUOTED = st.one_of(
    st.sampled_from(["-", "", r"\"", r"\\", r"\x41", "Mozilla/5.0 (X11; Linux)", "a\tb", "é", " "]),
    st.text(st.characters(codec="utf-8", exclude_characters='"\\\n'), max_size=8),
)
WELL_FORMED = st.builds(
    line,
    host=st.sampled_from(["192.0.2.1", "::1", "-", "é", "a\tb", "::1,", "a,b", "a.b:80 ::1"]),
    ident=st.sampled_from(["-", "-", "-", "joe", "::1", "a.b"]),
    user=st.sampled_from(
        ["-", "frank", "a b", "x[y]", '""', "", r"\x41", r"a\b", "a -", "a.b c", "- 1"]
    ),
    time=st.builds(
        lambda moment, zone: moment.strftime("%d/%b/%Y:%H:%M:%S ") + zone,
        st.datetimes(datetime(1895, 1, 1), datetime(2305, 1, 1)),
        st.sampled_from(["+0000", "+0200", "-0330", "+2400", "+0099", "Z"]),
    ),
    request=st.one_of(
        st.sampled_from(["GET / HTTP/1.1", "GET /a HTTP/9.9", "GET \t HTTP/1.1", "GET /", "-"]),
        QUOTED,
    ),
    status=st.one_of(st.integers(0, 700).map(str), st.sampled_from(["-", "000", "OK"])),
    bytes=st.one_of(st.just("-"), st.integers(-1, 2**65).map(str)),
    referer=QUOTED,
    agent=QUOTED,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mutated(WELL_FORMED, '" \\[]-+0:/\t\r\xa0x'), min_size=1, max_size=20))
def test_many_lines_at_once_agree_with_the_definition(lines: list[str]) -> None:
    certain(FORM, lines)


# A real log, and its generated twin


def check_every_row_at_its_offset(data: bytes) -> None:
    """Each stored row is what the line at its offset means."""
    parsed = parse("combined", data)
    assert parsed.rows.height + parsed.rejected.height == data.count(b"\n")
    for stored in parsed.rows.iter_rows(named=True):
        text = data[stored["offset"] : data.index(b"\n", stored["offset"])].decode()
        identity = {name: stored[name] for name in ("file_id", "offset", "line", "source")}
        assert filled(stored) == filled({**FORM.line(text), **identity})
    for refused in parsed.rejected.iter_rows(named=True):
        assert data[refused["offset"] :].startswith(refused["raw"] + b"\n")


@pytest.mark.skipif(not REAL.exists(), reason="../shared/data is not here; its twin below runs")
def test_a_real_log_is_stored_whole_but_for_its_truncated_line() -> None:
    data = REAL.read_bytes()
    parsed = parse("combined", data)
    assert parsed.rows.height == 9_999
    assert parsed.rejected["detail"].str.starts_with('"user agent" is missing').to_list() == [True]
    check_every_row_at_its_offset(data)


def test_a_generated_log_is_stored_whole_but_for_its_truncated_lines() -> None:
    lines = [
        line(
            user=["-", "frank", "Jane Doe"][number % 3],
            bytes=str(number) if number % 7 else "-",
            request=["GET /é HTTP/1.1", "-", r"GET /\"x\" HTTP/1.1", "GET /a b HTTP/1.1"][
                number % 4
            ],
            agent=["Mozilla/5.0", r"an \"odd\" one", "-"][number % 3],
        )
        for number in range(2_000)
    ]
    lines[777] = lines[777][:-5]
    data = "".join(f"{text}\n" for text in lines).encode()
    assert parse("combined", data).rejected["raw"].to_list() == [lines[777].encode()]
    check_every_row_at_its_offset(data)
