"""Loghub's sets, which are beside the project on some machines: every line, as its table has it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.parsing_checks import parse

FOLDER = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "loghub"
SETS = {"Hadoop": "log4j", "HDFS": "log4j", "Spark": "log4j", "Zookeeper": "log4j"}


@pytest.mark.parametrize("name", SETS)
def test_every_line_of_a_set_has_its_level_and_its_message(name: str) -> None:
    if not FOLDER.exists():
        pytest.skip(f"{FOLDER} is not there; tests/formats has lines of these sets")
    parsed = parse(SETS[name], (FOLDER / f"{name}_2k.log").read_bytes())
    table = (FOLDER / f"{name}_2k.log_structured.csv").read_text(encoding="utf-8")
    expected = [(row["Level"], row["Content"]) for row in csv.DictReader(table.splitlines())]
    found = parsed.rows.select("level", "message").rows()
    assert parsed.rejected.is_empty()
    assert [(level, text.strip()) for level, text in found] == [
        (level, text.strip()) for level, text in expected
    ]
