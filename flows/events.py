"""The parse step of events: as they are, or as the lines that every store knows."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from connectors.batch import PLACE, Parsed, Taken
from connectors.errors import MalformedLine
from connectors.sources.outbox import TakenEvents

_EVENT = {
    "event_type": pl.String(),
    "event_date_time": pl.String(),
    "environment": pl.String(),
    "event_context": pl.String(),
    "metadata_version": pl.Int32(),
}


def parse_events(*, as_lines: bool) -> Callable[[Taken], Parsed]:
    """The columns of the table `event_log`, or those of lines: the type is the message then."""

    def parse(batch: Taken) -> Parsed:
        found = pl.read_ndjson(batch.data, schema=_EVENT)
        moment = pl.col("event_date_time").str.to_datetime(time_unit="us", time_zone="UTC")
        if as_lines:
            rest = pl.struct("environment", "metadata_version", "event_context")
            rows = found.select(
                timestamp=moment, message=pl.col("event_type"), attributes=rest.struct.json_encode()
            )
        else:
            rows = found.with_columns(event_date_time=moment)
        return batch.parsed(
            rows.hstack(batch.identity.drop("source")),
            reject=lambda refused: _reject(batch, refused),
        )

    return parse


def _reject(batch: Taken, refused: pl.DataFrame) -> pl.DataFrame:
    """Dead letters of events that the store refuses; the outbox is told of them, too."""
    places = batch.identity.with_row_index("number")
    found = refused.join(places, on=PLACE, how="left", maintain_order="left")
    if isinstance(batch, TakenEvents):
        batch.refused.update(found.select("offset", "detail").iter_rows())
    return batch.dead_letters(
        [
            (number, batch.raw(number), MalformedLine("rejected", detail))
            for number, detail in found.select("number", "detail").rows()
        ]
    )
