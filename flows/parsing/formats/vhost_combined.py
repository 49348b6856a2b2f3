"""Format `vhost_combined`: `combined` or `common` behind a virtual host, with its port or without.

`%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"`, by `apache2.conf` of Debian's
package apache2; `%v` alone, by the Apache HTTP Server documentation, "Log Files", "Virtual Hosts".
The virtual host is `host`, its port `attributes.port`.

A line of `combined` whose user's name has a space looks like one with a host and no port: such
lines are of this format only where nothing is known of the user but the name, and the client is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from connectors.errors import MalformedLine
from flows.parsing.formats import combined
from flows.parsing.formats.combined import BEGIN, CLIENT, HOST
from flows.parsing.layout import Field, Layout, Part, Variants
from native.lines import Shape

_REASON = "not_vhost_combined"
_HOST = Field("virtual host", "host")
_PORT = Field("port", shape=Shape.DIGITS)
_BEGIN = (replace(HOST, odd=",-"), *BEGIN[1:])  # whether `-` may be here, `_check` says


def _check(texts: Mapping[str, str]) -> None:
    combined.check(texts)
    if texts["host"] == "-" or ("port" not in texts and texts["ident"] != "-"):
        raise MalformedLine(_REASON, "there is no client behind a virtual host")


def _layout(*parts: Part, samples: tuple[str, ...]) -> Layout:
    return Layout(parts, samples, _REASON, _check)


FORMAT = Variants(
    (
        _layout(
            *(_HOST, ":", _PORT, " ", *_BEGIN, *CLIENT),
            samples=(
                "www.example.com:443 203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
                '"GET /a?b=c HTTP/1.1" 200 512 "-" "curl/8.7.1"',
                '::1:80 ::1 - - [22/Nov/2026:20:15:05 +0000] "-" 408 0 "-" "-"',
            ),
        ),
        _layout(
            *(_HOST, " ", *_BEGIN, *CLIENT),
            samples=(
                "www.example.com 203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
                '"GET /a?b=c HTTP/1.1" 200 512 "-" "caf\u00e9"',
            ),
        ),
        _layout(
            *(_HOST, " ", *_BEGIN),
            samples=(
                "www.example.com 203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
                '"GET /caf\u00e9 HTTP/1.1" 200 512',
            ),
        ),
        _layout(
            *(_HOST, ":", _PORT, " ", *_BEGIN),
            samples=(
                "www.example.com:443 203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
                '"GET /caf\u00e9 HTTP/1.1" 200 512',
            ),
        ),
    )
)
