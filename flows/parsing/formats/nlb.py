"""Format `nlb`: the TLS log of Amazon's Network Load Balancer, versions 1.0 and 2.0.

Fields in the order of the Elastic Load Balancing documentation, "Access logs for your Network Load
Balancer", under their names there. The duration is the `connection_time`.
Times are UTC.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout, Maybe
from flows.parsing.times import UTC
from native.lines import Shape

# fmt: off
FORMAT = Layout(
    (
        Field("type"), " ", Field("version"), " ", Field("time", "timestamp"), " ", Field("elb"),
        " ",
        Field("listener"), " ", Field("client", "client_ip"), ":",
        Field("client_port", shape=Shape.DIGITS), " ", Field("destination"), " ",
        Field("connection_time", "duration", shift=3), " ", Field("tls_handshake_time"), " ",
        Field("received_bytes"), " ", Field("bytes", "bytes_sent"), " ",
        Field("incoming_tls_alert"),
        " ", Field("chosen_cert_arn"), " ", Field("chosen_cert_serial"), " ", Field("tls_cipher"),
        " ", Field("tls_protocol_version"), " ", Field("tls_named_group"), " ",
        Field("domain_name", "host"),
        Maybe(
            " ", Field("alpn_fe_protocol"), " ", Field("alpn_be_protocol"), " ",
            Field("alpn_client_preference_list"), " ", Field("tls_connection_creation_time"),
        ),
    ),
    samples=(
        "tls 2.0 2026-11-22T20:15:05 net/my-network-loadbalancer/c6e77e28c25b2234 g3d4b5e8bb8464cd "
        "203.0.113.7:51341 10.0.0.1:443 5 2 98 246 - arn:aws:acm:us-east-2:certificate/2a108f19 - "
        "ECDHE-RSA-AES128-SHA tlsv12 - example.com h2 h2 \"h2\",\"http/1.1\" 2026-11-22T20:15:04",
        "tls 1.0 2026-11-22T20:15:05 net/my-network-loadbalancer/c6e77e28c25b2234 g3d4b5e8bb8464cd "
        "2001:db8::7:51341 10.0.0.1:443 5 - 98 246 - arn:aws:acm:us-east-2:certificate/2a108f19 - "
        "- - - caf\u00e9",
    ),
    reason="not_nlb",
    zone=UTC,
)
# fmt: on
