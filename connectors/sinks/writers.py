"""How a batch is stored exactly once: by token, by overwriting, or in one transaction.

Each way says what happens before and after, and with a block in doubt. What is between is the same:
the dead letters, then the rows, then dead letters of those rows that the store refuses.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import blake2b

import polars as pl

from connectors.batch import PLACE, BlockId, Parsed, Span, Stored
from connectors.errors import StoreError
from connectors.sinks.ledger import NO_STREAM
from connectors.sinks.retry import Retry, Trouble

_SHORT = 1024  # bytes of a dead letter that is too large for the way to the store


class Lines(ABC):
    """Where the lines of a batch go."""

    @abstractmethod
    def insert(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Store rows; returns those that the store has `REFUSED`."""

    @abstractmethod
    def insert_dead(self, letters: pl.DataFrame) -> None:
        """Store dead letters."""

    def insert_rejected(self, letters: pl.DataFrame) -> None:
        """Store the dead letters of refused rows."""
        self.insert_dead(letters)

    def insert_all(self, batch: Parsed) -> Stored:
        """Store a batch."""
        self.insert_dead(batch.rejected)
        refused = self.insert(batch.rows)
        if len(refused):
            self.insert_rejected(batch.reject(refused))
        return Stored.of(batch, refused)


class TransactionTable(Lines):
    """A database with transactions."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """All that is done in it, or nothing; when it ends, it is on disk."""

    @abstractmethod
    def record(self, kind: str, spans: Sequence[Span]) -> None:
        """Record an entry for each span."""

    @abstractmethod
    def trouble(self, error: Exception) -> Trouble | None:
        """See `Retry`."""

    @abstractmethod
    def close(self) -> None:
        """Close it."""


class TransactionWriter:
    """Rows, dead letters and the entry in the ledger come together: no block is ever in doubt."""

    def __init__(self, table: TransactionTable, retry: Retry) -> None:
        self._table = table
        self._retry = retry

    def write(self, batch: Parsed) -> Stored:
        """Store the batch; when this returns it is on disk. Raises `StoreError`."""

        def store() -> Stored:
            with self._table.transaction():
                self._table.record("block", batch.spans)
                return self._table.insert_all(batch)

        return self._retry(store, self._table.trouble)

    def close(self) -> None:
        """Nothing is left to say."""
        self._table.close()


class OverwritingWriter(ABC):
    """A line that is written again overwrites itself.

    The position is recorded behind the lines. So after a crash reading goes on there, and writes
    again what may be there already: no block is ever in doubt. Several blocks of a stream may be
    written at a time, each so that it does not matter how far the ones before it are, or when they
    are recorded: see `_begin`.
    """

    records_in_order = True

    @abstractmethod
    def _begin(self, batch: Parsed, in_order: Callable[[], object]) -> Lines:
        """Record that lines of this batch may be there from now on; returns where they go.

        `in_order` returns when the batches before it are recorded.
        """

    @abstractmethod
    def _finish(self, batch: Parsed) -> None:
        """Record how far each stream is stored."""

    def write(self, batch: Parsed) -> Stored:
        """Store the batch; when this returns, the store has acknowledged all of it."""
        with ExitStack() as turn:
            in_order = cache(lambda: turn.enter_context(batch.in_order()))
            stored = self._begin(batch, in_order).insert_all(batch)
            in_order()
            self._finish(batch)
        return stored

    def close(self) -> None:  # noqa: B027 - of nothing that is open
        """Nothing is left to say: a block is recorded as stored as soon as it is."""


class TokenWriter(ABC):
    """A second insert under one token does nothing, so whoever is not sure sends it again.

    A block is recorded before it is stored. The next one of the same writer, or a clean stop, says
    that it is. A block of which nobody said so is in doubt: the store is asked which of its lines
    it has, and the rest is inserted.
    """

    records_in_order = True

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._block = BlockId(secrets.randbits(63), 0)
        self._stored = True  # whether `_block` is: Bytewax closes a sink that has failed, too

    @abstractmethod
    def _record(self, block: BlockId, kind: str, spans: Sequence[Span]) -> None:
        """Record an entry for each span."""

    @abstractmethod
    def _insert_once(
        self, batch: Parsed, lines: pl.DataFrame, token: str, first: int, *, dead: bool
    ) -> pl.DataFrame:
        """Insert lines, from number `first` on, under a token; returns those that are `REFUSED`.

        The same lines under the same token may still be on their way from a writer that died.
        """

    @abstractmethod
    def _held(self, spans: Sequence[Span]) -> pl.DataFrame:
        """The places of these spans that are stored, be it as rows or as dead letters."""

    def write(self, batch: Parsed) -> Stored:
        """Store the batch; when this returns it is on disk. Raises `StoreError` when stopped."""
        if batch.in_doubt:
            stored = self._insert_all(batch, batch.in_doubt, self._held(batch.spans))
            if batch.is_whole:
                self._record(batch.in_doubt, "stored", [NO_STREAM])
            return stored
        if not self._stored:
            raise StoreError("The batch before this one is in doubt: restart to settle it.")
        with batch.in_order():
            # By the time, so that of blocks of several writers the last one is known.
            number = max(self._block.sequence + 1, time.time_ns())
            self._block = BlockId(self._block.writer, number)
            self._stored = False
            self._record(self._block, "block", batch.spans)
        stored = self._insert_all(batch, self._block, None)
        self._stored = True
        return stored

    def close(self) -> None:
        """Say that the last block is stored, if it is: a clean stop."""
        if self._block.sequence and self._stored:
            with suppress(StoreError):  # unsaid, the next start finds it out
                self._record(self._block, "stored", [NO_STREAM])

    def _insert_all(self, batch: Parsed, block: BlockId, held: pl.DataFrame | None) -> Stored:
        token = f"{self._instance}:{block.writer}:{block.sequence}"
        return _UnderTokens(self, batch, token, held).insert_all(batch)


@dataclass(frozen=True)
class _UnderTokens(Lines):
    """The lines of one block. What is `held` of a block in doubt is there already."""

    writer: TokenWriter
    batch: Parsed
    token: str
    held: pl.DataFrame | None

    def insert(self, rows: pl.DataFrame) -> pl.DataFrame:
        return self._insert(rows, dead=False)

    def insert_dead(self, letters: pl.DataFrame) -> None:
        refused = self._insert(letters, dead=True)
        # Nothing is refused but what is too large even alone: its beginning is stored.
        if len(refused):
            short = letters.join(refused, on=PLACE, how="semi").with_columns(
                pl.col("raw").bin.slice(0, _SHORT)
            )
            token = f"{self.token}:short:{hash_of(short)}"
            self.writer._insert_once(self.batch, short, token, 0, dead=True)

    def insert_rejected(self, letters: pl.DataFrame) -> None:
        token = f"{self.token}:refused:{hash_of(letters)}"
        replace(self, token=token, held=None).insert_dead(letters)

    def _insert(self, lines: pl.DataFrame, *, dead: bool) -> pl.DataFrame:
        insert = partial(self.writer._insert_once, self.batch, dead=dead)
        if self.held is None:
            return insert(lines, self.token, 0)
        # Of the lines before the last one held, none is under way any more.
        numbers = lines.with_row_index().join(self.held, on=PLACE, how="semi")["index"].to_list()
        first = max(numbers, default=-1) + 1
        passed = lines[:first].join(self.held, on=PLACE, how="anti", maintain_order="left")
        rest = f"{self.token}:rest:"
        refused = pl.concat(
            [insert(passed, f"{rest}{hash_of(passed)}", 0), insert(lines, self.token, first)]
        )
        if self.batch.is_whole:
            return refused
        # Now nothing comes late under the token. Did it take these lines, or another part before?
        held = pl.concat([self.writer._held(self.batch.spans), refused.select(PLACE)])
        missing = lines.join(held, on=PLACE, how="anti", maintain_order="left")
        return pl.concat([refused, insert(missing, f"{rest}{hash_of(missing)}", 0)])


def hash_of(lines: pl.DataFrame) -> str:
    """A hash of which lines these are."""
    return blake2b(lines.select(PLACE).to_numpy().tobytes()).hexdigest()[:32]
