"""Format `granian`: the access log of granian.

`[%(time)s] %(addr)s - "%(method)s %(path)s %(protocol)s" %(status)d %(dt_ms).3f`, by granian's
`log.py`, the default of `--access-log-fmt`. The path is not escaped. Its other messages have no
time.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, Field, Layout, quoted

FORMAT = Layout(
    (
        "[",
        Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S %z"),
        "] ",
        Field("client", "client_ip"),
        ' - "',
        quoted("request", REQUEST),
        '" ',
        Field("status", "status_code"),
        " ",
        Field("duration", "duration", shift=3),
    ),
    samples=(
        '[2026-11-22 20:15:05 +0000] 203.0.113.7 - "GET /a HTTP/1.1" 200 48.310',
        '[2026-11-22 20:15:05 +0000] 2001:db8::7 - "GET /caf\u00e9 HTTP/2.0" 404 0.104',
    ),
    reason="not_granian",
)
