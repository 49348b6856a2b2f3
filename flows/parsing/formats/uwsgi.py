"""Format `uwsgi`: the requests that uWSGI logs, and its other messages where these have a time.

`[pid: n|app: n|req: n/n] client (user) {n vars in n bytes} [time] method path => generated n bytes
in n msecs (protocol status) n headers in n bytes (n switches on core n)`, by `core/logging.c`,
`log_request`; `micros` with the option `log-micros`. With `logdate`, as Debian has it, messages are
`time - message`. The duration is what the application took.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout, Maybe, Part, Variants, quoted
from native.lines import Shape

_TIME = "%a %b %e %H:%M:%S %Y"
_REASON = "not_uwsgi"


def _number(name: str, column: str = "") -> Field:
    return Field(name, column, Shape.DIGITS)


# fmt: off
_BEGIN: tuple[Part | Maybe, ...] = (
    Maybe("{", quoted("memory"), "} "),
    "[pid: ", _number("pid"), "|app: ", Field("app"), "|req: ", Field("req"), "] ",
    quoted("client", "client_ip"), " (", quoted("user", "customer_id"), ") {", _number("vars"),
    " vars in ", _number("request_bytes"), " bytes} [", Field("time", "timestamp", time=_TIME),
    "] ",
    quoted("method", "method"), " ", quoted("path", "request_path"), " => generated ",
    _number("bytes", "bytes_sent"), " bytes in ",
)
_END: tuple[Part, ...] = (
    "(", quoted("protocol"), " ", Field("status", "status_code"), ") ", _number("headers"),
    " headers in ", _number("header_bytes"), " bytes (", _number("switches"),
    " switches on core ", _number("core"), ")",
)
# fmt: on


def _requests(unit: str, shift: int, samples: tuple[str, ...]) -> Layout:
    duration = Field("duration", "duration", shift=shift)
    via = Maybe("via ", Field("via"), " ")
    return Layout((*_BEGIN, duration, f" {unit} ", via, *_END), samples, _REASON)


FORMAT = Variants(
    (
        _requests(
            "msecs",
            3,
            (
                "[pid: 1234|app: 0|req: 5/9] 203.0.113.7 () {40 vars in 500 bytes} "
                "[Sun Nov 22 20:15:05 2026] GET /a?b=c => generated 512 bytes in 48 msecs "
                "(HTTP/1.1 200) 2 headers in 64 bytes (1 switches on core 0)",
                "{address space usage: 9 bytes/0MB} {rss usage: 9 bytes/0MB} [pid: 1234|app: -1|"
                "req: 5/9]  (cust_1) {40 vars in 500 bytes} [Sun Nov  1 20:15:05 2026] GET "
                "/caf\u00e9 => generated 0 bytes in 1 msecs via sendfile() (HTTP/1.0 404) 2 "
                "headers "
                "in 64 bytes (1 switches on core 0)",
            ),
        ),
        _requests(
            "micros",
            6,
            (
                "[pid: 1234|app: 0|req: 5/9] 2001:db8::7 () {40 vars in 500 bytes} "
                "[Sun Nov 22 20:15:05 2026] GET / => generated 512 bytes in 480 micros "
                "(HTTP/1.1 200) 2 headers in 64 bytes (1 switches on core 0)",
            ),
        ),
        Layout(
            (
                Field("time", "timestamp", time=_TIME),
                " - ",
                Field("message", "message", Shape.WORDS, empty=()),
            ),
            samples=("Sun Nov 22 20:15:05 2026 - spawned uWSGI worker 1 (pid: 1234, cores: 1)",),
            reason=_REASON,
        ),
    )
)
