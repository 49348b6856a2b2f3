"""The parse step: lines in, columns out, and a dead letter for every line that does not fit.

A format has a definition, `line`: one line at a time, in plain Python, with a reason for every
refusal. `columns` is what the compiled part makes of the lines that are as usual; it leaves every
line of which it is not certain to `line`. So a batch costs what columns cost, and none is lost.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.batch import COLUMNS, PLACE, DeadLetter, Fit, Numbers, Parsed, Span, Taken
from connectors.errors import MalformedLine
from connectors.sources.sense import is_directive
from flows.parsing import ANY, AUTO
from flows.parsing.choice import described
from flows.parsing.events import (
    OPEN_QUOTE,
    Heads,
    lines_of_events,
    split,
    whole_text,
    whole_texts,
    with_rest,
)
from flows.parsing.fields import MISFITS
from flows.parsing.lines import Lines
from flows.parsing.suggest import fitting
from flows.parsing.times import start_of_year, with_years

Row = dict[str, object]
"""One parsed line: names of `COLUMNS` to values of their Python types; absent means empty."""

OK = "ok"
"""Name of the column by which `Format.columns` says of which lines it is certain."""


class Format(Protocol):
    """How the lines of one format become rows."""

    def columns(self, lines: Lines) -> pl.DataFrame:
        """One row a line, in order: some of `COLUMNS`, and `ok`, true where the row is certain."""

    def line(self, text: str) -> Row:
        """One line, without its line end. Raises `MalformedLine` if it is not of this format."""


DURATION_UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""Values of `LOG_DURATION_UNIT`: 10^shift of the unit are a second."""

_SHOWN = 160  # characters of a line, in a sentence
_READERS_KEPT = 256
_NONE = np.zeros(0, np.int64)

RAW = "raw_base64"
"""The attribute that has the bytes of a line that is not of its encoding."""


def parser(
    name: str,
    time_zone: str,
    duration_unit: str = "s",
    zone_of: Callable[[str], str] = lambda stream: "",
) -> Callable[[Taken], Parsed]:
    """The parse step; `time_zone` reads times that carry no zone.

    `name` is the format of the spans that name none; a stream may have a zone of its own, by its
    name. Durations whose unit nobody names are in `duration_unit`.
    """
    shift, this_year = DURATION_UNITS[duration_unit], start_of_year()
    zone_named = lru_cache(maxsize=_READERS_KEPT)(zone_of)

    @lru_cache(maxsize=_READERS_KEPT)
    def reader(name: str, header: str, zone: str) -> _Reader:
        form = described(name, header).make(ZoneInfo(zone or time_zone), shift)
        return _Reader(name, header, form, ZoneInfo(zone or time_zone))

    if name == AUTO:  # of spans that were read before it was
        name = ANY
    reader(name, "", "")  # what is wrong with it shows at once

    def parse(batch: Taken) -> Parsed:
        readers = [
            reader(span.format or name, span.header, zone_named(span.stream.name))
            for span in batch.spans
        ]
        seen = {span.stream.id: span.seen or this_year for span in batch.spans}
        lines, unfit = _lines(batch), [number for number, _, _ in batch.unfit]
        found = [
            one.read(batch, lines, unfit + others, seen)
            for one, others in _each(batch.spans, readers)
        ]
        whole = found[0] if len(found) == 1 else _together(found, batch.spans)
        return batch.parsed(
            whole.rows,
            rejected=batch.dead_letters([*batch.unfit, *whole.refused]),
            fits=tuple(_fits(batch, whole.asked, whole.refused, readers)),
            misfits=whole.misfits,
            reject=partial(_reject, batch),
        )

    return parse


@dataclass(frozen=True)
class _Found:
    """What a format has made of the records numbered `asked` (None: of all); all are in order."""

    rows: pl.DataFrame | None = None
    asked: Numbers | None = None
    refused: list[DeadLetter] = field(default_factory=list)
    misfits: Counter[str] = field(default_factory=Counter)


class _Reader:
    """Reads the records of one format, whose columns a `header` may name."""

    def __init__(self, name: str, header: str, form: Format, zone: ZoneInfo) -> None:
        self._name = name
        self._zone = zone
        self._header = header
        self._form = form
        self._container = name.partition(":")[0]

    def advise(self, text: str, why: MalformedLine) -> str:
        """What to say of a record that was refused."""
        text = split(text)[0]
        named = f"{text[:_SHOWN]!r} is no line of LOG_FORMAT={self._name} ({why.reason})"
        return f"{named}, {_other(text)}"

    def read(
        self, batch: Taken, lines: Lines, unwanted: Sequence[int], seen: Mapping[int, int]
    ) -> _Found:
        """The rows of the records of a batch, which are `lines`, less the unwanted ones.

        `seen` says when those of each stream were seen first.
        """
        if self._header:
            unwanted = [*unwanted, *self._directives(lines)]
        events, kept = lines.without(unwanted)
        heads = None if batch.counts is None else Heads(whole_texts(self._container, events))
        lines = heads.lines if heads else events
        if not len(lines):
            return _Found(asked=kept)
        frame = self._form.columns(lines)
        certain = frame.drop_in_place(OK)
        if heads:
            frame, certain = heads.put_rests(frame, certain)
        identity = batch.identity if kept is None else batch.identity[kept]
        frame = frame.hstack(identity)
        refused: list[DeadLetter] = []
        misfits: Counter[str] = Counter()
        if not certain.all():
            others = np.flatnonzero(~certain.to_numpy())
            if kept is not None:
                others = kept[others]
            rows, refused = _ask_one_by_one(self._form, self._container, batch, others, misfits)
            frame = filled(pl.concat([frame.filter(certain), rows], how="diagonal"))
        return _Found(with_years(frame, seen, self._zone), kept, refused, misfits)

    def _directives(self, lines: Lines) -> list[int]:
        """The lines that are the header, or say something of the file."""
        first = self._header.encode()[0]
        return [
            number
            for number in lines.beginning_with(first).tolist()
            if is_directive(lines.raw(number).decode(errors="replace"), self._header)
        ]


def _each(spans: Sequence[Span], readers: Sequence[_Reader]) -> Iterator[tuple[_Reader, list[int]]]:
    """Each reader, and the numbers of the records that are not its own."""
    edges = np.cumsum([0, *(span.records for span in spans)])
    for reader in dict.fromkeys(readers):
        others = [at for at, other in enumerate(readers) if other is not reader]
        numbers = [np.arange(edges[at], edges[at + 1]) for at in others]
        yield reader, np.concatenate(numbers).tolist() if numbers else []


def _together(found: Sequence[_Found], spans: Sequence[Span]) -> _Found:
    """What several formats have made of the records of these spans, in the order of these."""
    asked = [some.asked for some in found if some.asked is not None]
    is_all = len(asked) < len(found)  # the spans of the others have no records
    frames = [some.rows for some in found if some.rows is not None]
    rows = None
    if frames:
        order = {span.stream.id: at for at, span in enumerate(spans)}
        rows = filled(pl.concat(frames, how="diagonal"))
        rank = rows["file_id"].replace_strict(order, return_dtype=pl.UInt32)
        rows = rows.hstack([rank.alias("rank")]).sort("rank", "offset").drop("rank")
    return _Found(
        rows,
        None if is_all else np.sort(np.concatenate([_NONE, *asked])),
        sorted((letter for some in found for letter in some.refused), key=lambda one: one[0]),
        sum((some.misfits for some in found), Counter()),
    )


def _lines(batch: Taken) -> Lines:
    if batch.text is None:
        return Lines(batch.data, batch.starts)
    if batch.counts is None:
        return Lines(batch.text)
    return lines_of_events(batch.text, batch.counts)


def _fits(
    batch: Taken,
    asked: Numbers | None,
    refused: list[DeadLetter],
    readers: Sequence[_Reader],
) -> Iterator[Fit]:
    """How the records that a format was asked about (None: all) fitted it; both are in order.

    The reader of a span is told the first record that was refused, if most were, and why.
    """
    edges = np.cumsum([0, *(span.records for span in batch.spans)])
    lines = edges if asked is None else np.searchsorted(asked, edges)
    wrong = np.searchsorted([number for number, _, _ in refused], edges)
    for at, span in enumerate(batch.spans):
        asked_of, refused_of = (int(found[at + 1] - found[at]) for found in (lines, wrong))
        fit = Fit(span.stream.name, asked_of, refused_of)
        if fit.is_poor:
            number, _, why = refused[wrong[at]]
            text = batch.decoded(number)[0]
            fit = replace(fit, advise=cache(partial(readers[at].advise, text, why)))
        yield fit


def _other(text: str) -> str:
    """Which format a line fits best that does not fit the one of the settings."""
    if found := fitting([text]):
        return f"but one of LOG_FORMAT={found[0][0]}."
    return "nor of any other format: docs/formats.md says what each of them takes."


def _reject(batch: Taken, refused: pl.DataFrame) -> pl.DataFrame:
    """Dead letters of rows that the store refuses, with the bytes of their lines."""
    places = batch.identity.with_row_index("number")
    found = refused.join(places, on=PLACE, how="left", maintain_order="left")
    return batch.dead_letters(
        [
            (number, batch.raw(number), MalformedLine("rejected", detail))
            for number, detail in found.select("number", "detail").rows()
        ]
    )


def _ask_one_by_one(
    form: Format, container: str, batch: Taken, numbers: Numbers, misfits: Counter[str]
) -> tuple[pl.DataFrame, list[DeadLetter]]:
    """The rows of these lines, and the dead letters; counts the misfits of the rows."""
    good: list[int] = []
    rows: list[Row] = []
    refused: list[DeadLetter] = []
    for number in numbers.tolist():
        text, is_all = batch.decoded(number)
        head, rest = (text, "") if batch.counts is None else split(whole_text(container, text))
        try:
            row = _row_of_event(form, head, rest)
        except MalformedLine as refusal:
            # A copy, for its traceback would hold all lines until garbage is looked for.
            copy = MalformedLine(refusal.reason, refusal.detail)
            refused.append((number, batch.raw(number), copy))
            continue
        columns = row.pop(MISFITS, ())
        assert isinstance(columns, tuple)
        misfits.update(columns)
        if not is_all:
            row["attributes"] = _with_bytes(str(row.get("attributes", "{}")), batch.raw(number))
        rows.append(row)
        good.append(number)
    present = {name: dtype for name, dtype in COLUMNS.items() if any(name in row for row in rows)}
    return pl.DataFrame(rows, schema=present).hstack(batch.identity[good]), refused


def _row_of_event(form: Format, head: str, rest: str) -> Row:
    """The row of an event; of one whose quote ends in another line, all is read as one line."""
    try:
        return with_rest(form.line(head), rest)
    except MalformedLine as refusal:
        if not rest or refusal.reason != OPEN_QUOTE:
            raise
    return form.line(f"{head}\n{rest}")


def _with_bytes(attributes: str, raw: bytes) -> str:
    """The attributes, and the bytes of their line."""
    whole = {**json.loads(attributes), RAW: b64encode(raw).decode()}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def filled(frame: pl.DataFrame) -> pl.DataFrame:
    """Every missing value as empty text, 0, NaN or `{}`: columns of a batch hold no nulls."""
    empty = {
        pl.String(): pl.lit(""),
        pl.Boolean(): pl.lit(False),
        pl.Float64(): pl.lit(float("nan")),
    }
    return frame.with_columns(
        pl.col(name).fill_null(
            pl.lit("{}") if name == "attributes" else empty.get(frame.schema[name], pl.lit(0))
        )
        for name in frame.columns
        if name != "timestamp"
    )
