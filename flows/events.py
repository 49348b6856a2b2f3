"""The parse step of events: as they are, or as the lines that every store knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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
_TIME = "%Y-%m-%d %H:%M:%S%.6f"
_BEYOND = "its time is not of the years from 1900 to 2299"


_YEARS = 1900, 2299  # of which every store has all times unchanged


def parse_events(*, as_lines: bool) -> Callable[[Taken], Parsed]:
    """The columns of the table `event_log`, or those of lines: the type is the message then."""

    def parse(batch: Taken) -> Parsed:
        found = pl.read_ndjson(batch.data, schema=_EVENT)
        found = found.with_columns(pl.col("event_date_time").str.to_datetime(_TIME, strict=False))
        year = found["event_date_time"].dt.year()
        fits = year.is_between(*_YEARS).fill_null(False)
        rows = found.with_columns(pl.col("event_date_time").dt.replace_time_zone("UTC"))
        if as_lines:
            rest = pl.struct("environment", "metadata_version", "event_context")
            rows = rows.select(
                timestamp="event_date_time",
                message="event_type",
                attributes=rest.struct.json_encode(),
            )
        rows = rows.hstack(batch.identity.drop("source"))
        if fits.all():
            return batch.parsed(rows, reject=partial(_reject, batch))
        beyond = rows.filter(~fits).select(*PLACE, "line", detail=pl.lit(_BEYOND))
        return batch.parsed(
            rows.filter(fits), rejected=_reject(batch, beyond), reject=partial(_reject, batch)
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
