"""Format `common`: the access log of Apache httpd without what the client says of itself.

`%h %l %u %t "%r" %>s %b`, by the Apache HTTP Server documentation, "Log Files".
"""

from __future__ import annotations

from flows.parsing.formats.combined import BEGIN, check
from flows.parsing.layout import Layout

FORMAT = Layout(
    BEGIN,
    samples=(
        '203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "GET /a?b=c HTTP/1.1" 200 512',
        '::1 - - [22/Nov/2026:20:15:05 +0000] "-" 408 -',
    ),
    reason="not_common",
    check=check,
)
