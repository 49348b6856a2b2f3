"""Files whose lines are mostly refused, which a wrong `LOG_FORMAT` looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.batch import Fit
from connectors.refusals import MOST_FILES, MOST_TOLD, RECENT, Refusals
from tests.conftest import Pipeline, wait_for

COMBINED = '::1 - bob [01/Nov/2026:12:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8.0"\n'
JSON = '{"ts":"2026-11-01T12:00:00Z","path":"/a"}\n'
ADVICE = "'x' is no line of LOG_FORMAT=json (bad_json), but one of LOG_FORMAT=combined."


def advise() -> str:
    return ADVICE


class Told:
    """What is said of one file."""

    def __init__(self, file: Path) -> None:
        file.touch()
        self.file = file
        self.sentences: list[str] = []
        self.refusals = Refusals(self.sentences.append)

    def add(self, lines: int, refused: int) -> list[str]:
        """A batch; returns the problems there are then."""
        fit = Fit(str(self.file), lines, refused)
        self.refusals.add([Fit(fit.path, lines, refused, advise if fit.is_poor else None)])
        return self.refusals.problems


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "a.log")


def test_the_sentence_says_of_which_file_and_what_to_try(told: Told) -> None:
    sentence = f"More than half of the lines of '{told.file}' are refused: {ADVICE}"
    assert told.add(4, 3) == [sentence]
    assert told.sentences == [sentence]


@pytest.mark.parametrize(("lines", "refused"), [(1, 1), (2, 2), (4, 2), (1000, 500), (0, 0)])
def test_few_lines_and_half_of_them_are_not_enough(told: Told, lines: int, refused: int) -> None:
    assert told.add(lines, refused) == []
    assert told.sentences == []


def test_lines_count_together_over_batches(told: Told) -> None:
    assert told.add(1, 1) == []
    assert told.add(1, 1) == []
    assert len(told.add(1, 1)) == 1


def test_it_is_taken_back_and_said_once_on_stderr(told: Told) -> None:
    assert told.add(10, 10)
    assert told.add(20, 0) == []
    assert told.add(1000, 1000)
    assert len(told.sentences) == 1


def test_a_change_of_format_shows_however_many_lines_were_good_before(told: Told) -> None:
    told.add(1_000_000, 1)
    told.add(1_000_000, 0)
    assert told.add(RECENT, RECENT) == []
    assert told.add(2, 2)


def test_a_format_that_was_put_right_shows_however_many_lines_were_bad_before(told: Told) -> None:
    assert told.add(1_000_000, 1_000_000)
    assert told.add(RECENT, 0) == []


def test_a_file_that_is_gone_is_no_problem_any_more(told: Told) -> None:
    assert told.add(4, 4)
    told.file.unlink()
    assert told.refusals.problems == []


def test_a_name_that_could_confuse_a_terminal_is_shown_escaped(tmp_path: Path) -> None:
    told = Told(tmp_path / "a\x1b[31m.log")
    told.add(4, 4)
    assert told.sentences[0].isprintable()


def test_many_files_are_told_of_by_their_number(tmp_path: Path) -> None:
    said: list[str] = []
    refusals = Refusals(said.append)
    paths = [tmp_path / f"{number}.log" for number in range(MOST_TOLD + 3)]
    for path in paths:
        path.touch()
    refusals.add([Fit(str(path), 4, 4, advise) for path in paths])
    assert len(said) == MOST_TOLD + 1
    assert said[-1] == "There are more such files."
    assert len(refusals.problems) == MOST_TOLD + 1
    assert refusals.problems[-1] == "So are those of 3 more files."


def test_of_many_files_the_newest_are_remembered(tmp_path: Path) -> None:
    refusals = Refusals(lambda _: None)
    paths = [tmp_path / f"{number}.log" for number in range(MOST_FILES + 1)]
    for path in (paths[0], paths[-1]):
        path.touch()
    refusals.add([Fit(str(path), 4, 4, advise) for path in paths])
    (problem,) = refusals.problems
    assert str(paths[-1]) in problem


# The pipeline


def test_a_wrong_format_is_said_at_once_and_once(pipeline: Pipeline) -> None:
    (pipeline.directory / "a.log").write_text(COMBINED * 1000)
    (pipeline.directory / "b.log").write_text(JSON * 1000)
    done = pipeline.run(LOG_PATHS="*.log", LOG_FORMAT="json", STREAM_MAX_SIZE=100, STORE="null")
    assert "stored=1000 dead=1000" in done.stdout
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("More than half of the lines of ")
    assert "a.log' are refused: '::1 - bob [01/Nov/2026" in sentence
    assert sentence.endswith("(bad_json), but one of LOG_FORMAT=combined.")


def test_a_wrong_format_is_a_problem_until_it_is_right(pipeline: Pipeline) -> None:
    def is_told() -> bool:
        problems: list[str] = pipeline.get("/health").json()["problems"]
        return any("but one of LOG_FORMAT=combined" in problem for problem in problems)

    log = pipeline.directory / "a.log"
    log.write_text(COMBINED * 5)
    pipeline.start(LOG_PATHS="*.log", LOG_FORMAT="json")
    pipeline.wait_until_healthy()
    wait_for(is_told, "a problem")
    with log.open("a") as file:
        file.write(JSON.replace('"path"', '"status":"OK","path"') * 6)
    wait_for(lambda: not is_told(), "no problem")
    pipeline.wait_until_stored(11)
    wait_for(lambda: pipeline.get("/health").json()["misfits"] == {"status_code": 6}, "misfits")
    assert pipeline.stop() == 0
