"""Rows as the API shows them, many at a time."""

from __future__ import annotations

import polars as pl

from connectors.filters import TYPES, microseconds
from connectors.logs import SHOWN

_FIRST = microseconds("0001-01-01")
_LAST = microseconds("9999-12-31T23:59:59.999999")


def shown(rows: pl.DataFrame, *, whole: bool = False) -> pl.DataFrame:
    """These rows with values that JSON and a browser can have, as `/logs` shows them.

    Of each text its first `SHOWN` characters, and in `cut` the names of those that have more;
    `whole`: all of them, and no `cut`.
    """
    made = [_shown(name, whole=whole) for name in rows.columns]
    if whole:
        return rows.select(made)
    texts = [name for name in rows.columns if TYPES[name] == pl.String()]
    long = [name for name in texts if (rows[name].str.len_bytes() > SHOWN).any()]
    named = [pl.when(pl.col(name).str.len_chars() > SHOWN).then(pl.lit(name)) for name in long]
    cut = pl.concat_list(named).list.drop_nulls() if named else pl.lit([], pl.List(pl.String()))
    return rows.select(*made, cut=cut)


def _shown(name: str, *, whole: bool) -> pl.Expr:
    column, dtype = pl.col(name), TYPES[name]
    if isinstance(dtype, pl.Datetime):
        known = column.to_physical().clip(_FIRST, _LAST).cast(dtype)
        return known.dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").alias(name)
    if dtype == pl.String():
        return column if whole else column.str.slice(0, SHOWN)
    if dtype == pl.Float64():
        return pl.when(column.is_finite()).then(column)
    return column.cast(pl.String()) if name == "file_id" else column
