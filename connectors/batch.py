"""The one item type that travels through a flow: log lines, first as bytes, then as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import polars as pl

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
the columns it never has, and stores fill them with empty text or 0."""

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
    """

    stream: Stream
    start: int
    end: int
    first: int
    records: int
    proof: str = ""
    continued: bool = False


@dataclass(frozen=True)
class Fit:
    """How many lines of one file, the empty ones excepted, were refused by the format.

    `advice`, where the fit `is_poor`: why the first of them was refused, and what to try.
    """

    path: str
    lines: int
    refused: int
    advice: str = ""

    @property
    def is_poor(self) -> bool:
        """Whether more than half of the lines were refused."""
        return 2 * self.refused > self.lines


@dataclass(frozen=True)
class BlockId:
    """Identity of what one write stores: the writer's id, and its own running number."""

    writer: int
    sequence: int


@dataclass(frozen=True)
class Block:
    """What a batch is of, from the source to the store: spans of one or several streams.

    `filler` NULs before lines were skipped. `in_doubt` names the earlier block that this batch
    repeats: the store may hold some of its records already; unless the batch `is_whole`, the rest
    of the block cannot be read now. Whoever has stored the batch calls `acknowledge`.
    """

    spans: tuple[Span, ...]
    filler: int = field(default=0, kw_only=True)
    in_doubt: BlockId | None = field(default=None, kw_only=True)
    is_whole: bool = field(default=True, kw_only=True)
    acknowledge: Callable[[], None] = field(default=lambda: None, kw_only=True)

    @property
    def records(self) -> int:
        """Records read, the empty ones included."""
        return sum(span.records for span in self.spans)


@dataclass(frozen=True)
class Taken(Block):
    """Up to `STREAM_MAX_SIZE` records, as a source has taken them.

    `data` is the spans' bytes one after another; a line longer than a batch makes a batch of its
    own, in which `data` is its first bytes only.
    """

    data: bytes = b""

    def parsed(self, rows: pl.DataFrame | None = None, **found: Any) -> Parsed:
        """The same batch, with what was found in it: the fields of `Parsed`."""
        mine = {one.name: getattr(self, one.name) for one in fields(Block)}
        return Parsed(rows=_NO_ROWS.clone() if rows is None else rows, **{**mine, **found})


@dataclass(frozen=True)
class Parsed(Block):
    """The same as columns: `rows` (a subset of `COLUMNS`) and `rejected` (`REJECTED`).

    `fits` tells of each stream how many records were refused, `misfits` of each column how many
    values did not fit it, and are attributes. `reject` makes dead letters (`REJECTED`) of rows that
    the store has `REFUSED`.
    """

    rows: pl.DataFrame = field(default_factory=_NO_ROWS.clone)
    rejected: pl.DataFrame = field(default_factory=NONE_REJECTED.clone)
    fits: tuple[Fit, ...] = ()
    misfits: Mapping[str, int] = field(default_factory=dict)
    reject: Callable[[pl.DataFrame], pl.DataFrame] = without_bytes


@dataclass(frozen=True)
class Stored:
    """How many rows of a batch are stored, and how many dead letters, by reason."""

    rows: int
    dead: Mapping[str, int]

    @classmethod
    def of(cls, batch: Parsed, refused: int = 0) -> Stored:
        """What is stored of a batch of which the store has refused so many rows."""
        dead = Counter(batch.rejected["reason"].to_list())
        return cls(len(batch.rows) - refused, dead + Counter(rejected=refused))
