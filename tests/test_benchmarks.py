"""`python -m benchmarks`, with runs so short that their figures mean nothing."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import memory, peers, throughput
from benchmarks.__main__ import main
from benchmarks.job import STORES, Log, cost_of_a_line, make_log, run_job
from benchmarks.limits import IMPORTS
from benchmarks.measure import BenchmarkError, Effort, Figure, Process, Wanted
from benchmarks.report import Report
from log_generator.formats import FORMATS

LINES = 1_000


@dataclass(frozen=True)
class Run:
    printed: str
    figures: list[dict[str, Any]]
    chart: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All that has a bound, once."""
    directory = tmp_path_factory.mktemp("benchmarks")
    written, chart = directory / "figures.json", directory / "chart.svg"
    options = ["--lines", LINES, "--rounds", 1, "--json", written, "--chart", chart]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as printed:
        patch.delenv(
            "LANG", raising=False
        )  # so that its processes start fast: see tests/forking.py
        patch.setattr(sys, "argv", ["benchmarks", *map(str, options)])
        main()
    return Run(printed.getvalue(), json.loads(written.read_text())["figures"], chart)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where logs are made once."""
    return tmp_path_factory.mktemp("scratch")


def test_without_a_name_every_benchmark_measures_what_has_a_bound(run: Run) -> None:
    measured = {figure["benchmark"] for figure in run.figures}
    assert measured == {"throughput", "peers", "latency", "scaling", "memory", "enrichment"}
    bounds = {
        (figure["name"], figure["beside"]): figure["wanted"]
        for figure in run.figures
        if figure["benchmark"] in ("throughput", "latency") and figure["wanted"]
    }
    bounds.pop(("logfmt -> line protocol", throughput.READING), None)
    assert bounds == {
        ("json -> line protocol", throughput.READING): ["<= 1.9"],
        ("combined -> line protocol", throughput.READING): ["<= 2.2"],
        ("json -> embedded", throughput.READING): ["<= 2.6"],
        ("combined -> embedded", throughput.IMPORT): ["<= 0.5"],
        ("20,000 lines/s, p99", "a batch's wait"): ["<= 1.3 s"],
    }


def test_all_figures_stand_in_one_table(run: Run) -> None:
    lines = [" ".join(line.split()) for line in run.printed.splitlines()]
    for figure in run.figures:
        name, beside = f"| {figure['benchmark']}: {figure['name']} ", f"| {figure['beside']} "
        assert len([line for line in lines if line.startswith(name) and beside in line]) == 1
    missed = sum(len(figure["missed"]) for figure in run.figures)
    assert run.printed.count("(missed)") == missed


def test_a_bound_that_is_missed_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    figure = Figure("latency", "p99", "s", [1.5], "a wait", [1.0], [Wanted(1.3, "s"), Wanted(2)])
    Report([figure], Effort(1, 1), "").show()
    assert "| <= 1.3 s (missed), <= 2 |" in capsys.readouterr().out


def test_the_cost_of_a_line_is_without_the_start_which_stands_beside_it(
    run: Run, scratch: Path
) -> None:
    def seconds(log: Log, scratch: Path) -> float:
        return 0.5 + 0.001 * log.lines

    cost = cost_of_a_line(seconds, Log("json", LINES, ""), scratch)
    assert (cost.line, cost.start) == (pytest.approx(0.001), pytest.approx(0.501))
    assert math.isnan(cost_of_a_line(lambda log, scratch: 0.5, Log("json", 9, ""), scratch).line)
    for figure in run.figures:
        if figure["unit"] in (throughput.UNIT, "lines/s") and figure["ours"]:
            (start,) = figure["start"]
            assert start > 0
            assert f"{start:.2f} s |" in run.printed


def test_every_figure_is_a_ratio_to_one_of_the_same_run(run: Run) -> None:
    for figure in run.figures:
        if not figure["beside"].endswith("not installed"):
            (our,), (their,) = figure["ours"], figure["theirs"]
            assert figure["ratio"] == pytest.approx(our / their, nan_ok=True)  # so few lines


def test_the_chart_is_an_image_with_text(run: Run) -> None:
    root = ElementTree.parse(run.chart).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "json -> line protocol" in texts
    assert any(text.endswith(" Logwax") for text in texts)
    assert any(text.endswith(f" {throughput.READING}") for text in texts)


def test_a_benchmark_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "unknown: speed; known are throughput, " in capsys.readouterr().err


def test_all_lines_come_through_into_every_store(run: Run, scratch: Path) -> None:
    # Into the other stores they came in `run`, else it had failed.
    usage = run_job("ClickHouse over HTTP", make_log(scratch, "json", LINES), scratch)
    assert usage.cpu > 0
    assert usage.peak >= max(usage.resident) > 0
    measured = {figure["name"].rpartition(" -> ")[2].partition(",")[0] for figure in run.figures}
    assert measured >= STORES.keys() - {"ClickHouse over HTTP"}


def test_in_full_every_format_goes_into_every_store() -> None:
    cases = throughput.cases(brief=False)
    assert {f"{form} {store}" for form, store, _ in cases} == {
        f"{form} {store}" for form in FORMATS for store in STORES
    }


@pytest.mark.parametrize("form", IMPORTS)
def test_the_import_of_clickhouse_takes_every_line(form: str, scratch: Path) -> None:
    assert throughput.importing(make_log(scratch, form, LINES), scratch).line > 0


def test_a_peer_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (figure,) = peers.measure(Effort(LINES, 1, brief=True), tmp_path)
    assert (figure.beside, figure.ratio, figure.missed) == ("syslog-ng: not installed", None, [])


def test_lines_are_repeated_byte_for_byte(tmp_path: Path) -> None:
    log = make_log(tmp_path, "combined", 10, repeated=3)
    lines = Path(log.paths).read_bytes().splitlines()
    assert log.lines == len(lines) == 30
    assert lines[:10] == lines[10:20] == lines[20:]


def test_a_ratio_is_the_median_of_those_of_neighbours() -> None:
    wanted = [Wanted(2), Wanted(8, "s"), Wanted(2, at_least=True), Wanted(10, "s", at_least=True)]
    figure = Figure("", "", "s", [2.0, 9.0, 40.0], "", [1.0, 9.0, 10.0], wanted)
    assert figure.ratio == 2.0
    assert [str(bound) for bound in figure.missed] == ["<= 8 s", ">= 10 s"]


def test_a_process_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with (
        Process(sys.executable, "-c", "exit('no more paper')", directory=tmp_path) as process,
        pytest.raises(BenchmarkError, match="no more paper"),
    ):
        process.wait_for(lambda: False, "what does not come")


def test_the_peak_is_that_of_the_process_and_not_of_the_one_that_started_it(
    tmp_path: Path,
) -> None:
    held = b"x" * 200_000_000
    with Process(sys.executable, "-c", "import time; time.sleep(9)", directory=tmp_path) as process:
        process.wait_for(lambda: len(process.resident) > 1, "two looks at its memory")
        assert 0 < process.peak < len(held)


def test_there_is_no_ratio_to_nothing() -> None:
    assert Figure("", "", "lines", [0.0, 3.0], "", [0.0, 2.0]).ratios == [1.5]


def test_resident_memory_is_of_a_file_or_written_to() -> None:
    smaps = """\
7f0000000000-7f0000100000 r-xp 00000000 fe:00 17 /site-packages/chdb/_chdb.abi3.so
Rss:                 100 kB
Anonymous:            10 kB
7f0000200000-7f0000300000 rw-p 00000000 00:00 0
Rss:                  30 kB
Anonymous:            30 kB
7f0000400000-7f0000500000 r--p 00000000 fe:00 18 /usr/lib/libc.so.6
Rss:                   5 kB
Anonymous:             1 kB
"""
    parts = [size // 1024 for size in memory._parts(smaps).values()]
    assert parts == [90, 4, 41]  # the engine's file, other files, written to
