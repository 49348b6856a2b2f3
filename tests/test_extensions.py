"""Formats and enrichers of other distributions, which say by entry points what they have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from connectors.errors import LogwaxError, SettingsError
from flows.enrichment.enricher import enricher
from flows.settings import load
from tests.parsing_checks import parse, row_of

SOURCE = """
import polars as pl
from flows.parsing.layout import Field, Layout

BARS = Layout(
    (Field("time", "timestamp"), "|", Field("message", "message")),
    samples=("2026-11-22T20:15:05Z|hello",),
    reason="not_bars",
)

def enrich(rows):
    return rows.with_columns(pl.lit("made").alias("level"))
"""
POINTS = """
[logwax.formats]
bars = bars_of_others:BARS
broken = bars_of_others:MISSING

[logwax.enrichers]
levels = bars_of_others:enrich
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution as an installer leaves it; returns its entry points."""
    (tmp_path / "bars_of_others.py").write_text(SOURCE)
    info = tmp_path / "bars_of_others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bars-of-others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "bars_of_others", raising=False)
    return info / "entry_points.txt"


@pytest.mark.usefixtures("installed")
def test_a_format_of_another_distribution_is_one_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "bars")
    assert load().log_format == "bars"
    assert row_of("bars", "2026-11-22T20:15:05Z|hello")["message"] == "hello"
    monkeypatch.setenv("LOG_FORMAT", "morse")
    with pytest.raises(SettingsError, match=r"'morse' is unknown; known are .*bars, "):
        load()


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_leads_nowhere_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "broken")
    with pytest.raises(SettingsError, match="bars_of_others:MISSING cannot be imported"):
        load()


def test_an_enricher_of_another_distribution_comes_last(installed: Path) -> None:
    line = b"2026-11-22T20:15:05Z|/a\n"
    rows = enricher()(parse("bars", line)).rows
    assert rows["level"].to_list() == ["made"]
    installed.write_text(POINTS.replace("bars_of_others:enrich", "bars_of_others:nothing"))
    with pytest.raises(SettingsError, match="bars_of_others:nothing cannot be imported"):
        enricher()


def test_a_column_that_no_store_has_names_its_enricher(installed: Path) -> None:
    source = installed.parent.parent / "bars_of_others.py"
    source.write_text(SOURCE.replace('alias("level")', 'alias("colour")'))
    with pytest.raises(LogwaxError, match=r"enricher bars_of_others gives .*: colour\. .*COLUMNS"):
        enricher()(parse("json", b'{"ts":0}\n'))
