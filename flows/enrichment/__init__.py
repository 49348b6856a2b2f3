"""Columns made of other columns. A new enricher is one module here and one line in a table.

Those that are always on stand in the table below. Those that `ENRICHERS` turns on stand with their
columns in `ENRICHED` (`connectors/batch.py`).
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from flows.enrichment import endpoint, outcome

Enrich = Callable[[pl.DataFrame], pl.DataFrame]
"""Adds its columns to the rows of one batch."""

ENRICHERS: list[Enrich] = [
    outcome.enrich,
    endpoint.enrich,
]
"""Always on, applied in this order."""
