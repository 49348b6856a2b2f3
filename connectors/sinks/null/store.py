"""Store `null`: takes finished batches and discards them, for measuring."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from connectors.batch import Parsed, Span, Stored
from connectors.sinks.retry import Retry
from connectors.store import Ledger, Reader
from settings import Settings


class NullStore:
    """Remembers nothing: every start reads from the beginning."""

    reader: Reader | None = None

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        """Nothing is known."""
        return Ledger(files=(), in_doubt={}, is_new=True)

    def writer(self) -> NullWriter:
        """A writer that discards."""
        return NullWriter()

    def start_at(self, files: Sequence[Span]) -> None:
        """Positions are not kept."""

    def before(self, file_id: int, end: int) -> Span | None:
        """Nothing is known."""
        return None

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Nothing is stored."""
        return set()

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        """Nothing is kept."""
        return ()

    def accounts(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is open."""


class NullWriter:
    """Discards."""

    def write(self, batch: Parsed) -> Stored:
        """The batch has arrived as finished columns, which is all that is measured."""
        return Stored.of(batch)

    def close(self) -> None:
        """Nothing is open."""


def open_store(settings: Settings, retry: Retry) -> NullStore:
    """The null store; needs no settings, and never fails."""
    return NullStore()
