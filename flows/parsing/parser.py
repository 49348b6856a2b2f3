"""The parse step: lines in, columns out, and a dead letter for every line that does not fit.

A format says twice what its lines are. `line` is the definition: one line at a time, in plain
Python, with a reason for every refusal. `columns` is the fast way for the lines that are as usual;
where it is not sure, it leaves the line to `line`. So a batch costs what columns cost, and no odd
line is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.batch import COLUMNS, REJECTED, Batch
from connectors.errors import MalformedLine
from flows.parsing import FORMATS
from flows.parsing.lines import Lines, Numbers

Row = dict[str, object]
"""One parsed line: names of `COLUMNS` to values of their Python types; absent means empty."""

OK = "ok"
"""Name of the column by which `Format.columns` says which lines it is sure of."""


class Format(Protocol):
    """How the lines of one format become rows."""

    def columns(self, lines: Lines) -> pl.DataFrame:
        """One row a line, in order: some of `COLUMNS`, and `ok`, true where the row is certain."""

    def line(self, text: str) -> Row:
        """One line, without its line end. Raises `MalformedLine` if it is not of this format."""


def parser(name: str, time_zone: str) -> Callable[[Batch], Batch]:
    """The parse step for the format `name`; `time_zone` reads times that carry no zone."""
    form: Format = import_module(FORMATS[name]).make(ZoneInfo(time_zone))

    def parse(batch: Batch) -> Batch:
        every = Lines(batch.data)
        identity = _identity(batch, every)
        lines, kept = every.without_empty()
        if kept is not None:
            identity = identity[kept]
        if not len(lines):
            return replace(batch, data=b"")
        frame = form.columns(lines)
        odd = np.flatnonzero(~frame[OK].to_numpy())
        frame = frame.drop(OK).hstack(identity)
        if not len(odd):
            return replace(batch, data=b"", rows=frame)
        rows, rejected = _ask_one_by_one(form, lines, odd, identity)
        usual = np.ones(len(lines), np.bool_)
        usual[odd] = False
        frame = pl.concat([frame.filter(pl.Series(usual)), rows], how="diagonal")
        return replace(batch, data=b"", rows=_filled(frame), rejected=rejected)

    return parse


def _identity(batch: Batch, lines: Lines) -> pl.DataFrame:
    """`file_id`, `offset` and `source` of every line."""
    counts = [segment.lines for segment in batch.segments]
    lengths = np.array([segment.end - segment.start for segment in batch.segments], np.int64)
    shift = np.array([segment.start for segment in batch.segments], np.int64)
    shift -= np.cumsum(lengths) - lengths
    which = pl.Series(np.repeat(np.arange(len(counts), dtype=np.uint32), counts))
    return pl.DataFrame(
        {
            "file_id": pl.Series([s.file_id for s in batch.segments], dtype=pl.UInt64)[which],
            "offset": (lines.starts[:-1] + np.repeat(shift, counts)).astype(np.uint64),
            "source": pl.Series([s.path for s in batch.segments], dtype=pl.String)[which],
        }
    )


def _ask_one_by_one(
    form: Format, lines: Lines, numbers: Numbers, identity: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    good: list[int] = []
    rows: list[Row] = []
    bad: list[int] = []
    refusals: list[tuple[bytes, str, str]] = []
    for number in numbers.tolist():
        raw = lines.raw(number)
        try:
            rows.append(form.line(_decode(raw)))
            good.append(number)
        except MalformedLine as refusal:
            bad.append(number)
            refusals.append((raw, refusal.reason, refusal.detail))
    present = {name: dtype for name, dtype in COLUMNS.items() if any(name in row for row in rows)}
    parsed = pl.DataFrame(rows, schema=present).hstack(identity[good])
    refused = pl.DataFrame(
        refusals,
        schema={name: REJECTED[name] for name in ("raw", "reason", "detail")},
        orient="row",
    )
    return parsed, identity[bad].hstack(refused).select(*REJECTED)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedLine(
            "invalid_utf8", f"byte {raw[error.start]:#04x} at position {error.start} is not UTF-8"
        ) from None


def _filled(frame: pl.DataFrame) -> pl.DataFrame:
    """Every missing value as empty text, 0 or `{}`: stored columns hold no nulls."""
    empty = {pl.String(): pl.lit(""), pl.Boolean(): pl.lit(False)}
    return frame.with_columns(
        pl.col(name).fill_null(
            pl.lit("{}") if name == "attributes" else empty.get(frame.schema[name], pl.lit(0))
        )
        for name in frame.columns
        if name != "timestamp"
    )
