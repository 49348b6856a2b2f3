"""Format `alb`: the access log of Amazon's Application Load Balancer.

Fields in the order of the Elastic Load Balancing documentation, "Access logs for your Application
Load Balancer", under their names there; those behind `error_reason` came later, one after another,
and what is yet to come is `attributes.extra`. The duration is the `target_processing_time`, where
-1 means none. The path is a whole URL, as logged.
"""

from __future__ import annotations

from flows.parsing.fields import Escapes
from flows.parsing.layout import REQUEST, Field, Layout, Maybe, Part, quoted
from native.lines import Shape

# fmt: off
REQUESTED: tuple[Part, ...] = (
    Field("request_processing_time"), " ",
    Field("target_processing_time", "duration", empty=("-", "-1")), " ",
    Field("response_processing_time"), " ", Field("status", "status_code"), " ",
    Field("target_status_code"), " ", Field("received_bytes"), " ", Field("bytes", "bytes_sent"),
    ' "',
    Field("request", REQUEST, Shape.ESCAPED, escapes=Escapes.APACHE, empty=("- - -", "- - - ")),
    '"',
)
"""What `elb` has, too."""

FORMAT = Layout(
    (
        Field("type"), " ", Field("time", "timestamp"), " ", Field("elb"), " ",
        Field("client", "client_ip"), ":", Field("client_port", shape=Shape.DIGITS), " ",
        Field("target"), " ", *REQUESTED, ' "', quoted("user agent", "user_agent", Escapes.APACHE),
        '" ', Field("ssl_cipher"), " ", Field("ssl_protocol"), " ",
        Field("target_group_arn", empty=("-", '"-"')),
        ' "', quoted("trace_id"), '" "', quoted("domain_name", "host"), '" "',
        quoted("chosen_cert_arn"), '" ', Field("matched_rule_priority"), " ",
        Field("request_creation_time"), ' "', quoted("actions_executed"), '" "',
        quoted("redirect_url"), '" "', quoted("error_reason"), '"',
        Maybe(' "', quoted("targets"), '" "', quoted("target_status_codes"), '"'),
        Maybe(' "', quoted("classification"), '" "', quoted("classification_reason"), '"'),
        Maybe(" ", Field("conn_trace_id")),
        Maybe(
            ' "', quoted("transformed_host"), '" "', quoted("transformed_uri"), '" "',
            quoted("request_transform_status"), '"',
        ),
        Maybe(" ", Field("extra", shape=Shape.WORDS)),
    ),
    samples=(
        "https 2026-11-22T20:15:05.186641Z app/my-loadbalancer/50dc6c495c0c9188 203.0.113.7:2817 "
        '10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://example.com:443/a?b=c HTTP/1.1" '
        '"curl/8.7.1" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:'
        'targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" '
        '"example.com" "arn:aws:acm:us-east-2:certificate/12345678" 1 2026-11-22T20:15:05.100000Z '
        '"authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90',
        "http 2026-11-22T20:15:05.186641Z app/my-loadbalancer/50dc6c495c0c9188 2001:db8::7:2817 - "
        '-1 -1 -1 400 - 0 0 "- http://caf\u00e9:80- -" "-" - - - "-" "-" "-" - '
        '2026-11-22T20:15:05.100000Z "-" "-" "-"',
    ),
    reason="not_alb",
)
# fmt: on
