"""Format `squid`: the access log of Squid in its native format, and its cache log.

`%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt`, by Squid's `squid.conf.documented`,
`logformat squid`; with `log_mime_hdrs on`, the headers of both sides follow in brackets. The path
is a whole URL, as logged. Lines of `cache.log` are `time| message`, or `time kid1| message`.
"""

from __future__ import annotations

from flows.parsing.choice import Wrapped
from flows.parsing.layout import SPACES, Field, Layout, Maybe, Variants, quoted
from flows.parsing.said import WithLevel
from native.lines import Shape

_REASON = "not_squid"

FORMAT = Wrapped(
    Variants(
        (
            Layout(
                (
                    Field("time", "timestamp", time="%s"),
                    SPACES,
                    Field("duration", "duration", shift=3),
                    " ",
                    Field("client", "client_ip"),
                    " ",
                    Field("result"),
                    "/",
                    Field("status", "status_code", empty=("-", "000")),
                    " ",
                    Field("bytes", "bytes_sent"),
                    " ",
                    Field("method", "method"),
                    " ",
                    Field("url", "request_path"),
                    " ",
                    Field("user", "customer_id"),
                    " ",
                    Field("hierarchy"),
                    "/",
                    Field("peer"),
                    " ",
                    Field("content_type"),
                    Maybe(" [", quoted("request_headers"), "] [", quoted("response_headers"), "]"),
                ),
                samples=(
                    "1795378505.123     48 203.0.113.7 TCP_MISS/200 512 GET http://example.com/a "
                    "cust_1 HIER_DIRECT/198.51.100.1 text/html",
                    "1795378505.123 100048 2001:db8::7 TCP_DENIED/407 3922 CONNECT "
                    "example.com:443 - HIER_NONE/- text/html;charset=caf\u00e9",
                ),
                reason=_REASON,
            ),
            Layout(
                (
                    Field("time", "timestamp", time="%Y/%m/%d %H:%M:%S"),
                    Maybe(" ", Field("kid")),
                    "| ",
                    Field("message", "message", Shape.WORDS, empty=()),
                ),
                samples=("2026/11/22 20:15:05 kid1| Accepting HTTP Socket connections",),
                reason=_REASON,
            ),
        )
    ),
    WithLevel,
)
