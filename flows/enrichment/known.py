"""What is found out about texts that repeat: once for each, in this batch and in those before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from connectors.distinct import distinct

_MOST = 50_000
_LONGEST = 1000  # characters that are looked at, and kept


class Known:
    """Columns made of one column of texts; workers may share it.

    `find` returns a row for each of the texts that it is given, values of the columns in `schema`.
    Of a text longer than 1,000 characters it gets the beginning.
    """

    def __init__(
        self,
        find: Callable[[Sequence[str]], Sequence[tuple[object, ...]]],
        schema: Mapping[str, pl.DataType],
    ) -> None:
        self._find = find
        self._nothing = pl.DataFrame(schema=schema)
        self._lock = threading.RLock()
        self.forget()

    def forget(self) -> None:
        """Ask again for all texts."""
        with self._lock:
            self._numbers: dict[str, int] = {}
            self._rows = self._nothing

    def add_to(self, rows: pl.DataFrame, column: str) -> pl.DataFrame:
        """The rows with the columns made of this one; without it, as they are."""
        if column not in rows.columns:
            return rows
        values, which = distinct(rows[column])
        with self._lock:
            found = self._rows_of(values.str.head(_LONGEST).to_list())
        return rows.hstack(found[which])

    def _rows_of(self, texts: list[str]) -> pl.DataFrame:
        new = [text for text in dict.fromkeys(texts) if text not in self._numbers]
        if len(self._numbers) + len(new) > _MOST:
            self.forget()
            new = list(dict.fromkeys(texts))
        if new:
            self._numbers |= {text: number for number, text in enumerate(new, len(self._rows))}
            made = pl.DataFrame(self._find(new), self._nothing.schema, orient="row")
            self._rows = pl.concat([self._rows, made], rechunk=True)
        return self._rows[np.fromiter(map(self._numbers.__getitem__, texts), np.uint32, len(texts))]
