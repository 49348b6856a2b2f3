"""Entries of the ledger in ClickHouse: written under tokens, however many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from connectors.batch import BlockId, Span
from connectors.sinks.clickhouse.errors import is_too_much, trouble, trouble_with_many
from connectors.sinks.clickhouse.insert import insert_columns
from connectors.sinks.retry import Retry
from connectors.sinks.sql import LEDGER


def insert_ledger(
    client: Client,
    instance: str,
    block: BlockId,
    kind: str,
    spans: Iterable[Span],
    part: str = "",
) -> None:
    """Record one entry for each span, in one insert. Raises what the client raises."""
    entries = [
        {
            "instance": instance,
            "writer": block.writer,
            "sequence": block.sequence,
            "kind": kind,
            "file_id": span.stream.id,
            **span.entry,
        }
        for span in spans
    ]
    if entries:
        # Made by Polars: PyArrow would import pandas for it, half a second and 60 MB.
        lines = pl.DataFrame(entries, schema=_LEDGER_COLUMNS)
        token = f"{instance}:{block.writer}:{block.sequence}:{kind}{part}"
        insert_columns(
            client, LEDGER, lines, {"async_insert": 0, "insert_deduplication_token": token}
        )


def record(
    retry: Retry,
    client: Client,
    instance: str,
    block: BlockId,
    kind: str,
    spans: Sequence[Span],
    part: str = "",
) -> None:
    """One insert, or halves of halves where that is too much; an entry may come twice then."""
    insert = partial(insert_ledger, client, instance, block, kind, spans, part)
    try:
        retry(insert, trouble_with_many if len(spans) > 1 else trouble)
    except Error as error:
        if not is_too_much(error):
            raise
        middle = len(spans) // 2
        for number, half in enumerate((spans[:middle], spans[middle:])):
            record(retry, client, instance, block, kind, half, f"{part}:{number}")


_LEDGER_COLUMNS = {
    "instance": pl.String(),
    "writer": pl.UInt64(),
    "sequence": pl.UInt64(),
    "kind": pl.String(),
    "stream": pl.String(),
    "file_id": pl.UInt64(),
    "path": pl.String(),
    "start": pl.UInt64(),
    "end": pl.UInt64(),
    "first_line": pl.UInt64(),
    "lines": pl.UInt64(),
    "proof": pl.String(),
}
