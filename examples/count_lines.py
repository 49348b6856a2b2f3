"""`FileSource` in a dataflow of its own: counts the lines of each file as it grows.

LOG_PATHS='data/logs/*.log' python -m bytewax.run examples.count_lines
"""

from __future__ import annotations

import os

import bytewax.operators as op
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow

from connectors.batch import Taken
from connectors.saying import shown
from connectors.sources.files import FileSource


def count(batch: Taken) -> list[str]:
    """One line of text for each file in the batch."""
    batch.acknowledge()  # else the next bytes of these files never come
    return [f"{shown(span.stream.name)}: {span.records} lines" for span in batch.spans]


flow = Dataflow("count_lines")
batches = op.input("tail", flow, FileSource(os.environ["LOG_PATHS"].split(","), follow=False))
counts = op.flat_map("count", batches, count)
op.output("print", counts, StdOutSink())
