r"""Format `combined`: the access log of Apache httpd and nginx, and those that are made of it.

`%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`, by the Apache HTTP Server documentation,
"Log Files" and mod_log_config (quotes, backslashes and control characters inside quoted fields are
escaped as `\"`, `\\`, `\n`, `\xhh`), and nginx, ngx_http_log_module, `combined` (`\xHH`).

The remote user is the customer. The request line gives method, path and `attributes.protocol`; one
that is not of that shape is kept whole as `attributes.request`, the identd name as
`attributes.ident`. Escapes are undone where the result is UTF-8.

Neither program escapes the spaces of a user's name, so a line that has one more field in front of
the time, such as a virtual host, looks much like one with such a name. It is taken for a name only
where no word of it can be another field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from connectors.errors import MalformedLine
from flows.parsing.fields import Escapes
from flows.parsing.layout import REQUEST, Field, Layout, bracketed, quoted
from flows.parsing.times import CLF
from native.lines import Shape

# No word of a user's name may look like a number, an address, a name of a host, or nothing.
_OTHER_FIELD = re.compile(
    r"|-|\"\"|\d.*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*,?|[\w-]+(?:\.[\w-]+)+(?::\d+)?,?", re.DOTALL
)


def check(texts: Mapping[str, str]) -> None:
    """Refuse a line whose first fields are others than these."""
    host, ident, user = texts["host"], texts["ident"], texts["user"]
    words = user.split(" ")
    found = ""
    if "," in host:
        found = f"host {host[:64]!r} is more than one"
    elif ident != "-" and _OTHER_FIELD.fullmatch(ident):
        found = f"identd name {ident[:64]!r} is another field"
    elif len(words) > 1 and (ident != "-" or any(map(_OTHER_FIELD.fullmatch, words))):
        found = f"user {user[:64]!r} is more than one field"
    if found:
        raise MalformedLine("not_combined", found)


HOST = Field("host", "client_ip", odd=",")
"""The client."""

BEGIN: tuple[Field | str, ...] = (
    HOST,
    " ",
    Field("ident", escapes=Escapes.APACHE, usual="-"),
    " ",
    Field(
        "user",
        "customer_id",
        Shape.WORDS,
        escapes=Escapes.APACHE,
        empty=("-", '""'),  # Apache's empty name
        odd=" \\",
    ),
    " [",
    bracketed("time", CLF),
    '] "',
    quoted("request", REQUEST, Escapes.APACHE),
    '" ',
    Field("status", "status_code"),
    " ",
    Field("bytes", "bytes_sent"),
)
"""The fields that all of these formats have."""

CLIENT: tuple[Field | str, ...] = (
    ' "',
    quoted("referer", "referer", Escapes.APACHE),
    '" "',
    quoted("user agent", "user_agent", Escapes.APACHE),
    '"',
)
"""What the client says of itself."""

FORMAT = Layout(
    (*BEGIN, *CLIENT),
    samples=(
        "203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
        '"GET /a?b=c HTTP/1.1" 200 512 "-" "curl/8.7.1"',
        '::1 - Jane Doe [22/Nov/2026:20:15:05 +0000] "-" 408 - "-" "caf\u00e9 \\"x\\""',
    ),
    reason="not_combined",
    check=check,
)
