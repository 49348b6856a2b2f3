"""Format `uvicorn`: what uvicorn writes once its formatters are told to write the time, too.

By default there is none. With `%(asctime)s ` in front of both of `uvicorn.config.LOGGING_CONFIG`,
lines are `time level: message` and `time level: client - "request" status reason`.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, SPACES, Field, Layout, Part, Variants, quoted
from native.lines import Shape

_BEGIN: tuple[Part, ...] = (
    Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S"),
    " ",
    Field("level", "level"),
    ":",
    SPACES,
)
_REASON = "not_uvicorn"

FORMAT = Variants(
    (
        Layout(
            (
                *_BEGIN,
                Field("client", "client_ip"),
                ":",
                Field("port", shape=Shape.DIGITS),
                ' - "',
                quoted("request", REQUEST),
                '" ',
                Field("status", "status_code"),
                " ",
                Field("reason", shape=Shape.WORDS),
            ),
            samples=(
                '2026-11-22 20:15:05,123 INFO:     203.0.113.7:4321 - "GET /a?b=c HTTP/1.1" 200 OK',
                "2026-11-22 20:15:05,123 INFO:     2001:db8::7:4321 - "
                '"GET /caf\u00e9 HTTP/1.1" 404 Not Found',
            ),
            reason=_REASON,
        ),
        Layout(
            (*_BEGIN, Field("message", "message", Shape.WORDS, empty=())),
            samples=(
                "2026-11-22 20:15:05,123 WARNING:  Invalid HTTP request received.",
                "2026-11-22 20:15:05,123 INFO:     Started server process [1234]",
            ),
            reason=_REASON,
        ),
    )
)
