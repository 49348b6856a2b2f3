"""The enrich step: every enricher of the table, one after another, on the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from connectors.batch import Parsed
from flows.enrichment import ENRICHERS


def enricher() -> Callable[[Parsed], Parsed]:
    """The enrich step."""

    def enrich(batch: Parsed) -> Parsed:
        rows = batch.rows
        if rows.is_empty():
            return batch  # which has all columns
        for add_columns in ENRICHERS:
            rows = add_columns(rows)
        return replace(batch, rows=rows)

    return enrich
