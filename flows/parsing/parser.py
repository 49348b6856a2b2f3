"""The parse step: lines in, columns out, and a dead letter for every line that does not fit.

A format says twice what its lines are. `line` is the definition: one line at a time, in plain
Python, with a reason for every refusal. `columns` is the fast way for the lines that are as usual;
where it is not sure, it leaves the line to `line`. So a batch costs what columns cost, and no odd
line is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.batch import COLUMNS, Batch
from connectors.encodings import Encoding
from connectors.errors import MalformedLine
from flows.parsing import FORMATS
from flows.parsing.file_lines import DeadLetter, FileLines
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


def parser(
    name: str, time_zone: str, encoding: str = "utf-8", max_line_bytes: int = 1024 * 1024
) -> Callable[[Batch], Batch]:
    """The parse step for the format `name`; `time_zone` reads times that carry no zone.

    Files are of this `encoding`; a line of more than `max_line_bytes` is no line of any format.
    """
    form: Format = import_module(FORMATS[name]).make(ZoneInfo(time_zone))
    written = Encoding(encoding)

    def parse(batch: Batch) -> Batch:
        every = FileLines(batch, written)
        filler = batch.filler + every.filler
        batch = replace(batch, data=b"", filler=filler, reject=partial(_reject, batch, written))
        unfit = every.unfit(max_line_bytes)
        lines, kept = every.lines.without([number for number, _, _ in unfit])
        if not len(lines):
            return replace(batch, rejected=every.dead_letters(unfit))
        frame = form.columns(lines)
        sure = frame.drop_in_place(OK)
        identity = every.identity if kept is None else every.identity[kept]
        frame = frame.hstack(identity)
        if not sure.all():
            odd = np.flatnonzero(~sure.to_numpy())
            rows, refused = _ask_one_by_one(form, every, odd if kept is None else kept[odd])
            frame = filled(pl.concat([frame.filter(sure), rows], how="diagonal"))
            unfit += refused
        return replace(batch, rows=frame, rejected=every.dead_letters(unfit))

    return parse


def _reject(batch: Batch, encoding: Encoding, refused: pl.DataFrame) -> pl.DataFrame:
    """Dead letters of rows that the store refuses, with the bytes of their lines."""
    lines = FileLines(batch, encoding)
    places = lines.identity.with_row_index("number")
    found = refused.join(places, on=["file_id", "offset"], how="left", maintain_order="left")
    return lines.dead_letters(
        [
            (number, lines.raw(number), MalformedLine("rejected", detail))
            for number, detail in found.select("number", "detail").rows()
        ]
    )


def _ask_one_by_one(
    form: Format, lines: FileLines, numbers: Numbers
) -> tuple[pl.DataFrame, list[DeadLetter]]:
    good: list[int] = []
    rows: list[Row] = []
    refused: list[DeadLetter] = []
    for number in numbers.tolist():
        try:
            rows.append(form.line(lines.text(number)))
            good.append(number)
        except MalformedLine as refusal:
            # A copy, for its traceback would hold all lines until garbage is looked for.
            copy = MalformedLine(refusal.reason, refusal.detail)
            refused.append((number, lines.raw(number), copy))
    present = {name: dtype for name, dtype in COLUMNS.items() if any(name in row for row in rows)}
    return pl.DataFrame(rows, schema=present).hstack(lines.identity[good]), refused


def filled(frame: pl.DataFrame) -> pl.DataFrame:
    """Every missing value as empty text, 0 or `{}`: stored columns hold no nulls."""
    empty = {pl.String(): pl.lit(""), pl.Boolean(): pl.lit(False)}
    return frame.with_columns(
        pl.col(name).fill_null(
            pl.lit("{}") if name == "attributes" else empty.get(frame.schema[name], pl.lit(0))
        )
        for name in frame.columns
        if name != "timestamp"
    )
