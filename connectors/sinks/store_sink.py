"""Sink: batches into a store, one after another on each worker."""

from __future__ import annotations

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from connectors.batch import Parsed
from connectors.errors import StoreError
from connectors.saying import in_words
from connectors.status import Status
from connectors.store import Store, Writer


class _Partition(StatelessSinkPartition[Parsed]):
    def __init__(self, writer: Writer, status: Status) -> None:
        self._writer = writer
        self._status = status

    @in_words
    def write_batch(self, items: list[Parsed]) -> None:
        for batch in items:
            self._status.refusals.add(batch.fits)
            has_letters = True  # of a write that failed, some may be stored
            try:
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

    @in_words
    def close(self) -> None:
        self._status.count_worker(-1)
        self._writer.close()


class StoreSink(DynamicSink[Parsed]):
    """Writes each batch to `store` and then acknowledges it; counts what was stored in `status`.

    Guarantee: that of the store's writer. Nothing is buffered: when `write_batch` returns, the
    batch is stored, and while the store is slow, nothing more is read.
    """

    def __init__(self, store: Store, status: Status | None = None) -> None:
        self._store = store
        self._status = status or Status()

    @in_words
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Partition:
        """One writer a worker; called by Bytewax."""
        self._status.answers.is_told = self._status.letter_counts.is_told = True
        partition = _Partition(self._store.writer(), self._status)
        self._status.count_worker(1)
        return partition
