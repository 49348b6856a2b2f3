"""Values that repeat, looked at once."""

from __future__ import annotations

import polars as pl


def distinct(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The distinct values, and for each row which of them it has: `found.gather(which)`."""
    coded = values.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    return pl.Series(coded.dictionary), pl.Series(coded.indices)
