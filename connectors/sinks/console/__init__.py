"""Store `console`: shows lines on stdout."""

from __future__ import annotations

from connectors.sinks.kind import StoreKind

CONSOLE = StoreKind(
    "console",
    "show lines on stdout, in tables on a terminal, else as JSON.",
    "connectors.sinks.console.store",
    keeps=False,
    shows_lines=True,
)
