"""Format `hypercorn`: what hypercorn writes, the error log and the access log, also in one file.

By hypercorn's `logging.py`, whose formatter writes `[time] [pid] [level]` in front of both, and its
`Config.access_log_format`: `%(h)s %(l)s %(l)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"`. In the
request, the protocol is a number (`GET /a 1.1`), and nothing is escaped.
"""

from __future__ import annotations

from flows.parsing.formats import gunicorn
from flows.parsing.layout import Field, Layout, Variants, quoted
from native.lines import Shape

FORMAT = Variants(
    (
        Layout(
            (
                *gunicorn.ERROR.parts[:-1],
                Field("client", "client_ip"),
                ":",
                Field("port", shape=Shape.DIGITS),
                " - - [",
                Field("t", shape=Shape.WORDS),
                '] "',
                Field("method", "method"),
                " ",
                Field("path", "request_path", Shape.WORDS),
                " ",
                Field("protocol"),
                '" ',
                Field("status", "status_code"),
                " ",
                Field("bytes", "bytes_sent"),
                ' "',
                quoted("referer", "referer"),
                '" "',
                quoted("user agent", "user_agent"),
                '"',
            ),
            samples=(
                "[2026-11-22 20:15:05 +0000] [1234] [INFO] 203.0.113.7:4321 - - "
                '[22/Nov/2026:20:15:05 +0000] "GET /a?b=c 2" 200 512 "-" "curl/8.7.1"',
                "[2026-11-22 20:15:05 +0000] [1234] [INFO] 2001:db8::7:4321 - - "
                '[22/Nov/2026:20:15:05 +0000] "GET /caf\u00e9 1.1" 500 - "-" "-"',
            ),
            reason="not_hypercorn",
        ),
        gunicorn.ERROR,
    )
)
