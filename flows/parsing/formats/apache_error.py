"""Format `apache_error`: the error log of Apache httpd 2.4, and of 2.2.

`[time] [module:level] [pid n:tid n] file(line): (errno)text: [client address:port] message,
referer: url`, by the Apache HTTP Server documentation, core, `ErrorLogFormat`; 2.2 has `[time]
[level] [client address] message`. What is in front of the client is `attributes.before`.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout, Maybe, Part, Variants
from native.lines import Shape

_REASON = "not_apache_error"

# fmt: off
_TIME: tuple[Part, ...] = (
    "[", Field("time", "timestamp", time="%a %b %d %H:%M:%S %Y"), "] [",
)
_PROCESS: tuple[Part | Maybe, ...] = (
    *_TIME, Field("module", shape=Shape.WORDS), ":", Field("level", "level"), "] [pid ",
    Field("pid", shape=Shape.DIGITS), Maybe(":tid ", Field("tid", shape=Shape.DIGITS)), "] ",
)
_CLIENT: tuple[Part, ...] = (
    Field("before", shape=Shape.WORDS), "[client ", Field("client", "client_ip"), ":",
    Field("port", shape=Shape.DIGITS), "] ",
)
_REST: tuple[Part | Maybe, ...] = (
    Field("message", "message", Shape.WORDS, empty=()),
    Maybe(", referer: ", Field("referer", "referer")),
)
# fmt: on
_OLD_CLIENT = Maybe("[client ", Field("client", "client_ip"), "] ")

FORMAT = Variants(
    (
        Layout(
            (*_PROCESS, *_CLIENT, *_REST),
            samples=(
                "[Sun Nov 22 20:15:05.123456 2026] [core:error] [pid 1234:tid 5678] "
                "[client 203.0.113.7:4321] AH00126: Invalid URI in request GET caf\u00e9 HTTP/1.1, "
                "referer: http://example.com/",
                "[Sun Nov 22 20:15:05.123456 2026] [:error] [pid 1234] (13)Permission denied: "
                "[client 2001:db8::7:4321] AH00132: file permissions deny server access: /a",
            ),
            reason=_REASON,
        ),
        Layout(
            (*_PROCESS, _OLD_CLIENT, *_REST),
            samples=(
                "[Sun Nov 22 20:15:05.123456 2026] [mpm_event:notice] [pid 1:tid 1] AH00489: ready",
                "[Sun Nov 22 20:15:05.123456 2026] [core:error] [pid 1234:tid 5678] "
                "[client 203.0.113.7] File does not exist: /caf\u00e9",
            ),
            reason=_REASON,
        ),
        Layout(
            (*_TIME, Field("level", "level"), "] ", _OLD_CLIENT, *_REST),
            samples=(
                "[Sun Nov 22 20:15:05 2026] [error] [client 203.0.113.7] File does not exist: /a",
                "[Sun Nov 22 20:15:05 2026] [notice] caught SIGTERM, shutting down",
            ),
            reason=_REASON,
        ),
    )
)
