"""What some rows have more of than others: the values that tell them apart, ranked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from connectors.filters import TYPES, And, Condition, Filter, Not, Or

LONGEST = 256
"""The characters of a value, at most: longer ones tell nothing apart."""

LEAST_SHARE = 0.002
"""The share of the selected rows that must have a value."""

LEAST_ROWS = 3
"""The number of the selected rows that must have a value."""

_ERRORS = 3.0  # standard errors, by which shares are taken for nearer to one another
_NAME = re.compile(r"[A-Za-z0-9_$@-][A-Za-z0-9_$@.:/-]*")

# A filter on one of these says something of the others, too.
_SAME = (
    {"status_code", "status_class", "success", "level"},
    {"endpoint", "request_path"},
    {"message", "pattern", "pattern_id"},
    {"user_agent", "browser_family", "browser_version", "os_family", "os_version"},
    {"user_agent", "device_family", "device_type", "is_bot"},
    {"client_ip", "country", "region", "region_code", "city", "asn"},
)
# Of fields that say the same, the first of these comes first; the others behind, by their places.
_FIRST = ("customer_id", "endpoint", "host", "method", "status_code")
_LAST = ("source", "request_path", "message")


@dataclass(frozen=True)
class Share:
    """A value of a field: how many of the `selected` and of the other rows have it.

    `key`: of `attributes`. `of_selected` and of `of_others` rows: of all, or of a sample of them.
    """

    column: str
    key: str | None
    value: str | int | float | bool | None
    selected: int
    others: int
    of_selected: int
    of_others: int

    @property
    def name(self) -> str:
        """The field, as filters have it."""
        if self.key is None:
            return self.column
        plain = _NAME.fullmatch(self.key)
        return f"attr.{self.key}" if plain else f"attr.{json.dumps(self.key, ensure_ascii=False)}"

    @property
    def share(self) -> float:
        """The share of the selected rows that have it."""
        return self.selected / self.of_selected

    @property
    def other_share(self) -> float:
        """The share of the other rows that have it: above 0, as one that has it may yet come."""
        return (self.others + 0.5) / (self.of_others + 1)

    @property
    def lift(self) -> float:
        """How many times as frequent it is among the selected."""
        return self.share / self.other_share

    @property
    def score(self) -> float:
        """What it tells of a selected row, in bits; 0 if there is no more of it than by chance.

        It is the relative entropy of both shares, after each was moved towards the other by three
        standard errors (the bounds of Wilson, 1927). So neither a value that is rare wins, as it
        tells of few rows and is known badly, nor one that is frequent on both sides.
        """
        low = _bound(self.selected, self.of_selected, -_ERRORS)
        high = _bound(self.others, self.of_others, _ERRORS)
        if low <= high:
            return 0.0
        rest = (1 - low) * math.log2((1 - low) / (1 - high)) if low < 1 else 0.0
        return low * math.log2(low / high) + rest


@dataclass(frozen=True)
class Contrast:
    """Two parts of a table, by their numbers of rows, and the values of the first.

    `is_estimated`: the values are those of a sample.
    """

    selected: int
    others: int
    shares: Sequence[Share]
    is_estimated: bool


def _bound(count: int, of: int, errors: float) -> float:
    share, part = count / of, errors * errors / of
    middle = share + part / 2
    deviation = errors * math.sqrt(share * (1 - share) / of + part / of / 4)
    return min(1.0, max(0.0, (middle + deviation) / (1 + part)))


def ranked(shares: Sequence[Share], most: int) -> Sequence[Share]:
    """Those that tell most, the first first; of equal ones that of the better known field."""

    def place(share: Share) -> tuple[float, int, str, str]:
        fields = (*_FIRST, "", *_LAST)  # in the midst are all others
        known = share.column if share.key is None and share.column in fields else ""
        return -share.score, fields.index(known), share.name, str(share.value)

    return sorted((share for share in shares if share.score > 0), key=place)[:most]


def fields_of(columns: Sequence[str], *filters: Filter) -> tuple[Sequence[str], set[str]]:
    """The columns whose values can tell rows apart, and the keys of attributes that cannot.

    Columns of which the filters say something themselves are left aside.
    """
    named = {(one.field.column, one.field.key) for part in filters for one in _conditions(part)}
    said = {column for column, key in named if key is None}
    said |= {name for group in _SAME if group & said for name in group}
    discrete = (pl.String(), pl.Boolean(), pl.UInt16(), pl.UInt32())
    chosen = [
        name
        for name in columns
        if TYPES[name] in discrete and name not in {"attributes", "pattern_id"} | said
    ]
    return chosen, {key for _, key in named if key is not None}


def _conditions(part: Filter) -> Iterator[Condition]:
    if isinstance(part, Condition):
        yield part
    elif isinstance(part, Not):
        yield from _conditions(part.part)
    elif isinstance(part, And | Or):
        for one in part.parts:
            yield from _conditions(one)
