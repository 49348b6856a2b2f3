"""`severity` in filters: one scale, whatever a level is called."""

from __future__ import annotations

import polars as pl
import pytest

from connectors.batch import COLUMNS
from connectors.errors import FilterError
from connectors.filtering import expression, filled
from connectors.filters import parse
from connectors.severity import LEVELS, number_of

ROWS = [
    *(("trace", 0), ("DEBUG", 0), ("debug2", 0), ("Information", 0), ("notice", 0), ("WARNING", 0)),
    *(("warn", 200), ("err", 0), ("Error", 0), ("CRITICAL", 0), ("panic", 0), ("fatal4", 0)),
    *(("", 200), ("", 404), ("", 503), ("", 0), ("loud", 500), ("swarn", 0)),
]


def taken(filter_: str) -> list[tuple[str, int]]:
    names = [name for name in COLUMNS if name != "line"]
    schema = {"level": pl.String(), "status_code": pl.UInt16()}
    rows = filled(pl.DataFrame(ROWS, schema, orient="row"), names)
    found = rows.filter(expression(parse(filter_, names), names))
    return found.select("level", "status_code").rows()


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ("severity >= warn", [*ROWS[5:12], *ROWS[13:15]]),
        ("severity >= error", [*ROWS[7:12], ROWS[14]]),
        ("severity > 17", ROWS[9:12]),
        ("severity = err", [*ROWS[7:9], ROWS[14]]),
        ("severity < info", ROWS[:3]),
        ("severity <= Debug", ROWS[:3]),
        ("severity != info", [*ROWS[:3], *ROWS[5:12], *ROWS[13:]]),
        ("not severity >= trace", ROWS[15:]),
        ("severity >= warn and status_code > 0", [ROWS[6], *ROWS[13:15]]),
    ],
)
def test_a_row_is_as_severe_as_its_level_or_its_status(
    filter_: str, expected: list[tuple[str, int]]
) -> None:
    assert taken(filter_) == expected


@pytest.mark.parametrize(
    ("filter_", "told"),
    [
        ("severity >= loud", "the value of severity must be trace"),
        ("severity > 25", "the value of severity must be trace"),
        ("severity ~ warn", "severity is compared, such as severity >= warn"),
        ("severity >=", "severity is compared"),
    ],
)
def test_what_is_no_severity_is_said(filter_: str, told: str) -> None:
    with pytest.raises(FilterError, match=told):
        parse(filter_, COLUMNS)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "TRACE trce silly"),
        (5, "DEBUG dbug DEBUG2 CONFIG FINE FINER FINEST Verbose http"),
        (9, "INFO Information notice SUCCESS"),
        (13, "warn WARNING"),
        (17, "err ERROR eror SEVERE fail FAILURE"),
        (21, "FATAL crit CRITICAL alert emerg Emergency PANIC dpanic"),
    ],
)
def test_levels_of_every_program_are_on_the_scale(number: int, words: str) -> None:
    assert {word: number_of(word) for word in words.split()} == dict.fromkeys(words.split(), number)


def test_no_word_of_the_scale_begins_like_another() -> None:
    words = [word for each in LEVELS.values() for word in each]
    assert [one for one in words for two in words if one != two and one.startswith(two)] == []


def test_rows_without_levels_have_no_severity() -> None:
    with pytest.raises(FilterError, match="there is no column 'level'"):
        parse("severity >= warn", ["status_code"])
