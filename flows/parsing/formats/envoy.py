"""Format `envoy`: the access log of Envoy in its default text, and in that of Istio.

By the Envoy documentation, "Access logging", default format string: `[%START_TIME%] "%REQ(:METHOD)%
%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED%
%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%"
"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"`. Istio's, by its
documentation, "Envoy Access Logs", has three fields more behind the flags, and six at the end.
Nothing is escaped.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, Field, Layout, Part, Variants, quoted
from native.lines import Rest, Shape

_REASON = "not_envoy"

# fmt: off
_BEGIN: tuple[Part, ...] = (
    "[", Field("time", "timestamp"), '] "',
    Field("request", REQUEST, Shape.WORDS, empty=("- - -",)),
    '" ', Field("status", "status_code", empty=("-", "0")), " ", Field("response_flags"), " ",
)
_REST: tuple[Part, ...] = (
    Field("bytes_received"), " ", Field("bytes", "bytes_sent"), " ",
    Field("duration", "duration", shift=3), " ", Field("upstream_service_time"), ' "',
    Field("x_forwarded_for", "client_ip", Shape.WORDS, rest=Rest.OTHERS), '" "',
    quoted("user agent", "user_agent"), '" "', quoted("request_id"), '" "',
    quoted("authority", "host"), '" "', quoted("upstream_host"), '"',
)
_ISTIO: tuple[Part, ...] = (
    Field("response_code_details"), " ", Field("connection_termination_details"), ' "',
    quoted("upstream_transport_failure_reason"), '" ', *_REST, " ", Field("upstream_cluster"), " ",
    Field("upstream_local_address"), " ", Field("downstream_local_address"), " ",
    Field("downstream_remote_address"), " ", Field("requested_server_name"), " ",
    Field("route_name"),
)
# fmt: on

FORMAT = Variants(
    (
        Layout(
            (*_BEGIN, *_REST),
            samples=(
                '[2026-11-22T20:15:05.310Z] "POST /api/v1/locations HTTP/2" 200 - 154 0 226 100 '
                '"203.0.113.7" "nsq2http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" '
                '"10.0.2.1:80"',
                '[2026-11-22T20:15:05.310Z] "- - -" 0 UF,URX 0 0 48 - "-" "-" "-" "-" '
                '"10.0.2.1:80"',
            ),
            reason=_REASON,
        ),
        Layout(
            (*_BEGIN, *_ISTIO),
            samples=(
                '[2026-11-22T20:15:05.310Z] "GET /caf\u00e9 HTTP/1.1" 418 - via_upstream - "-" 0 '
                "135 "
                '3 1 "-" "curl/8.7.1" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" '
                '"127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 '
                "outbound_.8000_._.httpbin.foo.svc.cluster.local default",
            ),
            reason=_REASON,
        ),
    )
)
