"""Sink: batches into a store. Each worker stores one while it makes the next, and two at most."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from connectors.batch import Parsed
from connectors.errors import StoreError
from connectors.saying import in_words
from connectors.status import Status
from connectors.store import Store

_AT_ONCE = 2  # batches of a worker


class _WriterThread:
    """A writer in a thread of its own, which alone uses it, and the batch that it stores."""

    def __init__(self, store: Store, status: Status) -> None:
        self._thread = ThreadPoolExecutor(1, "write")
        self._writer = self._thread.submit(store.writer).result()
        self._status = status
        self._written: Future[None] | None = None

    def start(self, batch: Parsed) -> None:
        """Store a batch; the one before is stored."""
        self._written = self._thread.submit(self._write, batch)

    def wait(self) -> None:
        """Until its batch is stored. Raises why it could not be."""
        written, self._written = self._written, None
        if written:
            written.result()

    def close(self) -> None:
        """Close the writer."""
        self._thread.submit(self._writer.close).result()
        self._thread.shutdown()

    @in_words
    def _write(self, batch: Parsed) -> None:
        self._status.refusals.add(batch.fits)
        has_letters = True  # of a write that failed, some may be stored
        try:
            orders = getattr(self._writer, "records_in_order", False)
            with nullcontext() if orders else batch.in_order():
                stored = self._writer.write(batch)
            has_letters = bool(stored.dead)
        except StoreError as error:
            self._status.report(str(error))
            raise
        finally:
            self._status.answers.stored(batch.rows)  # of a write that failed, some may be
            if has_letters:
                self._status.letter_counts.forget()
        self._status.tail.stored(batch, stored)
        batch.acknowledge()
        self._status.file_rates.add(batch.spans, batch.rejected)
        self._status.add(
            lines=batch.records,
            stored=stored.rows,
            filler=batch.filler,
            misfits=batch.misfits,
            dropped=batch.dropped,
            dead=stored.dead,
        )


class _Partition(StatelessSinkPartition[Parsed]):
    def __init__(self, store: Store, status: Status) -> None:
        self._writers = deque(_WriterThread(store, status) for _ in range(_AT_ONCE))
        self._status = status

    @in_words
    def write_batch(self, items: list[Parsed]) -> None:
        for batch in items:
            self._writers[0].start(batch)
            self._writers.rotate(-1)
            self._writers[0].wait()
            if batch.in_order is nullcontext:  # nothing follows until it is stored
                self.wait()

    def wait(self) -> None:
        """Until all batches are stored. Raises why one could not be."""
        for writer in self._writers:
            writer.wait()

    @in_words
    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._status.count_worker(-1)
            for writer in self._writers:
                writer.close()
            self._writers.clear()


class StoreSink(DynamicSink[Parsed]):
    """Writes each batch to `store` and then acknowledges it; counts what was stored in `status`.

    Guarantee: that of the store's writer. A worker has two batches in hand at most: what it makes
    and one that is being stored, or two that are. So while the store is slow, nothing more is read.
    """

    def __init__(self, store: Store, status: Status | None = None) -> None:
        self._store = store
        self._status = status or Status()

    @in_words
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Partition:
        """Two writers a worker; called by Bytewax."""
        self._status.answers.is_told = self._status.letter_counts.is_told = True
        partition = _Partition(self._store, self._status)
        self._status.count_worker(1)
        return partition
