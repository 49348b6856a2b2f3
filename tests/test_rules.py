"""`logwax.toml`: files of several kinds, each with its format, zone and labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.errors import SettingsError
from connectors.sources.rules import RULES_FILE, FileRule, Rules
from flows.settings import load
from tests.conftest import Pipeline
from tests.test_audit import logwax
from tests.test_choosing import a_combined, a_json, lines

LOCAL = "2026-11-22 20:15:05 c1 /a 200 0.1\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> None:
    Path(RULES_FILE).write_text(text, encoding="utf-8")


def test_files_are_read_as_their_rule_says_and_labelled(pipeline: Pipeline) -> None:
    logs = pipeline.directory / "logs"
    logs.mkdir()
    for name in ("berlin.log", "utc.log"):
        (logs / name).write_text(LOCAL)
    (logs / "web.log").write_bytes(lines(a_combined, 0, 3))
    (logs / "app.log").write_bytes(lines(lambda n: a_json(n)[:-1] + ', "service": "own"}', 0, 2))
    (pipeline.directory / RULES_FILE).write_text(
        """
        [[files]]
        paths = ["logs/berlin.log", "logs/none*.log"]
        format = "api_requests"
        time_zone = "Europe/Berlin"
        labels = { service = "shop", host = "web-1" }
        [[files]]
        paths = ["logs/*.log"]
        labels = { service = "other", team = "é" }
        """
    )
    told = {"LOG_FILE_PATH": "", "STORE": "console", "INSTANCE": "a"}
    done = pipeline.run(**told)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = {
        Path(row["source"]).name: (row["timestamp"][11:16], row["host"], row["attributes"])
        for row in rows
    }
    shop, other = '{"service":"shop"}', '{"service":"other","team":"é"}'
    assert len(rows) == 7
    assert found["berlin.log"] == ("19:15", "web-1", shop)
    assert found["utc.log"] == ("20:15", "", other)
    assert json.loads(found["web.log"][2]) == {
        "protocol": "HTTP/1.1",
        "service": "other",
        "team": "é",
    }
    assert json.loads(found["app.log"][2]) == {"service": "own", "team": "é"}

    zoned = pipeline.run(**told, LOG_PATHS="logs/berlin.log", LOG_TIMEZONE="UTC", LOG_FORMAT="json")
    (letter,) = [json.loads(line) for line in zoned.stdout.splitlines()]
    assert letter["reason"] == "bad_json"  # what the environment says wins


def test_what_is_inferred_can_be_run(pipeline: Pipeline) -> None:
    logs = pipeline.directory / "logs"
    logs.mkdir()
    (logs / "a [1].log").write_bytes(lines(a_json, 0, 20))
    (logs / "a [1].log.1").write_bytes(lines(a_json, 20, 30))
    (logs / "web.log").write_bytes(lines(a_combined, 0, 20))
    told = {"LOG_FILE_PATH": "", "STORE": "sqlite", "INSTANCE": "a"}
    done = logwax(pipeline, "infer", "logs", **told)
    assert (done.returncode, done.stderr) == (0, "")
    assert logwax(pipeline, "infer", "logs", **told).returncode == 1  # it is there already
    text = (pipeline.directory / RULES_FILE).read_text()
    assert text.count("[[files]]\n") == 2
    assert "# json fits " in text
    assert "stored=50 dead=0" in pipeline.run(**told).stdout
    assert "total of 3 files: lines=50 stored=50" in logwax(pipeline, "audit", **told).stdout


def test_everything_that_is_wrong_is_said_at_once(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_TIMEZONE", "Mars")
    write(
        """
        colour = 1
        [[files]]
        paths = []
        [[files]]
        paths = ["a"]
        format = "morse"
        multiline = "cobol"
        time_zone = "Venus"
        [[files]]
        paths = ["a"]
        zone = "UTC"
        """
    )
    with pytest.raises(SettingsError) as error:
        load()
    said = str(error.value)
    for sentence in ("LOG_TIMEZONE='Mars'", "colour", "1: paths", "zone: ", "'morse'", "'cobol'"):
        assert sentence in said, said
    assert "'Venus'" in said


@pytest.mark.parametrize("text", ["[[files]", "", "files = 1\n"])
def test_what_is_no_list_of_files_is_an_error(here: Path, text: str) -> None:
    write(text)
    with pytest.raises(SettingsError, match=RULES_FILE):
        load()


def test_paths_and_formats_are_those_of_the_file_unless_something_else_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('[[files]]\npaths = ["/a/*.log", "/b,c.log"]\n[[files]]\npaths = ["/d/**"]\n')
    assert load().patterns == ("/a/*.log", "/b[,]c.log", "/d/**")
    assert load().log_format == "auto"
    monkeypatch.setenv("LOG_PATHS", "/e")
    monkeypatch.setenv("LOG_FORMAT", "json")
    assert (load().patterns, load().log_format) == (("/e",), "json")


def test_the_first_rule_that_covers_a_file_counts() -> None:
    rules = Rules([FileRule(paths=("/a/b*",), format="json"), FileRule(paths=("/a/**",))])
    found = [rules.of(path) for path in ("/a/bc", "/a/c/d", "/x")]
    assert [rule and rule.format for rule in found] == ["json", "", None]
