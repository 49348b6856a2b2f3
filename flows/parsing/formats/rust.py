"""Format `rust`: the crates env_logger and tracing-subscriber.

`[2026-11-22T20:15:05Z INFO  shop::orders] message` by the documentation of env_logger, and
`2026-11-22T20:15:05.123456Z  INFO shop::orders: message key=value` by that of tracing-subscriber,
`fmt::format::Full`: pairs behind a message are attributes.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants
from native.lines import Rest

FORMAT = Coloured(
    Variants(
        texts(
            "not_rust",
            "[{time} {level:5} {logger}] {message}",
            "{time} {level:5} {logger}: {message}",
            "{time} {level:5} {message}",
            time="%Y-%m-%dT%H:%M:%S%z",
            samples=("[2026-11-22T20:15:05Z INFO  shop::orders] order 4711 stored",),
            rest=Rest.PAIRS,
        )
    )
)
