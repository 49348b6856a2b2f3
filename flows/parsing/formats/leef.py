r"""Format `leef`: IBM's Log Event Extended Format 1.0 and 2.0, with or without a syslog header.

`LEEF:version|vendor|product|version|event|key=value\tkey=value`; 2.0 may name another separator in
a field more, as itself or as `0x5E`. By the IBM QRadar documentation, "LEEF event components" and
"Predefined LEEF event attributes". The time is `devTime`, a number since 1970 or in one of the
usual ways, else an ISO 8601 time that begins the header of syslog. Severities as in `cef`.
"""

from __future__ import annotations

import re

from connectors.errors import MalformedLine
from flows.parsing.formats.cef import LEVELS, with_time
from flows.parsing.objects import objects

_LINE = re.compile(
    r"(.*?)LEEF:(\d(?:\.\d)?)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|(?:([^|=]{0,6})\|)?(.*)",
    re.DOTALL,
)
_HEX = re.compile(r"0?[xX]([0-9A-Fa-f]{2,4})")
_NAMES = {
    "msg": "message",
    "src": "client_ip",
    "usrName": "customer_id",
    "url": "request_path",
}


def _members(line: str) -> dict[str, object]:
    found = _LINE.fullmatch(line)
    if not found:
        raise MalformedLine("not_leef", "not LEEF:version|, four fields and |, and pairs")
    syslog, version, vendor, product, release, event, separator, rest = found.groups()
    members: dict[str, object] = {"leefVersion": version, "vendor": vendor, "product": product}
    members |= {"productVersion": release, "eventId": event}
    if separator and (code := _HEX.fullmatch(separator)):
        separator = chr(int(code.group(1), 16))
    for pair in rest.split(separator or "\t"):
        key, sign, value = pair.partition("=")
        if sign:
            members[_NAMES.get(key.strip(), key.strip())] = value.strip()
    members.setdefault("message", event)
    if "sev" in members:
        members["level"] = LEVELS.get(str(members["sev"]), members["sev"])
    return with_time(members, ("devTime",), syslog)


FORMAT = objects(
    _members,
    samples=(
        "LEEF:1.0|Microsoft|MSExchange|2016|15345|devTime=1795378505123\tsrc=203.0.113.7\t"
        "dst=198.51.100.1\tsev=5\tmsg=caf\u00e9",
        "<13>1 2026-11-22T20:15:05.520Z gw LEEF:2.0|Lancope|StealthWatch|1.0|41|^|src=203.0.113.7^"
        "dst=198.51.100.1^sev=8^usrName=cust_1",
        "LEEF:2.0|Lancope|StealthWatch|1.0|41|0x7C|devTime=Nov 22 2026 20:15:05.123 "
        "UTC|src=2001:db8::7",
    ),
)
