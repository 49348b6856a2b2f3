"""Format `logfmt`: what a line means, and that many lines at once mean the same."""

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

UTC = describe("logfmt").make(ZoneInfo("UTC"))
BERLIN = describe("logfmt").make(ZoneInfo("Europe/Berlin"))
NOON = "2026-11-01T12:00:00Z"
USUAL = (
    f'ts={NOON} customer=c status=200 duration_ms=1.5 ip=::1 user_agent="a b" id=x path="/a?b=c"'
)


def line(rest: str) -> str:
    return f"ts={NOON} {rest}"


def row(rest: str) -> dict[str, Any]:
    """The row of a line of which nothing but the rest matters."""
    found = row_of("logfmt", line(rest))
    assert found.pop("timestamp") == utc(2026, 11, 1, 12)
    return found


def attributes(rest: str) -> object:
    return json.loads(row(rest)["attributes"])


# Pairs


def test_the_line_of_the_documentation_of_kr_logfmt() -> None:
    assert attributes('foo=bar a=14 baz="hello kitty" cool%story=bro f %^asdf') == {
        "foo": "bar",
        "a": "14",
        "baz": "hello kitty",
        "cool%story": "bro",
        "f": True,
        "%^asdf": True,
    }


@pytest.mark.parametrize("alias", ALIASES, ids=lambda alias: alias.key)
def test_keys_mean_the_same_columns_as_in_json(alias: Alias) -> None:
    value = NOON if alias.column == "timestamp" else "404"
    text = f"{alias.key}={value}"
    as_json = json.dumps({alias.key: value})
    if alias.column != "timestamp":
        text, as_json = line(text), f'{{"ts":"{NOON}",{as_json[1:]}'
    assert filled(row_of("logfmt", text)) == filled(row_of("json", as_json))


def test_of_two_aliases_the_first_in_the_table_wins_and_the_other_is_an_attribute() -> None:
    found = row("http_status=500 status=200")
    assert (found["status_code"], found["attributes"]) == (200, '{"http_status":"500"}')


def test_values_in_attributes_are_texts() -> None:
    assert attributes("n=1 t=true z=null f=1.0") == {"n": "1", "t": "true", "z": "null", "f": "1.0"}


@pytest.mark.parametrize("rest", ["a= b", 'a="" b', "a=  b  ", "\ta=\tb\t", "\x01a=\x00b\x1f"])
def test_pairs_stand_between_spaces_or_control_characters(rest: str) -> None:
    assert attributes(rest) == {"a": "", "b": True}


@pytest.mark.parametrize(
    "missing", ["status", "status=", 'status=""', "status=null", "method", "message=null"]
)
def test_a_known_key_without_a_value_is_as_good_as_missing(missing: str) -> None:
    assert filled(row(missing)) == filled({})
    assert row(f"{missing} http_status=404")["status_code"] == 404


def test_null_in_quotes_is_a_text() -> None:
    assert row('message="null"')["message"] == "null"


def test_of_a_repeated_key_the_last_value_counts() -> None:
    assert filled(row("a=1 status=200 a=2 status=404")) == filled(
        {"status_code": 404, "attributes": '{"a":"2"}'}
    )


def test_a_word_may_have_equal_signs_and_backslashes() -> None:
    found = row(r"path=/a?b=c&d== dir=C:\new\\x message==")
    assert (found["request_path"], found["message"]) == ("/a?b=c&d==", "=")
    assert json.loads(found["attributes"]) == {"dir": r"C:\new\\x"}


def test_keys_of_any_spelling() -> None:
    strange = dict.fromkeys(("é", "a\\b", "'", "{}", "\x7f", "a.b-c", "*", "^a$", "😀"), "x")
    assert attributes(" ".join(f"{key}={value}" for key, value in strange.items())) == strange


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"say \"hello\"", 'say "hello"'),
        (r"C:\\new\\", "C:\\new\\"),
        (r"\n\t\r\b\f\/", "\n\t\r\b\f/"),
        (r"\u00e9 \u0001 \u0000 \u2028", "é \x01 \0 \u2028"),
        (r"\ud83d\ude00 \uD83D\uDE00", "😀 😀"),
        (r"\a\v\x00\x7f", "\a\v\0\x7f"),
        (r"caf\xc3\xa9 \U0001f600", "café 😀"),
        (r"\xff \ud800 \ude00\ud83d \U00110000 \UFFFFFFFF", None),
        (r"\q \' \é \x1 \u12 \U1234 \1", None),
        ("a\tb\x01", "a\tb\x01"),
        ("é 😀 = ' \x7f", "é 😀 = ' \x7f"),
    ],
)
def test_escapes_in_quotes_are_undone_where_they_mean_a_character(
    written: str, meant: str | None
) -> None:
    expected = written if meant is None else meant
    found = row(f'message="{written}" a="{written}"')
    assert found["message"] == expected
    assert json.loads(found["attributes"]) == {"a": expected}


@pytest.mark.parametrize(
    ("value", "status"), [("200", 200), ('"404"', 404), ("204.0", 204), ("0", 0), ("65535", 65535)]
)
def test_a_status_is_a_whole_number(value: str, status: int) -> None:
    assert row(f"status={value}")["status_code"] == status


def test_bytes_up_to_64_bits() -> None:
    assert row(f"bytes={2**64 - 1}")["bytes_sent"] == 2**64 - 1


# Times


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-01T12:00:00Z", utc(2026, 11, 1, 12)),
        ("2026-11-01t12:00:00.123456789+02:00", utc(2026, 11, 1, 10, 0, 0, 123_456)),
        ('"2026-11-01 12:00:00,123 -0330"', utc(2026, 11, 1, 15, 30, 0, 123_000)),
        ('"2026-11-01 12:00:00"', utc(2026, 11, 1, 11)),  # LOG_TIMEZONE
        ("1793534400", utc(2026, 11, 1, 12)),
        ('"1793534400.25"', utc(2026, 11, 1, 12, 0, 0, 250_000)),
        ("1793534400250", utc(2026, 11, 1, 12, 0, 0, 250_000)),
        ("1793534400250001999", utc(2026, 11, 1, 12, 0, 0, 250_001)),
        ("-1.5", utc(1969, 12, 31, 23, 59, 58, 500_000)),
    ],
)
def test_times_are_iso_8601_or_numbers(value: str, expected: datetime) -> None:
    assert row_of("logfmt", f"ts={value}", "Europe/Berlin")["timestamp"] == expected


# Lines that are refused


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('Traceback: File "x.py"', "bad_logfmt"),
        (USUAL[:-1], "bad_logfmt"),
        (line('a="b"c'), "bad_logfmt"),
        (line('a=b"c"'), "bad_logfmt"),
        (line('"a"=b'), "bad_logfmt"),
        (line("=b"), "bad_logfmt"),
        (line(r'a="\"'), "bad_logfmt"),
        (line('a="b\\'), "bad_logfmt"),
        ("Traceback (most recent call last):", "no_timestamp"),
        ("ts= status=200", "no_timestamp"),
        ("status=OK", "no_timestamp"),
        ("ts status=200", "no_timestamp"),
        ("ts=yesterday", "bad_timestamp"),
        ("ts=2026-02-30T00:00:00Z", "bad_timestamp"),
        ("ts=1899-12-31T23:59:59Z", "bad_timestamp"),
        ("ts=1e400", "bad_timestamp"),
        ("ts=-", "bad_timestamp"),
        ("\x1b[31mts\x1b[0m=\x1b[31mnow\x1b[0m", "bad_timestamp"),
        ("\x1b[31m\x1b[0m", "no_timestamp"),
    ],
)
@pytest.mark.parametrize("surrounded", [False, True])
def test_refused_with_a_reason(text: str, reason: str, surrounded: bool) -> None:
    if not surrounded:
        assert refusal_of("logfmt", text)[0] == reason
    sure = certain(UTC, [USUAL, text, USUAL] if surrounded else [text])
    assert not sure[len(sure) // 2]


def test_the_refusal_says_where_the_line_is_no_pair() -> None:
    assert refusal_of("logfmt", 'ts=1 a="b c')[1] == "'a=\"b c' is not key=value"


# Values that do not fit


@pytest.mark.parametrize(
    ("key", "value", "column"),
    [
        ("status", "70000", "status_code"),
        ("status", "-1", "status_code"),
        ("status", "1.5", "status_code"),
        ("status", "OK", "status_code"),
        ("status", '" 200"', "status_code"),
        ("http_status", "2_00", "status_code"),
        ("status", "true", "status_code"),
        ("bytes", str(2**64), "bytes_sent"),
        ("body_bytes_sent", "-1", "bytes_sent"),
        ("duration_ms", "-0.5", "duration"),
        ("duration_ms", "fast", "duration"),
        ("duration", "inf", "duration"),
        ("duration", "-1.2ms", "duration"),
        ("duration", "1s1s", "duration"),
        ("duration", "9" * 400, "duration"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_an_attribute(
    key: str, value: str, column: str
) -> None:
    text = line(f"path=/a {key}={value}")
    found, misfits = misfits_of("logfmt", text)
    attributes = json.dumps({key: value.strip('"')})
    expected = {"timestamp": utc(2026, 11, 1, 12), "request_path": "/a", "attributes": attributes}
    assert filled(found) == filled(expected)
    assert misfits == {column: 1}
    assert not certain(UTC, [USUAL, text, USUAL])[1]


@pytest.mark.parametrize("value", ["-", '"-"', ""])
@pytest.mark.parametrize("key", ["status", "bytes", "duration", "request_time"])
def test_no_value_is_empty_and_no_misfit(key: str, value: str) -> None:
    text = line(f"{key}={value} customer=-")
    found, misfits = misfits_of("logfmt", text)
    assert filled(found) == filled({"timestamp": utc(2026, 11, 1, 12), "customer_id": "-"})
    assert misfits == {}
    assert all(certain(UTC, [text] * 3))


@pytest.mark.parametrize(("written", "seconds"), GO_DURATIONS)
@pytest.mark.parametrize("key", ["duration", "request_time", "elapsed_ms"])
def test_a_duration_of_go_names_its_unit_itself(key: str, written: str, seconds: float) -> None:
    for value in (written, f'"{written}"'):
        assert row(f"{key}={value}") == {"duration": seconds}
        certain(UTC, [line(f"{key}={value}")] * 3)


def test_durations_of_go_are_read_the_fast_way() -> None:
    lines = [line("duration=16.205332ms"), line("duration=1m3.5s"), line("duration=0s")]
    assert all(certain(UTC, lines * 3))


def test_the_setting_is_the_unit_of_plain_durations_only() -> None:
    texts = [line(f"{key}=42.75") for key in ("duration", "request_time", "duration_us")]
    read = parser("logfmt", "UTC", duration_unit="ms")(batch("\n".join(texts).encode()))
    assert read.rows.sort("offset")["duration"].to_list() == [0.04275, 42.75, 4.275e-05]


# Colours


@pytest.mark.parametrize(
    "text",
    [
        f"ts={NOON} level=\x1b[32minfo\x1b[0m msg=hello",
        f"\x1b[36mts\x1b[0m={NOON} level=info msg=hello",
        f"\x1b[36mts=\x1b[0m{NOON} \x1b[1;38;5;196mlevel\x1b[m=info msg=\x1b[Khello",
        f'ts={NOON} level=info msg="\x1b[35mhello\x1b[0m"\x1b[K',
        f"\x1b[?25l ts={NOON} level=info msg=hello \x1b[2 q",
        rf'ts={NOON} level="\x1b[32minfo\x1b[0m" msg=hello',
        rf'ts={NOON} level="\u001b[32minfo\u001b[0m" msg=hello',
    ],
)
def test_colours_are_no_part_of_a_line(text: str) -> None:
    plain = f"ts={NOON} level=info msg=hello"
    assert filled(row_of("logfmt", text)) == filled(row_of("logfmt", plain))
    certain(UTC, [plain, text, plain])


def test_coloured_lines_are_read_the_fast_way() -> None:
    coloured = USUAL.replace("status=200", "\x1b[36mstatus\x1b[0m=200")
    assert all(certain(UTC, [coloured, USUAL] * 300))


def test_a_priority_in_front_is_the_level_of_a_line_that_says_none() -> None:
    assert row_of("logfmt", "<134>ts=2026-11-22T20:15:05Z n=1")["level"] == "info"
    assert row_of("logfmt", "<134>ts=2026-11-22T20:15:05Z level=warn")["level"] == "warn"
    assert all(certain(UTC, [f"<{8 * 16 + 4}>{USUAL}", USUAL] * 300))


def test_a_dead_letter_keeps_its_colours() -> None:
    raw = b"\x1b[31mTraceback\x1b[0m (most recent call last):"
    assert parse("logfmt", USUAL.encode() + b"\n" + raw).rejected["raw"].to_list() == [raw]


@pytest.mark.parametrize("part", ['a="', 'a="\\"', "a", '" ', "\\", "=", " "])
def test_a_long_line_costs_no_more_than_its_length(part: str) -> None:
    long = f"ts={NOON} a=" + part * 100_000
    parsed = parse("logfmt", "\n".join([USUAL, long, USUAL]).encode())
    assert parsed.rows.height + parsed.rejected.height == 3


# Whole batches


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: text.index("b") + 1],
        lambda text: text.replace('"a b"', '"a b'),
        lambda text: "\1" * 64,
    ],
    ids=["truncated", "quote", "hole"],
)
def test_one_bad_line_in_a_thousand_costs_exactly_the_bad_ones(spoil: Callable[[str], str]) -> None:
    lines = [USUAL] * 5_000
    bad = range(0, 5_000, 1_000)
    for number in bad:
        lines[number] = spoil(USUAL)
    parsed = parse("logfmt", "\n".join(lines).encode())
    assert parsed.rows.height == 4_995
    assert parsed.rejected["raw"].to_list() == [lines[number].encode() for number in bad]


def test_lines_of_several_shapes_are_read_the_fast_way() -> None:
    shapes = [USUAL, line("level=info msg=hello"), line('msg="a b" id=x n=1'), line("status=500")]
    assert all(certain(UTC, [*shapes * 5_000]))


def test_keys_of_few_lines_are_all_found() -> None:
    lines = [line(f"customer=c n={number}") for number in range(5_000)]
    lines[1_700] += " never_seen=1"
    lines[3_300] = lines[3_300].replace(" n", " flag n")
    parsed = parse("logfmt", "\n".join(lines).encode())
    stored = [json.loads(text) for text in parsed.rows.sort("offset")["attributes"]]
    expected: list[dict[str, Any]] = [{"n": str(number)} for number in range(5_000)]
    expected[1_700]["never_seen"] = "1"
    expected[3_300]["flag"] = True
    assert stored == expected


@pytest.mark.parametrize(
    ("others", "odd"),
    [
        ('a="x y" b=z', 'a="x y" b=z"'),
        ('a="x y" b=z', 'a="x" b="y'),
        ('a="x y" b=z', 'a="x b=y" c=1 b=z'),
        ('a="x y" b=z', r'a="\" b=" b=z'),
        ('a="x y" b=z', 'a=" b=1" b=2'),
        ('a="x y" b=z', 'a=" b=1'),
        ('a="x y" b=z', 'a=" b="'),
        ("a=1 b=2", "a=1 b=2 c=3"),
        ("a=1 b=2", "c=3 a=1 b=2"),
        ("a=1 b=2", "b=2 a=1"),
        ("a=1 b=2", "a=1  b=2"),
        ("a=1 b=2", "a=1\tb=2"),
        ("a=1 b=2", "a=1 b=2 b=3"),
        ("status=200", 'status=" 200"'),
        ("status=200", "status=+200"),
        ("duration_ms=1.5", "duration_ms=infinity"),
        ("status=200 http_status=1", "status= http_status=500"),
    ],
)
def test_traps(others: str, odd: str) -> None:
    certain(UTC, [line(others)] * 5 + [line(odd)] + [line(others)] * 5)


# Many lines at once mean what each of them means


@pytest.mark.parametrize(
    "usual",
    [
        USUAL,
        USUAL + "\r",
        USUAL.replace("Z", ".123+01:00"),
        USUAL.replace(f"{NOON}", '"2026-11-01 12:00:00,123"'),
        USUAL.replace(NOON, "1793534400250"),
        USUAL.replace(NOON, "1793534400.25"),
        USUAL.replace("1.5", "7"),
        USUAL.replace("=c ", "= "),
        USUAL.replace("=c ", "=null "),
        USUAL.replace('"a b"', '"é = x"'),
        USUAL.replace("id=x", r"id=C:\x"),
        USUAL.replace('"/a?b=c"', "/a?b=c"),
    ],
)
def test_usual_lines_are_read_the_fast_way(usual: str) -> None:
    assert all(certain(BERLIN, [usual] * 300))


WORDS = st.text(st.characters(codec="utf-8", exclude_characters='"', min_codepoint=33), max_size=6)
QUOTED = st.builds(
    '"{}"'.format,
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters='"\\\n'), max_size=6),
        st.sampled_from(
            [r"\"", r"\\", r"\n\t", r"\u00e9", r"\ud83d\ude00", r"\ud800", r"\xc3\xa9", r"\xff"]
        ),
        st.sampled_from([r"a \"b\"", r"\a\v", r"\q", "null", "", " ", " 5", "a status=5 x", "200"]),
    ),
)
TIMES = st.builds(
    lambda moment, pattern, zone: f'"{moment.strftime(pattern)}{zone}"',
    st.one_of(
        st.datetimes(datetime(2026, 3, 28), datetime(2026, 3, 30)),
        st.datetimes(datetime(1890, 1, 1), datetime(2310, 1, 1)),
    ),
    st.sampled_from(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S,%f", "%Y-%m-%dT%H:%M:%S.%f9", "%F"]),
    st.sampled_from(["", "Z", "+00:00", "-0330", "+02", " +0100", "+24:00"]),
)
LITERALS: dict[str, st.SearchStrategy[str]] = {
    "word": WORDS,
    "quoted": QUOTED,
    "text": st.one_of(WORDS, QUOTED),
    "int": st.one_of(st.integers(-(2**70), 2**70), st.integers(0, 700)).map(str),
    "float": st.one_of(st.floats(), st.integers(0, 9).map(float)).map(repr),
    "time": st.one_of(TIMES, TIMES.map(lambda text: text.strip('"'))),
    "epoch": st.one_of(
        st.integers(-(10**20), 10**20), st.integers(0, 2 * 10**9), st.floats(-1e18, 1e18)
    ).map(repr),
    "go": st.sampled_from(
        [*(written for written, _ in GO_DURATIONS), "-2s", "1ms1s", "2m2", "1.s", ".5s", "01s"]
    ),
    "odd": st.sampled_from(
        [
            *("-", '"-"', "\x1b[31m", "1\x1b[0m", r'"\u001b[0mx"', "", "null", '""', "-0", "1."),
            *(".5", "+1", "01", "1e3", "1E400", "1_0", "٣", "=", "a=b"),
        ]
    ),
}
KEYS = st.sampled_from(
    [*(alias.key for alias in ALIASES), "line", "ok", "a", "b", "é", "*", "^a$", "x:y", "a\\b"]
)
KINDS = {"timestamp": ["time", "epoch"], "status_code": ["int"], "bytes_sent": ["int"]}
KINDS |= {"duration": ["int", "float", "go"]}
COLUMN = {alias.key: alias.column for alias in ALIASES}


@st.composite
def batches(draw: st.DrawFn) -> list[str]:
    """Lines that mostly have the same keys and types, as those of one file do."""
    usual = ["word", "quoted", "text", "int"]
    keys = ["ts", *draw(st.lists(KEYS, max_size=5))]
    kinds = {key: draw(st.sampled_from(KINDS.get(COLUMN.get(key, ""), usual))) for key in keys}
    separator = draw(st.sampled_from([" ", " ", "  ", "\t"]))

    def pair(key: str, kind: str) -> str:
        if draw(st.integers(0, 30)) == 0:
            kind = draw(st.sampled_from(sorted(LITERALS)))
        return f"{key}={draw(LITERALS[kind])}"

    lines = []
    for _ in range(draw(st.integers(1, 8))):
        pairs = [pair(key, kinds[key]) for key in keys]
        if draw(st.integers(0, 5)) == 0:
            pairs.pop(draw(st.integers(0, len(pairs) - 1)))
        if draw(st.integers(0, 5)) == 0:
            pairs.append(draw(st.sampled_from([draw(KEYS), pair(draw(KEYS), "odd")])))
        lines.append(separator.join(pairs))
    return lines


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(batches(), st.sampled_from([UTC, BERLIN]))
def test_many_lines_at_once_agree_with_the_definition(lines: list[str], form: Format) -> None:
    certain(form, lines)


@settings(max_examples=300, deadline=None)
@given(mutated(st.sampled_from([USUAL, line(r'msg="a \"b\" \\ \u00e9" c')]), '"\\= \t\0\r-.né\x7f'))
def test_malformed_lines_agree_with_the_definition(text: str) -> None:
    certain(UTC, [USUAL, text, USUAL])
