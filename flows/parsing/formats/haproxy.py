"""Format `haproxy`: HAProxy's HTTP log, with or without what syslog writes in front.

`%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs
%{+Q}r`, by the HAProxy Configuration Manual, "HTTP log format". The duration is %Ta.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, Field, Layout, Maybe, bracketed, quoted
from flows.parsing.times import HAPROXY
from native.lines import Shape

# fmt: off
_PARTS: tuple[Field | Maybe | str, ...] = (
    Maybe("", Field("syslog", shape=Shape.WORDS), ": "),
    Field("client", "client_ip"), ":", Field("port", shape=Shape.DIGITS), " [",
    bracketed("time", HAPROXY), "] ", Field("frontend"), " ", Field("server", "host"), " ",
    Field("TR"), "/", Field("Tw"), "/", Field("Tc"), "/", Field("Tr"), "/",
    Field("Ta", "duration", shift=3), " ", Field("status", "status_code"), " ",
    Field("bytes", "bytes_sent"), " ", Field("request_cookie"), " ", Field("response_cookie"), " ",
    Field("termination"), " ", Field("connections"), " ", Field("queues"), " ",
    Maybe("{", Field("request_headers", shape=Shape.WORDS), "} "),
    Maybe("{", Field("response_headers", shape=Shape.WORDS), "} "),
    '"', quoted("request", REQUEST), '"',
)
# fmt: on
FORMAT = Layout(
    _PARTS,
    samples=(
        "Nov 22 20:15:05 lb haproxy[14389]: 203.0.113.7:33317 [22/Nov/2026:20:15:05.655] in s/srv1 "
        '10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "GET /a?b=c HTTP/1.1"',
        "2001:db8::1:80 [22/Nov/2026:20:15:05.655] in~ in/<NOSRV> -1/-1/-1/-1/+0 400 187 "
        '- - PR-- 1/1/0/0/0 0/0 "<BADREQ>"',
    ),
    reason="not_haproxy",
)
