r"""Format `ltsv`: Labeled Tab-separated Values, `label:value\tlabel:value`.

By ltsv.org, which also recommends labels for access logs: those become columns. A label is of
letters, digits, `_`, `.` and `-`; a value is any text without tabs. `req` is the request line. A
time in brackets, as Apache writes it, is as good as one without. All other labels mean what they
mean as keys of `json`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from connectors.errors import MalformedLine
from flows.parsing.objects import iso_like, objects

_LABEL = re.compile(r"[0-9A-Za-z_.-]+")
_REQUEST = re.compile(r"([A-Z]+) ([^ ]+) (HTTP/\d(?:\.\d)?)")
_NAMES = {
    "host": "client_ip",
    "size": "bytes_sent",
    "reqtime": "request_time",
    "reqtime_microsec": "duration_us",
    "vhost": "host",
    "user": "customer_id",
}


def _members(line: str) -> dict[str, object]:
    members: dict[str, object] = {}
    for field in line.split("\t"):
        label, colon, value = field.partition(":")
        name = _name(label)
        if not (colon and name):
            if not field:
                continue
            raise MalformedLine("bad_ltsv", f"{field[:64]!r} is not label:value")
        if name == "time":
            value = iso_like(value.removeprefix("[").removesuffix("]"))
        if name == "req" and (asked := _REQUEST.fullmatch(value)):
            for key, part in zip(("method", "uri", "protocol"), asked.groups(), strict=True):
                members.setdefault(key, part)
        elif value != "-":
            members[name] = value
    return members


@lru_cache(maxsize=1024)
def _name(label: str) -> str:
    """The key that a label means; empty if it is none."""
    return _NAMES.get(label, label) if _LABEL.fullmatch(label) else ""


FORMAT = objects(
    _members,
    samples=(
        "time:22/Nov/2026:20:15:05 +0000\thost:203.0.113.7\tforwardedfor:-\treq:GET /a?b=c HTTP/1.1"
        "\tstatus:200\tsize:512\treferer:-\tua:curl/8.7.1\treqtime:0.04831\tvhost:example.com",
        "time:[22/Nov/2026:20:15:05 "
        "+0000]\thost:2001:db8::7\tuser:cust_1\tmethod:GET\turi:/caf\u00e9"
        "\tstatus:200\tapptime:0.01",
        "time:2026-11-22T20:15:05Z\tlevel:info\tmessage:listening on :8080",
    ),
)
