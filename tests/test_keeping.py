"""`KEEP`, `DROP` and `SAMPLE`: which rows are stored, whatever happens; the audit knows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from connectors.encodings import Encoding
from connectors.sources.evidence import Evidence
from connectors.sources.records import taken
from flows.keeping import recorded, settings_of
from flows.settings import ParsingSettings
from flows.steps import parse_and_enrich
from settings import Settings
from tests.conftest import Pipeline
from tests.parsing_checks import piece
from tests.test_audit import logwax, on_the_store, total

LOG: dict[str, object] = {"LOG_FORMAT": "json", "LOG_PATHS": "a.log"}
LEVELS = ("debug", "info", "error")


def lines(numbers: Iterable[int]) -> bytes:
    """Lines of three levels in turn, every tenth one broken."""
    rows = [
        {"ts": 1760000000 + n, "level": LEVELS[n % 3], "path": f"/n/{n}", "status": 200 + n % 3}
        for n in numbers
    ]
    texts = [json.dumps(row).encode() for row in rows]
    return b"".join(b"broken\n" if n % 10 == 9 else one + b"\n" for n, one in enumerate(texts))


def stored(data: bytes, **settings: Any) -> tuple[list[str], dict[str, int]]:
    """Paths of the rows that are left of lines, and how many are not, by the setting."""
    step = parse_and_enrich(Settings(log_format="json", **settings))
    batch = step(taken([piece(data)], Encoding("utf-8"), 1024 * 1024))
    return batch.rows["request_path"].to_list(), dict(batch.dropped)


def of_levels(numbers: Iterable[int], *levels: str) -> list[str]:
    return [f"/n/{n}" for n in numbers if n % 10 != 9 and LEVELS[n % 3] in levels]


def test_keep_and_drop_are_filters_over_rows_as_they_would_be_stored() -> None:
    data = lines(range(30))
    assert stored(data, keep="level = error") == (of_levels(range(30), "error"), {"keep": 18})
    expected = of_levels(range(30), "debug", "info")
    assert stored(data, drop="level = error") == (expected, {"drop": 9})
    assert stored(data, drop='endpoint = "/n/:id" or attr.x = 1') == ([], {"drop": 27})
    assert stored(data, keep="/n/12", drop="debug")[1] == {"keep": 26, "drop": 1}


def test_of_a_column_that_no_row_has_nothing_is_known() -> None:
    assert stored(lines(range(3)), drop="customer_id = x")[1] == {}
    assert stored(lines(range(3)), keep="customer_id = ''")[1] == {}


def test_of_a_sample_the_first_rule_that_takes_a_row_counts() -> None:
    data = lines(range(3000))
    kept, dropped = stored(data, sample="level = debug: 0; status_code < 202: 0.5; : 1")
    assert set(of_levels(range(3000), "error")) <= set(kept)
    assert not set(of_levels(range(3000), "debug")) & set(kept)
    infos = len(set(of_levels(range(3000), "info")) & set(kept))
    assert 400 < infos < 500  # of 900, and always the same
    assert dropped == {"sample": 2700 - len(kept)}


def test_a_sample_is_the_same_however_lines_come() -> None:
    data = lines(range(300))
    step = parse_and_enrich(Settings(log_format="json", sample=": 0.3"))
    size = data.index(b"\n", len(data) // 2) + 1
    parts = [piece(data[:size]), piece(data[size:], start=size)]
    found = [
        path
        for part in parts
        for path in step(taken([part], Encoding("utf-8"), 4096)).rows["request_path"].to_list()
    ]
    assert found == stored(data, sample=": 0.3")[0]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("keep", "levl = error", "did you mean level?"),
        ("drop", "is_bot = true", "there is no column 'is_bot'"),  # user_agent is not on
        ("sample", "level = debug", "'level = debug' needs a share from 0 to 1"),
        ("sample", "level = debug: 2", "needs a share from 0 to 1"),
        ("sample", "level = debug: 0.1; x = 1: 0.2", "there is no column 'x'"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(name: str, text: str, told: str) -> None:
    with pytest.raises(ValueError, match="validation") as caught:
        ParsingSettings(**{name: text})
    assert told in str(caught.value)


def test_a_sample_may_have_semicolons_in_quotes_and_columns_of_enrichers() -> None:
    ParsingSettings(sample='message ~ "a; b: 1": 0.5; is_bot = true: 0', enrichers="user_agent")


def test_a_proof_says_what_is_kept_beside_the_rest_and_old_ones_do_not() -> None:
    for framing in ("", "java", "^\\d+ x"):
        for kept in ("", '{"drop": "a = \\"é\\""}'):
            evidence = Evidence(1, 2, 3, 4, 5, framing=framing, kept=kept, format="json")
            assert Evidence.of(evidence.proof) == evidence
    assert Evidence.of("1 2 3 4 5 ^\\d+ x") == Evidence(1, 2, 3, 4, 5, framing="^\\d+ x")


def audited(pipeline: Pipeline, **settings: object) -> tuple[int, dict[str, int]]:
    done = logwax(pipeline, "audit", **{**LOG, **settings})
    figures = total(done.stdout)
    return done.returncode, {name: count for name, count in figures.items() if count}


def test_the_audit_balances_after_each_change_of_the_settings(pipeline: Pipeline) -> None:
    log = pipeline.directory / "a.log"
    log.write_bytes(lines(range(300)))
    done = pipeline.run(**LOG, DROP="level = debug", STREAM_MAX_SIZE=100)
    assert done.stdout.startswith("lines=300 stored=180 dead=30 seconds="), done.stderr
    assert done.stdout.endswith(" dropped=90\n")
    expected = {"lines": 300, "stored": 180, "dead": 30, "dropped": 90}
    for now in ({}, {"DROP": "level = debug"}, {"DROP": "level = info"}, {"LOG_FORMAT": "logfmt"}):
        assert audited(pipeline, **now) == (0, expected)
    with log.open("ab") as file:
        file.write(lines(range(300, 600)))
    pipeline.run(**LOG, SAMPLE="level = info: 0.1", STREAM_MAX_SIZE=100)
    code, found = audited(pipeline)
    assert code == 0
    assert found["dropped"] - 90 == 600 - 60 - found["stored"] - 90 > 50
    pipeline.run(**LOG)  # nothing is read again
    assert audited(pipeline) == (code, found)


def test_the_audit_balances_where_each_file_is_of_a_format_of_its_own(pipeline: Pipeline) -> None:
    (pipeline.directory / "a.log").write_bytes(lines(range(100)))
    texts = [
        f'time=2025-10-09T08:53:{n % 60:02}Z level={LEVELS[n % 3]} msg="n {n}"' for n in range(90)
    ]
    (pipeline.directory / "b.log").write_text("".join(f"{text}\n" for text in texts))
    auto = {"LOG_FORMAT": "auto", "LOG_PATHS": "*.log"}
    done = pipeline.run(**auto, DROP="level = debug", STREAM_MAX_SIZE=70)
    assert "lines=190 stored=120 dead=10" in done.stdout, done.stdout + done.stderr
    expected = {"lines": 190, "stored": 120, "dead": 10, "dropped": 60}
    for now in ({}, {"DROP": "level = info"}, {"LOG_FORMAT": "json"}):
        assert audited(pipeline, **{**auto, **now}) == (0, expected)


def test_what_is_recorded_are_the_settings_of_then() -> None:
    then = Settings(log_format="json", drop="level = debug")
    now = Settings(log_timezone="Europe/Berlin", pii="email=mask", keep="level = error")
    found = settings_of(now, recorded(then))
    assert (found.keep, found.drop, found.pii, found.log_format) == ("", then.drop, "", "json")
    assert "log_timezone" not in found.model_fields_set  # so that logwax.toml can say it
    told = Settings(log_timezone="Asia/Tokyo", drop="level = debug", pii="email=hash", pii_key="k")
    found = settings_of(now, recorded(told))
    assert "log_timezone" in found.model_fields_set
    assert (found.log_timezone, found.pii) == ("Asia/Tokyo", "email=hash")
    parse_and_enrich(found)  # though nobody knows the key


def test_a_line_that_is_lost_is_missing_though_others_are_dropped(pipeline: Pipeline) -> None:
    (pipeline.directory / "a.log").write_bytes(lines(range(100)))
    pipeline.run(**LOG, SAMPLE=": 0.5")
    before = audited(pipeline)[1]
    on_the_store(
        pipeline,
        "ALTER TABLE logs DELETE WHERE offset = (SELECT min(offset) FROM logs)"
        " SETTINGS mutations_sync = 1",
    )
    code, found = audited(pipeline)
    changed = {"stored": before["stored"] - 1, "missing": 1}
    assert (code, found) == (1, before | changed)


def test_a_batch_of_which_nothing_is_left_is_done(pipeline: Pipeline) -> None:
    (pipeline.directory / "a.log").write_bytes(lines(range(9)))
    assert "stored=0 dead=0" in pipeline.run(**LOG, DROP="/n/").stdout
    assert pipeline.run(**LOG).stdout.startswith("lines=0")
    assert audited(pipeline) == (0, {"lines": 9, "dropped": 9})


_DYING = """
import runpy, sys
from connectors.sinks.writers import TokenWriter
from tests.dying import dying
TokenWriter._insert_all = dying(int(sys.argv[1]))(TokenWriter._insert_all)
sys.argv = ["bytewax.run", "flows.main"]
runpy.run_module("bytewax.run", run_name="__main__")
"""


@pytest.mark.parametrize("die_at", [1, 2, 3])
def test_of_a_block_in_doubt_the_same_is_kept_after_the_settings_were_changed(
    pipeline: Pipeline, open_client: Callable[[], Client], die_at: int
) -> None:
    data = lines(range(200))
    (pipeline.directory / "a.log").write_bytes(data)
    before = {**LOG, "SAMPLE": "level in (debug, info): 0.3", "STREAM_MAX_SIZE": 100}
    killed = subprocess.run(
        [sys.executable, "-c", _DYING, str(die_at)],
        cwd=pipeline.directory,
        env=pipeline.environment(**before, FOLLOW="false"),
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = pipeline.run(**LOG, DROP="level = error", STREAM_MAX_SIZE=100)
    assert done.returncode == 0, done.stderr
    code, found = audited(pipeline)
    assert (code, found["lines"], found["dead"]) == (0, 200, 20)
    rows = open_client().query("SELECT request_path, file_id FROM logs ORDER BY offset").result_rows
    paths, file_ids = zip(*rows, strict=True)
    step = parse_and_enrich(Settings(log_format="json", sample=str(before["SAMPLE"])))
    batch = step(taken([piece(data, file_ids[0])], Encoding("utf-8"), 4096))
    kept = batch.rows["request_path"].to_list()
    # Lines of which the killed process had recorded blocks: it writes two at a time.
    assert list(paths) in [
        [
            *(path for path in kept if int(path[3:]) < begun),
            *of_levels(range(begun, 200), "debug", "info"),
        ]
        for begun in (100, 200)[die_at == 3 :]
    ]


def test_figures_tell_what_is_dropped(pipeline: Pipeline) -> None:
    (pipeline.directory / "a.log").write_bytes(lines(range(30)))
    pipeline.start(
        **LOG, STORE="sqlite", INSTANCE="web-1", DROP="level = debug", KEEP="status_code>0"
    )
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(21)
    assert pipeline.get("/health").json()["dropped"] == {"drop": 9}
    assert 'logwax_dropped_lines_total{reason="drop"} 9.0' in pipeline.get("/metrics").text


def test_redrive_stores_what_fits_whatever_drop_says(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(lines(range(9)))
    pipeline.run(LOG_PATHS="a.log", LOG_FORMAT="combined")
    done = logwax(pipeline, "redrive", **LOG, DROP="/n/")
    assert "tried=9 stored=9 dead=0" in done.stdout
    assert audited(pipeline, DROP="/n/") == (0, {"lines": 9, "stored": 9})
