"""The enrich step: every enricher of the table, one after another, on the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import FunctionType

import polars as pl

from connectors.batch import Parsed, columns_with
from connectors.errors import LogwaxError, SettingsError
from connectors.plugins import plugins
from flows.enrichment import ENRICHERS, Enrich


def enricher(chosen: Mapping[str, Enrich] | None = None) -> Callable[[Parsed], Parsed]:
    """The enrich step; those of `ENRICHED` that are `chosen` come behind those of the table.

    Enrichers of other distributions come last, by their names. Raises `SettingsError` if one of
    these cannot be loaded. The step raises `LogwaxError` if one of all gives a column that no table
    is known to have: a store would refuse all rows, and wait.
    """
    chosen = chosen or {}
    others, problems = plugins("logwax.enrichers", FunctionType)
    if problems:
        raise SettingsError(problems)
    enrichers: list[Enrich] = [*ENRICHERS, *chosen.values(), *others.values()]
    columns = columns_with(chosen).keys()

    def enrich(batch: Parsed) -> Parsed:
        rows = batch.rows
        if rows.is_empty():
            return batch  # which has all columns
        for add_columns in enrichers:
            rows = add_columns(rows)
            if unknown := set(rows.columns) - columns:
                raise _UnknownColumnError(add_columns, unknown)
        return replace(batch, rows=rows)

    return enrich


class _UnknownColumnError(LogwaxError):
    def __init__(self, enrich: Callable[[pl.DataFrame], pl.DataFrame], columns: set[str]) -> None:
        super().__init__(
            f"The enricher {enrich.__module__} gives columns that no store has: "
            f"{', '.join(sorted(columns))}. A new column needs a line in COLUMNS "
            "(connectors/batch.py)."
        )
