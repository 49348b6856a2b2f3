"""Format `elb`: the access log of Amazon's Classic Load Balancer.

Fields in the order of the Elastic Load Balancing documentation, "Access logs for your Classic Load
Balancer", named as those of `alb`; old lines end with the request. The path is a whole URL, as
logged.
"""

from __future__ import annotations

from flows.parsing.fields import Escapes
from flows.parsing.formats import alb
from flows.parsing.layout import Field, Layout, Maybe, quoted
from native.lines import Shape

# fmt: off
FORMAT = Layout(
    (
        Field("time", "timestamp"), " ", Field("elb"), " ", Field("client", "client_ip"), ":",
        Field("client_port", shape=Shape.DIGITS), " ", Field("target"), " ", *alb.REQUESTED,
        Maybe(
            ' "', quoted("user agent", "user_agent", Escapes.APACHE), '" ', Field("ssl_cipher"),
            " ",
            Field("ssl_protocol"),
        ),
    ),
    samples=(
        "2026-11-22T20:15:05.945958Z my-loadbalancer 203.0.113.7:2817 10.0.0.1:80 0.000073 "
        "0.001048 "
        '0.000057 200 200 0 29 "GET http://example.com:80/a?b=c HTTP/1.1" "curl/8.7.1" - -',
        "2026-11-22T20:15:05.945958Z my-loadbalancer 2001:db8::7:2817 10.0.0.1:80 0.001069 "
        "0.000028 "
        '0.000041 - - 82 305 "- - - " "caf\u00e9" - -',
    ),
    reason="not_elb",
)
# fmt: on
