"""Format `traefik`: the access log of Traefik in its common format.

`combined`, and `requests "router" "server URL" duration` in whole milliseconds, by the Traefik
documentation, "Access Logs", `common`.
"""

from __future__ import annotations

from flows.parsing.formats.combined import BEGIN, CLIENT, check
from flows.parsing.layout import Field, Layout, quoted
from native.lines import Shape

FORMAT = Layout(
    (
        *BEGIN,
        *CLIENT,
        " ",
        Field("requests", shape=Shape.DIGITS),
        ' "',
        quoted("router"),
        '" "',
        quoted("server_url"),
        '" ',
        Field("duration", "duration", Shape.DIGITS, shift=3),
        "ms",
    ),
    samples=(
        '203.0.113.7 - - [22/Nov/2026:20:15:05 +0000] "GET /a?b=c HTTP/1.1" 200 512 "-" '
        '"curl/8.7.1" 5 "web@docker" "http://10.0.0.1:80" 48ms',
        '2001:db8::7 - cust_1 [22/Nov/2026:20:15:05 +0000] "GET /caf\u00e9 HTTP/2.0" 404 19 "-" '
        '"-" '
        '6 "-" "-" 0ms',
    ),
    reason="not_traefik",
    check=check,
)
