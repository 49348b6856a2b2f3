"""What some rows have more of than others, of a store that speaks SQL."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from connectors.contrast import LEAST_ROWS, LEAST_SHARE, Contrast, Share, fields_of
from connectors.filters import TYPES, And, Filter, searched
from connectors.logs import Selection
from connectors.sinks.sql_logs import SqlLogs

SAMPLE = 50_000
"""Rows of either part in which values are counted, about and at most."""

READ_ALL = 1_000_000
"""Rows up to which all are read; of more, only some groups of rows that lie together."""

_HASHES = 2**32
_FEWEST = 32  # groups of which one is read, at least
_IN_GROUPS = 250  # rows of a part that are read at least
_MOST = 5_000  # values that are looked at, the most frequent ones


class SqlContrast(SqlLogs):
    """Answers `contrast`, in two questions: rows by customer, and all other values in a sample.

    A row is in the sample by a hash of its place, and where there are many by its group, too: the
    same rows give the same answer. Tables of earlier versions are sorted by customers, so that one
    may be in a single group: they are never sampled.
    """

    @abstractmethod
    def hashed(self) -> str:
        """A number made of a row's place, from 0 to before 2^32, any one as likely."""

    @abstractmethod
    def sampled(self, selected: str, of_selected: int, of_others: int, where: str) -> str:
        """`FROM` and `WHERE` for one group of so many; a store that has no groups has all rows."""

    @abstractmethod
    def counted_values(
        self, columns: Sequence[str], selected: str, rows: str, least: str, most: str
    ) -> str:
        """The statement that counts values: field, value, selected and other rows that have it.

        A field is `c` and a column, or `a` and a key, whose values are JSON; the count of all is
        under an empty one. `rows` is what `sampled` makes. The value that most of the selected
        have comes first; those that fewer than `least` have are left out.
        """

    async def contrast(self, chosen: Selection, baseline: Filter | None) -> Contrast:
        """See `Logs`."""
        filters = [chosen.filter] if baseline is None else [chosen.filter, baseline]
        fields, keys = fields_of(chosen.columns, *filters)
        customer = "customer_id" if "customer_id" in fields else "''"
        values, selected, others, span = self._parts(chosen, baseline)
        most = self._adding(values)(_MOST)
        # To sum what is not selected, too, takes a fifth longer.
        rest_of, is_other = "count(*) - sum(is_selected)", ""
        if baseline is not None:
            rest_of, is_other = "sum(is_other)", f", ({others}) AS is_other"
        counted = await self._ask(
            f"SELECT customer, sel, oth, sum(sel) OVER (), sum(oth) OVER () FROM (SELECT customer, "
            f"sum(is_selected) AS sel, {rest_of} AS oth FROM (SELECT {customer} AS customer, "
            f"{selected} AS is_selected{is_other} FROM {self.table} WHERE {span}) "
            f"AS found GROUP BY customer) AS counted ORDER BY sel DESC, customer LIMIT {most}",
            values,
        )
        total, rest = (int(counted[0][3]), int(counted[0][4])) if counted else (0, 0)
        if not (total and rest):
            return Contrast(total, rest, [], is_estimated=False)
        shares = [
            Share("customer_id", None, name, int(count), int(other), total, rest)
            for name, count, other, *_ in counted
            if "customer_id" in fields and count >= max(LEAST_ROWS, LEAST_SHARE * total)
        ]
        columns = [name for name in fields if name != "customer_id"]
        groups = [_groups(count, total + rest) for count in (total, rest)]
        found, is_estimated = await self._sample(chosen, baseline, columns, (total, rest), groups)
        enough = min(SAMPLE, total / groups[0]) / 2
        if groups[0] > 1 and (not found or found[0].of_selected < enough):
            groups[0] = 1  # they lie together, and hardly one of these is in the groups
            found, is_estimated = await self._sample(
                chosen, baseline, columns, (total, rest), groups
            )
        return Contrast(
            total,
            rest,
            shares + [share for share in found if share.key not in keys],
            is_estimated=is_estimated,
        )

    async def _sample(
        self,
        chosen: Selection,
        baseline: Filter | None,
        columns: Sequence[str],
        counts: tuple[int, int],
        groups: Sequence[int],
    ) -> tuple[list[Share], bool]:
        values, selected, others, span = self._parts(chosen, baseline)
        add = self._adding(values)
        limits = [
            min(_HASHES, _HASHES * SAMPLE * of // count)
            for of, count in zip(groups, counts, strict=True)
        ]
        expected = counts[0] / groups[0] * limits[0] / _HASHES
        hashes = f"CASE WHEN {selected} THEN {add(limits[0])} ELSE {add(limits[1])} END"
        where = f"{span} AND ({selected} OR ({others})) AND {self.hashed()} < {hashes}"
        rows = self.sampled(selected, groups[0], groups[1], where)
        least, most = add(max(LEAST_ROWS, int(LEAST_SHARE * expected))), add(_MOST)
        found = await self._ask(self.counted_values(columns, selected, rows, least, most), values)
        if not found:
            return [], True
        (_, _, *of), *counted = found
        of_selected, of_others = map(int, of)
        shares = [
            _share(field, value, int(some), int(other), of_selected, of_others)
            for field, value, some, other in counted
        ]
        return (shares if of_others else []), (of_selected, of_others) != counts

    def _parts(
        self, chosen: Selection, baseline: Filter | None
    ) -> tuple[dict[str, str | int | float], str, str, str]:
        """Parameters; whether a row is selected, or one of the others; the range."""
        values, span = self._where(replace(chosen, filter=And(())))
        add = self._adding(values)
        texts = searched(chosen.columns)
        # What is null counts as false.
        selected = f"ifnull(({self._condition(chosen.filter, add, texts)}), 0)"
        others = f"NOT {selected}"
        if baseline is not None:
            others += f" AND ifnull(({self._condition(baseline, add, texts)}), 0)"
        return values, selected, others, span


def _groups(count: int, of: int) -> int:
    """One of how many groups is enough for so many rows: a power of 2."""
    groups = 1
    while of > READ_ALL and groups < _FEWEST and count >= 2 * groups * _IN_GROUPS:
        groups *= 2
    return groups


def _share(
    field: str, text: str | None, some: int, other: int, of_selected: int, of_others: int
) -> Share:
    kind, name = field[0], field[1:]
    value: str | int | float | bool | None = text or ""
    if kind == "a":
        try:
            decoded = json.loads(text or "")
        except ValueError:
            decoded = text
        value = text if isinstance(decoded, dict | list) else decoded
        return Share("attributes", name, value, some, other, of_selected, of_others)
    if TYPES[name] == pl.Boolean():
        value = text in ("1", "true")
    elif TYPES[name] != pl.String():
        value = int(text or 0)
    return Share(name, None, value, some, other, of_selected, of_others)
