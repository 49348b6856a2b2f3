"""The enrichers that `ENRICHERS` turns on."""

from __future__ import annotations

import json
import sys

import polars as pl
import pytest

from connectors.batch import columns_with
from connectors.errors import SettingsError
from connectors.status import Status
from flows.enrichment import known
from flows.enrichment.chosen import make
from flows.enrichment.known import Known
from flows.settings import load
from flows.steps import enrich_step
from settings import Settings
from tests.conftest import Pipeline
from tests.parsing_checks import parse

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


# The setting


def test_nothing_is_on_by_default() -> None:
    assert make(Settings(_env_file=None), Status()) == {}


def test_an_enricher_that_does_not_exist_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENRICHERS", " user_agent, weather,")
    with pytest.raises(SettingsError, match=r"'weather' is unknown; known are .*user_agent"):
        load()


def test_a_library_that_is_not_installed_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENRICHERS", "user_agent")
    monkeypatch.setitem(sys.modules, "ua_parser.regex", None)
    monkeypatch.delitem(sys.modules, "flows.enrichment.user_agent", raising=False)
    with pytest.raises(SettingsError, match=r"ENRICHERS='user_agent': .*ua_parser.*\[enrich\]"):
        load()


# What is found out once for each text


def lengths() -> tuple[Known, list[str]]:
    """Columns made of the length of a text, and the texts that were looked at."""
    asked: list[str] = []

    def find(texts: object) -> list[tuple[object, ...]]:
        asked.extend(texts)  # type: ignore[call-overload]
        return [(len(text), text.upper()) for text in texts]  # type: ignore[attr-defined]

    return Known(find, {"length": pl.Int64(), "upper": pl.String()}), asked


@pytest.mark.usefixtures("both_ways")
def test_a_text_is_looked_at_once_whatever_batches_it_is_in() -> None:
    found, asked = lengths()
    for texts in (["a", "bb", "a"], ["bb", "", "a", ""], []):
        rows = pl.DataFrame({"text": texts}, schema={"text": pl.String})
        assert found.add_to(rows, "text").rows() == [(t, len(t), t.upper()) for t in texts]
    assert sorted(asked) == ["", "a", "bb"]


def test_only_so_many_texts_are_kept_and_only_their_beginnings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known, "_MOST", 3)
    found, asked = lengths()
    for texts in (["a", "b", "c"], ["d", "a"], ["a" * 5000, "e", "f", "g"]):
        rows = found.add_to(pl.DataFrame({"text": texts}), "text")
        assert rows["length"].to_list() == [min(len(text), 1000) for text in texts]
    assert asked == ["a", "b", "c", "d", "a", "a" * 1000, "e", "f", "g"]


def test_rows_without_the_column_stay_as_they_are() -> None:
    rows = pl.DataFrame({"other": ["a"]})
    assert lengths()[0].add_to(rows, "text").equals(rows)


# user_agent


@pytest.fixture(scope="module")
def agents() -> object:
    """The enrich step with `user_agent`, whose rules take a while to read."""
    return enrich_step(Settings(_env_file=None, enrichers="user_agent"), Status())


def of_agent(agents: object, agent: str) -> dict[str, object]:
    line = json.dumps({"ts": 0, "ua": agent}).encode()
    rows = agents(parse("json", line + b"\n")).rows  # type: ignore[operator]
    names = columns_with(["user_agent"]).keys() - columns_with([]).keys()
    return {name: rows[name].item() for name in names}


@pytest.mark.parametrize(
    ("agent", "browser", "system", "device", "kind"),
    [
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64) {WEBKIT} Chrome/131.0.6778.86 Safari/537.36",
            "Chrome 131.0.6778",
            "Windows 10",
            "",
            "PC",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.1 Safari/605.1.15",
            "Safari 17.1",
            "Mac OS X 10.15.7",
            "Mac",
            "PC",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
            "Firefox 115.0",
            "Linux ",
            "",
            "PC",
        ),
        (
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Tablet PC 2.0)",
            "IE 8.0",
            "Windows 7",
            "",
            "PC",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            "Mobile Safari 17.1",
            "iOS 17.1",
            "iPhone",
            "Mobile",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/16.0 Mobile/15E148 Safari/604.1",
            "Mobile Safari 16.0",
            "iOS 16.0",
            "iPad",
            "Tablet",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-G991B) {WEBKIT} Chrome/120.0.0.0 Mobile "
            "Safari/537.36",
            "Chrome Mobile 120.0.0",
            "Android 13",
            "Samsung SM-G991B",
            "Mobile",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-X700) {WEBKIT} Chrome/120.0.0.0 Safari/537.36",
            "Chrome 120.0.0",
            "Android 13",
            "SM-X700",
            "Tablet",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 9; BRAVIA 4K UR2) {WEBKIT} Chrome/90.0 Safari/537.36 TV",
            "Chrome 90.0",
            "Android 9",
            "BRAVIA 4K UR2",
            "Unknown",
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot 2.1",
            " ",
            "Spider",
            "bot",
        ),
        ("curl/8.7.1", "curl 8.7.1", " ", "", "Unknown"),
        ("\u0000\ud7ff\U0010ffff(((", " ", " ", "", "Unknown"),
        ("", " ", " ", "", ""),
    ],
)
def test_browser_system_and_device_of_an_agent(
    agents: object, agent: str, browser: str, system: str, device: str, kind: str
) -> None:
    found = of_agent(agents, agent)
    assert f"{found['browser_family']} {found['browser_version']}" == browser
    assert f"{found['os_family']} {found['os_version']}" == system
    assert (found["device_family"], found["device_type"]) == (device, kind)
    assert found["is_bot"] == (kind == "bot")


def test_the_columns_have_the_types_that_stores_expect(agents: object) -> None:
    line = b'203.0.113.7 - - [22/Nov/2026:20:15:05 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8"\n'
    rows = agents(parse("combined", line * 2)).rows  # type: ignore[operator]
    columns = columns_with(["user_agent"])
    assert {name: columns[name] for name in rows.columns} == dict(rows.schema)
    assert rows["browser_family"].to_list() == ["curl", "curl"]
    assert sum(rows.null_count().row(0)) == 0


# From files into stores


def test_lines_of_files_are_enriched_and_the_console_shows_it(pipeline: Pipeline) -> None:
    log = pipeline.directory / "in.log"
    log.write_text(json.dumps({"ts": 0, "ua": "curl/8.7.1"}) + "\n")
    done = pipeline.run(LOG_PATHS=log, LOG_FORMAT="json", STORE="console", ENRICHERS="user_agent")
    row = json.loads(done.stdout)
    assert (row["browser_family"], row["browser_version"], row["is_bot"]) == (
        "curl",
        "8.7.1",
        False,
    )
