"""Values that repeat, looked at once."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

import native
from native.text import Views, number_texts


class Distinct(NamedTuple):
    """The distinct values of a column, and for each row which of them it has."""

    values: pl.Series
    which: pl.Series


def distinct(values: pl.Series) -> Distinct:
    """What repeats: `found.values.gather(found.which)` is the column again."""
    if native.library and values.dtype == pl.String and not values.null_count():
        numbered = number_texts(Views(values), most=len(values))
        assert numbered, "there are no more than values"
        which, firsts = numbered
        return Distinct(values.gather(firsts), pl.Series(which))
    coded = values.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    return Distinct(pl.Series(coded.dictionary), pl.Series(coded.indices))
