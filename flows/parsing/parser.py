"""The parse step: lines in, columns out, and a dead letter for every line that does not fit.

A format has a definition, `line`: one line at a time, in plain Python, with a reason for every
refusal. `columns` is what the compiled part makes of the lines that are as usual; where it is not
sure, it leaves the line to `line`. So a batch costs what columns cost, and no odd line is lost.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.batch import COLUMNS, Parsed, Taken
from connectors.encodings import Encoding
from connectors.errors import MalformedLine
from flows.parsing.choice import describe
from flows.parsing.file_lines import DeadLetter, FileLines
from flows.parsing.lines import Lines, Numbers
from flows.parsing.suggest import fitting

Row = dict[str, object]
"""One parsed line: names of `COLUMNS` to values of their Python types; absent means empty."""

MISFITS = "misfits"
"""The key by which a `Row` says in which columns a value of the line does not fit (a tuple)."""

OK = "ok"
"""Name of the column by which `Format.columns` says which lines it is sure of."""


class Format(Protocol):
    """How the lines of one format become rows."""

    def columns(self, lines: Lines) -> pl.DataFrame:
        """One row a line, in order: some of `COLUMNS`, and `ok`, true where the row is certain."""

    def line(self, text: str) -> Row:
        """One line, without its line end. Raises `MalformedLine` if it is not of this format."""


DURATION_UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""Values of `LOG_DURATION_UNIT`: 10^shift of the unit are a second."""

_SHOWN = 160  # characters of a line, in a sentence

RAW = "raw_base64"
"""The attribute that has the bytes of a line that is not of its encoding."""


def parser(
    name: str,
    time_zone: str,
    encoding: str = "utf-8",
    max_line_bytes: int = 1024 * 1024,
    duration_unit: str = "s",
) -> Callable[[Taken], Parsed]:
    """The parse step for the format `name`; `time_zone` reads times that carry no zone.

    Files are of this `encoding`; a line of more than `max_line_bytes` is no line of any format.
    Durations whose unit nobody names are in `duration_unit`.
    """
    zone, shift = ZoneInfo(time_zone), DURATION_UNITS[duration_unit]
    form = describe(name).make(zone, shift)
    written = Encoding(encoding)

    def advise(text: str, why: MalformedLine) -> str:
        return f"{text[:_SHOWN]!r} is no line of LOG_FORMAT={name} ({why.reason}), {_other(text)}"

    def parse(batch: Taken) -> Parsed:
        every = FileLines(batch, written)
        filler = batch.filler + every.filler
        reject = partial(_reject, batch, written)
        unfit = every.unfit(max_line_bytes)
        lines, kept = every.lines.without([number for number, _, _ in unfit])
        if not len(lines):
            return batch.parsed(rejected=every.dead_letters(unfit), filler=filler, reject=reject)
        frame = form.columns(lines)
        sure = frame.drop_in_place(OK)
        identity = every.identity if kept is None else every.identity[kept]
        frame = frame.hstack(identity)
        refused: list[DeadLetter] = []
        misfits: Counter[str] = Counter()
        if not sure.all():
            odd = np.flatnonzero(~sure.to_numpy())
            if kept is not None:
                odd = kept[odd]
            rows, refused = _ask_one_by_one(form, every, odd, misfits)
            frame = filled(pl.concat([frame.filter(sure), rows], how="diagonal"))
        return batch.parsed(
            frame,
            rejected=every.dead_letters(unfit + refused),
            fits=tuple(every.fits(kept, refused, advise)),
            misfits=misfits,
            filler=filler,
            reject=reject,
        )

    return parse


def _other(text: str) -> str:
    """Which formats a line fits that does not fit the one of the settings."""
    if found := [f"LOG_FORMAT={name}" for name, _ in fitting([text])]:
        return f"but one of {' and of '.join(found)}."
    return "nor of any other format: docs/formats.md says what each of them takes."


def _reject(batch: Taken, encoding: Encoding, refused: pl.DataFrame) -> pl.DataFrame:
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
    form: Format, lines: FileLines, numbers: Numbers, misfits: Counter[str]
) -> tuple[pl.DataFrame, list[DeadLetter]]:
    """The rows of these lines, and the dead letters; counts the misfits of the rows."""
    good: list[int] = []
    rows: list[Row] = []
    refused: list[DeadLetter] = []
    for number in numbers.tolist():
        text, is_all = lines.text(number)
        try:
            row = form.line(text)
        except MalformedLine as refusal:
            # A copy, for its traceback would hold all lines until garbage is looked for.
            copy = MalformedLine(refusal.reason, refusal.detail)
            refused.append((number, lines.raw(number), copy))
            continue
        columns = row.pop(MISFITS, ())
        assert isinstance(columns, tuple)
        misfits.update(columns)
        if not is_all:
            row["attributes"] = _with_bytes(str(row.get("attributes", "{}")), lines.raw(number))
        rows.append(row)
        good.append(number)
    present = {name: dtype for name, dtype in COLUMNS.items() if any(name in row for row in rows)}
    return pl.DataFrame(rows, schema=present).hstack(lines.identity[good]), refused


def _with_bytes(attributes: str, raw: bytes) -> str:
    """The attributes, and the bytes of their line."""
    whole = {**json.loads(attributes), RAW: b64encode(raw).decode()}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


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
