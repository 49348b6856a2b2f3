"""Where batches are stored: each store is one `StoreKind`, in its own package."""

from __future__ import annotations

from connectors.plugins import plugins
from connectors.sinks.clickhouse import CLICKHOUSE, EMBEDDED
from connectors.sinks.console import CONSOLE
from connectors.sinks.influxdb import INFLUXDB
from connectors.sinks.kind import StoreKind
from connectors.sinks.mongodb import MONGODB
from connectors.sinks.null import NULL
from connectors.sinks.sqlite import SQLITE

_elsewhere, PROBLEMS = plugins("logwax.stores", StoreKind)

STORES: dict[str, StoreKind] = {
    kind.name: kind
    for kind in (
        *_elsewhere.values(),
        EMBEDDED,
        SQLITE,
        CLICKHOUSE,
        INFLUXDB,
        MONGODB,
        CONSOLE,
        NULL,
    )
}
"""Value of `STORE` -> the store. Other packages add theirs by entry points, `logwax.stores`."""
