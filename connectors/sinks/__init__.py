"""Where batches are stored. A new store is one module and one line here."""

from __future__ import annotations

STORES: dict[str, str] = {
    "embedded": "connectors.sinks.embedded",
    "null": "connectors.sinks.null",
}
"""Value of `STORE` -> the module whose `open_store(settings) -> Store` opens it.

Modules are imported when chosen, so that one store never pays for the libraries of another.
"""
