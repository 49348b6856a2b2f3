"""Format `loguru`: `time | LEVEL | module:function:line - message`.

By the documentation of loguru, "LOGURU_FORMAT"; `{name}:{function}:{line}` is the place.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

FORMAT = Coloured(
    Variants(
        texts(
            "not_loguru",
            "{time} | {level:8} | {logger}:{funcName}:{lineno} - {message}",
            samples=(
                "2026-11-22 20:15:05.123 | INFO     | shop.orders:store:12 - order 4711 stored",
            ),
        )
    )
)
