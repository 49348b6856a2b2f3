"""Events of several lines: what belongs together, and that it stays together, whatever happens."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.accounts import accounts_of
from connectors.batch import BlockId, Parsed, Taken
from connectors.encodings import Encoding
from connectors.errors import SettingsError
from connectors.sources import framing, tailed_file
from connectors.sources.framing import Framing, frame
from connectors.sources.records import Piece
from connectors.sources.tailed_file import Limits
from connectors.store import open_store
from flows.commands import Commands
from flows.main import tail as tail_of
from flows.parsing.parser import parser
from flows.settings import load
from flows.steps import parse_step
from settings import Settings
from tests.conftest import Pipeline, wait_for
from tests.parsing_checks import piece, together
from tests.tailing import Memory, Tail, append
from tests.traces import TRACES

FORMAT = r"(?P<timestamp>\S+ \S+) (?P<level>\w+) (?P<message>.*)"
JAVA = Framing.of("java")
NEXT = "2026-11-22 20:15:06 INFO next\n"
FRAMES = [f"\tat com.acme.Shop.step{n}(Shop.java:{n})" for n in range(197)]
LINES_200 = [
    "2026-11-22 20:15:05 ERROR order 7 failed",
    "java.lang.IllegalStateException: Could not save the order",
    *FRAMES,
    "Caused by: java.io.IOException: connection reset",
]
TRACE_200 = "".join(line + "\n" for line in LINES_200)


def limits(lines: int = 1000, size: int = 1024 * 1024, by: Framing | None = JAVA) -> Limits:
    return Limits(lines=lines, bytes=size, seconds=0.0, framing=by)


def events_of(text: str | bytes, multiline: str, encoding: str = "utf-8") -> list[str]:
    """The texts of the events, each with its line ends."""
    data = text.encode(encoding) if isinstance(text, str) else text
    batch = together(framed(data, multiline, encoding=encoding), encoding=encoding)
    pieces = zip(batch.starts[:-1].tolist(), batch.starts[1:].tolist(), strict=True)
    return [batch.data[start:end].decode(encoding, "replace") for start, end in pieces]


def framed(data: bytes, multiline: str, start: int = 0, encoding: str = "utf-8") -> Piece:
    span = piece(data, start=start, encoding=encoding).span
    return Piece.of(span, data, Encoding(encoding), Framing.of(multiline))


def parsed(batch: Taken, form: str = FORMAT) -> Parsed:
    return parser(form, "UTC")(batch)


def rows_and_letters(batches: Iterable[Taken]) -> tuple[pl.DataFrame, pl.DataFrame]:
    found = [parsed(batch) for batch in batches]
    rows = [one.rows.select("source", "offset", "message") for one in found]
    return pl.concat(rows).sort("source", "offset"), pl.concat([one.rejected for one in found])


def read_all(tail: Tail) -> Iterator[Taken]:
    """All batches of a source that does not follow."""
    ends = False
    while not ends:
        try:
            for batch in tail.partition.next_batch():
                yield batch
                tail.memory.record(batch)
                batch.acknowledge()
        except StopIteration:
            ends = True


def rows_of(batches: Iterable[Taken]) -> pl.DataFrame:
    rows, letters = rows_and_letters(batches)
    assert letters.is_empty()
    return rows


def next_batch(tail: Tail) -> Taken:
    found: list[Taken] = []

    def comes() -> bool:
        found.extend(filter(None, [tail.batch()]))
        return bool(found)

    wait_for(comes, "a batch")
    return found[0]


# What belongs together


@pytest.mark.parametrize(
    ("preset", "trace"), [(name, trace) for name, traces in TRACES.items() for trace in traces]
)
def test_a_preset_puts_the_lines_of_a_trace_together(preset: str, trace: str) -> None:
    assert events_of(trace + NEXT + trace + trace, preset) == [trace, NEXT, trace, trace]


def test_a_trace_behind_no_line_of_a_logger_is_an_event_of_its_own() -> None:
    bare = TRACES["python"][0].partition("\n")[2]
    assert events_of(bare + bare + NEXT, "python") == [bare, bare, NEXT]


def test_indented_lines_belong_to_the_line_before() -> None:
    assert events_of("a\n b\n\tc\nd\n", "indent") == ["a\n b\n\tc\n", "d\n"]


def test_an_expression_says_how_events_begin() -> None:
    text = "2026 a\nb 2026\n\n2026 c\n"
    assert events_of(text, r"\d{4} ") == ["2026 a\nb 2026\n\n", "2026 c\n"]


def test_an_expression_says_how_lines_begin_that_continue_an_event() -> None:
    assert events_of("a\n| b\nc |\n", r"continues:\|") == ["a\n| b\n", "c |\n"]


def test_empty_lines_continue_an_event_and_are_none() -> None:
    assert events_of("\n\r\na\n\n b\nc\n", "indent") == ["\n", "\r\n", "a\n\n b\n", "c\n"]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be"])
def test_lines_are_told_apart_in_every_encoding(encoding: str) -> None:
    assert events_of("é\n\tü\nb\n", "indent", encoding) == ["é\n\tü\n", "b\n"]
    batch = together(
        framed(TRACE_200.encode(encoding), "java", encoding=encoding), encoding=encoding
    )
    assert parsed(batch).rows["message"].to_list() == [TRACE_200[26:-1]]


KINDS = st.one_of(
    st.just(0),  # no line of a container
    st.tuples(
        st.integers(0, framing.EMPTY), st.sampled_from([8, 16]), st.sampled_from([0, 0, 32])
    ).map(sum),
)


@pytest.mark.parametrize("mask", [0b111, 0b111111])
@given(st.lists(st.tuples(KINDS, st.integers(1, 12)), min_size=1, max_size=14))
def test_events_are_the_same_wherever_reading_stops_and_goes_on(
    mask: int, lines: list[tuple[int, int]]
) -> None:
    kinds = np.array([kind & mask for kind, _ in lines], np.uint8)
    ends = np.cumsum([size for _, size in lines])
    starts = ends - [size for _, size in lines]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "MOST_LINES", 3)
        patch.setattr(framing, "MOST_BYTES", 20)
        every = frame(kinds, starts, ends)
        assert every.bounds[-1] == len(lines)
        for bound in [0, *every.bounds[:-1].tolist()]:
            rest = frame(kinds[bound:], starts[bound:], ends[bound:])
            assert (rest.firsts + bound).tolist() == every.firsts[every.firsts >= bound].tolist()
        for count in range(1, len(lines)):
            first = frame(kinds[:count], starts[:count], ends[:count])
            whole = first.open
            assert whole in [0, *every.bounds.tolist()]
            assert first.firsts[first.firsts < whole].tolist() == (
                every.firsts[every.firsts < whole].tolist()
            )


# Rows


def test_a_row_has_the_columns_of_the_first_line_and_the_whole_text_as_its_message() -> None:
    batch = together(framed((NEXT + TRACE_200 + NEXT).encode(), "java", start=100))
    rows = parsed(batch).rows
    assert rows.select("offset", "level", "message").rows() == [
        (100, "INFO", "next"),
        (100 + len(NEXT), "ERROR", TRACE_200[26:-1]),
        (100 + len(NEXT + TRACE_200), "INFO", "next"),
    ]
    assert np.diff(rows["line"]).tolist() == [1, 1]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(
    ("form", "line", "message"),
    [
        ("json", '{"ts": "2026-11-22T20:15:05Z", "msg": "a"}', "a\n\tb\n\tc"),
        ("logfmt", 'ts=2026-11-22T20:15:05Z msg="a"', "a\n\tb\n\tc"),
        ("api_requests", "2026-11-22 20:15:05 cust_1 /a 200 0.1", "\tb\n\tc"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_format_reads_the_first_line(form: str, line: str, message: str, end: str) -> None:
    data = end.join([line, "\tb", "\tc", line, ""]).encode()
    rows = parsed(together(framed(data, "indent")), form).rows
    assert rows["offset"].to_list() == [0, data.index(line.encode(), 1)]
    assert rows["message"].to_list()[0] == message if "message" in rows.columns else False
    assert rows["timestamp"].n_unique() == 1


def test_bytes_that_are_no_text_cost_no_event() -> None:
    data = NEXT.encode() + b"2026-11-22 20:15:06 INFO a\n\t\xff\n" + NEXT.encode()
    rows = parsed(together(framed(data, "indent"))).rows.sort("offset")
    assert rows["message"].to_list() == ["next", "a\n\t\ufffd", "next"]
    assert "raw_base64" in rows["attributes"][1]


def test_a_dead_letter_has_all_lines_of_its_event() -> None:
    letters = parsed(together(framed(b"nonsense\n\tx\r\n" + NEXT.encode(), "java"))).rejected
    assert letters.select("offset", "raw").rows() == [(0, b"nonsense\n\tx")]


CRI = """\
2026-11-22T20:15:05Z stdout P 2026-11-22 20:15:05 ERROR bo
2026-11-22T20:15:05Z stderr F 2026-11-22 20:15:05 INFO other
2026-11-22T20:15:05Z stdout F om
2026-11-22T20:15:05Z stdout F \tat a.B
2026-11-22T20:15:05Z stderr F \tat c.D
2026-11-22T20:15:05Z stdout P \tat e
2026-11-22T20:15:05Z stdout F .F
2026-11-22T20:15:06Z stdout F 2026-11-22 20:15:06 INFO next
"""
DOCKER = "".join(
    json.dumps({"log": text, "stream": stream, "time": when}, separators=(",", ":")) + "\n"
    for line in CRI.splitlines()
    for when, stream, tag, text in [line.split(" ", 3)]
    for text in [text + "\n" * (tag == "F")]
)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("most", [1, 1000])
@pytest.mark.parametrize(("form", "text"), [("cri", CRI), ("docker", DOCKER)])
def test_parts_that_a_container_wrote_are_joined_by_stream(
    tail: Callable[..., Tail], tmp_path: Path, form: str, text: str, most: int
) -> None:
    append(tmp_path / "a.log", text.encode())
    by = Framing.of(f"{form}:java")
    batches = list(read_all(tail(tmp_path / "a.log", follow=False, limits=limits(most, by=by))))
    places = [text.index(line) for line in text.splitlines()]
    for name, first in ((form, "2026-11-22 20:15:05 ERROR "), (f"{form}:{FORMAT}", "")):
        rows = pl.concat(
            [parsed(one, name).rows.select("offset", "message") for one in batches]
        ).sort("offset")
        assert rows.rows() == [
            (places[0], f"{first}boom\n\tat a.B\n\tat e.F"),
            (places[1], first.replace("ERROR", "INFO") + "other\n\tat c.D"),
            (places[7], first.replace("05 ERROR", "06 INFO") + "next"),
        ]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(
    "value", [r'"\ud83d"', "[" * 100_000 + "]" * 100_000], ids=["half", "deep"]
)
def test_lines_that_docker_cannot_have_written_are_not_joined(value: str, at: int) -> None:
    """Half of a surrogate pair is no text; nobody reads so many arrays."""
    behind = ['"attrs":{}'] * 2
    behind[at] = f'"attrs":{{"a":{value}}}'
    texts = r"2026-11-22 20:15:05 ERROR boom\n", r"\tat a.B\n"
    time = '"time":"2026-11-22T20:15:05Z"'
    lines = [
        f'{{"log":"{text}","stream":"stdout",{time},{more}}}\n'
        for text, more in zip(texts, behind, strict=True)
    ]
    found = parsed(together(framed("".join(lines).encode(), "docker:java")), "docker")
    assert (len(found.rows), len(found.rejected)) == ((0, 1), (1, 0))[at]


# Reading


@pytest.mark.parametrize("most", [(50, 1 << 20), (1, 1 << 20), (1000, 1000), (7, 64)])
def test_rows_are_the_same_whatever_the_size_of_batches(
    tail: Callable[..., Tail], tmp_path: Path, most: tuple[int, int]
) -> None:
    text = "\n" + NEXT + TRACE_200 + NEXT + NEXT + TRACE_200 + "\n\n" + NEXT
    append(tmp_path / "app.log", text.encode())
    rows = rows_of(list(read_all(tail(tmp_path / "app.log", follow=False, limits=limits(*most)))))
    whole = TRACE_200[26:-1]
    assert rows["message"].to_list() == ["next", whole, "next", "next", whole, "next"]
    assert rows["offset"].to_list()[:2] == [1, 1 + len(NEXT)]


def test_a_trace_of_200_lines_survives_an_end_between_any_two_of_them(
    tail: Callable[..., Tail], tmp_path: Path
) -> None:
    log, memory = tmp_path / "app.log", Memory()
    append(log, NEXT.encode())
    found: list[Taken] = []
    for line in [*LINES_200, *NEXT.splitlines()]:
        append(log, line.encode() + b"\n")
        one = tail(log, memory, limits=limits(50))
        batch = one.batch()  # what comes before the last event, which may go on
        found += [batch] if batch else []
        assert one.batch() is None
        one.source.close()
    assert rows_of(found)["message"].to_list() == ["next", TRACE_200[26:-1]]


def test_a_block_in_doubt_has_the_same_events_whatever_the_settings_say_by_now(
    tail: Callable[..., Tail], tmp_path: Path
) -> None:
    append(tmp_path / "app.log", (TRACE_200 + NEXT + NEXT).encode())
    memory = Memory()
    (first,) = tail(tmp_path / "app.log", memory, limits=limits(2)).partition.next_batch()
    memory.record(first)
    memory.in_doubt[BlockId(1, 1)] = first.spans
    for by in (JAVA, None, Framing.of("continues:x")):
        again = tail(tmp_path / "app.log", memory, limits=limits(by=by)).partition.next_batch()[0]
        assert (again.places.tolist(), again.data) == (first.places.tolist(), first.data)
        assert parsed(again).rows.equals(parsed(first).rows)


def test_the_last_event_is_whole_when_its_file_was_quiet_for_some_seconds(
    tail: Callable[..., Tail], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "app.log"
    append(log, TRACE_200.encode())
    one = tail(log, limits=limits(50))
    assert one.batch() is None
    append(log, b"\tat")  # a line that somebody is about to end
    one.poll_soon()
    assert one.batch() is None
    monkeypatch.setattr(tailed_file, "QUIET_SECONDS", 0.0)
    assert one.is_quiet()
    append(log, b" x.y(Z)\n")
    assert one.read(1) == TRACE_200.encode() + b"\tat x.y(Z)\n"


def test_what_follows_an_event_that_is_stored_is_kept_and_said_once(
    tail: Callable[..., Tail],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log = tmp_path / "app.log"
    append(log, TRACE_200.encode())
    monkeypatch.setattr(tailed_file, "QUIET_SECONDS", 0.0)
    one = tail(log, limits=limits())
    one.read(1)
    for _ in range(2):
        append(log, b"\tat late\n\tat later\n")
        letters = parsed(next_batch(one)).rejected
        assert letters.select("reason", "raw").rows() == [("continued", b"\tat late\n\tat later")]
    assert capfd.readouterr().err.count("was cut there") == 1


def test_a_trace_survives_a_rotation_in_its_middle(
    tail: Callable[..., Tail], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "app.log"
    monkeypatch.setattr(tailed_file, "QUIET_SECONDS", 0.5)
    one = tail(tmp_path / "app.log*", limits=limits(50), linger=0.5)
    found: list[Taken] = []

    def read(messages: int) -> None:
        def enough() -> bool:
            found.extend(filter(None, [one.batch()]))
            return sum(batch.records for batch in found) >= messages

        wait_for(enough, f"{messages} events")

    with log.open("a") as writer:
        writer.write(NEXT + "".join(line + "\n" for line in LINES_200[:100]))
        writer.flush()
        read(1)
        os.rename(log, tmp_path / "app.log.1")
        append(log, NEXT.encode())
        assert one.is_quiet()
        writer.write("".join(line + "\n" for line in LINES_200[100:]))
    append(log, NEXT.encode())
    read(4)  # as nobody writes any more
    messages = rows_of(found)["message"].to_list()
    assert sorted(messages) == [*["next"] * 3, TRACE_200[26:-1]]


def test_an_event_of_5_mb_is_cut_and_said(
    tail: Callable[..., Tail], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = b"\tat com.acme.Shop.step(Shop.java:7) " + b"x" * 2000 + b"\n"
    event = LINES_200[0].encode() + b"\n" + frame * 2500
    append(tmp_path / "app.log", NEXT.encode() + event + NEXT.encode())
    one = tail(tmp_path / "app.log", follow=False, limits=limits())
    rows, letters = rows_and_letters(read_all(one))
    assert rows["message"].str.len_bytes().to_list()[::2] == [4, 4]
    assert set(letters["reason"]) == {"continued"}
    first = len(NEXT) + len(LINES_200[0]) + 1
    kept = [rows["message"][1].encode().partition(b"\n")[2], *letters["raw"]]
    assert b"\n".join(kept) + b"\n" == frame * 2500
    assert first < len(kept[0]) < framing.MOST_BYTES
    assert "more than 5,000 lines or 1,048,576 bytes" in capfd.readouterr().err


def test_an_event_has_5000_lines_at_most(tail: Callable[..., Tail], tmp_path: Path) -> None:
    append(tmp_path / "app.log", NEXT.encode() + b"\tx\n" * 12_000)
    batches = list(read_all(tail(tmp_path / "app.log", follow=False, limits=limits(2))))
    assert [n for batch in batches for n in (batch.counts if batch.counts is not None else [])] == [
        *[5000, 5000, 2001]
    ]


def test_a_line_that_is_longer_than_an_event_is_one_of_its_own(
    tail: Callable[..., Tail], tmp_path: Path
) -> None:
    long = b"2026-11-22 20:15:05 INFO " + b"x" * 3_000_000 + b"\n"
    append(tmp_path / "app.log", NEXT.encode() + long + b"\tat y\n" + NEXT.encode())
    one = tail(tmp_path / "app.log", limits=limits(size=4000))
    append(tmp_path / "app.log", NEXT.encode())
    rows, letters = rows_and_letters(iter(one.batch, None))
    assert letters["reason"].to_list() == ["too_long", "continued"]
    assert rows["message"].to_list() == ["next", "next"]


def test_a_thousand_files_never_mix(tail: Callable[..., Tail], tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.log" for number in range(1000)]
    for part in (TRACE_200[:3000], TRACE_200[3000:] + NEXT):
        for number, path in enumerate(paths):
            append(path, part.replace("order 7", f"order {number}").encode())
    rows = rows_of(list(read_all(tail(tmp_path / "*.log", follow=False, limits=limits(333)))))
    assert len(rows) == 2000
    for source, messages in rows.group_by("source").agg("message").rows():
        whole = TRACE_200.replace("order 7", f"order {Path(source).stem}")
        assert messages == [whole[26:-1], "next"]


# What commands make of it


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Callable[..., Commands]]:
    """Commands on one store of SQLite, after all that is there was stored by these settings."""
    with ExitStack() as opened:

        def stored(log: Path, **others: Any) -> Commands:
            opened.close()
            settings = Settings(
                **{"_env_file": None, "store": "sqlite", "data_dir": tmp_path / "data"},
                **{"log_paths": str(log), "follow": False, "log_format": FORMAT, **others},
            )
            store = open_store(settings)
            opened.callback(store.close)
            source = tail_of(settings, store, threading.Event())
            writer, parse = store.writer(), parse_step(settings)
            partition = source.build("tail", 0, 1)
            with suppress(StopIteration):
                while True:
                    for batch in partition.next_batch():
                        writer.write(parse(batch))
                        batch.acknowledge()
            writer.close()
            source.close()
            return Commands(settings, store, accounts_of(store, settings))

        yield stored


def test_an_audit_knows_how_each_block_was_put_together(
    commands: Callable[..., Commands], tmp_path: Path
) -> None:
    log = tmp_path / "app.log"
    for multiline in ("", "java", "indent", ""):
        append(log, (TRACE_200 + "\n" + NEXT).encode())
        (*_, end) = commands(log, log_multiline=multiline).audit()
        assert end["ok"]
    (total,) = (
        one for one in commands(log, log_multiline="java").audit() if one["event"] == "total"
    )
    alone = 200 + 1  # as lines
    by_indent = 1 + 1 + 1 + 1  # the heads of the trace have no indentation
    assert (total["lines"], total["missing"]) == (2 * alone + 2 + by_indent, 0)


def test_a_backfill_stores_events_at_the_places_that_the_tail_gives_them(
    commands: Callable[..., Commands], tmp_path: Path
) -> None:
    log, old = tmp_path / "app.log", tmp_path / "old.log"
    append(log, NEXT.encode())
    append(old, (TRACE_200 + NEXT).encode())
    command = commands(log, log_multiline="java")
    (counts,) = (one for one in command.backfill(str(old)) if one["event"] == "counts")
    assert (counts["lines"], counts["stored"], counts["dead"]) == (2, 2, 0)
    rows = command.query("SELECT offset, message FROM logs ORDER BY offset DESC", 9)
    (found,) = (one["rows"] for one in rows if one["event"] == "rows")
    assert found[0] == [len(TRACE_200), "next"]
    assert [0, TRACE_200[26:-1]] in found


def test_a_dead_letter_of_several_lines_is_redriven_as_one_row(
    commands: Callable[..., Commands], tmp_path: Path
) -> None:
    append(tmp_path / "app.log", (TRACE_200 + NEXT).encode())
    commands(tmp_path / "app.log", log_multiline="java", log_format="json")
    command = commands(tmp_path / "app.log", log_multiline="java")
    (counts,) = (one for one in command.redrive() if one["event"] == "counts")
    assert (counts["tried"], counts["stored"]) == (2, 2)
    rows = command.query("SELECT message FROM logs ORDER BY offset", 9)
    assert [one["rows"] for one in rows if one["event"] == "rows"] == [
        [[TRACE_200[26:-1]], ["next"]]
    ]


def test_what_no_event_can_be_told_by_is_an_error_before_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for wrong, why in (("jav", "known are indent"), ("(", "no regular expression")):
        monkeypatch.setenv("LOG_MULTILINE", wrong)
        with pytest.raises(SettingsError, match=f"LOG_MULTILINE.*{why}"):
            load()


def test_a_trace_survives_kills_between_its_lines(pipeline: Pipeline, soak: bool) -> None:
    log = pipeline.directory / "app.log"
    append(log, NEXT.encode())
    settings = {"STORE": "sqlite", "LOG_PATHS": "app.log", "LOG_MULTILINE": "java"}
    settings |= {"LOG_FORMAT": FORMAT, "STREAM_MAX_SIZE": "50", "INSTANCE": "x"}
    claims = pipeline.directory / "data"
    for number, line in enumerate(LINES_200):
        append(log, line.encode() + b"\n")
        if soak or number in (0, 1, 100, 198):
            process = pipeline.start(**settings)
            wait_for(lambda: any(claims.glob("*sqlite*")), "a store")
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01 * (number % 50))
            process.kill()
            process.communicate()
    append(log, NEXT.encode())
    done = pipeline.run(**settings)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(next(claims.glob("*.sqlite*")))) as db:
        rows = db.execute("SELECT message FROM logs ORDER BY offset").fetchall()
        assert db.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)
    assert rows == [("next",), (TRACE_200[26:-1],), ("next",)]
