"""Enricher `outcome`: `success` (2xx or 3xx) and `status_class` (`2xx`) of a status code."""

from __future__ import annotations

import polars as pl

_CLASSES = pl.Series(["", "1xx", "2xx", "3xx", "4xx", "5xx"])


def enrich(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `success` and `status_class`; a code out of 100 to 599 has an empty class."""
    if "status_code" not in rows.columns:
        return rows
    code = rows["status_code"]
    hundreds = (code // 100).clip(0, 6)
    return rows.with_columns(
        code.is_between(200, 399).alias("success"),
        _CLASSES[hundreds.replace(6, 0)].alias("status_class"),
    )
