"""`LOG_FORMAT=auto`: each file is read by the format that fits it, also when that changes."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from connectors.batch import BlockId, Parsed
from connectors.encodings import UTF_8
from connectors.sources.evidence import Evidence
from connectors.sources.framing import Framing, frame
from connectors.sources.tailed_file import Limits
from flows.choosing import Choices
from flows.parsing import FORMATS
from flows.parsing.cells import HeadedFormat
from flows.parsing.choice import describe
from flows.parsing.parser import parser
from flows.parsing.ranking import choose, takes
from flows.steps import watched
from settings import Settings
from tests.conftest import Pipeline, wait_for
from tests.tailing import Memory, Tail, append
from tests.test_audit import logwax

Make = Callable[[int], str]


def a_json(number: int) -> str:
    return json.dumps({"ts": 1795000000 + number, "msg": f"order {number}", "status": 200})


def a_logfmt(number: int) -> str:
    return f'time=2026-11-22T20:15:{number % 60:02}Z level=info msg="order {number}"'


def a_combined(number: int) -> str:
    when = f"22/Nov/2026:20:15:{number % 60:02} +0000"
    return f'203.0.113.7 - - [{when}] "GET /orders/{number} HTTP/1.1" 200 512 "-" "curl/8.7.1"'


def a_docker(number: int) -> str:
    when = f"2026-11-22T20:15:{number % 60:02}Z"
    return json.dumps({"log": f"order {number}\n", "stream": "stdout", "time": when})


def a_cri(number: int) -> str:
    return f"2026-11-22T20:15:{number % 60:02}Z stdout F {a_logfmt(number)}"


KINDS: dict[str, Make] = {
    "json": a_json,
    "logfmt": a_logfmt,
    "combined": a_combined,
    "docker": a_docker,
    "cri:logfmt": a_cri,
}


class Auto:
    """A tail whose formats are found out, and the parse step behind it."""

    def __init__(self, pattern: object, memory: Memory | None = None, **settings: object) -> None:
        self.said: list[str] = []
        self.choices = Choices(
            Settings(log_format="auto", **settings), self.said.append, self.said.append
        )
        limits = Limits(1000, 1024 * 1024, 0.0, chooser=self.choices)
        self.tail = Tail(str(pattern), memory, limits=limits)
        self.memory = self.tail.memory
        self.parse = watched(parser("auto", "UTC"), self.choices)

    def read(self) -> list[Parsed]:
        """All that can be read now."""
        self.tail.poll_soon()
        found = []
        while batch := self.tail.batch():
            found.append(self.parse(batch))
            self.tail.poll_soon()
        return found

    def close(self) -> None:
        self.tail.source.close()


@pytest.fixture
def auto(tmp_path: Path) -> Iterator[Auto]:
    made = Auto(tmp_path / "*.log*")
    yield made
    made.close()


def lines(make: Make, first: int, last: int) -> bytes:
    return "".join(f"{make(number)}\n" for number in range(first, last)).encode()


def formats(memory: Memory) -> dict[str, str]:
    return {Path(span.stream.name).name: span.format for span in memory.files.values()}


@pytest.mark.parametrize("name", FORMATS)
def test_the_samples_of_a_format_are_read_alike_by_the_one_that_is_chosen(name: str) -> None:
    form = describe(name)
    samples, header = form.samples, form.usual if isinstance(form, HeadedFormat) else ""
    found = choose([*([header] if header else []), *samples * 20])
    assert found
    for sample in samples:
        row = takes(found.best.name, sample, "UTC", found.best.header)
        expected = takes(name, sample, "UTC", header)
        assert row and expected
        for column in ("timestamp", "level", "message", "request_path"):
            assert row.get(column) == expected.get(column), found


@pytest.mark.parametrize("name", KINDS)
def test_a_few_lines_show_their_format(name: str) -> None:
    found = choose([KINDS[name](number) for number in range(3)])
    assert found
    assert (found.best.name, found.best.share) == (name, 1.0)


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ('{"level":"info","msg":"order 4711 stored"}', "json"),
        ('level=info msg="order 4711 stored"', "logfmt"),
        ("CEF:0|Security|threatmanager|1.0|100|worm stopped|10|src=203.0.113.7", "cef"),
        ("listening on port 8080, level=info", ""),
        ("error: no answer", ""),
    ],
)
def test_what_is_within_a_line_of_another_format_needs_no_time(text: str, inner: str) -> None:
    for outer, head in (
        ("raw", ""),  # any line: its time is that at which it was seen
        ("cri", "2026-11-22T20:15:05Z stdout F "),
        ("syslog5424", "<38>1 2026-11-22T20:15:05Z web-1 app - - - "),
    ):
        found = choose([head + text] * 9)
        assert found and found.best.name == (f"{outer}:{inner}" if inner else outer)


def test_each_file_of_one_glob_is_read_by_its_own_format(auto: Auto, tmp_path: Path) -> None:
    for name, make in KINDS.items():
        append(tmp_path / f"{name.replace(':', '_')}.log", lines(make, 0, 100))
    found = auto.read()
    assert sum(len(some.rows) for some in found) == 500
    assert not any(len(some.rejected) for some in found)
    assert sorted(formats(auto.memory).values()) == sorted(KINDS)
    assert len(auto.said) == 5
    assert any("combined fits 100 of 100 lines" in said for said in auto.said)


def test_an_empty_file_is_chosen_for_when_it_has_lines(auto: Auto, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.touch()
    assert not auto.read()
    append(log, a_json(1).encode())
    assert not auto.read()
    append(log, b"\n")
    assert [len(some.rows) for some in auto.read()] == [1]
    assert formats(auto.memory) == {"a.log": "json"}


def test_the_choice_outlives_the_process_and_is_kept_by_the_ledger(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, lines(a_logfmt, 0, 10))
    first = Auto(log)
    first.read()
    first.close()
    append(log, lines(a_json, 10, 13))  # too few to be a change
    second = Auto(log, first.memory)
    rejected = [len(some.rejected) for some in second.read()]
    second.close()
    assert rejected == [3]
    assert formats(second.memory) == {"a.log": "logfmt"}
    assert not second.said


def test_a_block_in_doubt_is_read_again_as_it_was_chosen(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, lines(a_logfmt, 0, 2))
    first = Auto(log)
    batch = first.tail.partition.next_batch()[0]  # the process dies before it is stored
    expected = first.parse(batch)
    first.close()
    first.memory.files = {span.stream.id: span for span in batch.spans}
    first.memory.in_doubt[BlockId(1, 1)] = batch.spans
    first.memory.started = True
    append(log, lines(a_json, 2, 200))  # by which another format would be chosen
    second = Auto(log, first.memory)
    (again,) = second.tail.partition.next_batch()
    assert again.in_doubt == BlockId(1, 1)
    assert [span.format for span in again.spans] == ["logfmt"]
    assert again.spans[0].seen == batch.spans[0].seen > 0
    assert second.parse(again).rows.equals(expected.rows)
    second.close()


def test_a_file_that_takes_the_name_of_another_keeps_its_format_if_that_fits(
    auto: Auto, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    append(log, lines(a_combined, 0, 50))
    auto.read()
    log.rename(tmp_path / "a.log.1")
    append(log, lines(a_combined, 50, 51))
    auto.read()
    log.rename(tmp_path / "a.log.2")
    append(log, lines(a_json, 0, 50))
    auto.read()
    assert sorted(span.format for span in auto.memory.files.values()) == [
        "combined",
        "combined",
        "json",
    ]


@pytest.mark.parametrize("step", [1, 7, 400])
def test_a_format_that_changes_is_named_with_the_first_byte_of_the_new_one(
    tmp_path: Path, step: int
) -> None:
    rng = random.Random(step)
    kinds = permutations(KINDS, 2)  # but those where no line is refused
    pairs = [(one, other) for one, other in kinds if not takes(one, KINDS[other](0), "UTC")]
    for turn, (before, after) in enumerate(rng.sample(pairs, 2 if step == 1 else 6)):
        log = tmp_path / f"{turn}.log"
        size = rng.randrange(20, 200)
        append(log, lines(KINDS[before], 0, size))
        made = Auto(log)
        made.read()
        begin = log.stat().st_size
        stored = 0
        for first in range(size, size + max(20, 3 * step), step):
            append(log, lines(KINDS[after], first, first + step))
            stored += sum(len(some.rows) for some in made.read())
        made.close()
        assert len(made.said) == 2, (before, after, made.said)
        assert f", byte {begin:,}, " in made.said[1], (before, after, made.said)
        assert after.partition(":")[0] in made.said[1]
        assert list(formats(made.memory).values()) == [after]
        assert stored >= max(20, 3 * step) - max(5, step) - step


@pytest.mark.parametrize("pii", ["", "email=mask"])
def test_the_line_with_which_a_format_changes_is_shown_unless_pii_is_set(
    tmp_path: Path, pii: str
) -> None:
    log = tmp_path / "a.log"
    append(log, lines(a_json, 0, 50))
    made = Auto(log, pii=pii)
    made.read()
    append(log, lines(a_combined, 50, 90))
    made.read()
    made.close()
    assert "combined fits" in made.said[1]
    assert ("203.0.113.7" in made.said[1]) == (not pii)
    assert ("No line is shown, for PII is set" in made.said[1]) == bool(pii)


def write(made: Auto, log: Path, make: Make, first: int, last: int, step: int = 10) -> int:
    """Write lines and read them, a few at a time; returns how many became rows."""
    rows = 0
    for begin in range(first, last, step):
        append(log, lines(make, begin, min(last, begin + step)))
        rows += sum(len(some.rows) for some in made.read())
    return rows


def a_word(number: int) -> str:
    return f"[22|Nov|2026 20.15.{number % 60:02}] <{number}> 0x{number:04x} to be continued"


def test_lines_of_no_format_become_rows_beside_those_of_before(auto: Auto, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    write(auto, log, a_json, 0, 100)
    begin = log.stat().st_size
    assert write(auto, log, a_word, 100, 400) == 140  # without a time, only many are a change
    assert formats(auto.memory) == {"a.log": "json|raw"}
    assert f"byte {begin:,}: 100 % rejected since; no other format fits" in auto.said[1]
    assert write(auto, log, a_json, 400, 500) == 100
    assert len(auto.said) == 2


def test_a_format_that_any_line_is_of_is_given_up_for_one_that_fits(
    auto: Auto, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    write(auto, log, a_word, 0, 100)
    begin = log.stat().st_size
    assert formats(auto.memory) == {"a.log": "raw"}
    write(auto, log, a_combined, 100, 150)
    assert formats(auto.memory) == {"a.log": "combined"}
    assert f", byte {begin:,}, 20:15:40: 100 % of another format since" in auto.said[1]


def test_formats_that_come_back_take_turns_from_then_on(auto: Auto, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    for turn in range(8):
        write(auto, log, (a_json, a_combined)[turn % 2], 100 * turn, 100 * turn + 100)
    assert formats(auto.memory) == {"a.log": "json|combined"}
    assert len(auto.said) == 3  # the choice, and two changes
    assert write(auto, log, a_combined, 800, 900) == 100


def test_a_second_program_that_writes_into_a_file_is_read_beside_the_first(
    auto: Auto, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    write(auto, log, a_json, 0, 400)
    begin = log.stat().st_size

    def both(number: int) -> str:
        return (a_logfmt if number % 4 == 0 else a_json)(number)

    write(auto, log, both, 400, 600)
    assert formats(auto.memory) == {"a.log": "json|logfmt"}
    assert f", byte {begin:,}, 20:15:40: " in auto.said[1]
    assert write(auto, log, both, 600, 800) == 200


def test_other_keys_of_json_are_no_change(auto: Auto, tmp_path: Path) -> None:
    log = tmp_path / "a.log"

    def another(number: int) -> str:
        return json.dumps({"@timestamp": 1795000000 + number, "level": "warn", "message": "x"})

    assert write(auto, log, a_json, 0, 100) == 100
    assert write(auto, log, another, 100, 300) == 200
    assert len(auto.said) == 1


def test_damaged_lines_are_no_change_and_hide_none(auto: Auto, tmp_path: Path) -> None:
    log = tmp_path / "a.log"

    def damaged(number: int) -> str:
        return a_json(number)[: 30 if number % 100 == 7 else None]

    write(auto, log, damaged, 0, 40_000, 1000)
    assert len(auto.said) == 1
    begin = log.stat().st_size
    write(auto, log, a_combined, 40_000, 40_050)
    assert f", byte {begin:,}, 20:15:40: " in auto.said[1]
    assert formats(auto.memory) == {"a.log": "combined"}


def test_what_another_process_has_read_of_a_change_counts(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    first = Auto(log)
    write(first, log, a_json, 0, 100)
    begin = log.stat().st_size
    write(first, log, a_combined, 100, 104)
    first.close()
    second = Auto(log, first.memory)
    write(second, log, a_combined, 104, 130)
    second.close()
    (said,) = second.said
    assert f", byte {begin:,}, 20:15:40: " in said


def test_a_file_that_takes_the_name_of_any_lines_is_looked_at_anew(
    auto: Auto, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    write(auto, log, a_word, 0, 100)
    log.rename(tmp_path / "a.log.1")
    assert write(auto, log, a_combined, 100, 150, 50) == 50
    assert sorted(span.format for span in auto.memory.files.values()) == ["combined", "raw"]
    assert not any("byte" in said for said in auto.said)


@pytest.mark.parametrize("burst", [30, 3000])
def test_lines_of_another_format_do_not_go_on_with_the_event_before(
    auto: Auto, tmp_path: Path, burst: int
) -> None:
    log = tmp_path / "a.log"

    def event(number: int) -> str:
        return f"22.11.2026 20:15:{number % 60:02} order {number}\nis stored\nat last"

    assert write(auto, log, event, 0, 100) == 99  # the last one may go on
    begin = log.stat().st_size
    append(log, lines(a_combined, 100, 100 + burst))
    rows: list[Parsed] = []
    wait_for(lambda: rows.extend(auto.read()) or len(auto.said) == 2, "the change")
    rows += auto.read()
    assert sum(len(some.rows) for some in rows) == 3 + burst
    assert f", byte {begin:,}, 20:15:40: lines go on with one before; combined" in auto.said[1]


def test_odd_lines_and_traces_are_no_change(auto: Auto, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    rng = random.Random(1)
    trace = b"Traceback (most recent call last):\n  File a\nValueError: x\n"
    append(log, lines(a_json, 0, 100))
    auto.read()
    for first in range(100, 20_000, 500):
        append(log, lines(a_json, first, first + 500))
        odd = [b"odd\n", trace, a_logfmt(first).encode() + b"\n", b"\n"]
        append(log, b"".join(rng.sample(odd, 2)))
        auto.read()
    assert len(auto.said) == 1, auto.said


def test_a_format_that_fits_better_is_chosen_where_too_many_lines_are_refused(
    auto: Auto, tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    append(log, lines(lambda number: a_combined(number) + ' "-"', 0, 20))
    auto.read()
    assert list(formats(auto.memory).values()) == ["nginx"]

    def some(number: int) -> str:  # one in ten has a field more
        return a_combined(number) + ' "-"' + (" 0.004" if number % 10 == 5 else "")

    for first in range(20, 1020, 100):
        append(log, lines(some, first, first + 100))
        auto.read()
    assert list(formats(auto.memory).values()) == ["combined_extra"]
    assert "combined_extra fits 100.0 %" in auto.said[1]


def test_what_a_span_was_read_by_is_in_its_proof(auto: Auto, tmp_path: Path) -> None:
    append(tmp_path / "a.log", lines(a_json, 0, 3))
    auto.read()
    (span,) = auto.memory.files.values()
    evidence = Evidence.of(span.proof)
    assert (evidence.format, evidence.seen) == ("json", span.seen)


def test_a_file_in_which_formats_take_turns_is_read_by_all_of_them(
    auto: Auto, tmp_path: Path
) -> None:
    def turns(number: int) -> str:
        return (a_combined if number % 10 == 3 else a_json)(number)

    append(tmp_path / "a.log", lines(turns, 0, 500))
    (found,) = auto.read()
    assert list(formats(auto.memory).values()) == ["json|combined"]
    assert (len(found.rows), len(found.rejected)) == (500, 0)
    paths = found.rows.sort("offset")["request_path"].to_list()
    assert paths == [f"/orders/{n}" if n % 10 == 3 else "" for n in range(500)]


def test_the_lines_of_traces_are_joined_by_the_preset_that_fits_them_also_after_a_restart(
    tmp_path: Path,
) -> None:
    log = tmp_path / "a.log"

    def traced(number: int) -> str:
        trace = (
            'Traceback (most recent call last):\n  File "a.py", line 7, in <module>\n'
            f"    serve()\nValueError: order {number}"
        )
        return a_combined(number) + (f"\n{trace}" if number % 5 == 0 else "")

    append(log, lines(traced, 0, 50))
    first = Auto(log)
    found = first.read()
    first.close()
    assert "LOG_MULTILINE=python" in first.said[0]
    append(log, lines(traced, 50, 61) + lines(a_combined, 61, 62))
    second = Auto(log, first.memory)
    found += second.read()
    second.close()
    assert not any(len(some.rejected) for some in found)
    messages = [message for some in found for message in some.rows["message"].to_list()]
    assert sum("ValueError: order 60" in message for message in messages) == 1
    assert len([message for message in messages if message]) == 13


@pytest.mark.parametrize(
    ("name", "head", "rest"),
    [
        ("app", "2026-11-22 20:15:05 <info> answer:", '<?xml version="1.0"?>\n<ok/>'),
        ("monolog", "[2026-11-22 20:15:05] shop.ERROR: no answer", "[stacktrace]\n#0 /a.php(1)"),
        ("raw", "[2026-11-22 20:15:05] order 4711", "it has\n 3 parts"),
        ("postgresql", "2026-11-22 20:15:05.000 UTC [7] ERROR:  no", "\tSELECT 1\n\tFROM a"),
    ],
)
def test_lines_without_a_time_go_on_with_the_one_before_where_others_have_one(
    name: str, head: str, rest: str
) -> None:
    choices = Choices(Settings(log_format="auto"))
    lines = f"{head}\n{rest}\n".splitlines() * 9
    found = choose(lines)
    assert found
    assert found.best.name == name
    framing = Framing.of(choices.events(name, lines))
    assert framing
    data = "\n".join([*lines, ""]).encode()
    ends = UTF_8.ends(data)
    frames = frame(framing.kinds(data, ends, UTF_8), np.concatenate(([0], ends[:-1])), ends)
    assert frames.firsts.tolist() == [*range(0, len(lines), len(lines) // 9)]


def test_words_behind_a_time_are_no_api_requests_where_the_values_do_not_fit() -> None:
    line = "2026-11-22 20:15:05 203.0.113.7 12345 198.51.100.1 443 HTTP/1.1 GET /a 400 - URL -"
    found = choose([line] * 8)
    assert found and found.best.name == "raw"


def test_a_single_line_with_a_time_makes_no_rest_of_those_before_it() -> None:
    cef = "CEF:0|Security|threatmanager|1.0|100|worm stopped|10|src=203.0.113.7"
    found = choose([cef, cef, f"Nov 22 20:15:05 web-1 {cef}"])
    assert found
    assert found.best.name != "syslog"


def test_lines_are_no_events_where_times_stand_anywhere() -> None:
    lines = ["web-1  | started", "web-1  |   at 2026-11-22 20:15:05 it was", "web-1  | done"]
    assert Choices(Settings(log_format="auto")).events("raw", lines) == ""


def test_lines_are_seen_when_their_file_was_written_last_or_now_if_that_is_later(
    auto: Auto, tmp_path: Path
) -> None:
    for name, when in (("old", 1_600_000_000), ("new", 4_000_000_000)):
        append(tmp_path / f"{name}.log", lines(a_json, when, when + 3))
        os.utime(tmp_path / f"{name}.log", (when, when))
    before = time.time_ns() // 1000
    auto.read()
    seen = {Path(span.stream.name).stem: span.seen for span in auto.memory.files.values()}
    assert seen["old"] == 1_600_000_000_000_000
    assert before <= seen["new"] <= time.time_ns() // 1000


# --- with a store --------------------------------------------------------------------------------


def run(pipeline: Pipeline, *command: str, **settings: object) -> str:
    """What a run of the pipeline, or a command, says."""
    settings = {
        "STORE": "sqlite",
        "INSTANCE": "a",
        "LOG_PATHS": "logs/*",
        "LOG_FORMAT": "auto",
        **settings,
    }
    done = logwax(pipeline, *command, **settings) if command else pipeline.run(**settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_files_of_five_formats_are_stored_and_the_audit_balances(pipeline: Pipeline) -> None:
    logs = pipeline.directory / "logs"
    logs.mkdir()
    for number, make in enumerate(KINDS.values()):
        append(logs / f"{number}.log", lines(make, 0, 200) + b"odd\n\n")
    said = run(pipeline)
    assert "stored=1000 dead=5" in said
    assert "4.log': cri:logfmt fits " in said
    assert "total of 5 files: lines=1005 stored=1000 dead=5" in run(pipeline, "audit")


def test_what_was_rejected_before_a_change_is_stored_by_a_redrive(pipeline: Pipeline) -> None:
    logs = pipeline.directory / "logs"
    logs.mkdir()
    append(logs / "a.log", lines(a_logfmt, 0, 500))
    assert "stored=500 dead=0" in run(pipeline)
    begin = (logs / "a.log").stat().st_size
    append(logs / "a.log", lines(a_json, 500, 600))
    said = run(pipeline)
    assert f"a.log, byte {begin:,}, " in said
    assert "stored=0 dead=100" in said
    assert "total: tried=100 stored=100 dead=0" in run(pipeline, "redrive")
    assert "lines=600 stored=600 dead=0" in run(pipeline, "audit")


def test_a_ledger_of_an_earlier_version_goes_on(pipeline: Pipeline) -> None:
    logs = pipeline.directory / "logs"
    logs.mkdir()
    append(logs / "a.log", lines(a_json, 0, 10))
    run(pipeline, LOG_FORMAT="json")
    with closing(sqlite3.connect(pipeline.directory / "data/logwax.sqlite")) as ledger, ledger:
        changed = ledger.execute(
            "UPDATE ingest_blocks SET proof = rtrim(substr(proof, 1, instr(proof, '{') - 1)) "
            "WHERE instr(proof, '{')"
        )
        assert changed.rowcount == 1
    append(logs / "a.log", lines(a_json, 10, 15) + b"odd\n")
    assert "stored=5 dead=1" in run(pipeline)
    assert "lines=16 stored=15 dead=1" in run(pipeline, "audit")
    assert "tried=1 stored=0 dead=1" in run(pipeline, "redrive")
