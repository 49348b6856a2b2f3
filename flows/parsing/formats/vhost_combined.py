"""Format `vhost_combined`: `combined` behind a virtual host and its port, as in Debian.

`%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"`, by `apache2.conf` of Debian's
package apache2. The virtual host is `host`, its port `attributes.port`.
"""

from __future__ import annotations

from flows.parsing.formats.combined import BEGIN, CLIENT, check
from flows.parsing.layout import Field, Layout
from native.lines import Shape

FORMAT = Layout(
    (
        Field("virtual host", "host"),
        ":",
        Field("port", shape=Shape.DIGITS),
        " ",
        *BEGIN,
        *CLIENT,
    ),
    samples=(
        "www.example.com:443 203.0.113.7 - cust_1 [22/Nov/2026:20:15:05 +0000] "
        '"GET /a?b=c HTTP/1.1" 200 512 "-" "curl/8.7.1"',
        '::1:80 ::1 - - [22/Nov/2026:20:15:05 +0000] "-" 408 0 "-" "-"',
    ),
    reason="not_vhost_combined",
    check=check,
)
