"""What stores that speak SQL have in common: the ledger, and the questions of commands.

Parameters are named `:name`; a store makes its own dialect of them. `:table` is the table of lines,
`:before` when what is older than `LEDGER_KEEP_DAYS` was recorded, and what follows `IN` is a list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.accounts import FRAGMENTS, Places
from connectors.batch import PLACE, Span, Stream
from connectors.sinks.ledger import LAST, Entry, LedgerStore

DEAD_LETTERS = "dead_letters"
LEDGER = "ingest_blocks"

SPAN = 'stream, file_id, path, start, "end", first_line, lines, proof'
ENTRY = f"{SPAN}, kind, recorded_at < :before"

_OURS = f"FROM {LEDGER} WHERE instance = :instance"
_NEWEST = f"""
SELECT {ENTRY} {_OURS} AND (file_id, "end") IN (
    SELECT file_id, max("end") {_OURS} AND {{these}} AND "end" <= :end GROUP BY file_id)
ORDER BY file_id, recorded_at
"""
_FOLLOWED = f"""
"end" < (SELECT max(one."end") FROM {LEDGER} AS one
    WHERE one.instance = :instance AND one.file_id = {LEDGER}.file_id)
"""

_LINES = f"""
SELECT file_id, offset, 0 AS dead FROM :table WHERE {{where}}
UNION ALL SELECT file_id, offset, 1 AS dead FROM {DEAD_LETTERS} WHERE {{where}}
"""
LINES = _LINES.format(where="1 = 1")
"""Every line, be it a row or a dead letter."""

_PLACES = f"""
SELECT offset, dead FROM (
    {_LINES.format(where="file_id = :file AND offset >= :first AND offset < :last")}) AS found
"""
_BEGINS = f"""
SELECT file_id, max("end") AS "end" {_OURS} AND kind = 'position' AND file_id != 0 GROUP BY file_id
"""
_BLOCKS = f"""
SELECT DISTINCT start, "end", proof {_OURS} AND file_id = :file AND kind = 'block'
ORDER BY start, "end"
"""
_CONTINUED = f"""
SELECT offset FROM {DEAD_LETTERS} WHERE file_id = :file AND reason = 'continued'
"""
_LETTERS = f"""
FROM {DEAD_LETTERS} WHERE (file_id, offset) > (:file, :offset) AND reason NOT IN {FRAGMENTS}
    AND (:reason = '' OR reason = :reason) AND (:any_source OR source IN :sources)
"""
_SIZES = f"""
SELECT file_id, offset, length(raw) AS bytes {_LETTERS} ORDER BY file_id, offset LIMIT :lines
"""
_PAGE = f"""
SELECT file_id, offset, source, raw, reason, detail {_LETTERS}
    AND (file_id, offset) <= (:last_file, :last_offset)
ORDER BY file_id, offset
"""
_REASONS = f"""
SELECT reason, count(*) AS letters FROM {DEAD_LETTERS} GROUP BY reason
ORDER BY letters DESC, reason
"""
_HELD = "SELECT DISTINCT file_id, offset FROM :table WHERE (file_id, offset) IN :places"
_SOURCES = f"SELECT DISTINCT source FROM {DEAD_LETTERS}"
_SAMPLES = f"""
SELECT source, offset, reason, detail, substr(raw, 1, 1024) AS raw FROM {DEAD_LETTERS}
WHERE reason = :reason ORDER BY seen_at DESC, file_id, offset LIMIT :most
"""


class SqlStore(LedgerStore):
    """A ledger in a table of SQL."""

    _NEWEST_ENTRIES: ClassVar[str] = _NEWEST
    """The statement of `_newest`; of several of one stream the last counts."""
    _FOLLOWED: ClassVar[str] = _FOLLOWED
    """Whether an entry is not one of those of its stream that end last."""
    _SETTLED: ClassVar[str] = "1 = 1"
    """Whether no block in doubt needs an entry."""

    @abstractmethod
    def _ask(self, statement: str, **values: object) -> Sequence[Sequence[Any]]:
        """The rows of an answer; waits until there is one."""

    @abstractmethod
    def _change(self, statement: str, **values: object) -> None:
        """Make a change, and wait until it is made."""

    def _newest(self, file_ids: Collection[int] | None = None, end: int = LAST) -> Iterable[Entry]:
        if file_ids is not None and not file_ids:
            return ()
        these = "file_id != 0" if file_ids is None else "file_id IN :files"
        statement = self._NEWEST_ENTRIES.format(these=these)
        found = self._ask(statement, files=list(file_ids or ()), end=end)
        return {row[1]: Entry(span_of(row), row[8], bool(row[9])) for row in found}.values()

    def _is_empty(self) -> bool:
        return not self._ask(f"SELECT 1 {_OURS} LIMIT 1")

    def _forget(self, file_ids: Collection[int]) -> Collection[int]:
        if file_ids:
            these = f"{_OURS} AND file_id IN :files AND {self._SETTLED}"
            self._change(f"DELETE {these}", files=list(file_ids))
        old = (
            f"{_OURS} AND recorded_at < :before AND kind IN ('block', 'gone') "
            f"AND {self._FOLLOWED} AND {self._SETTLED}"
        )
        if self._ask(f"SELECT count(*) {old}")[0][0]:
            self._change(f"DELETE {old}")
        return file_ids

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""
        return {row[0] for row in self._ask(_PLACES, file=file_id, first=first, last=last)}


def span_of(row: Sequence[Any]) -> Span:
    """The span of the columns `SPAN`."""
    kind, id, name, start, end, first, records, proof = row[:8]
    return Span(Stream(id, name, kind), start, end, first, records, proof)


class SqlAccounts(ABC):
    """The questions of `Accounts` that are the same in every SQL."""

    @abstractmethod
    def _ask(self, statement: str, **values: object) -> pl.DataFrame:
        """The answer, with texts as `String`, and `raw` as `Binary`. Raises `StoreError`."""

    def places(self, file_id: int, first: int, last: int) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The offsets that are stored in [first, last), and whether each is a dead letter."""
        found = self._ask(_PLACES, file=file_id, first=first, last=last)
        return found["offset"].to_numpy(), found["dead"].cast(pl.Boolean).to_numpy()

    def begins(self) -> dict[int, int]:
        """Where reading began in the files in which it did not begin at 0."""
        return dict(self._ask(_BEGINS).rows())

    def blocks(self, file_id: int) -> pl.DataFrame:
        """`start`, `end` and `proof` of the blocks that the ledger has of a file."""
        return self._ask(_BLOCKS, file=file_id)

    def cuts(self, file_id: int) -> npt.NDArray[np.int64]:
        """Where lines of a file begin though no newline is before: blocks, rests of lines."""
        starts = self.blocks(file_id)["start"].to_numpy()
        rests = self._ask(_CONTINUED, file=file_id)["offset"].to_numpy()
        return np.union1d(starts, rests).astype(np.int64)

    def reasons(self) -> dict[str, int]:
        """How many dead letters there are of each reason, the most frequent first."""
        return dict(self._ask(_REASONS).rows())

    def samples(self, reason: str, most: int) -> pl.DataFrame:
        """The newest dead letters of a reason: `source`, `offset`, `reason`, `detail`, `raw`."""
        return self._ask(_SAMPLES, reason=reason, most=most)

    def letters(
        self, after: tuple[int, int], reason: str, sources: Sequence[str], lines: int, size: int
    ) -> pl.DataFrame:
        """The next dead letters behind the place `after`."""
        chosen = {
            "file": after[0],
            "offset": after[1],
            "reason": reason,
            "sources": list(sources),
            "any_source": int(not sources),
        }
        sizes = self._ask(_SIZES, lines=lines, **chosen)
        if sizes.is_empty():
            return sizes
        within = int((sizes["bytes"].cum_sum() <= size).sum())
        last_file, last_offset, _ = sizes.row(max(within, 1) - 1)
        found = self._ask(_PAGE, last_file=last_file, last_offset=last_offset, **chosen)
        return found.unique(PLACE, keep="first", maintain_order=True)

    def held(self, places: pl.DataFrame) -> pl.DataFrame:
        """Which of these places hold a row: `file_id`, `offset`."""
        return self._ask(_HELD, places=places.select(PLACE).rows())

    def sources(self) -> list[str]:
        """Every path that dead letters came from."""
        found: list[str] = self._ask(_SOURCES)["source"].to_list()
        return found
