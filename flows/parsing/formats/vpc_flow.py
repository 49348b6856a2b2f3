"""Format `vpc_flow`: flow logs of Amazon VPC, version 2.

Fields in the order of the Amazon VPC documentation, "Flow log records", default format, under their
names there. The time is the start of the window; `ACCEPT` or `REJECT` is `attributes.action`.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout
from native.lines import Meaning

# fmt: off
FORMAT = Layout(
    (
        "2 ", Field("account-id"), " ", Field("interface-id"), " ", Field("srcaddr", "client_ip"),
        " ",
        Field("dstaddr"), " ", Field("srcport"), " ", Field("dstport"), " ", Field("protocol"), " ",
        Field("packets"), " ", Field("bytes", "bytes_sent"), " ",
        Field("start", "timestamp", time=Meaning.EPOCH), " ", Field("end"), " ", Field("action"),
        " ",
        Field("log-status"),
    ),
    samples=(
        "2 123456789010 eni-1235b8ca123456789 203.0.113.7 10.0.0.1 20641 22 6 20 4249 1795378505 "
        "1795378565 ACCEPT OK",
        "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1795378505 1795378565 - caf\u00e9",
    ),
    reason="not_vpc_flow",
)
# fmt: on
