"""Inserts into ClickHouse: each one part under one token, and lines that fit, of those that do not.

A table may refuse lines: by a constraint, or by a type that somebody gave to a column. Then all of
an insert is refused. So its halves are inserted, and their halves, until what is refused is single
lines. The halves of the same lines are always the same, and each has a token of its own: whoever
goes on after a crash sends the part that may still be under way under the same token again.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import cast

import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from connectors.batch import PLACE, REFUSED
from connectors.sinks.clickhouse_errors import is_about_lines, reason

_PART = ":part:"


def insert_lines(client: Client, table: str, lines: pl.DataFrame, token: str) -> None:
    """Insert lines, all or none; a second insert under the same token does nothing."""
    if lines.is_empty():
        return
    settings = {
        "async_insert": 0,
        "insert_deduplication_token": token,
        # One insert is one part, or its token would not cover it.
        "max_insert_block_size": len(lines) + 1,
        "min_insert_block_size_rows": len(lines) + 1,
        "min_insert_block_size_bytes": 0,
    }
    insert_arrow(client, table, lines, settings)


def insert_what_fits(
    lines: pl.DataFrame, token: str, insert: Callable[[pl.DataFrame, str], None], first: int = 0
) -> pl.DataFrame:
    """Insert the lines from number `first` on; returns those that are `REFUSED`.

    `insert` inserts lines under a token, all or none.
    """
    nobody = pl.DataFrame(schema=REFUSED)
    if first >= len(lines):
        return nobody
    if first == 0:
        try:
            insert(lines, token)
        except Error as error:
            if not is_about_lines(error):
                raise
            if len(lines) == 1:
                return lines.select(*PLACE, "line", pl.lit(reason(error)).alias("detail"))
        else:
            return nobody
    middle = len(lines) // 2
    halves = (lines[:middle], first), (lines[middle:], first - middle)
    block = token.partition(_PART)[0]
    return pl.concat(
        insert_what_fits(half, f"{block}{_PART}{hash_of(half)}", insert, max(begin, 0))
        for half, begin in halves
    )


def insert_arrow(
    client: Client, table: str, lines: pl.DataFrame, settings: dict[str, object]
) -> None:
    """Insert lines as one record batch, hence one block.

    As `Client.insert_arrow` does, but into a buffer of the right size: two copies less.
    """
    lines = lines.drop("line", strict=False)  # the offset is identity enough here
    # Not as views: each column of them would be sent with all that it looks into, the whole batch.
    columns = lines.rechunk().to_arrow()

    def write(sink: pa.NativeFile) -> int:
        with pa.ipc.new_stream(sink, columns.schema) as stream:
            stream.write_table(columns)
        return int(sink.tell())

    buffer = pa.allocate_buffer(write(pa.MockOutputStream()))
    write(pa.FixedSizeBufferWriter(buffer))
    data = cast(bytes, memoryview(buffer))  # which it takes as well
    client.raw_insert(table, columns.column_names, data, settings=settings, fmt="ArrowStream")


def hash_of(lines: pl.DataFrame) -> str:
    """A hash of which lines these are."""
    return blake2b(lines.select(PLACE).to_numpy().tobytes()).hexdigest()[:32]
