"""Format `haproxy`: HAProxy's logs of HTTP, HTTPS and TCP, with or without what syslog adds.

HTTP: `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq
%hr %hs %{+Q}r`, HTTPS: the same, and errors, SNI, version and cipher of TLS; TCP: `%ci:%cp [%t] %ft
%b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq`. By the HAProxy Configuration Manual, "HTTP
log format", "HTTPS log format", "TCP log format", "Error log format". The duration is %Ta or %Tt.
Of its other messages the time is that of syslog.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, Field, Layout, Maybe, Part, Variants, bracketed, quoted
from flows.parsing.times import HAPROXY
from native.lines import Shape

_REASON = "not_haproxy"

# fmt: off
_BEGIN: tuple[Part | Maybe, ...] = (
    Maybe(Field("syslog", shape=Shape.WORDS), ": "),
    Field("client", "client_ip"), ":", Field("port", shape=Shape.DIGITS), " [",
    bracketed("time", HAPROXY), "] ", Field("frontend"),
)
_COUNTS: tuple[Part, ...] = (
    " ", Field("termination"), " ", Field("connections"), " ", Field("queues"),
)
_HTTP: tuple[Part | Maybe, ...] = (
    *_BEGIN, " ", Field("server", "host"), " ", Field("TR"), "/", Field("Tw"), "/", Field("Tc"),
    "/",
    Field("Tr"), "/", Field("Ta", "duration", shift=3), " ", Field("status", "status_code"), " ",
    Field("bytes", "bytes_sent"), " ", Field("request_cookie"), " ", Field("response_cookie"),
    *_COUNTS, " ",
    Maybe("{", Field("request_headers", shape=Shape.WORDS), "} "),
    Maybe("{", Field("response_headers", shape=Shape.WORDS), "} "),
    '"', quoted("request", REQUEST), '"',
    Maybe(" ", Field("tls_errors"), " ", Field("sni"), "/", Field("tls"), "/", Field("cipher")),
)
_TCP: tuple[Part | Maybe, ...] = (
    *_BEGIN, " ", Field("server", "host"), " ", Field("Tw"), "/", Field("Tc"), "/",
    Field("Tt", "duration", shift=3), " ", Field("bytes", "bytes_sent"), *_COUNTS,
)
# fmt: on


def _message(time: str, sample: str) -> Layout:
    """What HAProxy tells syslog besides."""
    return Layout(
        (
            Field("time", "timestamp", time=time),
            " ",
            Field("host", "host"),
            " haproxy[",
            Field("pid", shape=Shape.DIGITS),
            "]: ",
            Field("message", "message", Shape.WORDS, empty=()),
        ),
        samples=(sample,),
        reason=_REASON,
    )


FORMAT = Variants(
    (
        Layout(
            _HTTP,
            samples=(
                "Nov 22 20:15:05 lb haproxy[14389]: 203.0.113.7:33317 [22/Nov/2026:20:15:05.655] "
                "in "
                "s/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} "
                '"GET /a?b=c HTTP/1.1"',
                "2001:db8::1:80 [22/Nov/2026:20:15:05.655] in~ in/<NOSRV> -1/-1/-1/-1/+0 400 187 "
                '- - PR-- 1/1/0/0/0 0/0 "<BADREQ>"',
                "203.0.113.7:33317 [22/Nov/2026:20:15:05.655] in~ s/srv1 0/0/0/1/1 200 120 - - "
                "---- "
                '1/1/0/0/0 0/0 "GET /caf\u00e9 HTTP/2.0" 0/0000000000000000/0/0/0 '
                "example.com/TLSv1.3/TLS_AES_256_GCM_SHA384",
            ),
            reason=_REASON,
        ),
        Layout(
            _TCP,
            samples=(
                "203.0.113.7:33317 [22/Nov/2026:20:15:05.655] in s/srv1 0/0/5007 212 -- "
                "0/0/0/0/3 0/0",
            ),
            reason=_REASON,
        ),
        Layout(
            (*_BEGIN, ": ", Field("message", "message", Shape.WORDS, empty=())),
            samples=("203.0.113.7:33317 [22/Nov/2026:20:15:05.655] in/1: SSL handshake failure",),
            reason=_REASON,
        ),
        _message("%b %e %H:%M:%S", "Nov 22 20:15:05 lb haproxy[14389]: Proxy in started."),
        _message(
            "%Y-%m-%dT%H:%M:%S%z", "2026-11-22T20:15:05Z lb haproxy[14389]: Proxy in started."
        ),
    )
)
