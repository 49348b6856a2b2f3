"""Store `null`: takes finished batches and discards them."""

from __future__ import annotations

from connectors.sinks.kind import StoreKind

NULL = StoreKind(
    "null",
    "discard finished batches, for measuring.",
    "connectors.sinks.null.store",
    keeps=False,
)
