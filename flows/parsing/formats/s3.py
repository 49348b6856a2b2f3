"""Format `s3`: the server access log of Amazon S3.

Fields in the order of the Amazon S3 documentation, "Amazon S3 server access log format"; the last
ones came later, one after another, and what is yet to come is `attributes.extra`. The requester is
the customer, the duration the total time. What no request caused has `-` in place of texts in
quotes.
"""

from __future__ import annotations

from flows.parsing.layout import REQUEST, Field, Layout, Maybe, Part, Variants, bracketed, quoted
from flows.parsing.times import CLF
from native.lines import Shape

_REASON = "not_s3"

# fmt: off
_BEGIN: tuple[Part, ...] = (
    Field("bucket_owner"), " ", Field("bucket", "host"), " [", bracketed("time", CLF), "] ",
    Field("client", "client_ip"), " ", Field("requester", "customer_id"), " ", Field("request_id"),
    " ",
    Field("operation"), " ", Field("key"), " ",
)
_NUMBERS: tuple[Part, ...] = (
    " ", Field("status", "status_code"), " ", Field("error_code"), " ",
    Field("bytes", "bytes_sent"),
    " ", Field("object_size"), " ", Field("total_time", "duration", shift=3), " ",
    Field("turn_around_time"), " ",
)
_END: tuple[Part | Maybe, ...] = (
    " ", Field("version_id"),
    Maybe(
        " ", Field("host_id"), " ", Field("signature_version"), " ", Field("cipher_suite"), " ",
        Field("authentication_type"), " ", Field("host_header"), " ", Field("tls_version"),
    ),
    Maybe(" ", Field("access_point_arn")),
    Maybe(" ", Field("acl_required")),
    Maybe(" ", Field("source_region")),
    Maybe(" ", Field("extra", shape=Shape.WORDS)),
)
# fmt: on

FORMAT = Variants(
    (
        Layout(
            (
                *_BEGIN,
                '"',
                quoted("request", REQUEST),
                '"',
                *_NUMBERS,
                '"',
                quoted("referer", "referer"),
                '" "',
                quoted("user agent", "user_agent"),
                '"',
                *_END,
            ),
            samples=(
                "79a59df900b949e5 my-bucket [22/Nov/2026:20:15:05 +0000] 203.0.113.7 "
                "79a59df900b949e5 "
                'A1206F460EXAMPLE REST.GET.OBJECT a.txt "GET /my-bucket/a.txt?b=c HTTP/1.1" 200 - '
                "512 "
                '512 48 7 "-" "S3Console/0.4" - '
                "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3= "
                "SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader my-bucket.s3.amazonaws.com TLSv1.2 - "
                "Yes "
                "us-east-1",
                "79a59df900b949e5 my-bucket [22/Nov/2026:20:15:05 +0000] 2001:db8::7 - "
                "A1206F460EXAMPLE "
                'REST.GET.OBJECT a.txt "GET /my-bucket/caf\u00e9 HTTP/1.1" 404 NoSuchKey 297 - 38 '
                '- "-" '
                '"-" -',
            ),
            reason=_REASON,
        ),
        Layout(
            (
                *_BEGIN,
                "-",
                *_NUMBERS,
                Field("referer", "referer"),
                " ",
                Field("user agent", "user_agent"),
                *_END,
            ),
            samples=(
                "79a59df900b949e5 my-bucket [22/Nov/2026:20:15:05 +0000] - AmazonS3 "
                "A1206F460EXAMPLE "
                "S3.EXPIRE.OBJECT a.txt - - - - 512 - - - - - - - - - - - -",
            ),
            reason=_REASON,
        ),
    )
)
