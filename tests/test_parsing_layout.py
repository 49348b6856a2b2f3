"""What a layout can say, and that the compiled part reads it as the definition does."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.errors import MalformedLine
from flows.parsing.fields import Escapes
from flows.parsing.layout import SPACES, Field, Layout, Maybe, Part, Variants
from flows.parsing.lines import Lines
from flows.parsing.parser import OK
from native.lines import Shape
from tests.layouts import ALL, COLUMNS, KLOG, NEW_SYSLOG, OLD_SYSLOG
from tests.parsing_checks import certain, parse, refusal_of, utc

UTC = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
TIME = Field("time", "timestamp", time="%s")


def layout(*parts: Part | Maybe) -> Layout:
    """A layout of these parts, and a time behind them."""
    return Layout((*parts, "|", TIME), samples=(), reason="not_it")


def read(form: Layout | Variants, line: str, *, is_fast: bool = True) -> dict[str, Any]:
    """The row of a line, less its time; its attributes are among the others."""
    made = form.make(UTC)
    assert certain(made, [line], spelled=True) == [is_fast]
    row = made.line(line)
    del row["timestamp"]
    found: dict[str, Any] = json.loads(str(row.pop("attributes", "{}")))
    return {**row, **found}


def refused(form: Layout | Variants, line: str) -> str:
    """The reason why a line is not of the format."""
    made = form.make(UTC)
    assert certain(made, [line]) == [False]
    with pytest.raises(MalformedLine) as refusal:
        made.line(line)
    return refusal.value.reason


@pytest.mark.parametrize("name", ALL)
def test_the_samples_are_read_the_fast_way(name: str) -> None:
    samples = [*ALL[name].samples]
    assert certain(ALL[name].make(UTC), samples, spelled=True) == [True] * len(samples)


def test_words_mean_others_and_other_words_themselves() -> None:
    form = layout(
        Field("level", "level", words={"W": "warning", "off": ""}),
        " ",
        Field("kind", words={"a": 'an "a"'}),
    )
    assert read(form, "W a|1") == {"level": "warning", "kind": 'an "a"'}
    assert read(form, "E b|1") == {"level": "E", "kind": "b"}
    assert read(form, "off -|1") == {"level": ""}


def test_a_field_of_a_fixed_width_may_touch_the_next_one() -> None:
    form = layout(
        Field("level", "level", width=1),
        Field("code", shape=Shape.DIGITS, width=3),
        Field("text", shape=Shape.WORDS, width=2),
        Field("rest"),
    )
    assert read(form, "I123 xrest|1") == {
        "level": "I",
        "code": "123",
        "text": " x",
        "rest": "rest",
    }
    assert read(form, "I123\u00e9xrest|1", is_fast=False)["text"] == "\u00e9x"
    for other in ("I12 xyrest|1", " 123xyrest|1", "I123", "I"):
        assert refused(form, other) == "not_it"


def test_spaces_are_one_or_more() -> None:
    form = layout(SPACES, Field("one"), SPACES, Field("rest", shape=Shape.WORDS))
    for line in (" a b c|1", "    a   b c|1"):
        assert read(form, line) == {"one": "a", "rest": "b c"}
    assert refused(form, "a b c|1") == "not_it"
    assert refused(form, " a|1") == "not_it"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("<3>tag[7]: a (b:c)|1", {"pri": "3", "tag": "tag", "pid": "7", "who": "b", "to": "c"}),
        ("tag: a (b:c)|1", {"tag": "tag", "who": "b", "to": "c"}),
        ("<3>tag[7]: a|1", {"pri": "3", "tag": "tag", "pid": "7"}),
        ("tag: a|1", {"tag": "tag"}),
    ],
)
def test_several_parts_may_be_left_out_anywhere(line: str, expected: dict[str, str]) -> None:
    form = layout(
        Maybe("<", Field("pri", shape=Shape.DIGITS), ">"),
        Field("tag"),
        Maybe("[", Field("pid", shape=Shape.DIGITS), "]"),
        ": ",
        Field("message", "message", Shape.WORDS),
        Maybe(" (", Field("who"), ":", Field("to"), ")"),
    )
    assert read(form, line) == {**expected, "message": "a"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a: b: 7|1", {"text": "a: b", "code": "7"}),  # a field that ends later
        ("a: [b: 7|1", {"text": "a: [b", "code": "7"}),  # ... than parts that may be left out
        ("a:   b: 7|1", {"text": "a:   b", "code": "7"}),
        ("a: [x] [y] 7|1", {"text": "a", "in": "x] [y", "code": "7"}),
    ],
)
def test_a_line_is_taken_apart_in_another_way_if_the_first_does_not_fit(
    line: str, expected: dict[str, str]
) -> None:
    form = layout(
        Field("text", shape=Shape.WORDS),
        ":",
        SPACES,
        Maybe("[", Field("in", shape=Shape.WORDS), "] "),
        Field("code", shape=Shape.DIGITS),
    )
    assert read(form, line) == expected


def test_what_a_first_attempt_has_found_is_not_in_the_row_of_a_second_one() -> None:
    host, size = Field("host", "host"), Field("size", "bytes_sent", Shape.DIGITS)
    ident = Field("ident", escapes=Escapes.JSON, shape=Shape.ESCAPED)
    level = Field("level", "level")
    form = layout(
        Maybe(host, " ", size, ' "', ident, '" '),
        level,
        ": ",
        Field("text", "message", Shape.WORDS),
    )
    whole = {"host": "a", "bytes_sent": 7, "ident": '"', "level": "b", "message": "c"}
    assert read(form, r'a 7 "\"" b: c|1') == whole
    assert refused(form, r'a 7 "\"" b c|1') == "not_it"
    assert read(form, r'a: 7 "\"" b c|1') == {"level": "a", "message": r'7 "\"" b c'}


def test_a_line_that_is_taken_apart_in_very_many_ways_is_left_to_the_definition() -> None:
    fields = (Field(name, shape=Shape.WORDS) for name in "abcd")
    form = layout(*(part for field in fields for part in (field, " ")), "=")
    many = f"{'x ' * 25}|1"
    assert refused(form, many) == "not_it"


@pytest.mark.parametrize("many", ["", ", 1: a", ", 3: a, 5: b", ", 0: a, 1: b, 6: c"])
def test_many_parts_may_be_left_out_one_after_another(many: str) -> None:
    names = "0123456"
    parts = (Maybe(f", {name}: ", Field(name, shape=Shape.WORDS)) for name in names)
    form = layout(Field("message", "message", Shape.WORDS), *parts)
    expected = dict(part.split(": ") for part in many.split(", ")[1:])
    assert read(form, f"a, b{many}|1") == {"message": "a, b", **expected}


@pytest.mark.parametrize("sign", "-;!")
def test_a_field_may_end_at_one_of_many_signs(sign: str) -> None:
    form = layout(Field("a", "host"), *(Maybe(each, Field(each)) for each in "-;!+"))
    assert read(form, f"x\t{sign}1|1") == {"host": "x\t", sign: "1"}


def test_what_may_be_left_out_at_the_end_of_a_line() -> None:
    form = Layout((TIME, " ", Field("path"), Maybe(" ", Field("a"), "=", Field("b"))), (), "not_it")
    assert read(form, "1 /x") == {"path": "/x"}
    assert read(form, "1 /x k=v") == {"path": "/x", "a": "k", "b": "v"}
    assert refused(form, "1 /x k v") == "not_it"


def test_of_variants_the_first_that_fits_counts() -> None:
    form = Variants((OLD_SYSLOG, NEW_SYSLOG))
    old, new = OLD_SYSLOG.samples[0], NEW_SYSLOG.samples[0]
    lines = [old, new, "neither", *[new] * 3, *[old] * 3, "", new]
    assert certain(form.make(BERLIN), lines, spelled=True) == [
        *[True, True, False, *[True] * 6],
        *[False, True],
    ]
    assert refused(form, "neither") == "not_syslog"
    assert refused(form, new.replace("2026-11", "2026-13")) == "bad_timestamp"


def test_a_line_that_an_earlier_variant_takes_at_a_second_attempt_is_not_given_to_a_later_one() -> (
    None
):
    text = Field("text", shape=Shape.WORDS)
    first = Layout((text, ": ", Field("code", shape=Shape.DIGITS), "|", TIME), (), "no_first")
    form = Variants((first, Layout((Field("all", shape=Shape.WORDS), "|", TIME), (), "no_second")))
    assert read(form, "a: 1|1") == {"text": "a", "code": "1"}
    assert read(form, "a: b: 1|1") == {"text": "a: b", "code": "1"}
    assert read(form, "a: b|1") == {"all": "a: b"}


def test_a_time_with_an_odd_sign_is_left_to_the_definition() -> None:
    assert refusal_of("mongod", "2026-11-22T20:15:05.123Z [conn1] end")[0] == "not_mongod"
    assert parse("mongod", b"2026-11-22T20:15:05.123+0000 [conn1] end\n").rows.height == 1


def test_of_variants_the_first_that_fits_counts_behind_a_line_of_a_later_one() -> None:
    first = Layout((Field("one"), " ", Field("two"), "|", TIME), (), "not_first")
    later = Layout((Field("all", shape=Shape.WORDS), "|", TIME), (), "not_later")
    lines = ["a b c|1795378505", "a b|1795378505", "a b c d|1795378506", "b a|1795378506"]
    assert certain(Variants((first, later)).make(UTC), lines, spelled=True) == [True] * 4


@pytest.mark.parametrize("behind", ["", ".5", ",25 x", "+02:00", " Z", "Z", " x"])
def test_what_goes_on_with_a_time_counts_though_nothing_did_in_the_line_before(behind: str) -> None:
    text = Field("text", shape=Shape.WORDS, empty=())
    for time in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%o"):
        form = Layout((Field("time", "timestamp", time=time), Maybe(" ", text)), (), "not_it")
        lines = ["2026-11-22 20:15:05 x", f"2026-11-22 20:15:05{behind}", "2026-11-22 20:15:05 y"]
        assert certain(form.make(BERLIN), lines, spelled=True)[::2] == [True, True]


def test_variants_have_the_samples_of_all_of_them() -> None:
    assert Variants((KLOG, COLUMNS)).samples == KLOG.samples + COLUMNS.samples


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ((Field("a"), Field("b")), "nothing is between a and b"),
        ((Field("a"), Maybe(Field("b"), " ")), "nothing is between a and b"),
        ((Field("a"), Maybe("x"), Field("b")), "nothing is between a and b"),
        ((Field("a", shape=Shape.DIGITS), "1"), "a digit follows the digits of a"),
        ((Field("a", words={"a": "more than twelve"}),), "a: words have up to 12 bytes"),
        ((Field("a"), "-", Maybe("-", Field("a"))), "a is here more than once"),
        ((Maybe("-", TIME),), "time is here more than once"),
    ],
)
def test_a_layout_that_cannot_be_read_says_why(
    parts: tuple[Part | Maybe, ...], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        layout(*parts)


def test_without_anything_compiled_no_line_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("native.library", None)
    line = f"{NEW_SYSLOG.samples[0]}\n".encode()
    form = ALL["two_syslogs"].make(UTC)
    assert form.columns(Lines(2 * line))[OK].to_list() == [False, False]
    assert form.line(line.decode().strip())["timestamp"] == datetime(
        2026, 11, 22, 19, 15, 5, 123456, tzinfo=utc(2026, 1, 1).tzinfo
    )
