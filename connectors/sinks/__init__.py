"""Where batches are stored. A new store is one module and one line here."""

from __future__ import annotations

STORES: dict[str, str] = {
    "clickhouse": "connectors.sinks.clickhouse_server",
    "console": "connectors.sinks.console",
    "embedded": "connectors.sinks.embedded",
    "influxdb": "connectors.sinks.influxdb",
    "null": "connectors.sinks.null",
}
"""Value of `STORE` -> the module whose `open_store(settings, retry) -> Store` opens it.

Modules are imported when chosen, so that one store never pays for the libraries of another.
"""

READERS: dict[str, str] = {
    "clickhouse": "connectors.sinks.clickhouse_server",
    "influxdb": "connectors.sinks.influxdb_reader",
}
"""Value of `STORE` -> the module whose `open_reader(settings, retry) -> Reader` asks it without
opening it, as `python -m api` does: only stores that several processes may use."""
