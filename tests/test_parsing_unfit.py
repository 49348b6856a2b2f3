"""Lines that no format is asked about: too long ones, and rests of lines stored before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.batch import Parsed, Taken
from connectors.encodings import Encoding
from connectors.sources.records import Piece
from flows.parsing.parser import parser
from tests.parsing_checks import FILE_ID, PATH, piece, together
from tests.test_parsing_parser import GOOD, check_types

LIMIT = 2000
ENCODINGS = ["utf-8", "latin-1", "utf-16-le", "utf-16-be"]


def parse(name: str, given: Taken | Piece, encoding: str = "utf-8") -> Parsed:
    """The lines as the parser returns them, where the limit is small."""
    if isinstance(given, Piece):
        given = together(given, encoding=encoding, longest=LIMIT)
    parsed = parser(name, "UTC")(given)
    check_types(parsed)
    return parsed


def first_bytes(data: bytes, size: int, start: int = 0) -> Piece:
    """What the source reads of a line of `size` bytes, with its line end."""
    whole = piece(data, start=start)
    return replace(whole, span=replace(whole.span, end=start + size, records=1))


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_longer_line_is_a_dead_letter_with_its_first_bytes(name: str, end: bytes) -> None:
    good = GOOD[name] + b"\n"
    long = b"x" * (LIMIT + 1)
    parsed = parse(name, piece(good + long + end + good, start=10))
    assert parsed.rows["offset"].to_list() == [10, 10 + len(good + long + end)]
    assert parsed.rejected.drop("line").rows() == [
        (
            FILE_ID,
            10 + len(good),
            PATH,
            b"x" * 1024,
            "too_long",
            f"{len(long + end)} bytes with its line end; LOG_MAX_LINE_BYTES is {LIMIT}",
        )
    ]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize(("size", "reason"), [(LIMIT, "bad_json"), (LIMIT + 1, "too_long")])
def test_the_line_end_does_not_count(end: bytes, size: int, reason: str) -> None:
    parsed = parse("json", piece(b"x" * size + end))
    assert parsed.rejected["reason"].to_list() == [reason]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_limit_counts_bytes_of_the_file(encoding: str) -> None:
    unit = Encoding(encoding).unit
    lines = ["x" * (LIMIT // unit), "x" * (LIMIT // unit + 1), ""]
    given = piece("\n".join(lines).encode(encoding), encoding=encoding)
    refused = parse("json", given, encoding).rejected.sort("offset")
    assert refused["reason"].to_list() == ["bad_json", "too_long"]
    assert refused["raw"][1] == ("x" * (1024 // unit)).encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("data", [b"", b"{", b"{" * 1024, b"{" * 4099])
def test_the_first_bytes_of_a_line_are_one_dead_letter(encoding: str, data: bytes) -> None:
    size = 5 * 2**30
    parsed = parse("json", first_bytes(data, size, start=2**40), encoding)
    assert parsed.rows.is_empty()
    assert parsed.rejected.drop("line").rows() == [
        (
            FILE_ID,
            2**40,
            PATH,
            data[:1024],
            "too_long",
            f"{size} bytes with its line end; LOG_MAX_LINE_BYTES is {LIMIT}",
        )
    ]


def test_the_first_bytes_of_a_line_are_never_a_row() -> None:
    parsed = parse("json", first_bytes(GOOD["json"], len(GOOD["json"]) + 10))
    assert parsed.rows.is_empty()
    assert parsed.rejected["reason"].to_list() == ["too_long"]


def test_a_long_line_is_not_asked_whether_it_is_text() -> None:
    parsed = parse("json", piece(b"\xff" * (LIMIT + 1) + b"\n" + GOOD["json"]))
    assert parsed.rows.height == 1
    assert parsed.rejected["reason"].to_list() == ["too_long"]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_rest_of_a_stored_line_is_a_dead_letter(name: str, encoding: str) -> None:
    good = (GOOD[name] + b"\n").decode().encode(encoding)
    rest = (GOOD[name] + b"\r\n").decode().encode(encoding)  # a line as any other, by its looks
    given = piece(rest + good * 2, start=50, encoding=encoding, continued=True)
    parsed = parse(name, given, encoding)
    assert parsed.rows["offset"].to_list() == [50 + len(rest), 50 + len(rest + good)]
    (refused,) = parsed.rejected.iter_rows(named=True)
    assert (refused["offset"], refused["reason"]) == (50, "continued")
    assert refused["raw"] == GOOD[name].decode().encode(encoding)
    assert "rest of a line" in refused["detail"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_nothing_is_stored_of_an_empty_rest(end: bytes) -> None:
    parsed = parse("json", piece(end + GOOD["json"], start=50, continued=True))
    assert parsed.rows["offset"].to_list() == [50 + len(end)]
    assert parsed.rejected.is_empty()


def test_a_rest_may_be_all_there_is() -> None:
    parsed = parse("json", piece(b"rest", start=50, continued=True))
    assert parsed.rows.is_empty()
    assert parsed.rejected.select("offset", "raw").rows() == [(50, b"rest")]


def test_a_rest_that_is_too_long_is_kept_as_its_first_bytes() -> None:
    parsed = parse("json", piece(b"x" * (LIMIT + 1), start=50, continued=True))
    assert parsed.rejected.select("raw", "reason").rows() == [(b"x" * 1024, "too_long")]


def test_only_the_first_lines_of_continued_segments_are_rests() -> None:
    good = GOOD["json"] + b"\n"
    parsed = parse(
        "json",
        together(
            piece(good, 1, "/1.log"),
            piece(b"rest of 2\n" + good, 2, "/2.log", 7, continued=True),
            piece(good + b"bad\n", 3, "/3.log", 7),
            piece(b"\n" + good, 4, "/4.log", 7, continued=True),
            piece(b"rest of 5", 5, "/5.log", 7, continued=True),
            longest=LIMIT,
        ),
    )
    assert parsed.rows["file_id"].to_list() == [1, 2, 3, 4]
    refused = parsed.rejected.sort("file_id").select("file_id", "offset", "source", "reason")
    assert refused.rows() == [
        (2, 7, "/2.log", "continued"),
        (3, 7 + len(good), "/3.log", "bad_json"),
        (5, 7, "/5.log", "continued"),
    ]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_line_ends_with_its_segment(encoding: str) -> None:
    line = '{"ts":0,"message":"caf\u00e9"}'.encode(encoding)
    parts = [piece(line, number, f"/{number}.log", encoding=encoding) for number in (1, 2, 3)]
    parsed = parse("json", together(*parts, encoding=encoding))
    assert parsed.rows["file_id"].to_list() == [1, 2, 3]
    assert parsed.rows["message"].to_list() == ["caf\u00e9"] * 3
