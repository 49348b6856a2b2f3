"""LOG_ENCODING in the parse step: the rows are those of the same text in UTF-8."""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import accumulate
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectors.encodings import Encoding
from flows.parsing import compiled
from flows.parsing.lines import Lines, is_ascii
from flows.parsing.parser import parser
from native.lines import can_read
from tests.parsing_checks import batch, parse, piece, together

pytestmark = pytest.mark.usefixtures("both_ways")

ENCODINGS = ["utf-8", "latin-1", "cp1252", "utf-16-le", "utf-16-be"]
MARKED = ["utf-8", "utf-16-le", "utf-16-be"]
TEMPLATES = {
    "api_requests": "2026-11-01 12:00:00 cust_1 /{} 200 0.5",
    "json": '{{"ts":"2026-11-01T12:00:00Z","path":"/{}","status":200}}',
    "logfmt": 'ts=2026-11-01T12:00:00Z path="/{}" status=200',
    "combined": '::1 - {} [01/Nov/2026:12:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "-"',
}
LINE = '{"ts":0,"message":"caf\u00e9"}'
AWKWARD = ["\0", "\r", "\u0085", "\u2028", "\x0b", "\x0c", "\x1c", "\ufeff", "\u0a0a", "\u0d0a"]


def encodable(encoding: str) -> st.SearchStrategy[str]:
    """Texts of one line in this encoding, odd ones not rarely."""
    known = [text for text in AWKWARD if text.encode(encoding, "ignore")]
    some = st.characters(exclude_characters="\n", exclude_categories=["Cs"])
    if not encoding.startswith("utf"):
        some = st.sampled_from(bytes(range(256)).decode(encoding, "ignore").replace("\n", ""))
    return st.lists(st.one_of(st.sampled_from(known), some), max_size=6).map("".join)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60, deadline=None)
@given(data=st.data(), encoding=st.sampled_from(ENCODINGS), marked=st.booleans())
def test_the_same_text_makes_the_same_rows_in_every_encoding(
    name: str, data: st.DataObject, encoding: str, marked: bool
) -> None:
    texts = encodable(encoding)
    usual = texts.map(TEMPLATES[name].format)
    ends = st.sampled_from(["\n", "\n", "\r\n"])
    drawn = st.lists(st.tuples(st.one_of(usual, texts), ends).map("".join), max_size=6)
    lines = [*data.draw(drawn), data.draw(st.one_of(st.just(""), usual))]
    assume(not lines[0].startswith("\ufeff"))  # a mark of its own: see the tests below
    assume(not (marked and lines[0].startswith("\0")))  # behind a mark, it is no filler
    mark = Encoding(encoding).mark if marked else b""
    written = parse(name, mark + "".join(lines).encode(encoding), encoding=encoding)
    plain = parse(name, "".join(lines).encode())

    def begins(encoding: str, mark: bytes) -> list[int]:
        sizes = [len(line.encode(encoding)) for line in lines]
        skipped = [len(line) - len(line.lstrip("\0")) for line in lines]  # filler
        behind = [0, *(len(mark) + size for size in accumulate(sizes))]
        unit = len("\0".encode(encoding))
        return [at + unit * filler for at, filler in zip(behind, [*skipped, 0], strict=True)]

    to_plain = dict(zip(begins(encoding, mark), begins("utf-8", b""), strict=True))
    for found, expected in [(written.rows, plain.rows), (written.rejected, plain.rejected)]:
        offsets = [to_plain[offset] for offset in found["offset"]]
        assert offsets == expected["offset"].to_list()
        unlike = ["offset", "raw"]
        assert found.drop(unlike, strict=False).equals(expected.drop(unlike, strict=False))
    for raw, offset, same in zip(
        written.rejected["raw"], written.rejected["offset"], plain.rejected["raw"], strict=True
    ):
        assert raw.removeprefix(b"" if offset else mark).decode(encoding) == same.decode()


def test_two_halves_of_characters_that_look_like_a_newline_are_none() -> None:
    rest = batch(b"\n\0", start=7, encoding="utf-16-le", continued=True)
    parsed = parser("json", "UTC")(rest)
    assert parsed.rejected.select("raw", "reason").rows() == [(b"\n\0", "continued")]


def test_two_halves_of_characters_that_look_like_filler_are_none() -> None:
    rest = batch(b"\0\0\n\n", start=7, encoding="utf-16-be", continued=True)
    parsed = parser("json", "UTC")(rest)
    refused = parsed.rejected.select("offset", "raw", "reason").rows()
    assert refused == [(7, b"\0", "continued"), (10, b"\n", "bad_json")]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), encoding=st.sampled_from(ENCODINGS))
def test_any_bytes_become_rows_and_dead_letters(data: st.DataObject, encoding: str) -> None:
    good = f"{LINE}\n".encode(encoding)
    some = [b"\n", b"\0", b"\r", b"\xd8", b"\xff\xfe", b"\xef\xbb\xbf", b"\x81", b"\n\0", good]
    contents = st.lists(st.sampled_from(some), min_size=1, max_size=9).map(b"".join)
    # Only the rest of a line can begin in the midst of a character.
    places = st.sampled_from([(0, False), (0, True), (7, True), (8, False), (8, True)])
    parts = [
        piece(data.draw(contents), number, start=start, encoding=encoding, continued=continued)
        for number in range(data.draw(st.integers(1, 3)))
        for start, continued in [data.draw(places)]
    ]
    parsed = parser("json", "UTC")(together(*parts, encoding=encoding, longest=len(good) + 4))
    identity = ["file_id", "offset"]
    found = pl.concat([parsed.rows.select(identity), parsed.rejected.select(identity)])
    assert found.is_unique().all()
    for refused in parsed.rejected.iter_rows(named=True):
        part = parts[refused["file_id"]]
        assert refused["raw"]
        assert part.data.startswith(refused["raw"], refused["offset"] - part.span.start)
    for file_id, offset in parsed.rows.select(identity).rows():
        part = parts[file_id]
        begin = offset - part.span.start
        assert LINE.encode(encoding) in part.data[begin : begin + len(good) + 4]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_offsets_count_bytes_of_the_file(encoding: str) -> None:
    line = f"{LINE}\n".encode(encoding)
    rows = parser("json", "UTC")(batch(line * 3, start=1000, encoding=encoding)).rows
    assert rows["offset"].to_list() == [1000 + number * len(line) for number in range(3)]
    assert rows["message"].to_list() == ["caf\u00e9"] * 3


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_are_empty_in_every_encoding(encoding: str, end: str) -> None:
    data = end.join(["", LINE, "", "", LINE, "", ""]).encode(encoding)
    parsed = parse("json", data, encoding=encoding)
    assert (parsed.rows.height, parsed.rejected.height) == (2, 0)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("character", ["\0", "\r", "\u0085", "\u2028", "\u0a0d", "\u0d0a"])
def test_only_a_newline_ends_a_line(encoding: str, character: str) -> None:
    if not character.encode(encoding, "ignore"):
        return
    bad = f"a{character}b"
    parsed = parse("json", f"{LINE}\n{bad}\n{LINE}\n".encode(encoding), encoding=encoding)
    assert parsed.rows.height == 2
    assert parsed.rejected["raw"].to_list() == [bad.encode(encoding)]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_dead_letters_keep_the_bytes_of_the_file(encoding: str) -> None:
    parsed = parse("json", f"{LINE}\r\ncaf\u00e9\r\n".encode(encoding), encoding=encoding)
    assert parsed.rejected["raw"].to_list() == ["caf\u00e9".encode(encoding)]
    assert parsed.rejected["reason"].to_list() == ["bad_json"]


OF_ANOTHER = [
    ("utf-8", b"\xff"),
    ("cp1252", b"\x81"),
    ("utf-16-le", b"\x00\xd8"),
    ("utf-16-be", b"\xdc\x00"),
]
"""Encodings, and bytes that are no text in them."""


@pytest.mark.parametrize(("encoding", "raw"), OF_ANOTHER)
def test_a_line_of_another_encoding_that_fits_no_format_is_one_dead_letter(
    encoding: str, raw: bytes
) -> None:
    good = f"{LINE}\n".encode(encoding)
    parsed = parse("json", good * 2 + raw + "\r\n".encode(encoding) + good, encoding=encoding)
    (refused,) = parsed.rejected.iter_rows(named=True)
    assert (refused["raw"], refused["reason"]) == (raw, "bad_json")
    assert refused["offset"] == 2 * len(good)
    assert parsed.rows.sort("offset")["message"].to_list() == ["caf\u00e9"] * 3


@pytest.mark.parametrize(("encoding", "bad"), OF_ANOTHER)
def test_a_line_of_another_encoding_is_a_row_with_its_bytes(encoding: str, bad: bytes) -> None:
    good = f"{LINE}\n".encode(encoding)
    raw = LINE.encode(encoding).replace("\u00e9".encode(encoding), bad)
    parsed = parse("json", good + raw + "\r\n".encode(encoding) + good, encoding=encoding)
    assert parsed.rejected.is_empty()
    stored = parsed.rows.sort("offset")
    assert stored["message"].to_list() == ["caf\u00e9", "caf\ufffd", "caf\u00e9"]
    attributes = [json.loads(text) for text in stored["attributes"]]
    assert attributes == [{}, {"raw_base64": b64encode(raw).decode()}, {}]


def test_every_byte_is_a_character_of_latin_1() -> None:
    every = bytes(byte for byte in range(256) if byte not in b'\n"\\' and byte >= 32)
    data = b'{"ts":0,"message":"' + every + b'"}\n'
    (message,) = parse("json", data, encoding="latin-1").rows["message"]
    assert message == every.decode("latin-1")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("last", ["{", "\n", "\u0a00", "a\u0a0a"])
def test_half_a_character_at_the_end_of_a_file_is_a_dead_letter(encoding: str, last: str) -> None:
    good, raw = f"{LINE}\n".encode(encoding), f"x{last}".encode(encoding)[:-1]
    parsed = parse("json", good + raw, encoding=encoding)
    assert parsed.rows.height == 1
    assert parsed.rejected["raw"].to_list() == [raw]
    assert parsed.rejected["reason"].to_list() == ["bad_json"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_after_half_a_character_is_read_as_it_is(encoding: str) -> None:
    good = f"{LINE}\n".encode(encoding)
    one = piece(good + b"\n", 1, "/1.log", encoding=encoding)
    two = piece(good, 2, "/2.log", encoding=encoding)
    parsed = parser("json", "UTC")(together(one, two, encoding=encoding))
    assert parsed.rows.select("file_id", "offset").rows() == [(1, 0), (2, 0)]
    assert parsed.rejected.select("file_id", "offset", "raw").rows() == [(1, len(good), b"\n")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_line_may_be_continued_within_a_character(encoding: str) -> None:
    good = f"{LINE}\n".encode(encoding)
    rest = "\u0a0axyz\n".encode(encoding)[1:]
    continued = batch(rest + good, start=101, encoding=encoding, continued=True)
    parsed = parser("json", "UTC")(continued)
    assert parsed.rows["offset"].to_list() == [101 + len(rest)]
    assert parsed.rows["message"].to_list() == ["caf\u00e9"]
    assert parsed.rejected.select("offset", "reason").rows() == [(101, "continued")]


@pytest.mark.parametrize("encoding", MARKED)
def test_a_byte_order_mark_is_skipped_in_the_text_but_not_in_offsets(encoding: str) -> None:
    mark, line = "\ufeff".encode(encoding), f"{LINE}\n".encode(encoding)
    parsed = parse("json", mark + line * 2, encoding=encoding)
    assert parsed.rejected.is_empty()
    assert parsed.rows["offset"].to_list() == [0, len(mark + line)]
    assert parsed.rows["message"].to_list() == ["caf\u00e9"] * 2


@pytest.mark.parametrize("encoding", MARKED)
def test_a_byte_order_mark_is_skipped_when_a_line_is_asked_alone(encoding: str) -> None:
    odd = '{"ts":0,"message":["caf\u00e9"]}'
    parsed = parse("json", f"\ufeff{odd}\n{LINE}\n".encode(encoding), encoding=encoding)
    assert sorted(parsed.rows["message"]) == ['["caf\u00e9"]', "caf\u00e9"]


@pytest.mark.parametrize("encoding", MARKED)
def test_a_byte_order_mark_of_a_bad_line_is_among_its_bytes(encoding: str) -> None:
    parsed = parse("json", "\ufeffbad\n".encode(encoding), encoding=encoding)
    assert parsed.rejected["raw"].to_list() == ["\ufeffbad".encode(encoding)]


@pytest.mark.parametrize("encoding", MARKED)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_byte_order_mark_alone_is_an_empty_line(encoding: str, end: str) -> None:
    first = piece(f"\ufeff{end}".encode(encoding), 1, encoding=encoding)
    second = piece(f"\ufeff{LINE}\n".encode(encoding), 2, encoding=encoding)
    parsed = parser("json", "UTC")(together(first, second, encoding=encoding))
    assert parsed.rejected.is_empty()
    assert parsed.rows.select("file_id", "offset").rows() == [(2, 0)]


@pytest.mark.parametrize("encoding", MARKED)
def test_only_the_first_bytes_of_a_file_are_a_byte_order_mark(encoding: str) -> None:
    line = f"\ufeff{LINE}\n".encode(encoding)
    later = parser("json", "UTC")(batch(line, start=100, encoding=encoding))
    assert later.rejected["reason"].to_list() == ["bad_json"]
    second = parse("json", line * 2, encoding=encoding)
    assert second.rejected["offset"].to_list() == [len(line)]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_encodings_without_a_byte_order_mark_skip_nothing(encoding: str) -> None:
    parsed = parse("json", b"\xef\xbb\xbf" + LINE.encode(encoding), encoding=encoding)
    assert parsed.rejected["reason"].to_list() == ["bad_json"]


def test_utf_8_is_parsed_from_the_very_bytes_that_were_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    def spy(text: bytes, *others: Any) -> bool:
        seen.append(text)
        return can_read(text, *others)

    monkeypatch.setattr(compiled, "can_read", spy)
    one, two = (piece(f"{LINE}\n".encode(), number, start=number) for number in (1, 2))
    for whole in (together(one), together(one, two)):
        parser("json", "UTC")(whole)
        assert seen[-1] is whole.data


@given(st.data(), st.sampled_from(ENCODINGS))
def test_lines_end_at_newlines_of_the_encoding(data: st.DataObject, name: str) -> None:
    encoding = Encoding(name)
    texts = data.draw(st.lists(encodable(name), max_size=5))
    lines = [f"{text}\n".encode(name) for text in texts]
    written = b"".join(lines) + data.draw(encodable(name)).encode(name)
    ends = list(accumulate(map(len, lines)))
    assert encoding.ends(written).tolist() == ends
    assert encoding.last_end(written) == (ends[-1] if ends else 0)
    assert encoding.count(written) == len(lines)


def test_lines_of_another_encoding_are_not_decoded_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    decode = Encoding._decoded

    def spy(self: Encoding, piece: bytes) -> str | None:
        decoded.append(len(piece))
        return decode(self, piece)

    monkeypatch.setattr(Encoding, "_decoded", spy)
    lines = Lines("caf\u00e9\n".encode("latin-1") * 1024)
    assert lines.text == b"????\n" * 1024
    assert sum(decoded) == len(lines.text) * 11  # the height of a tree with so many leaves


@given(st.binary(max_size=100) | st.text(st.characters(codec="ascii")).map(str.encode))
def test_whether_all_is_ascii_is_what_python_says(data: bytes) -> None:
    assert is_ascii(data) == data.isascii()
