"""Format `structlog`: `time [level    ] event    key=value`, as ConsoleRenderer writes it.

By the documentation of structlog, "Console Output": levels are in small letters; pairs, and a
logger in brackets, are attributes. A value with spaces is written as Python does.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants
from native.lines import Rest

_LEVELS = ("debug", "info", "warning", "error", "critical")
FORMAT = Coloured(
    Variants(
        texts(
            "not_structlog",
            "{time} [{level:9}] {message}",
            levels={name: name for name in _LEVELS},
            samples=(
                "2026-11-22 20:15:05 [info     ] order stored",
                "2026-11-22T20:15:05.123Z [warning  ] disk full     [shop] name='a b'",
            ),
            rest=Rest.PAIRS,
        )
    )
)
