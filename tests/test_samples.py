"""Formats: real lines of programs, and what each of their fields means.

`tests/formats/FORMAT.PROGRAM-VERSION.log` are lines as that program wrote them, with addresses and
names of documentation in place of its own, or, where it is called `definition`, as the source
describes them that the docstring of the format names. Beside each file are its rows. A row of a
line that is read one by one says `"slow": true`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.batch import PLACE
from flows.parsing.choice import describe
from tests.parsing_checks import certain, filled, mutated, parse

FOLDER = Path(__file__).parent / "formats"
FILES = sorted(path.stem for path in FOLDER.glob("*.log"))


def lines_of(file: str) -> list[str]:
    """The lines, each without its end."""
    return (FOLDER / f"{file}.log").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def rows_of(file: str) -> list[dict[str, Any]]:
    """What the lines are to become."""
    rows = (FOLDER / f"{file}.rows").read_text(encoding="utf-8").splitlines()
    return [json.loads(row) for row in rows]


def format_of(file: str) -> str:
    """The name of the format of a file."""
    return file.partition(".")[0]


@pytest.mark.parametrize("file", FILES)
def test_every_field_of_a_line_becomes_what_it_means(file: str) -> None:
    parsed = parse(format_of(file), "\n".join(lines_of(file)).encode())
    assert parsed.rejected.is_empty(), parsed.rejected.to_dicts()
    rows = parsed.rows.sort(PLACE).drop(PLACE, "line", "source").iter_rows(named=True)
    for line, found, expected in zip(lines_of(file), rows, rows_of(file), strict=True):
        found["timestamp"] = found["timestamp"].isoformat()
        expected["attributes"] = json.dumps(expected.get("attributes", {}))
        assert filled(found) == filled(expected), line


@pytest.mark.parametrize("file", FILES)
def test_lines_are_read_the_fast_way(file: str) -> None:
    form = describe(format_of(file)).make(ZoneInfo("UTC"))
    lines, rows = lines_of(file), rows_of(file)
    fast = [not row.get("slow", False) for row in rows]
    assert certain(form, [*lines, *lines], spelled=True) == [*fast, *fast]


def test_a_format_that_has_samples_has_five() -> None:
    counts: Counter[str] = Counter()
    for file in FILES:
        counts[format_of(file)] += len(lines_of(file))
    assert {name: count for name, count in counts.items() if count < 5} == {}


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_what_is_compiled_agrees_with_the_definition(file: str, data: st.DataObject) -> None:
    form = describe(format_of(file)).make(ZoneInfo("UTC"))
    lines = mutated(st.sampled_from(lines_of(file)), '" \\[]{}():,-+0n=/|.\t')
    certain(form, data.draw(st.lists(lines, min_size=1, max_size=6)), spelled=True)
