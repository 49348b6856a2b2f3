"""Format `combined_extra`: `combined` with any fields behind it, kept as `attributes.extra`."""

from __future__ import annotations

from flows.parsing.formats.combined import BEGIN, CLIENT, check
from flows.parsing.layout import Field, Layout
from native.lines import Shape

FORMAT = Layout(
    (*BEGIN, *CLIENT[:-1], '" ', Field("extra", shape=Shape.WORDS)),
    samples=(
        "203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
        '"GET /a?b=c HTTP/1.1" 200 512 "-" "curl/8.7.1" 0.004 upstream=app1',
        '::1 - - [22/Nov/2026:20:15:05 +0000] "-" 408 - "-" "-" "caf\u00e9 \\"x\\"" -',
    ),
    reason="not_combined",
    check=check,
)
