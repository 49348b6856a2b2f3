"""Format `django`: what Django's `runserver` writes.

`[time] message`, by `django.utils.log.DEFAULT_LOGGING`, the formatter `django.server`; of a request
the message is `"request" status bytes`.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, Field, Layout, Variants, quoted
from native.lines import Shape

_TIME = Field("time", "timestamp", time="%d/%b/%Y %H:%M:%S")
_REASON = "not_django"

FORMAT = Variants(
    (
        Layout(
            (
                "[",
                _TIME,
                '] "',
                quoted("request", REQUEST),
                '" ',
                Field("status", "status_code"),
                " ",
                Field("bytes", "bytes_sent"),
            ),
            samples=(
                '[22/Nov/2026 20:15:05] "GET /a?b=c HTTP/1.1" 200 512',
                '[22/Nov/2026 20:15:05] "GET /caf\u00e9 HTTP/1.1" 304 0',
            ),
            reason=_REASON,
        ),
        Layout(
            ("[", _TIME, "] ", Field("message", "message", Shape.WORDS, empty=())),
            samples=("[22/Nov/2026 20:15:05] code 400, message Bad request syntax ('BAD')",),
            reason=_REASON,
        ),
    )
)
