"""A filter as one Polars expression over the rows of a batch, of the same meaning as in a store."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection
from typing import Any

import polars as pl

from connectors.batch import with_nulls
from connectors.filters import TYPES, And, Condition, Filter, Not, Or, Text, Value, searched

_NUMBER = re.compile("-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")
_FALSE = pl.lit(False)

_ORDERS: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": pl.Expr.eq,
    "<": pl.Expr.lt,
    "<=": pl.Expr.le,
    ">": pl.Expr.gt,
    ">=": pl.Expr.ge,
}


def filled(rows: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """The rows with these columns, as a store fills those that they lack."""
    return with_nulls(
        rows.select(
            pl.col(name)
            if name in rows.columns
            else pl.lit(_missing(name), TYPES[name]).alias(name)
            for name in columns
        )
    )


def expression(part: Filter, columns: Collection[str]) -> pl.Expr:
    """Whether a filter takes a row that is `filled` with these columns; never null."""
    if isinstance(part, Not):
        return ~expression(part.part, columns)
    if isinstance(part, And):
        return pl.all_horizontal(pl.lit(True), *(expression(one, columns) for one in part.parts))
    if isinstance(part, Or):
        return pl.any_horizontal(_FALSE, *(expression(one, columns) for one in part.parts))
    if isinstance(part, Text):
        texts = (pl.col(name) for name in searched(columns))
        return pl.any_horizontal(_FALSE, *(_contains(text, part.text) for text in texts))
    return _comparison(part).fill_null(value=False)


def steps(part: Filter, columns: Collection[str]) -> list[pl.Expr]:
    """As `expression`, in parts that a row has to meet one after another.

    What costs most comes last, for the fewest rows: JSON is read row by row.
    """
    parts = part.parts if isinstance(part, And) else (part,)
    return [expression(one, columns) for one in sorted(parts, key=_cost)]


def _cost(part: Filter) -> int:
    if isinstance(part, Not):
        return _cost(part.part)
    if isinstance(part, And | Or):
        return max(map(_cost, part.parts), default=0)
    if isinstance(part, Text):
        return 1
    return 0 if part.field.key is None else 2


def _missing(name: str) -> str | int | None:
    if name == "attributes":
        return "{}"
    if name == "duration":
        return None
    return "" if TYPES[name] == pl.String() else 0


def _comparison(part: Condition) -> pl.Expr:
    column, value = pl.col(part.field.column), part.value
    if part.field.key is not None:
        if not isinstance(value, str):
            number = _attribute(column, part.field.key, as_number=True)
            return _ORDERS[part.operator](number, pl.lit(float(value)))
        column = _attribute(column, part.field.key, as_number=False)
    if isinstance(value, str):
        if part.operator == "~":
            return _contains(column, value)
        return _ORDERS[part.operator](column, pl.lit(value))
    dtype = TYPES[part.field.column]
    if dtype == pl.Float64():
        return _ORDERS[part.operator](column, pl.lit(float(value)))
    if isinstance(dtype, pl.Datetime):
        return _ORDERS[part.operator](column.to_physical(), pl.lit(value, pl.Int64))
    return _integer(column.cast(pl.UInt64), part.operator, value)


def _contains(text: pl.Expr, part: str) -> pl.Expr:
    """The case of ASCII letters aside."""
    if not part:
        return text.is_not_null()
    return text.str.contains_any([part], ascii_case_insensitive=True)


def _integer(column: pl.Expr, operator: str, value: Value) -> pl.Expr:
    """An integer without a sign compared exactly with any number."""
    assert not isinstance(value, str)  # the parser has seen to it
    whole = math.floor(value)
    if whole != value:  # x < 7.5 is x <= 7
        operator = {"=": "", "<": "<=", ">=": ">"}.get(operator, operator)
    if not operator or (whole < 0 and operator[0] in "<="):
        return _FALSE
    if whole < 0:
        return pl.lit(value=True)
    if whole >= 2**64:
        return pl.lit(value=operator[0] == "<")
    return _ORDERS[operator](column, pl.lit(whole, pl.UInt64))


def _attribute(column: pl.Expr, key: str, *, as_number: bool) -> pl.Expr:
    """The value under a key as text, empty if there is none; or as a number, null if it is none."""
    dtype = pl.Float64() if as_number else pl.String()
    read = _number if as_number else _text

    def values(texts: pl.Series) -> pl.Series:
        # Only who has the key is read, or who may have it in other characters.
        may = texts.str.contains_any([key or '""', "\\"])
        found = [
            read(_under(key, text)) if has_it else None
            for text, has_it in zip(texts.to_list(), may.to_list(), strict=True)
        ]
        return pl.Series(found, dtype=dtype)

    value = column.map_batches(values, return_dtype=dtype)
    return value if as_number else value.fill_null("")


def _under(key: str, text: str) -> Any:
    try:
        return json.loads(text).get(key)
    except (ValueError, AttributeError, RecursionError):  # no JSON object
        return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # JSON may have half of a surrogate pair, which is no UTF-8
    return str(value.encode(errors="replace").decode())


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    number = float(str(value))  # which is infinite where an integer is beyond all of them
    return None if math.isnan(number) else number
