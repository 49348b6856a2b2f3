"""Format `xferlog`: the transfers of FTP servers: wu-ftpd, ProFTPD, vsftpd, Pure-FTPd.

`time seconds client bytes path type action direction mode user service method id completion`, by
ProFTPD's manual page xferlog(5). The user is the customer.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout
from native.lines import Shape

# fmt: off
FORMAT = Layout(
    (
        Field("time", "timestamp", time="%a %b %e %H:%M:%S %Y"), " ", Field("seconds", "duration"),
        " ",
        Field("client", "client_ip"), " ", Field("bytes", "bytes_sent"), " ",
        Field("path", "request_path", Shape.WORDS), " ", Field("transfer_type", choices=("a", "b")),
        " ",
        Field("special_action"), " ", Field("direction"), " ", Field("access_mode"), " ",
        Field("user", "customer_id"), " ", Field("service"), " ", Field("authentication_method"),
        " ",
        Field("user_id", empty=("*",)), " ", Field("completion", choices=("c", "i")),
    ),
    samples=(
        "Sun Nov 22 20:15:05 2026 1 203.0.113.7 512 /srv/a.txt b _ o r cust_1 ftp 0 * c",
        "Sun Nov  1 20:15:05 2026 1 2001:db8::7 512 /srv/caf\u00e9_b.txt a _ i a ? ftp 1 cust_1 i",
    ),
    reason="not_xferlog",
)
# fmt: on
