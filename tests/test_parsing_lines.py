"""The lines of a batch: where they begin, which are empty, and what of them is text."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.parsing.lines import Lines

pytestmark = pytest.mark.usefixtures("both_ways")

BYTES = st.lists(
    st.sampled_from(
        [b"a", b"\n", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3\xa9", b"\xc3", b"bc"]
    )
).map(b"".join)


def split(data: bytes) -> list[bytes]:
    """The lines of the bytes, each with its line end."""
    return BytesIO(data).readlines()


@given(BYTES)
def test_starts_are_where_lines_begin_and_the_end(data: bytes) -> None:
    lines = Lines(data)
    starts = lines.starts.tolist()
    assert len(lines) == len(split(data))
    assert [data[begin:end] for begin, end in pairwise(starts)] == split(data)


@pytest.mark.parametrize(
    ("data", "raw"),
    [
        (b"a\n", b"a"),
        (b"a\r\n", b"a"),
        (b"a", b"a"),
        (b"a\r", b"a"),
        (b"a\r\r\n", b"a\r"),
        (b"a\rb\n", b"a\rb"),
        (b"\0\xff\n", b"\0\xff"),
    ],
)
def test_raw_is_the_line_without_its_end(data: bytes, raw: bytes) -> None:
    assert Lines(data).raw(0) == raw


@given(BYTES)
def test_without_keeps_every_line_that_has_something(data: bytes) -> None:
    every = Lines(data)
    lines, kept = every.without([])
    numbers = range(len(every)) if kept is None else kept.tolist()
    assert [lines.raw(number) for number in range(len(lines))] == [
        every.raw(number) for number in numbers
    ]
    assert list(numbers) == [number for number in range(len(every)) if every.raw(number)]


def test_without_drops_the_unwanted_as_well() -> None:
    lines, kept = Lines(b"a\n\nb\nc\nd").without([0, 1, 3])
    assert (lines.data, kept is not None and kept.tolist()) == (b"b\nd", [2, 4])


def test_without_is_the_same_lines_where_nothing_is_dropped() -> None:
    every = Lines(b"a\nb")
    assert every.without([])[0] is every


@given(BYTES, st.data())
def test_join_is_the_chosen_lines_one_after_another(data: bytes, draw: st.DataObject) -> None:
    lines = Lines(data)
    numbers = draw.draw(
        st.lists(st.integers(0, len(lines) - 1), unique=True) if lines else st.just([])
    )
    expected = b"".join(split(data)[number] for number in sorted(numbers))
    assert lines.join(np.array(sorted(numbers), np.int64)) == expected


@given(BYTES)
def test_text_is_the_data_with_lines_that_are_not_utf_8_masked(data: bytes) -> None:
    lines = Lines(data)
    assert len(lines.text) == len(data)
    for number, line in enumerate(split(data)):
        begin, end = lines.starts[number], lines.starts[number + 1]
        try:
            line.decode()
        except UnicodeDecodeError:
            raw = lines.raw(number)
            assert lines.text[begin:end] == b"?" * len(raw) + line[len(raw) :]
        else:
            assert lines.text[begin:end] == line
