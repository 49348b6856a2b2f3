"""Enricher `outcome`: `success` (2xx or 3xx) and `status_class` (`2xx`) of a status code."""

from __future__ import annotations

import numpy as np
import polars as pl

_CODES = np.arange(2**16)
_SUCCESS = (_CODES >= 200) & (_CODES < 400)
_CLASS = np.where(_CODES < 600, _CODES // 100, 0).astype(np.uint32)
_CLASSES = pl.Series(["", "1xx", "2xx", "3xx", "4xx", "5xx"])


def enrich(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `success` and `status_class`; a code out of 100 to 599 has an empty class."""
    if "status_code" not in rows.columns:
        return rows
    code = rows["status_code"].to_numpy()
    success = pl.Series("success", _SUCCESS[code])
    return rows.hstack([success, _CLASSES[pl.Series(_CLASS[code])].alias("status_class")])
