"""Format `nginx`: `main` of the official packages, `combined` and `"$http_x_forwarded_for"`.

`log_format main` of the `nginx.conf` in nginx's own packages; escapes: ngx_http_log_module.
"""

from __future__ import annotations

from flows.parsing.fields import Escapes
from flows.parsing.formats.combined import BEGIN, CLIENT, check
from flows.parsing.layout import Layout, quoted

FORMAT = Layout(
    (*BEGIN, *CLIENT[:-1], '" "', quoted("x_forwarded_for", escapes=Escapes.APACHE), '"'),
    samples=(
        "203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
        '"GET /a?b=c HTTP/1.1" 200 512 "-" "curl/8.7.1" "10.0.0.1, 10.0.0.2"',
        '::1 - - [22/Nov/2026:20:15:05 +0000] "-" 400 0 "-" "caf\\xC3\\xA9" "-"',
    ),
    reason="not_nginx",
    check=check,
)
