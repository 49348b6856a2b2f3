"""The ledger of a store, and its housekeeping, over a few questions that each store answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from connectors.batch import BlockId, Span, Stream
from connectors.store import Ledger

NO_STREAM = Span(Stream(0, ""), 0, 0, 0, 0)
"""In an entry that is about no stream."""

LAST = 2**63 - 1
"""The highest place there can be."""


@dataclass(frozen=True)
class Entry:
    """What the ledger says last of a stream; `is_old`: since `LEDGER_KEEP_DAYS`, or longer."""

    span: Span
    kind: str
    is_old: bool


class LedgerStore(ABC):
    """Of a `Store` all that is about its ledger.

    Entries are of a kind: `block` (a writer stores these spans), `stored` (that has happened),
    `position` (chosen, not read) or `gone` (the file is not there any more).
    """

    @abstractmethod
    def _append(self, kind: str, spans: Sequence[Span], block: BlockId | None = None) -> None:
        """Record an entry for each span; again does no harm. `None`: it is of no writer's block."""

    @abstractmethod
    def _newest(self, file_ids: Collection[int] | None = None, end: int = LAST) -> Iterable[Entry]:
        """Of each of these files (None: of all) the entry that ends last, up to `end`.

        Of those that end at one place it is the one that was recorded last.
        """

    @abstractmethod
    def _is_empty(self) -> bool:
        """Whether this instance has no entry at all."""

    @abstractmethod
    def _forget(self, file_ids: Collection[int]) -> Collection[int]:
        """Delete all entries of these files, and of the others what is old and not needed.

        Returns the files that it has forgotten. Nothing of what is in doubt is deleted.
        """

    def _in_doubt(self, file_ids: Collection[int] | None) -> Mapping[BlockId, Sequence[Span]]:
        """The blocks in doubt in which these files are (None: all); by default there are none."""
        return {}

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        """What is known of these files of this instance (None: of all)."""
        files = [entry.span for entry in self._newest(file_ids)]
        return Ledger(files, self._in_doubt(file_ids), self._is_empty())

    def before(self, file_id: int, end: int) -> Span | None:
        """The last recorded span of a file that ends at or before `end`."""
        return next((entry.span for entry in self._newest([file_id], end)), None)

    def start_at(self, files: Sequence[Span]) -> None:
        """Record chosen positions, and by an entry without a file that there was a first start."""
        self._append("position", files)
        self._append("stored", [NO_STREAM], BlockId(0, 0))

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        """See `Store.keep`: a file that is gone gets an entry, and another one if it comes back."""
        known = {entry.span.stream.id: entry for entry in self._newest()}
        marked = {id for id, entry in known.items() if entry.kind == "gone"}
        for kind, ids in (
            ("gone", known.keys() & set(gone) - marked),
            ("stored", marked & set(found)),
        ):
            if ids:
                self._append(kind, [known[id].span for id in ids])
        old = {id for id in marked & set(gone) if known[id].is_old}
        if old:
            doubtful = self._in_doubt(old).values()
            old -= {span.stream.id for spans in doubtful for span in spans}
        return self._forget(old)
