"""The one item type that travels through a flow: log lines, first as bytes, then as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from polars import selectors

from connectors.encodings import UTF_8, Encoding
from connectors.errors import MalformedLine

COLUMNS: dict[str, pl.DataType] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "customer_id": pl.String(),
    "method": pl.String(),
    "request_path": pl.String(),
    "endpoint": pl.String(),
    "status_code": pl.UInt16(),
    "status_class": pl.String(),
    "success": pl.Boolean(),
    "duration": pl.Float64(),
    "client_ip": pl.String(),
    "user_agent": pl.String(),
    "referer": pl.String(),
    "bytes_sent": pl.UInt64(),
    "level": pl.String(),
    "message": pl.String(),
    "host": pl.String(),
    "source": pl.String(),
    "attributes": pl.String(),
    "file_id": pl.UInt64(),
    "offset": pl.UInt64(),
    "line": pl.UInt64(),
}
"""Columns a stored line can have, with their types. `duration` is in seconds, `source` is the path
of the file, `attributes` a JSON object of everything else the line had, `offset` the line's first
byte in the file, `line` its number there, from 0, which is for stores that need it and need not be
stored; (`file_id`, `offset`) is the identity of a line. No column holds nulls: a format leaves out
the columns it never has, and what a line lacks is empty text or 0, which stores fill in, too. Only
of a duration, which may be 0, none is none: NaN in a batch, null in a store."""

ENRICHED: dict[str, dict[str, pl.DataType]] = {
    "user_agent": {
        "browser_family": pl.String(),
        "browser_version": pl.String(),
        "os_family": pl.String(),
        "os_version": pl.String(),
        "device_family": pl.String(),
        "device_type": pl.String(),
        "is_bot": pl.Boolean(),
    },
    "geoip": {
        "country": pl.String(),
        "region": pl.String(),
        "region_code": pl.String(),
        "city": pl.String(),
        "latitude": pl.Float64(),
        "longitude": pl.Float64(),
        "asn": pl.UInt32(),
    },
    "visitor": {"first_time_visit": pl.Boolean()},
    "patterns": {"pattern": pl.String(), "pattern_id": pl.String()},
}
"""Names of the enrichers that `ENRICHERS` turns on -> the columns that each adds to `COLUMNS`.
Tables need them only where their enricher is on."""


def with_nulls(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a batch with null in the place of NaN, for those who know null."""
    return rows.with_columns(selectors.float().fill_nan(None))


def columns_with(enrichers: Iterable[str]) -> dict[str, pl.DataType]:
    """`COLUMNS`, and those of these enrichers."""
    return COLUMNS | {
        column: ENRICHED[name][column] for name in enrichers for column in ENRICHED[name]
    }


PLACE = ["file_id", "offset"]
"""The columns that say which line it is."""

REJECTED: dict[str, pl.DataType] = {
    "file_id": pl.UInt64(),
    "offset": pl.UInt64(),
    "line": pl.UInt64(),
    "source": pl.String(),
    "raw": pl.Binary(),
    "reason": pl.String(),
    "detail": pl.String(),
}
"""Columns of a line that could not be parsed; `raw` is its bytes without the line end."""

NONE_REJECTED = pl.DataFrame(schema=REJECTED)
"""No dead letters."""

_NO_ROWS = pl.DataFrame(schema=COLUMNS)

REFUSED: dict[str, pl.DataType] = {
    "file_id": pl.UInt64(),
    "offset": pl.UInt64(),
    "line": pl.UInt64(),
    "detail": pl.String(),
}
"""Columns of a row that a store refuses; `detail` is what the store says of it."""

NONE_REFUSED = pl.DataFrame(schema=REFUSED)
"""No refused rows."""


def without_bytes(refused: pl.DataFrame) -> pl.DataFrame:
    """Dead letters of refused rows whose bytes nobody has."""
    missing = {"source": pl.lit(""), "raw": pl.lit(b""), "reason": pl.lit("rejected")}
    return refused.with_columns(**missing).select(*REJECTED)


@dataclass(frozen=True)
class Stream:
    """Where records come from: a file, a table, a queue. Its id stays when its name changes.

    `name` is what people know it by: of a file, the path by which the globs cover it, also after it
    was renamed.
    """

    id: int
    name: str
    kind: str = "file"


@dataclass(frozen=True)
class Span:
    """The part [start, end) of one stream: whole records, the first of them number `first`.

    Places are the source's own; of a file they are bytes. By the `proof` the source knows the
    stream and the span again, and nobody else understands it. `continued`: the bytes begin inside a
    line whose beginning was stored as a line, when nobody was going to finish it.

    What else parsing has to know is of the source, too, so that it is the same after a restart.
    `seen`: when the records were seen first (microseconds since 1970, UTC; 0: nobody knows), near
    which times without a year are. `format`: what `LOG_FORMAT` would be for them (empty: what it
    is). `header`: the line that names their columns, in formats that have one.
    """

    stream: Stream
    start: int
    end: int
    first: int
    records: int
    proof: str = ""
    continued: bool = False
    seen: int = 0
    format: str = ""
    header: str = ""

    def overlaps(self, other: Span) -> bool:
        """Whether both have some place of one stream."""
        return (
            self.stream.id == other.stream.id and self.start < other.end and other.start < self.end
        )

    @property
    def entry(self) -> dict[str, str | int]:
        """What a ledger keeps of it, by the names of its columns, beside the stream's id."""
        return {
            "stream": self.stream.kind,
            "path": self.stream.name,
            "start": self.start,
            "end": self.end,
            "first_line": self.first,
            "lines": self.records,
            "proof": self.proof,
        }


@dataclass(frozen=True)
class Fit:
    """How many lines of one file, the empty ones excepted, were refused by the format.

    `advise`, where the fit `is_poor`, says why the first of them was refused, and what to try.
    """

    path: str
    lines: int
    refused: int
    advise: Callable[[], str] | None = field(default=None, compare=False)  # it takes its time

    @property
    def advice(self) -> str:
        """What it says; empty if there is nothing."""
        return self.advise() if self.advise else ""

    @property
    def is_poor(self) -> bool:
        """Whether more than half of the lines were refused."""
        return 2 * self.refused > self.lines


@dataclass(frozen=True)
class BlockId:
    """Identity of what one write stores: the writer's id, and a number that grows with the time."""

    writer: int
    sequence: int


@dataclass(frozen=True)
class Block:
    """What a batch is of, from the source to the store: spans of one or several streams.

    `filler` NULs before lines were skipped. `in_doubt` names the earlier block that this batch
    repeats: the store may hold some of its records already; unless the batch `is_whole`, the rest
    of the block cannot be read now. A writer records that it has the batch, or may have some of it,
    `in_order`: it waits until that is so of those before it. Whoever has stored the batch calls
    `acknowledge`.
    """

    spans: tuple[Span, ...]
    filler: int = field(default=0, kw_only=True)
    in_doubt: BlockId | None = field(default=None, kw_only=True)
    is_whole: bool = field(default=True, kw_only=True)
    in_order: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, kw_only=True)
    acknowledge: Callable[[], None] = field(default=lambda: None, kw_only=True)

    @property
    def records(self) -> int:
        """Records read, the empty ones included."""
        return sum(span.records for span in self.spans)


Numbers = npt.NDArray[np.int64]

_NONE: Numbers = np.zeros(0, np.int64)

DeadLetter = tuple[int, bytes, MalformedLine]
"""A record's number in its batch, what is kept of its bytes, and why it is no row."""


@dataclass(frozen=True, eq=False)
class Taken(Block):
    """Up to `STREAM_MAX_SIZE` records, as a source has taken them, span after span.

    `data` holds their bytes one after another, in `encoding`: record number i is what is from
    `starts[i]` to `starts[i + 1]`, with its line end, and `places[i]` is its place in its stream.
    `text` is all of it as UTF-8, each record with its line end, if `data` is not that already.
    `unfit` are the records that no format is asked about. `counts` says how many lines each record
    has (None: one).
    """

    data: bytes = b""
    starts: Numbers = field(default_factory=lambda: np.zeros(1, np.int64))
    places: Numbers = field(default_factory=_NONE.copy)
    encoding: Encoding = UTF_8
    text: bytes | None = None
    unfit: tuple[DeadLetter, ...] = ()
    counts: Numbers | None = None

    @classmethod
    def of(
        cls,
        spans: Iterable[Span],
        records: Sequence[bytes],
        places: Sequence[int],
        *,
        in_doubt: BlockId | None = None,
        acknowledge: Callable[[], None] = lambda: None,
    ) -> Taken:
        """A batch of records of UTF-8, each with its line end, at places of their own."""
        starts = np.cumsum([0, *map(len, records)], dtype=np.int64)
        return cls(
            tuple(spans),
            b"".join(records),
            starts,
            np.array(places, np.int64),
            in_doubt=in_doubt,
            acknowledge=acknowledge,
        )

    def parsed(self, rows: pl.DataFrame | None = None, **found: Any) -> Parsed:
        """The same batch, with what was found in it: the fields of `Parsed`."""
        mine = {one.name: getattr(self, one.name) for one in fields(Block)}
        return Parsed(rows=_NO_ROWS.clone() if rows is None else rows, **{**mine, **found})

    def raw(self, number: int) -> bytes:
        """The bytes of one record, without its line end."""
        return self.encoding.without_end(self.data[self.starts[number] : self.starts[number + 1]])

    def decoded(self, number: int) -> tuple[str, bool]:
        """One record without its line end, and whether that is all of it.

        What is not of the encoding is U+FFFD. A byte order mark at place 0 is left out.
        """
        raw, name = self.raw(number), self.encoding.name
        try:
            text, is_all = raw.decode(name), True
        except UnicodeDecodeError:
            text, is_all = raw.decode(name, "replace"), False
        return (text if self.places[number] else text.removeprefix("\ufeff")), is_all

    @cached_property
    def identity(self) -> pl.DataFrame:
        """`file_id`, `offset`, `line` and `source` of every record."""
        counts = [span.records for span in self.spans]
        before = np.cumsum([0, *counts])[:-1]
        shift = np.array([span.first for span in self.spans], np.int64) - before
        numbers = np.arange(len(self.places)) + np.repeat(shift, counts)
        which = pl.Series(np.repeat(np.arange(len(counts), dtype=np.uint32), counts))
        streams = [span.stream for span in self.spans]
        return pl.DataFrame(
            {
                "file_id": pl.Series([stream.id for stream in streams], dtype=pl.UInt64)[which],
                "offset": self.places.view(np.uint64),
                "line": numbers.view(np.uint64),
                "source": pl.Series([stream.name for stream in streams], dtype=pl.String)[which],
            }
        )

    def dead_letters(self, letters: Sequence[DeadLetter]) -> pl.DataFrame:
        """These records as the store has them (`REJECTED`)."""
        if not letters:
            return NONE_REJECTED
        refused = pl.DataFrame(
            [(raw, why.reason, why.detail) for _, raw, why in letters],
            schema={name: REJECTED[name] for name in ("raw", "reason", "detail")},
            orient="row",
        )
        return self.identity[[number for number, _, _ in letters]].hstack(refused).select(*REJECTED)


@dataclass(frozen=True)
class Parsed(Block):
    """The same as columns: `rows` (a subset of `COLUMNS`) and `rejected` (`REJECTED`).

    `fits` tells of each stream how many records were refused, `misfits` of each column how many
    values did not fit it, and are attributes, `dropped` of each setting how many rows it has
    dropped. `reject` makes dead letters (`REJECTED`) of rows that
    the store has `REFUSED`.
    """

    rows: pl.DataFrame = field(default_factory=_NO_ROWS.clone)
    rejected: pl.DataFrame = field(default_factory=NONE_REJECTED.clone)
    fits: tuple[Fit, ...] = ()
    misfits: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    reject: Callable[[pl.DataFrame], pl.DataFrame] = without_bytes


@dataclass(frozen=True)
class Stored:
    """How many rows of a batch are stored, and how many dead letters, by reason.

    `refused` are the rows that the store has `REFUSED`.
    """

    rows: int
    dead: Mapping[str, int]
    refused: pl.DataFrame = field(default_factory=NONE_REFUSED.clone, compare=False)

    @classmethod
    def of(cls, batch: Parsed, refused: pl.DataFrame = NONE_REFUSED) -> Stored:
        """What is stored of a batch of which the store has `REFUSED` these rows."""
        dead = Counter(batch.rejected["reason"].to_list())
        dead += Counter(rejected=len(refused))
        return cls(len(batch.rows) - len(refused), dead, refused)
