"""Store `sqlite`: one file of SQLite in `DATA_DIR`."""

from __future__ import annotations

from connectors.sinks.kind import StoreKind

SQLITE = StoreKind(
    "sqlite",
    "SQLite, in DATA_DIR/logwax.sqlite.",
    "connectors.sinks.sqlite.store",
    is_shared=True,
    kept_in="logwax.sqlite",
    example="SELECT count(*) FROM logs",
)
