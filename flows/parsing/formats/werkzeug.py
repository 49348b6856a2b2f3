"""Format `werkzeug`: what the development server of Werkzeug and Flask writes.

`client - - [time] "request" status size`, or a message in place of what follows the time, by
`WSGIRequestHandler.log` of `werkzeug/serving.py`; so does Python's own `http.server`. Colours are
removed.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.layout import REQUEST, Field, Layout, Part, Variants, quoted
from native.lines import Shape

_BEGIN: tuple[Part, ...] = (
    Field("client", "client_ip"),
    " - - [",
    Field("time", "timestamp", time="%d/%b/%Y %H:%M:%S"),
    "] ",
)
_REASON = "not_werkzeug"

_PLAIN = Variants(
    (
        Layout(
            (
                *_BEGIN,
                '"',
                quoted("request", REQUEST),
                '" ',
                Field("status", "status_code"),
                " ",
                Field("bytes", "bytes_sent"),
            ),
            samples=(
                '203.0.113.7 - - [22/Nov/2026 20:15:05] "GET /a?b=c HTTP/1.1" 200 -',
                '2001:db8::7 - - [22/Nov/2026 20:15:05] "\x1b[33mGET /caf\u00e9 HTTP/1.1\x1b[0m" '
                "404 -",
            ),
            reason=_REASON,
        ),
        Layout(
            (*_BEGIN, Field("message", "message", Shape.WORDS, empty=())),
            samples=(
                "203.0.113.7 - - [22/Nov/2026 20:15:05] code 400, message Bad request syntax ('x')",
            ),
            reason=_REASON,
        ),
    )
)

FORMAT = Coloured(_PLAIN)
