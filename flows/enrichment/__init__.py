"""Columns made of other columns. A new enricher is one module here and one line in this table."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from flows.enrichment import endpoint, outcome

ENRICHERS: list[Callable[[pl.DataFrame], pl.DataFrame]] = [
    outcome.enrich,
    endpoint.enrich,
]
"""Applied in this order; each adds its columns to the rows of one batch."""
