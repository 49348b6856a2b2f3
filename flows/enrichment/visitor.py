"""Enricher `visitor`: whether an event is of a first visit, as the event itself says.

It keeps nothing, for whoever sees the browser knows: the middleware, by a cookie of six months.
"""

from __future__ import annotations

import polars as pl

from connectors.status import Status
from flows.enrichment import Enrich
from settings import Settings

_KEY = "first_time_visit"


def make(settings: Settings, status: Status) -> Enrich:
    """The enricher, made of `attributes`."""
    return _enrich


def _enrich(rows: pl.DataFrame) -> pl.DataFrame:
    if "attributes" not in rows.columns:
        return rows
    said = rows["attributes"].str.contains(f'"{_KEY}"', literal=True)
    which = said.arg_true()
    first = pl.zeros(len(rows), pl.Boolean, eager=True).alias(_KEY)
    if len(which):
        values = rows["attributes"].gather(which).str.json_path_match(f"$.{_KEY}")
        first = first.scatter(which, values.eq_missing("true"))
    return rows.hstack([first])
