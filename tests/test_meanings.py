"""What travels with a span: by which format, near which time and behind which header it is read."""

from __future__ import annotations

import polars as pl
import pytest

from connectors.batch import Span, Stream, Taken
from connectors.encodings import UTF_8
from connectors.sources.evidence import Evidence
from connectors.sources.records import Piece, taken
from flows.parsing import FORMATS
from flows.parsing.choice import describe
from flows.parsing.parser import parser

NAMES = ("json", "combined", "logfmt", "api_requests", "cri")


def batch_of(lines: list[tuple[int, str, str]]) -> Taken:
    """Each (file, format, line) as a span of its own, with an empty line behind."""
    pieces = []
    for number, (file, form, line) in enumerate(lines):
        data = line.encode() + b"\n\n"
        span = Span(Stream(file, f"/{form}.log"), number * 1000, 0, 0, 0, format=form)
        span = Span(span.stream, span.start, span.start + len(data), 0, 2, format=form)
        pieces.append(Piece.of(span, data, UTF_8))
    return taken(pieces, UTF_8, 1024)


def test_each_file_of_a_batch_is_read_by_its_own_format() -> None:
    lines = [
        (1 + number % len(NAMES), name, line)
        for number, (name, line) in enumerate(
            (name, line) for name in NAMES for line in describe(name).samples
        )
    ]
    lines = [(NAMES.index(form) + 1, form, line) for _, form, line in lines]
    lines = lines[::2] + lines[1::2]  # formats take turns
    together = parser("json", "UTC")(batch_of(lines))
    alone = [parser(form, "UTC")(batch_of([line])) for line in lines for form in [line[1]]]
    assert len(together.rows) == len(lines)
    for number, (file, form, _) in enumerate(lines):
        row = together.rows.filter(pl.col("file_id") == file, pl.col("offset") == number * 1000)
        expected = alone[number].rows
        columns = [name for name in expected.columns if name not in ("file_id", "offset", "line")]
        assert row.select(columns).rows() == expected.select(columns).rows(), form
    files = together.rows["file_id"].to_list()
    assert files == sorted(files, key=[line[0] for line in lines[::-1]].index, reverse=True)


def test_a_line_that_does_not_fit_the_format_of_its_file_is_a_dead_letter_of_it() -> None:
    good = describe("combined").samples[0]
    batch = batch_of([(1, "combined", good), (2, "json", good), (1, "combined", good)])
    parsed = parser("logfmt", "UTC")(batch)
    assert parsed.rows["offset"].to_list() == [0, 2000]
    assert parsed.rejected.select("file_id", "offset", "reason").rows() == [(2, 1000, "bad_json")]
    assert [(fit.lines, fit.refused) for fit in parsed.fits] == [(1, 0), (1, 1), (1, 0)]
    assert "LOG_FORMAT=combined" in parsed.fits[1].advice


def test_spans_that_name_no_format_are_of_that_of_the_settings() -> None:
    for name in FORMATS:
        parsed = parser(name, "UTC")(batch_of([(1, "", describe(name).samples[0])]))
        assert len(parsed.rows) == 1, name


@pytest.mark.parametrize("framing", ["", "java", r"^\d{4} \{", "continues:{ x"])
def test_a_proof_of_an_earlier_version_goes_on_to_count(framing: str) -> None:
    proof = f"1 2 3 4 5 {framing}".strip()
    evidence = Evidence.of(proof)
    assert evidence == Evidence(1, 2, 3, 4, 5, framing=framing)
    assert Evidence.of(evidence.proof) == evidence


def test_a_proof_keeps_how_lines_are_meant() -> None:
    found = Evidence(1, 2, 3, 4, 5, framing="go", seen=6, format="cri:json", header="a,b c")
    assert Evidence.of(found.proof) == found
    assert found.meant(Span(Stream(1, "a"), 0, 1, 0, 1)).header == "a,b c"
