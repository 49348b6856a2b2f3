"""What is found out about texts that repeat: once for each, in this batch and in those before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from connectors.distinct import distinct

_MOST = 50_000
LONGEST = 1000
"""Characters that are looked at, and kept."""


class Known:
    """Columns made of one column of texts; workers may share it.

    `find` returns a row for each of the texts that it is given, values of the columns in `schema`,
    one at a time or as columns.
    Of a text longer than 1,000 characters it gets the beginning.
    """

    def __init__(
        self,
        find: Callable[[Sequence[str]], Sequence[tuple[object, ...]] | pl.DataFrame],
        schema: Mapping[str, pl.DataType],
    ) -> None:
        self._find = find
        self._nothing = pl.DataFrame(schema=schema)
        self._lock = threading.RLock()
        self.forget()

    def forget(self) -> None:
        """Ask again for all texts."""
        with self._lock:
            self._texts = pl.Series([], dtype=pl.String())
            self._rows = self._nothing

    def add_to(self, rows: pl.DataFrame, column: str) -> pl.DataFrame:
        """The rows with the columns made of this one; without it, as they are."""
        return self.add(rows, rows[column]) if column in rows.columns else rows

    def add(self, rows: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
        """The rows with the columns made of texts, one for each of them."""
        if (texts.str.len_bytes() > LONGEST).any():
            texts = texts.str.head(LONGEST)
        with self._lock:
            known, which = self._numbered(texts)
        return rows.hstack(known[which])

    def _numbered(self, texts: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
        """The rows of all texts that are known now, and for each of these texts which it has."""
        values, which = distinct(pl.concat([self._texts, texts.alias("")]))
        before = len(self._texts)
        if before and len(values) > _MOST:
            self.forget()
            return self._numbered(texts)
        if len(values) > before:
            new = values[before:].to_list()
            # A copy: these are views into all lines of a batch.
            self._texts = pl.concat([self._texts, pl.Series(new, dtype=pl.String())], rechunk=True)
            made = pl.DataFrame(self._find(new), self._nothing.schema, orient="row")
            self._rows = pl.concat([self._rows, made], rechunk=True)
        return self._rows, which[before:]
