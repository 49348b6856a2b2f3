"""The enrich step: every enricher of the table, one after another, on the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from connectors.batch import Parsed
from connectors.errors import SettingsError
from flows import extensions
from flows.enrichment import ENRICHERS


def enricher() -> Callable[[Parsed], Parsed]:
    """The enrich step; enrichers of other distributions come last, by their names.

    Raises `SettingsError` if one of these cannot be loaded.
    """
    found = extensions.extensions(extensions.ENRICHERS).values()
    try:
        enrichers = [*ENRICHERS, *map(extensions.load, found)]
    except ValueError as error:
        raise SettingsError([str(error)]) from error

    def enrich(batch: Parsed) -> Parsed:
        rows = batch.rows
        if rows.is_empty():
            return batch  # which has all columns
        for add_columns in enrichers:
            rows = add_columns(rows)
        return replace(batch, rows=rows)

    return enrich
