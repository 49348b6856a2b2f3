"""The parse step: every line of a batch becomes a row or a dead letter, with its identity."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.batch import COLUMNS, REJECTED, Parsed
from connectors.encodings import Encoding
from flows.parsing.parser import parser
from tests.parsing_checks import FILE_ID, PATH, batch, parse, piece, together

pytestmark = pytest.mark.usefixtures("both_ways")

GOOD = {
    "api_requests": b"2026-11-01 12:00:00 cust_1 /a 200 0.5",
    "json": b'{"ts":"2026-11-01T12:00:00Z","path":"/a","status":200,"id":"x"}',
    "logfmt": b'ts=2026-11-01T12:00:00Z path=/a status=200 id=x message="a b"',
    "combined": b'::1 - bob [01/Nov/2026:12:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8.0"',
}
ODD = {  # good as well, but not as usual
    "api_requests": b"2026-11-01  12:00:00 - /caf\xc3\xa9 200 0.5 more",
    "json": b'{"timestamp":1793534400,"path":"/caf\xc3\xa9","nested":{"a":[null]},"n":null}',
    "logfmt": b'time=1793534400 path=/caf\xc3\xa9 flag message="a \\x22b\\x22"',
    "combined": b'::1 id - [01/Nov/2026:12:00:00 +0000] "-" 408 - "-" "caf\xc3\xa9 \\"x\\""',
}
BAD = [b"Traceback (most recent call last):", b"\1" * 64, b"caf\xc3\xa9", b" ", b"{}", b"\r\r"]
NOT_UTF_8 = [b"\xff\xfe", b"caf\xe9", b"cut \xf0\x9f\x98", b"\xed\xa0\x80", b"\1\x80\0"]


def check_types(parsed: Parsed) -> None:
    """Rows and dead letters are as `connectors.batch` has it."""
    for name, dtype in parsed.rows.schema.items():
        assert dtype == COLUMNS[name], name
    assert dict(parsed.rejected.schema) == REJECTED
    assert sum(parsed.rows.null_count().row(0)) == 0
    assert sum(parsed.rejected.null_count().row(0)) == 0


def check_identity(parsed: Parsed, files: dict[int, tuple[str, bytes]]) -> None:
    """Each row and dead letter is of the very line at its offset; each line has one of them."""
    names = ["file_id", "offset", "source"]
    found = pl.concat([parsed.rows.select(names), parsed.rejected.select(names)])
    for span in parsed.spans:
        path, data = files[span.stream.id]
        begins = [
            begin
            for begin in range(span.start, span.end)
            if (begin == 0 or data[begin - 1 : begin] == b"\n")
            and data[begin:].partition(b"\n")[0].removesuffix(b"\r")
        ]
        mine = found.filter(
            pl.col("file_id") == span.stream.id,
            pl.col("offset").is_between(span.start, span.end - 1),
        )
        assert sorted(mine["offset"]) == begins
        assert mine["source"].unique().to_list() in ([path], [])
        for row in parsed.rows.filter(pl.col("file_id") == span.stream.id).iter_rows(named=True):
            before = data[span.start : row["offset"]].count(b"\n")
            assert row["line"] == span.first + before
    for refused in parsed.rejected.iter_rows(named=True):
        line = files[refused["file_id"]][1][refused["offset"] :].partition(b"\n")[0]
        assert refused["raw"] == line.removesuffix(b"\r")


@pytest.mark.parametrize("name", GOOD)
def test_usual_odd_and_bad_lines_are_told_apart(name: str) -> None:
    data = b"\n".join([GOOD[name], ODD[name], BAD[0], NOT_UTF_8[0], b"", GOOD[name], ODD[name]])
    parsed = parse(name, data)
    check_types(parsed)
    check_identity(parsed, {FILE_ID: (PATH, data)})
    assert (parsed.rows.height, parsed.rejected.height) == (4, 2)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("raw", NOT_UTF_8)
def test_bytes_that_are_not_utf_8_are_kept_as_they_are(name: str, raw: bytes) -> None:
    refused = parse(name, b"\n".join([GOOD[name], raw, GOOD[name]])).rejected.row(0, named=True)
    assert refused["raw"] == raw
    assert refused["offset"] == len(GOOD[name]) + 1


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("lines", [GOOD, ODD], ids=["usual", "odd"])
@pytest.mark.parametrize("spoiled", [b"/\xe9", b"/\xf0\x9f\x98", b"/\xed\xa0\x80"])
def test_a_good_line_with_invalid_bytes_is_the_row_that_it_would_be(
    name: str, lines: dict[str, bytes], spoiled: bytes
) -> None:
    raw = lines[name].replace(b"/a", spoiled).replace(b"/caf\xc3\xa9", spoiled)
    raw = raw.replace(b'"-" 408', b'"/" 408').replace(b'"caf\xc3\xa9', b'"' + spoiled)
    data = b"\n".join([GOOD[name], raw + b"\r", GOOD[name]])
    parsed = parse(name, data)
    check_types(parsed)
    check_identity(parsed, {FILE_ID: (PATH, data)})
    shown = parse(name, raw.decode(errors="replace").encode()).rows.row(0, named=True)
    stored = parsed.rows.filter(pl.col("offset") == len(GOOD[name]) + 1).row(0, named=True)
    before = json.loads(shown.pop("attributes", "{}"))
    assert "\ufffd" in str(shown)
    assert json.loads(stored["attributes"]) == {**before, "raw_base64": b64encode(raw).decode()}
    same = shown.keys() - {"offset", "line"}
    assert {key: stored[key] for key in same} == {key: shown[key] for key in same}
    assert parsed.misfits == {}


def test_the_bytes_of_a_line_are_not_what_it_says_of_itself() -> None:
    parsed = parse("json", b'{"ts":0,"raw_base64":"mine","n":1.0,"message":"\xff"}')
    (attributes,) = map(json.loads, parsed.rows["attributes"])
    assert attributes["n"] == 1.0
    assert b64decode(attributes["raw_base64"]).endswith(b'"\xff"}')


ODD_VALUES = {
    "api_requests": b"2026-11-01 12:00:00 cust_1 /a 999 0.5",
    "json": b'{"ts":"2026-11-01T12:00:00Z","path":"/a","status":"OK","bytes":-1}',
    "logfmt": b"ts=2026-11-01T12:00:00Z path=/a status=OK bytes=-1",
    "combined": b'::1 - bob [01/Nov/2026:12:00:00 +0000] "GET /a HTTP/1.1" 999 -1 "-" "curl/8.0"',
}


@pytest.mark.parametrize("name", GOOD)
def test_misfits_are_counted_by_column_and_only_those_of_rows(name: str) -> None:
    odd = ODD_VALUES[name]
    no_time = odd.replace(b"12:00", b"25:00")
    parsed = parse(name, b"\n".join([GOOD[name], odd, no_time, odd, b"", odd]))
    check_types(parsed)
    assert (parsed.rows.height, parsed.rejected.height) == (4, 1)
    others = {} if name == "api_requests" else {"bytes_sent": 3}
    assert parsed.misfits == {"status_code": 3, **others}


@pytest.mark.parametrize("name", GOOD)
def test_a_usual_batch_has_no_misfits(name: str) -> None:
    assert parse(name, b"\n".join([GOOD[name], ODD[name], BAD[0]])).misfits == {}


@pytest.mark.parametrize("name", GOOD)
def test_nobody_searches_for_newlines_that_the_source_has_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = batch(b"\n".join([GOOD[name], b"", GOOD[name], b""]))
    monkeypatch.setattr(Encoding, "ends", lambda self, data: pytest.fail("searched"))
    assert parser(name, "UTC")(given).rows.height == 2


# Whether files are of the format


@pytest.mark.parametrize("name", GOOD)
def test_each_file_tells_how_many_of_its_lines_were_refused(name: str) -> None:
    good, bad = GOOD[name] + b"\n", BAD[0] + b"\n"
    parsed = parser(name, "UTC")(
        together(
            piece(good * 2 + b"\n\r\n" + bad, 1, "/1.log"),
            piece(b"rest\n" + bad + b"\n" + good + bad, 2, "/2.log", 7, continued=True),
            piece(b"x" * 1001 + b"\n" + good, 3, "/3.log"),
            piece(b"\n", 4, "/4.log"),
            longest=1000,
        )
    )
    assert [(fit.path, fit.lines, fit.refused) for fit in parsed.fits] == [
        ("/1.log", 3, 1),
        ("/2.log", 3, 2),
        ("/3.log", 1, 0),
        ("/4.log", 0, 0),
    ]
    assert [bool(fit.advice) for fit in parsed.fits] == [False, True, False, False]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("other", GOOD)
def test_the_advice_names_the_format_that_the_first_refused_line_has(name: str, other: str) -> None:
    (fit,) = parse(name, b"\n".join([GOOD[other]] * 3)).fits
    if name == other:
        assert (fit.refused, fit.advice) == (0, "")
    else:
        assert f"is no line of LOG_FORMAT={name}" in fit.advice
        assert fit.advice.endswith(f", but one of LOG_FORMAT={other}.")


def test_the_advice_shows_a_line_cut_and_without_control_characters() -> None:
    (fit,) = parse("json", b"\x1b[31m" + b"x" * 1000 + b"\xff\n" * 3).fits
    assert fit.advice.isprintable()
    assert r"'\x1b[31mxxx" in fit.advice
    assert len(fit.advice) < 400
    assert "(bad_json), nor of any other format" in fit.advice


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n", b"\r\n"])
def test_line_ends_are_no_part_of_a_line(name: str, ending: bytes, last: bytes) -> None:
    data = ending.join([GOOD[name], ODD[name], BAD[0]]) + last
    parsed, plain = parse(name, data), parse(name, b"\n".join([GOOD[name], ODD[name], BAD[0]]))
    assert parsed.rows.drop("offset").equals(plain.rows.drop("offset"))
    assert parsed.rejected["raw"].to_list() == [BAD[0]]


@pytest.mark.parametrize("name", GOOD)
def test_a_batch_of_bad_lines_only(name: str) -> None:
    data = b"\n".join([*BAD, *NOT_UTF_8])
    parsed = parse(name, data)
    check_types(parsed)
    assert parsed.rows.is_empty()
    assert parsed.rejected["raw"].to_list() == [raw.removesuffix(b"\r") for raw in BAD + NOT_UTF_8]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("data", [b"\n", b"\r\n", b"\n\r\n\n\n"])
def test_a_batch_of_empty_lines_only(name: str, data: bytes) -> None:
    parsed = parse(name, data)
    check_types(parsed)
    assert (parsed.rows.height, parsed.rejected.height) == (0, 0)
    assert parsed.records == data.count(b"\n")


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("lines", [GOOD, ODD])
def test_a_batch_of_one_line(name: str, lines: dict[str, bytes]) -> None:
    parsed = parse(name, lines[name])
    check_types(parsed)
    assert (parsed.rows.height, parsed.rejected.height) == (1, 0)


@pytest.mark.parametrize("name", GOOD)
def test_offsets_count_from_the_beginning_of_the_file(name: str) -> None:
    far = 2**40
    rows = parser(name, "UTC")(batch(GOOD[name] + b"\n" + GOOD[name], start=far)).rows
    assert rows["offset"].to_list() == [far, far + len(GOOD[name]) + 1]


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_segments_of_several_files_keep_their_identities(name: str, data: st.DataObject) -> None:
    kinds = st.sampled_from([GOOD[name]] * 4 + [ODD[name], BAD[0], NOT_UTF_8[1], b""])
    ends = st.sampled_from([b"\n", b"\n", b"\r\n"])
    contents = st.lists(st.tuples(kinds, ends).map(b"".join), min_size=1, max_size=6)
    unfinished = st.sampled_from([b"", GOOD[name], NOT_UTF_8[2]])
    parts, files = [], {}
    for file_id in data.draw(st.lists(st.sampled_from([1, 7, 2**64 - 1]), min_size=1, unique=True)):
        before = GOOD[name] + b"\n"
        lines = b"".join(data.draw(contents)) + data.draw(unfinished)
        files[file_id] = (f"/logs/{file_id}.log", before + lines)
        parts.append(piece(lines, file_id, f"/logs/{file_id}.log", len(before)))
    parsed = parser(name, "UTC")(together(*parts))
    check_types(parsed)
    check_identity(parsed, files)


def test_what_else_a_batch_carries_is_kept() -> None:
    given = replace(batch(GOOD["json"]), acknowledge=lambda: None)
    parsed = parser("json", "UTC")(given)
    assert parsed.spans == given.spans
    assert parsed.acknowledge is given.acknowledge


def test_attributes_are_objects_even_where_a_line_has_none() -> None:
    lines = [b'{"ts":0,"a":1}', b'{"ts":0}', b'{"ts":0,"a":{}}', b'{"time":0}']
    stored = parse("json", b"\n".join(lines)).rows.sort("offset")["attributes"]
    assert [json.loads(text) for text in stored] == [{"a": 1}, {}, {"a": {}}, {}]
