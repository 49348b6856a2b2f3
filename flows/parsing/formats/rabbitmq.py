"""Format `rabbitmq`: `time [level] <process> message`.

By RabbitMQ's documentation, "Logging", the log of a node. The time has an offset since 3.9.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout, Maybe
from native.lines import Shape

FORMAT = Layout(
    (
        Field("time", "timestamp", Shape.TWO_WORDS),
        " [",
        Field("level", "level"),
        "] <",
        Field("process"),
        ">",
        Maybe(" ", Field("message", "message", Shape.WORDS, empty=())),
    ),
    samples=(
        "2026-11-22 20:15:05.123456+00:00 [info] <0.223.0> Server startup complete",
        "2026-11-22 20:15:05.123 [warning] <0.1.0> caf\u00e9",
    ),
    reason="not_rabbitmq",
)
