"""What stores that speak SQL have in common: the ledger, and the questions of commands.

Parameters are named `:name`; a store makes its own dialect of them. `:table` is the table of lines,
`:before` when what is older than `LEDGER_KEEP_DAYS` was recorded, and what follows `IN` is a list.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from connectors.batch import Span, Stream
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
_OLD = f"""
{_OURS} AND recorded_at < :before AND kind IN ('block', 'gone')
    AND (file_id, "end") NOT IN (SELECT file_id, max("end") {_OURS} GROUP BY file_id)
"""

_LINES = f"""
SELECT file_id, offset, 0 AS dead FROM :table WHERE {{where}}
UNION ALL SELECT file_id, offset, 1 AS dead FROM {DEAD_LETTERS} WHERE {{where}}
"""
LINES = _LINES.format(where="file_id = file_id")
"""Every line, be it a row or a dead letter."""

_PLACES = f"""
SELECT offset, dead FROM (
    {_LINES.format(where="file_id = :file AND offset >= :first AND offset < :last")}) AS found
"""


class SqlStore(LedgerStore):
    """A ledger in a table of SQL."""

    newest_entries: ClassVar[str] = _NEWEST
    """The statement of `newest`; of several of one stream the last counts."""
    settled: ClassVar[str] = ""
    """What else holds of an entry that may be deleted: `AND ...`."""

    @abstractmethod
    def ask(self, statement: str, **values: object) -> Sequence[Sequence[Any]]:
        """The rows of an answer; waits until there is one."""

    @abstractmethod
    def change(self, statement: str, **values: object) -> None:
        """Make a change, and wait until it is made."""

    def newest(self, file_ids: Collection[int] | None = None, end: int = LAST) -> Collection[Entry]:
        """See `LedgerStore`."""
        if file_ids is not None and not file_ids:
            return ()
        these = "file_id != 0" if file_ids is None else "file_id IN :files"
        statement = self.newest_entries.format(these=these)
        found = self.ask(statement, files=list(file_ids or ()), end=end)
        return {row[1]: Entry(span_of(row), row[8], bool(row[9])) for row in found}.values()

    def is_empty(self) -> bool:
        """See `LedgerStore`."""
        return not self.ask(f"SELECT 1 {_OURS} LIMIT 1")

    def forget(self, file_ids: Collection[int]) -> Collection[int]:
        """See `LedgerStore`."""
        if file_ids:
            self.change(
                f"DELETE {_OURS} AND file_id IN :files {self.settled}", files=list(file_ids)
            )
        if self.ask(f"SELECT count(*) {_OLD} {self.settled}")[0][0]:
            self.change(f"DELETE {_OLD} {self.settled}")
        return file_ids

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""
        return {row[0] for row in self.ask(_PLACES, file=file_id, first=first, last=last)}


def span_of(row: Sequence[Any]) -> Span:
    """The span of the columns `SPAN`."""
    kind, id, name, start, end, first, records, proof = row[:8]
    return Span(Stream(id, name, kind), start, end, first, records, proof)
