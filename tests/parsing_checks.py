"""What the tests of all formats share: batches of lines, and rows that can be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import compress
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as st

import native
from connectors.batch import COLUMNS, Parsed, Span, Stream, Taken, with_nulls
from connectors.encodings import Encoding
from connectors.errors import MalformedLine
from connectors.sources.records import Piece, taken
from flows.parsing.fields import MISFITS
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Format, parser

COMPILED = native.library
FILE_ID = 2**64 - 1
PATH = "/var/log/access.log"
SEEN = int(datetime(2026, 11, 23, tzinfo=timezone.utc).timestamp()) * 1_000_000
"""When the streams of the tests were seen first, as `Span.seen`: it is the year of the samples."""

_EMPTY = {
    name: {pl.String(): "", pl.Boolean(): False, pl.Float64(): None}.get(dtype, 0)
    for name, dtype in COLUMNS.items()
}
_IDENTITY = ("file_id", "offset", "line", "source")


GO_DURATIONS = [
    ("0s", 0.0),
    ("1.2ms", 0.0012),
    ("16.205332ms", 0.016205332),
    ("1m3.5s", 63.5),
    ("1h2m", 3720.0),
    ("2562047h47m16.854775807s", 9223372036.854775807),
    ("100ns", 1e-07),
    ("1.5ns", 1.5e-09),
    ("2us", 2e-06),
    ("2\u00b5s", 2e-06),
    ("2.25\u03bcs", 2.25e-06),
    ("12345678901234567890h", 4.444444404444444e22),
]
"""Durations as Go writes them, and their seconds."""


def utc(*parts: int) -> datetime:
    """This moment in UTC."""
    year, month, day, *clock = parts
    return datetime(year, month, day, *clock, tzinfo=timezone.utc)


def piece(
    data: bytes,
    file_id: int = FILE_ID,
    path: str = PATH,
    start: int = 0,
    *,
    encoding: str = "utf-8",
    continued: bool = False,
    header: str = "",
) -> Piece:
    """Bytes that begin at `start` of their file, from its second line on."""
    stream, end = Stream(file_id, path), start + len(data)
    span = Span(stream, start, end, 1, 0, continued=continued, seen=SEEN, header=header)
    return Piece.of(span, data, Encoding(encoding))


def together(*pieces: Piece, encoding: str = "utf-8", longest: int = 1024 * 1024) -> Taken:
    """One batch of all these, as the source makes it."""
    return taken(pieces, Encoding(encoding), longest)


def batch(
    data: bytes, *place: Any, encoding: str = "utf-8", longest: int = 1024 * 1024, **more: Any
) -> Taken:
    """One batch of one `piece`, whose other parameters these are."""
    one = piece(data, *place, encoding=encoding, **more)
    return together(one, encoding=encoding, longest=longest)


def parse(
    name: str, data: bytes, time_zone: str = "UTC", encoding: str = "utf-8", header: str = ""
) -> Parsed:
    """The batch as the format's parser returns it."""
    return parser(name, time_zone)(batch(data, encoding=encoding, header=header))


def row_of(name: str, line: str, time_zone: str = "UTC") -> dict[str, Any]:
    """The row that one good line becomes, less its identity, with None where NaN is none."""
    parsed = parse(name, line.encode() + b"\n", time_zone)
    assert parsed.rejected.is_empty(), parsed.rejected.to_dicts()
    (row,) = with_nulls(parsed.rows).iter_rows(named=True)
    return {key: value for key, value in row.items() if key not in _IDENTITY}


def misfits_of(name: str, line: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The row that a line becomes, less its identity, and its misfits by column."""
    return row_of(name, line), dict(parse(name, line.encode() + b"\n").misfits)


def refusal_of(name: str, line: str) -> tuple[str, str]:
    """Reason and detail of the dead letter that one bad line becomes."""
    parsed = parse(name, line.encode() + b"\n")
    assert parsed.rows.is_empty(), parsed.rows.to_dicts()
    (refused,) = parsed.rejected.iter_rows(named=True)
    return refused["reason"], refused["detail"]


def filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with every column of the store; attributes as JSON (RFC 8259) of one spelling."""
    found = json.loads(attributes_of(row), parse_constant=pytest.fail)
    attributes = json.dumps(found, sort_keys=True)
    found = {name: value for name, value in row.items() if name in COLUMNS}
    if math.isnan(found.get("duration") or 0):
        del found["duration"]
    return {**_EMPTY, **found, "attributes": attributes}


def certain(form: Format, lines: Sequence[str], *, spelled: bool = False) -> list[bool]:
    """`agreed`, also in tests that run without the compiled part."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(native, "library", COMPILED)
        return agreed(form, lines, spelled=spelled)


def agreed(form: Format, lines: Sequence[str], *, spelled: bool = False) -> list[bool]:
    """Which lines the compiled part is certain of; checks each of them against the definition.

    Lone surrogates stand for bytes, as `surrogateescape` has it. `spelled`: attributes are to be
    spelled as there, too.
    """
    raws = [line.encode(errors="surrogateescape") for line in lines]
    frame = form.columns(Lines(b"".join(raw + b"\n" for raw in raws)))
    assert len(frame) == len(lines)
    assert frame.schema[OK] == pl.Boolean
    for name, dtype in frame.drop(OK).schema.items():
        assert dtype == COLUMNS[name], name
    flags: list[bool] = frame[OK].to_list()
    sure = with_nulls(frame.filter(OK))
    empty = {name: {**_EMPTY, "attributes": "{}", OK: True}[name] for name in sure.columns}
    for raw, values in zip(compress(raws, flags), sure.iter_rows(), strict=True):
        try:
            expected = form.line(raw.decode().removesuffix("\r"))
        except (MalformedLine, UnicodeDecodeError) as refusal:
            raise AssertionError(f"accepted {raw!r}, but {refusal}") from None
        row = dict(zip(sure.columns, values, strict=True))
        if row != {**empty, **expected}:  # it is quicker, and nearly always so
            assert MISFITS not in expected, raw
            assert filled(row) == filled(expected), raw
            assert not spelled or attributes_of(row) == attributes_of(expected), raw
    return flags


def attributes_of(row: Mapping[str, Any]) -> str:
    """As they are spelled."""
    return str(row.get("attributes", "{}"))


def mutated(lines: st.SearchStrategy[str], inserts: str) -> st.SearchStrategy[str]:
    """The lines, some of them with a few characters dropped, doubled or replaced."""
    edit = st.tuples(st.floats(0, 1), st.sampled_from(["", "double", *inserts]))

    def apply(line: str, edits: list[tuple[float, str]]) -> str:
        for where, what in edits:
            place = int(where * len(line))
            found = line[place : place + 1]
            line = line[:place] + (2 * found if what == "double" else what) + line[place + 1 :]
        return line

    return st.builds(apply, lines, st.one_of(st.just([]), st.lists(edit, max_size=3)))
