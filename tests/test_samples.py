"""Formats: real lines of programs, and what each of their fields means.

`tests/formats/FORMAT.PROGRAM-VERSION.log` are lines as that program wrote them, with addresses and
names of documentation in place of its own, or, where it is called `definition`, as the source
describes them that the docstring of the format names. Beside each file are its rows. A row of a
line that is read one by one says `"slow": true`.
"""

from __future__ import annotations

import gc
import json
import re
import weakref
from collections import Counter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.batch import PLACE
from connectors.encodings import UTF_8
from connectors.sources.sense import headers_in, is_directive
from flows.parsing import FORMATS
from flows.parsing.choice import Headed, describe, described
from flows.parsing.parser import parser
from tests.parsing_checks import batch, certain, filled, parse, row_of

FOLDER = Path(__file__).parent / "formats"
FILES = sorted(path.stem for path in FOLDER.glob("*.log"))


def lines_of(file: str) -> list[str]:
    """The lines, each without its end; those that say what the others are do not count."""
    text = (FOLDER / f"{file}.log").read_text(encoding="utf-8").removesuffix("\n")
    header = header_of(file)
    lines = text.split("\n")
    return [line for line in lines if line and not is_directive(line, header)] if header else lines


def header_of(file: str) -> str:
    """The line that names the columns of the others, empty if there is none."""
    form = describe(format_of(file))
    if not isinstance(form, Headed):
        return ""
    ((_, header),) = headers_in((FOLDER / f"{file}.log").read_bytes(), form.header, UTF_8)
    return header


def rows_of(file: str) -> list[dict[str, Any]]:
    """What the lines are to become."""
    rows = (FOLDER / f"{file}.rows").read_text(encoding="utf-8").splitlines()
    return [json.loads(row) for row in rows]


def format_of(file: str) -> str:
    """The name of the format of a file."""
    return file.partition(".")[0]


@pytest.mark.parametrize("file", FILES)
def test_every_field_of_a_line_becomes_what_it_means(file: str) -> None:
    parsed = parse(format_of(file), "\n".join(lines_of(file)).encode(), header=header_of(file))
    assert parsed.rejected.is_empty(), parsed.rejected.to_dicts()
    rows = parsed.rows.sort(PLACE).drop(PLACE, "line", "source").iter_rows(named=True)
    for line, found, expected in zip(lines_of(file), rows, rows_of(file), strict=True):
        found["timestamp"] = found["timestamp"].isoformat()
        expected["attributes"] = json.dumps(expected.get("attributes", {}))
        assert filled(found) == filled(expected), line


@pytest.mark.parametrize("file", FILES)
def test_lines_are_read_the_fast_way(file: str) -> None:
    form = described(format_of(file), header_of(file)).make(ZoneInfo("UTC"))
    lines, rows = lines_of(file), rows_of(file)
    fast = [not row.get("slow", False) for row in rows]
    assert certain(form, [*lines, *lines], spelled=True) == [*fast, *fast]


def test_the_clock_of_a_network_load_balancer_is_utc() -> None:
    (line, *_) = lines_of("nlb.definition")
    row = row_of("nlb", line, "Europe/Berlin")
    assert row["timestamp"].isoformat() == "2018-12-20T02:59:40+00:00"


def test_a_format_that_has_samples_has_five() -> None:
    counts: Counter[str] = Counter()
    for file in FILES:
        counts[format_of(file)] += len(lines_of(file))
    assert {name: count for name, count in counts.items() if count < 5} == {}


@pytest.mark.parametrize("name", sorted({*FORMATS, *map(format_of, FILES)}))
def test_a_bad_line_keeps_nothing_of_its_batch_in_memory(name: str) -> None:
    """What only the collector of garbage would find stays for many batches."""
    files = [file for file in FILES if format_of(file) == name]
    good = [line for file in files for line in lines_of(file)]
    bad = [re.sub(r"[0-9]", digit, line) for line in good for digit in "9x"]
    bad += [line[: len(line) // 2] for line in good] + ["", "{}", "a=b", "\1" * 64, "caf\xe9"]
    header = header_of(files[0]) if files else ""
    gc.collect()
    gc.disable()
    try:
        lines = batch("\n".join([*good, *bad]).encode(), header=header)
        kept = weakref.ref(lines)
        parsed = parser(name, "UTC")(lines)
        assert len(parsed.rows) + len(parsed.rejected)
        del lines, parsed
        assert kept() is None
    finally:
        gc.enable()
