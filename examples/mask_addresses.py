"""`StoreSink`, with a step of one's own before it: stores lines without the last part of addresses.

FOLLOW=false python -m bytewax.run examples.mask_addresses

Positions come from the store, so that every line is stored once, here as in `flows.main`.
"""

from __future__ import annotations

import atexit
from dataclasses import replace

import bytewax.operators as op
import polars as pl
from bytewax.dataflow import Dataflow

from connectors.batch import Parsed
from connectors.sinks.store_sink import StoreSink
from connectors.sources.files import FileSource
from connectors.store import open_store
from flows.parsing.parser import parser
from flows.settings import load


def mask(batch: Parsed) -> Parsed:
    """Replace what follows the last dot or colon of a client's address."""
    if "client_ip" not in batch.rows.columns:
        return batch
    masked = pl.col("client_ip").str.replace(r"[^.:]*$", "x")
    return replace(batch, rows=batch.rows.with_columns(masked))


def flow() -> Dataflow:
    """What `bytewax.run` calls."""
    settings = load()
    store = open_store(settings)
    atexit.register(store.close)
    flow = Dataflow("mask_addresses")
    batches = op.input("tail", flow, FileSource(settings.patterns, store, follow=False))
    parsed = op.map("parse", batches, parser(settings.log_format, settings.log_timezone))
    masked = op.map("mask", parsed, mask)
    op.output("write", masked, StoreSink(store))
    return flow
