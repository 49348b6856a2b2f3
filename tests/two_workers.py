"""A dataflow for two workers: the first one writes for as long as the second one needs to read on.

It reads across the end of what would be an epoch of Bytewax; were the workers to wait for each
other there, neither would ever go on.
"""

from __future__ import annotations

import threading
import time

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from flows.process import tune

BEGAN = time.monotonic()
EPOCH = 10.0  # seconds, unless Bytewax is told otherwise
read_on = threading.Event()


class Partition(StatelessSourcePartition[int]):
    def __init__(self, worker: int) -> None:
        self.worker = worker
        self.asked_later = 0

    def next_batch(self) -> list[int]:
        if self.worker == 1 and time.monotonic() > BEGAN + EPOCH:
            self.asked_later += 1
            if self.asked_later > 2:  # the first time ends the epoch
                read_on.set()
        if read_on.is_set():
            raise StopIteration
        time.sleep(0.01)
        return [self.worker]


class Numbers(DynamicSource[int]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> Partition:
        return Partition(worker_index)


class Writer(StatelessSinkPartition[int]):
    def write_batch(self, items: list[int]) -> None:
        if items == [0] and time.monotonic() > BEGAN + EPOCH / 2:  # both have begun
            assert read_on.wait(60), "the other worker was not asked for more"


class Sink(DynamicSink[int]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> Writer:
        return Writer()


def flow() -> Dataflow:
    tune()
    made = Dataflow("two_workers")
    op.output("write", op.input("read", made, Numbers()), Sink())
    return made
