"""Format `monolog`: `[time] channel.LEVEL: message {context} [extra]`, also Laravel's.

By the documentation of Monolog, `LineFormatter::SIMPLE_FORMAT`. Context and extra are JSON, and
attributes; Laravel leaves out those that are empty.
"""

from __future__ import annotations

from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants
from native.lines import Rest

FORMAT = Variants(
    texts(
        "not_monolog",
        "[{time}] {channel}.{level}: {message}",
        samples=(
            "[2026-11-22T20:15:05.123456+00:00] shop.WARNING: disk 91% full [] []",
            '[2026-11-22 20:15:05] production.ERROR: caf\u00e9 closed {"order":4711} ',
        ),
        rest=Rest.VALUES,
    )
)
