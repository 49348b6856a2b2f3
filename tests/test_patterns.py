"""Patterns: messages less what varies."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import native
from benchmarks.measure import Effort
from benchmarks.patterns import accuracy, measure
from connectors.status import Status
from flows.enrichment import Enrich, known
from flows.enrichment.chosen import make
from flows.enrichment.patterns import pattern_id, without_numbers
from settings import Settings

pytestmark = pytest.mark.usefixtures("both_ways")


def enricher() -> Enrich:
    """The enricher of the default settings, which has seen nothing yet."""
    return make(Settings(_env_file=None), Status())["patterns"]


def patterns(messages: list[str]) -> list[str]:
    return enricher()(pl.DataFrame({"message": messages}))["pattern"].to_list()


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("Listening", "Listening"),
        ("took 5.", "took <*>."),
        ("Error 404 at 10:15:02.123", "Error <*> at <*>"),
        ("state:4, left: 12%", "state:<*>, left: <*>%"),
        ("from 10.251.30.6:33145 to fe80::1ff:fe23:4567:890a", "from <*> to <*>"),
        ("blk_-38865049064139660 and 0x7f3a, v1.2.3-rc1", "<*> and <*>"),
        ("trap........17", "trap........<*>"),
        ("took 5 ms, 3.5 MB of 7 KB", "took <*> of <*>"),
        ("took <1 ms", "took <*>"),
        ("a b=c d = e f", "a b=<*> d = <*> f"),
        ('name=\'a b\' of "c d" in tag: "e"', 'name=<*> of "c d" in tag: <*>'),
        ("GET https://a.example/b?c=d#e failed", "GET <*> failed"),
        ("GET /a/b?c=d#e failed", "GET <*> failed"),
        ("open /var/lib/app.sock: No such file", "open <*>: No such file"),
        (r"load C:\Windows\system.dll now", "load <*> now"),
        ("Input/output error", "Input/output error"),
        ("mail to ann.lee@example.org bounced", "mail to <*> bounced"),
        ("host db.internal.example gone", "host <*> gone"),
        ("java.io.IOException: Broken pipe", "<*>.IOException: Broken pipe"),
        ("at Fri Jun 17 20:55:07 2005 UTC", "at <*>"),
        ("session opened for user root by (uid=0)", "session opened for user <*> by (uid=<*>)"),
        ("hash deadbeefcafe of a facade", "hash <*> of a facade"),
        ("ask 1, 2, 3 and 4 5 6", "ask <*> and <*>"),
        ("Größe 17 überschritten", "Größe <*> überschritten"),
    ],
)
def test_what_varies_is_left_out_of_a_pattern(message: str, pattern: str) -> None:
    assert patterns([message]) == [pattern]


def test_messages_that_differ_in_what_varies_have_one_pattern() -> None:
    one, other, different = patterns(["sent 5 rows to a-1", "sent 70 rows to b-22", "sent nothing"])
    assert one == other == "sent <*> rows to <*>" != different


def test_an_id_is_the_same_for_ever() -> None:
    rows = enricher()(pl.DataFrame({"message": ["Failed password for root from 10.0.0.1 port 22"]}))
    assert rows.rows() == [
        (
            "Failed password for root from 10.0.0.1 port 22",
            "Failed password for root from <*> port <*>",
            "758acbfb0fa3faba",
        )
    ]
    assert pattern_id("Listening on <*>") == "fb9b16cc774db573"


def test_an_empty_message_has_no_pattern_and_rows_without_messages_stay_as_they_are() -> None:
    assert enricher()(pl.DataFrame({"message": ["", "a"]})).rows() == [
        ("", "", ""),
        ("a", "a", pattern_id("a")),
    ]
    for rows in (pl.DataFrame({"message": ["", ""]}), pl.DataFrame({"level": ["a"]})):
        assert enricher()(rows) is rows


def test_only_the_beginning_of_a_message_counts() -> None:
    long = "word " * 300
    assert patterns([long]) == patterns([long + "and more"]) == [long[:1000].strip()]


LOGHUB = Effort(1, 1).data


@pytest.mark.skipif(not LOGHUB.exists(), reason=f"{LOGHUB} is not there")
def test_messages_of_one_template_have_one_pattern_in_the_sets_of_loghub(tmp_path: Path) -> None:
    effort = Effort(20_000, 1, data=LOGHUB)
    assert [one.name for one in measure(effort, tmp_path) if one.unit == "GA" and one.missed] == []


def test_accuracy_counts_the_lines_whose_group_is_a_true_one_and_all_of_it() -> None:
    truth = pl.Series(["a", "a", "b", "c", "c", "d"])
    assert accuracy(truth, pl.Series(["1", "1", "2", "3", "4", "5"])) == 4 / 6
    assert accuracy(truth, pl.Series(["1", "1", "1", "3", "3", "5"])) == 3 / 6


MESSAGES = st.text("ab1 9.:=/-()'\"<é\n", max_size=40)


@settings(max_examples=25)
@given(st.lists(MESSAGES, max_size=30), st.data())
def test_batches_and_what_was_seen_before_change_nothing(
    messages: list[str], data: st.DataObject
) -> None:
    """Any order, any size: workers and restarts are no more than that."""
    expected = dict(zip(messages, patterns(messages), strict=True)) if any(messages) else {}
    shared, left = enricher(), data.draw(st.permutations(messages))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "_MOST", 3)
        while left:
            size = data.draw(st.integers(1, len(left)))
            some, left = left[:size], left[size:]
            rows = shared(pl.DataFrame({"message": some}))
            if any(some):
                assert rows["pattern"].to_list() == [expected[one] for one in some]


@given(st.lists(st.text("aZ1 9.:_-/~%é", max_size=30)))
@example(["a.1", "a..1", "1..:b", "1.:b", ".1.", "a:1:b", "5...a5"])
def test_the_compiled_part_leaves_out_what_the_expression_does(texts: list[str]) -> None:
    series = pl.Series(texts, dtype=pl.String)
    with pytest.MonkeyPatch.context() as patch:
        found = without_numbers(series).to_list()
        patch.setattr(native, "library", None)
        assert found == without_numbers(series).to_list()
