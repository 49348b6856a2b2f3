"""Format `node`: winston, log4js and pino-pretty, where these write a time.

winston: `${timestamp} [${label}] ${level}: ${message}` by its README, "Formats"; log4js: its layout
`basic`; pino-pretty: its README, with `translateTime`.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

FORMAT = Coloured(
    Variants(
        (
            *texts(
                "not_node",
                "{time} [{label}] {level}: {message}",
                "[{time}] {level:5} ({logger}/{process}): {message}",
                "[{time}] {level:5} ({process}): {message}",
                "[{time}] [{level}] {logger} - {message}",
                samples=("2026-11-22T20:15:05.123Z [orders] info: order 4711 stored",),
            ),
            *texts(
                "not_node",
                "{time} - [{level}] {message}",
                time="%d %b %H:%M:%S",
            ),
        )
    )
)
