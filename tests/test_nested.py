"""Formats within others: of `syslog`, which has a time, a host and a level of its own."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from flows.parsing.choice import describe
from flows.parsing.lines import Lines
from tests.parsing_checks import SEEN, certain, filled, refusal_of, row_of, utc

UTC = ZoneInfo("UTC")
HEADS = {
    "syslog": "<4>Nov 22 20:15:05 web-1 app[7]: ",
    "syslog5424": "<4>1 2026-11-22T20:15:05Z web-1 app 7 - - ",
}
TEXTS = {
    "json": ['{"msg":"started","n":1}', '{"msg":"caf\u00e9","level":"info","time":"2026-11-22"}'],
    "logfmt": ["msg=started n=1", 'msg="a b" host=db-1 level=info ts=2026-11-01T12:00:00Z'],
}
LINES = {
    f"{outer}:{inner}": [head + text for text in texts]
    for outer, head in HEADS.items()
    for inner, texts in TEXTS.items()
}


def attributes(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row["attributes"])
    return found


@pytest.mark.parametrize("name", LINES)
def test_a_text_that_says_no_time_is_of_that_of_its_line(name: str) -> None:
    row = row_of(name, LINES[name][0])
    assert row["timestamp"] == utc(2026, 11, 22, 20, 15, 5)
    assert (row["host"], row["level"], row["message"]) == ("web-1", "warning", "started")
    assert {**attributes(row), "n": 1} == {"program": "app", "pid": "7", "n": 1}


@pytest.mark.parametrize("name", LINES)
def test_lines_whose_texts_say_no_time_are_read_the_fast_way(name: str) -> None:
    assert all(certain(describe(name).make(UTC), LINES[name][:1] * 3, spelled=True))


def test_what_a_text_says_counts() -> None:
    row = row_of("syslog:logfmt", LINES["syslog:logfmt"][1])
    assert row["timestamp"] == utc(2026, 11, 1, 12)
    assert (row["host"], row["level"], row["message"]) == ("db-1", "info", "a b")


def test_what_is_no_time_in_a_text_is_an_attribute() -> None:
    row = row_of("syslog:json", LINES["syslog:json"][1])
    assert row["timestamp"] == utc(2026, 11, 22, 20, 15, 5)
    assert attributes(row)["time"] == "2026-11-22"


def test_a_text_that_is_empty_where_the_line_says_something_does_not_count() -> None:
    row = row_of("syslog:json", HEADS["syslog"] + '{"host":"","level":"","msg":"x"}')
    assert (row["host"], row["level"], row["message"]) == ("web-1", "warning", "x")


def test_alone_a_line_needs_its_time() -> None:
    for inner, (text, _) in TEXTS.items():
        assert refusal_of(inner, text)[0] == "no_timestamp"


def test_a_layout_within_syslog_has_its_own_time_and_the_host_of_its_line() -> None:
    line = HEADS["syslog"] + describe("combined").samples[0].replace(":20:15", ":20:16")
    row = filled(row_of("syslog:combined", line))
    assert row["timestamp"] == utc(2026, 11, 22, 20, 16, 5)
    assert (row["host"], row["level"], row["status_code"]) == ("web-1", "warning", 200)


def test_a_text_without_any_known_key_is_left_to_the_definition() -> None:
    line = HEADS["syslog"] + 'msg"started n=1'
    assert not any(certain(describe("syslog:logfmt").make(UTC), [line]))
    assert refusal_of("syslog:logfmt", line)[0] == "bad_logfmt"


def test_colours_in_texts_are_removed() -> None:
    lines = [HEADS["syslog"] + f"\x1b[32mmsg=a{number} n=1\x1b[0m" for number in range(3)]
    certain(describe("syslog:logfmt").make(UTC), lines, spelled=True)
    assert row_of("syslog:logfmt", lines[2])["message"] == "a2"


@pytest.mark.parametrize("inner", ["go", "python", "app"])
def test_colours_of_texts_within_others_are_no_part_of_them(inner: str) -> None:
    sample = describe(inner).samples[0]
    plain = f"2026-11-22T20:15:05Z stdout F {sample}"
    coloured = f"2026-11-22T20:15:05Z stdout F \x1b[32m{sample}\x1b[0m"
    form = describe(f"cri:{inner}").make(UTC)
    rows = form.columns(Lines(f"{coloured}\n{plain}\n{coloured}\n".encode()))
    assert len(rows) == 3
    assert len(rows.unique()) == 1


@pytest.mark.parametrize("name", TEXTS)
def test_lines_without_a_time_are_of_that_at_which_they_were_seen(name: str) -> None:
    row = row_of(f"raw:{name}", TEXTS[name][0])
    assert row["timestamp"].timestamp() * 1e6 == SEEN
    assert (row["message"], [*attributes(row)], row.get("level", "")) == ("started", ["n"], "")


def test_lines_of_formats_in_turn_are_read_at_once_but_for_what_none_takes() -> None:
    form = describe("json|combined|raw").make(UTC)
    lines = [describe(name).samples[0] for name in ("combined", "json", "combined")]
    assert certain(form, [*lines, "a line of none", "\ufeff{}"]) == [True] * 4 + [False]
    assert certain(describe("json|combined").make(UTC), [*lines, "a line of none"])[-1] is False
