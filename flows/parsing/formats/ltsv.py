r"""Format `ltsv`: Labeled Tab-separated Values, `label:value\tlabel:value`.

By ltsv.org, which also recommends labels for access logs: those become columns. A label is of
letters, digits, `_`, `.` and `-`; a value is any text without tabs. `req` is the request line. A
time in brackets, as Apache writes it, is as good as one without. All other labels mean what they
mean as keys of `json`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from connectors.errors import MalformedLine
from flows.parsing.labels import Labelled, Spelling, Texts
from native.lines import Pairs

_LABEL = re.compile(r"[0-9A-Za-z_.-]+")
_REQUEST = re.compile(r"([A-Z]+) ([^ ]+) (HTTP/\d(?:\.\d)?)")
_PARTS = ("method", "uri", "protocol")
_NAMES = {
    "host": "client_ip",
    "size": "bytes_sent",
    "reqtime": "request_time",
    "reqtime_microsec": "duration_us",
    "vhost": "host",
    "user": "customer_id",
}


def _split(line: str) -> Texts:
    texts: Texts = {}
    for one in line.split("\t"):
        label, colon, text = one.partition(":")
        if not (colon and _is_label(label)):
            if not one:
                continue
            raise MalformedLine("bad_ltsv", f"{one[:64]!r} is not label:value")
        texts.pop(label, None)  # the last one counts, where it is
        texts[label] = text
    return texts


@lru_cache(maxsize=1024)
def _is_label(text: str) -> bool:
    return bool(_LABEL.fullmatch(text))


def _members(texts: Texts) -> dict[str, object]:
    members: dict[str, object] = {}
    for label, text in texts.items():
        if label == "req" and (asked := _REQUEST.fullmatch(text)):
            for key, part in zip(_PARTS, asked.groups(), strict=True):
                members.setdefault(key, part)
        elif text != "-":
            members[_NAMES.get(label, label)] = text
    return members


def _spell(sample: Sequence[Texts], line: str) -> Spelling:
    asked = ("req", *_PARTS) if any("req" in texts for texts in sample) else ()
    return Spelling(Pairs("\t", ":", none="-"), {"req": asked}, asked="req")


FORMAT = Labelled(
    _split,
    _members,
    _NAMES,
    _spell,
    samples=(
        "time:22/Nov/2026:20:15:05 +0000\thost:203.0.113.7\tforwardedfor:-\treq:GET /a?b=c HTTP/1.1"
        "\tstatus:200\tsize:512\treferer:-\tua:curl/8.7.1\treqtime:0.04831\tvhost:example.com",
        "time:[22/Nov/2026:20:15:05 "
        "+0000]\thost:2001:db8::7\tuser:cust_1\tmethod:GET\turi:/caf\u00e9"
        "\tstatus:200\tapptime:0.01",
        "time:2026-11-22T20:15:05Z\tlevel:info\tmessage:listening on :8080",
    ),
)
