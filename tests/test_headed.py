"""Formats whose columns a line of the file names: the last before, wherever reading begins."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.batch import Parsed
from connectors.encodings import Encoding
from connectors.errors import MalformedLine
from connectors.sources.sense import headers_in
from connectors.sources.tailed_file import Limits
from flows.parsing.choice import described
from flows.parsing.lines import Lines
from flows.parsing.parser import parser
from flows.parsing.ranking import choose
from flows.steps import header_of
from tests.conftest import Pipeline, wait_for
from tests.parsing_checks import certain, mutated
from tests.tailing import Memory, Tail, append
from tests.test_audit import logwax
from tests.test_choosing import Auto, formats, run

FIELDS = "#Fields: date time cs-uri-stem sc-status s-port"
OTHERS = "#Fields: sc-status time-taken date time s-port cs-uri-stem"


def iis(first: int, last: int, header: str = FIELDS) -> bytes:
    """What a service writes from its start on: of each line the path and the status tell which."""
    values = {"date": "2026-11-22", "s-port": "443", "sc-status": "200", "time-taken": "15"}
    names = header.partition(" ")[2].split(" ")
    lines = ["#Software: Microsoft Internet Information Services 10.0", "#Version: 1.0", header]
    for number in range(first, last):
        own = {"cs-uri-stem": f"/seq/{number}", "time": f"20:15:{number % 60:02}"}
        lines.append(" ".join((values | own)[name] for name in names))
    return "".join(f"{line}\r\n" for line in lines).encode()


def table(first: int, last: int) -> bytes:
    return "".join(f"{1795000000 + at},info,order {at}\n" for at in range(first, last)).encode()


class Read:
    """A tail of one format, and the rows that come of it."""

    def __init__(self, log: Path, form: str, memory: Memory | None = None, **options: Any) -> None:
        limits = Limits(1000, 1024 * 1024, 0.0, header=header_of(form))
        self.tail = Tail(str(log), memory, limits=limits, **options)
        self._parse = parser(form, "UTC")

    def all(self) -> list[Parsed]:
        self.tail.poll_soon()
        found = []
        while batch := self.tail.batch():
            found.append(self._parse(batch))
            self.tail.poll_soon()
        return found

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        found = self.all()
        assert not any(len(some.rejected) for some in found), found[0].rejected.to_dicts()
        return [row for some in found for row in some.rows.select(columns).rows()]

    def close(self) -> None:
        self.tail.source.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "a.log"


def numbered(first: int, last: int) -> list[tuple[str, int]]:
    return [(f"/seq/{number}", 200) for number in range(first, last)]


def test_columns_change_where_a_header_does(log: Path) -> None:
    append(log, iis(0, 50) + iis(50, 90, OTHERS) + iis(90, 100))
    with closing(Read(log, "w3c")) as read:
        assert read.rows("request_path", "status_code") == numbered(0, 100)


def test_a_restart_goes_on_behind_the_last_header(log: Path) -> None:
    append(log, iis(0, 10) + iis(10, 20, OTHERS))
    with closing(Read(log, "w3c")) as read:
        read.rows("status_code")
        memory = read.tail.memory
    append(log, iis(20, 30, OTHERS).split(b"\n", 3)[3])
    with closing(Read(log, "w3c", memory)) as read:
        assert read.rows("request_path", "status_code") == numbered(20, 30)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_who_begins_at_the_end_knows_the_header(log: Path, encoding: str) -> None:
    def encoded(data: bytes) -> bytes:
        return data.decode().encode(encoding)

    append(log, encoded(iis(0, 10) + iis(10, 20_000, OTHERS)))
    with closing(Read(log, "w3c", encoding=encoding, from_end=True)) as read:
        assert not read.all()
        append(log, encoded(iis(20_000, 20_003, OTHERS).split(b"\n", 3)[3]))
        assert read.rows("request_path", "status_code") == numbered(20_000, 20_003)


def test_of_a_table_it_is_the_first_line_also_under_another_name(log: Path) -> None:
    append(log, b"ts,level,msg\n" + table(0, 10))
    with closing(Read(log.with_name("a.log*"), "csv", from_end=True)) as read:
        assert not read.all()
        append(log, table(10, 12))
        log.rename(log.with_name("a.log.1"))
        append(log, b"msg,ts\nhello,1795000000\n")
        found = read.rows("message")
        assert sorted(found) == [("hello",), ("order 10",), ("order 11",)]


def test_lines_before_any_header_are_dead_letters(log: Path) -> None:
    append(log, b"2026-11-22 20:15:05 /a 200 443\n" + iis(0, 1))
    with closing(Read(log, "w3c")) as read:
        first, second = read.all()
    assert first.rejected["reason"].to_list() == ["no_timestamp"]
    assert second.rows["request_path"].to_list() == ["/seq/0"]


def test_a_record_over_several_lines_is_a_dead_letter_that_says_so() -> None:
    form = described("csv", "ts,msg").make(ZoneInfo("UTC"))
    with pytest.raises(MalformedLine, match="over several lines") as refused:
        form.line('1795000000,"one')
    assert refused.value.reason == "open_quote"
    with pytest.raises(MalformedLine) as refused:
        form.line('two"')
    assert refused.value.reason == "bad_timestamp"


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("ts;level;msg", "2026-11-22 20:15:05;info;a, b"),
        ("ts|level|msg", "2026-11-22T20:15:05Z|info|a, b"),
        ("Timestamp,Level,Message", '"2026-11-22 20:15:05","info","a, b"'),
        ("Level,Date,Time,Message", 'info,2026-11-22,20:15:05,"a, b"'),
        ('"level","time","msg"', 'info,1795378505,"a, b"'),
    ],
)
def test_the_header_of_a_table_shows_how_it_is_written(header: str, line: str) -> None:
    row = described("csv", header).make(ZoneInfo("UTC")).line(line)
    assert str(row["timestamp"]).startswith("2026-11-22 20:15:05")
    assert (row["level"], row["message"]) == ("info", "a, b")


@pytest.mark.parametrize("form", ["w3c", "csv"])
def test_whose_format_is_found_out(form: str, tmp_path: Path) -> None:
    data = {"w3c": iis(0, 500) + iis(500, 900, OTHERS), "csv": b"ts,level,msg\n" + table(0, 900)}
    append(tmp_path / "a.log", data[form])
    with closing(Auto(tmp_path / "*.log")) as auto:
        assert sum(len(some.rows) for some in auto.read()) == 900
        assert formats(auto.memory) == {"a.log": form}


@pytest.mark.parametrize("form", ["w3c", "csv"])
def test_a_file_that_has_but_a_header_waits_for_its_rows(form: str, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, {"w3c": iis(0, 0), "csv": b"ts,level,msg\n"}[form])
    with closing(Auto(log)) as auto:
        assert not any(len(some.rows) + len(some.rejected) for some in auto.read())
        append(log, {"w3c": iis(0, 1), "csv": table(0, 1)}[form])
        assert [len(some.rows) for some in auto.read()][-1:] == [1]
        assert formats(auto.memory) == {"a.log": form}


def test_lines_with_commas_are_no_table_without_a_header() -> None:
    found = choose([f"2026-11-22 20:15:{at:02},123 INFO started" for at in range(20)])
    assert found
    assert found.best.name not in ("csv", "tsv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_headers_are_found_where_lines_begin(encoding: str) -> None:
    text = "\ufeff#Fields: a\nx #Fields: b\n\n#Fields: c\r\ny\n#Fields"
    found = list(headers_in(text.encode(encoding), "#Fields:", Encoding(encoding)))
    assert [header for _, header in found] == ["#Fields: a", "#Fields: c"]
    unit = Encoding(encoding).unit
    assert found[1][0] == len(text[: text.index("#Fields: c")].encode(encoding))
    assert found[0][0] == len("\ufeff".encode(encoding)), unit


_NAMES = """date time ts timestamp sc-status cs-uri-stem cs-uri-query level msg time-taken
duration_ms cs(User-Agent) x y_z x-edge-location s-port"""
_CELLS = """2026-11-22|20:15:05|20:15:05.5|2026-11-22T20:15:05Z|2026-11-22 20:15:05|-||1795378505
200|/a|1795378505.25|b=c|48.31|Mozilla/5.0+(X11;+x)|a%20b|"q"|caf\u00e9|(empty)|\\x09|3"""


@pytest.mark.parametrize("form", ["w3c", "zeek", "csv", "tsv"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_compiled_of_any_header_agrees_with_the_definition(
    form: str, data: st.DataObject
) -> None:
    between = {"w3c": " ", "zeek": "\t", "csv": ",", "tsv": "\t"}[form]
    if form in ("w3c", "csv"):
        between = data.draw(st.sampled_from([between, between, ";" if form == "csv" else "\t"]))
    names = data.draw(st.lists(st.sampled_from(_NAMES.split()), min_size=1, max_size=6))
    begin = {"w3c": "#Fields: ", "zeek": "#fields\t"}.get(form, "")
    header = begin + (" " if form == "w3c" else between).join(["ts", *names][-6:])
    rows = st.lists(st.sampled_from(re.split(r"[|\n]", _CELLS)), min_size=1, max_size=7).map(
        between.join
    )
    lines = data.draw(st.lists(mutated(rows, '" \t,;+-0'), min_size=1, max_size=6))
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    certain(described(form, header).make(ZoneInfo("Europe/Berlin"), 3), lines, spelled=True)


# --- with a store --------------------------------------------------------------------------------


def stored(pipeline: Pipeline) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(pipeline.directory / "data/logwax.sqlite")) as store:
        return store.execute("SELECT request_path, status_code FROM logs").fetchall()


def by_number(rows: list[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(rows, key=lambda row: int(row[0].rpartition("/")[2]))


@pytest.mark.parametrize("form", ["w3c", "auto"])
def test_lines_behind_changing_headers_are_stored_once_through_kills(
    pipeline: Pipeline, soak: bool, form: str
) -> None:
    logs = pipeline.directory / "logs"
    logs.mkdir()
    log, count, chance = logs / "u_ex261122.log", 0, random.Random(7)
    settings = {"STORE": "sqlite", "INSTANCE": "a", "LOG_PATHS": "logs/*", "LOG_FORMAT": form}
    for kill in range(40 if soak else 4):
        more = chance.randrange(2000, 6000)
        append(log, iis(count, count + more, (FIELDS, OTHERS)[kill % 2]))
        count += more
        process = pipeline.start(**settings, STREAM_MAX_SIZE=chance.randrange(300, 3000))
        least = chance.randrange(max(1, count - more), count)
        wait_for(lambda least=least: has_stored(pipeline, least), "some stored lines")
        process.kill()
        process.communicate()
    run(pipeline, LOG_FORMAT=form)
    assert by_number(stored(pipeline)) == numbered(0, count)
    said = run(pipeline, "audit", LOG_FORMAT=form)
    assert f"lines={count} stored={count} dead=0" in said


def has_stored(pipeline: Pipeline, least: int) -> bool:
    try:
        return len(stored(pipeline)) >= least
    except sqlite3.Error:  # there is no table yet
        return False


def test_a_backfill_reads_each_line_behind_its_own_header(
    pipeline: Pipeline, open_client: Callable[[], Client]
) -> None:
    old = pipeline.directory / "old.log"
    append(old, iis(0, 300) + iis(300, 500, OTHERS) + iis(500, 510))
    said = logwax(pipeline, "backfill", str(old), LOG_FORMAT="w3c")
    assert said.stdout == "lines=510 in_span=510 stored=510 dead=0 stored_before=0\n", said.stderr
    found = open_client().query("SELECT request_path, status_code FROM logs ORDER BY offset")
    assert found.result_rows == numbered(0, 510)


def test_try_shows_rows_behind_each_header(pipeline: Pipeline) -> None:
    log = pipeline.directory / "a.log"
    append(log, iis(0, 3) + iis(3, 6, OTHERS))
    said = run(pipeline, "try", str(log))
    assert "6 of 6 lines fit w3c" in said
    append(log.with_name("b.csv"), b"ts,level,msg\n" + table(0, 5))
    assert "5 of 5 lines fit csv" in run(pipeline, "try", str(log.with_name("b.csv")))


@pytest.mark.parametrize("name", ["csv", "tsv", "w3c", "zeek"])
@given(header=st.text("ab,;|\t\" \\'#:é", max_size=20), text=st.text('1a,;\t" é', max_size=20))
@example(header='a,"b', text="1")
@example(header="x" * 200_000, text="1")
def test_whatever_stands_where_a_header_is_lines_are_rows_or_refused(
    name: str, header: str, text: str
) -> None:
    form = described(name, header).make(ZoneInfo("UTC"))
    assert len(form.columns(Lines(f"{text}\n".encode()))) == 1
    with suppress(MalformedLine):
        assert form.line(text)["timestamp"]


def test_a_cell_may_be_as_long_as_a_line() -> None:
    form = described("csv", "time,message").make(ZoneInfo("UTC"))
    assert form.line(f'2026-11-22T20:15:05Z,"{"x" * 200_000}"')["message"] == "x" * 200_000


def test_any_number_of_columns_is_read_the_fast_way_and_cells_in_quotes_are() -> None:
    header = ",".join(["timestamp", *(f"c{number}" for number in range(100))])
    line = ",".join(["2026-11-22T20:15:05Z", *100 * ['"a ""b"", c"']])
    read = described("csv", header).make(ZoneInfo("UTC"))
    assert certain(read, [line, line.replace('"a ', "a "), line], spelled=True) == [
        *(True, False, True)
    ]
