"""Format `nginx_error`: the error log of nginx.

`time [level] pid#tid: *connection message, client: address, server: name`, and what nginx knows
besides: of HTTP `, request: "", subrequest: "", upstream: "", host: "", referrer: ""`, of mail and
streams `, login: "", upstream: "", bytes from/to client:n/n, bytes from/to upstream:n/n`. By
`ngx_log_error_core` and the log handlers of these modules. Levels: core functionality, `error_log`.
nginx escapes nothing here.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, Field, Layout, Maybe, Part, Variants, quoted
from native.lines import Shape

_REASON = "not_nginx_error"

# fmt: off
_MESSAGE: tuple[Part | Maybe, ...] = (
    Field("time", "timestamp", time="%Y/%m/%d %H:%M:%S"), " [", Field("level", "level"), "] ",
    Field("pid", shape=Shape.DIGITS), "#", Field("tid", shape=Shape.DIGITS), ": ",
    Maybe("*", Field("connection", shape=Shape.DIGITS), " "),
    Field("message", "message", Shape.WORDS, empty=()),
)
_CLIENT: tuple[Part | Maybe, ...] = (
    *_MESSAGE, ", client: ", Field("client", "client_ip"), ", server: ", quoted("server"),
)
# fmt: on

FORMAT = Variants(
    (
        Layout(
            (
                *_CLIENT,
                ', request: "',
                quoted("request", REQUEST),
                '"',
                Maybe(', subrequest: "', quoted("subrequest"), '"'),
                Maybe(', upstream: "', quoted("upstream"), '"'),
                Maybe(', host: "', quoted("host", "host"), '"'),
                Maybe(', referrer: "', quoted("referrer", "referer"), '"'),
            ),
            samples=(
                "2026/11/22 20:15:05 [error] 1234#1234: *5 upstream timed out (110: Connection "
                "timed out) while reading response header from upstream, client: 203.0.113.7, "
                'server: example.com, request: "GET /a?b=c HTTP/1.1", upstream: '
                '"http://10.0.0.1:80/a?b=c", host: "example.com", referrer: "http://example.com/"',
                '2026/11/22 20:15:05 [crit] 1234#0: *6 open() "/srv/caf\u00e9" failed (2: No such '
                "file or directory), client: 2001:db8::7, server: , request: "
                '"GET /caf\u00e9 HTTP/1.1"',
            ),
            reason=_REASON,
        ),
        Layout(
            (
                *_CLIENT,
                Maybe(', login: "', quoted("login", "customer_id"), '"'),
                Maybe(', upstream: "', quoted("upstream"), '"'),
                Maybe(", bytes from/to client:", Field("client_bytes")),
                Maybe(", bytes from/to upstream:", Field("upstream_bytes")),
            ),
            samples=(
                "2026/11/22 20:15:05 [info] 1234#1234: *7 client timed out (110: Connection timed "
                "out) while SSL handshaking, client: 203.0.113.7, server: 0.0.0.0:443",
                "2026/11/22 20:15:05 [error] 1234#1234: *8 no live upstreams while connecting to "
                'upstream, client: 203.0.113.7, server: 0.0.0.0:3306, upstream: "db", bytes '
                "from/to client:0/0, bytes from/to upstream:0/0",
            ),
            reason=_REASON,
        ),
        Layout(
            _MESSAGE,
            samples=("2026/11/22 20:15:05 [notice] 1234#1234: signal process started",),
            reason=_REASON,
        ),
    )
)
