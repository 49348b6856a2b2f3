"""`logwax test`: lines in files, and the rows that are expected of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.cases import run

GOOD = '{"ts":1760000000,"level":"info","msg":"hello","path":"/a/7","user":"u1"}\n'


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setenv("DROP", "level = debug")
    log = tmp_path / "cases" / "a.log"
    log.parent.mkdir()
    log.write_text(GOOD + "broken \x1b[2J\n" + GOOD.replace("info", "debug"))
    return log


def test_what_came_is_written_and_expected_from_then_on(
    case: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("cases", update=False) == 1
    assert "nothing is expected of it yet" in capsys.readouterr().out
    assert run("cases", update=True) == 0
    row, letter, last = json.loads(Path(f"{case}.rows.json").read_text())
    assert row == {
        "timestamp": "2025-10-09T08:53:20.000000Z",
        "request_path": "/a/7",
        "level": "info",
        "message": "hello",
        "endpoint": "/a/:id",
        "pattern": "hello",
        "pattern_id": row["pattern_id"],
        "attributes": {"user": "u1"},
    }
    assert (letter["dead_letter"], letter["raw"]) == ("bad_json", "broken \x1b[2J")
    assert last == {"dropped": {"drop": 1}}
    capsys.readouterr()
    assert run("cases", update=False) == 0
    assert capsys.readouterr().out == "1 of 1 files give what is expected.\n"


def test_a_difference_is_told_field_by_field(
    case: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("cases", update=True)
    before = Path(f"{case}.rows.json").read_text()
    monkeypatch.setenv("PII", "attributes.user=mask")
    capsys.readouterr()
    assert run("cases", update=False) == 1
    told = capsys.readouterr().out
    assert '\n-   "user": "u1"\n+   "user": "<user>"\n' in told
    assert "\x1b" not in told
    assert told.endswith("0 of 1 files give what is expected.\n")
    assert Path(f"{case}.rows.json").read_text() == before


def test_each_file_is_of_its_own_format_where_that_is_found_out(
    case: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "auto")
    case.write_text(GOOD)
    table = case.with_name("b.log")
    table.write_text("time,level,message\n2025-10-09T08:53:20Z,warn,hello\n")
    assert run("cases", update=True) == 0
    (row,) = json.loads(Path(f"{case}.rows.json").read_text())
    (other,) = json.loads(Path(f"{table}.rows.json").read_text())
    assert (row["request_path"], row["level"]) == ("/a/7", "info")
    assert (other["message"], other["level"]) == ("hello", "warn")


def test_a_directory_without_files_proves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(str(tmp_path), update=False) == 1
    assert "There is no file with lines in" in capfd.readouterr().err
    assert run(str(tmp_path / "none"), update=False) == 1
    assert "No such file" in capfd.readouterr().err
