r"""Format `cef`: ArcSight's Common Event Format, with or without a syslog header in front.

`CEF:version|vendor|product|version|class|name|severity|key=value key=value`, by "Implementing
ArcSight Common Event Format (CEF)", version 25: `|` and `\` are escaped in the header, `=`, `\` and
line ends in values. The time is `rt`, `end` or `start`, else an ISO 8601 time that begins the
header of syslog. Severities 0 to 3 are `info`, 4 to 6 `warning`, 7 and 8 `error`, 9 and 10
`critical`.
"""

from __future__ import annotations

import re

from connectors.errors import MalformedLine
from flows.parsing.objects import iso_like, objects

_LINE = re.compile(r"(.*?)CEF:\s*(\d+(?:\.\d+)?)((?:\|(?:[^|\\]|\\.)*){6})\|(.*)", re.DOTALL)
_FIELD = re.compile(r"\|((?:[^|\\]|\\.)*)", re.DOTALL)
_HEADER = (
    "deviceVendor",
    "deviceProduct",
    "deviceVersion",
    "deviceEventClassId",
    "name",
    "severity",
)
_KEY = re.compile(r"(?:\A|\s)\s*([\w.\[\]-]+)=")
_ESCAPE = re.compile(r"\\([\\|=nr])")
_MEANT = {"n": "\n", "r": "\r"}
_NAMES = {
    "msg": "message",
    "src": "client_ip",
    "suser": "customer_id",
    "requestMethod": "method",
    "request": "request_path",
    "requestClientApplication": "user_agent",
    "requestContext": "referer",
    "out": "bytes_sent",
    "dvchost": "host",
}
_TIMES = ("rt", "end", "start")
LEVELS = {str(number): "info" for number in range(4)}
LEVELS |= {str(number): "warning" for number in range(4, 7)} | {"7": "error", "8": "error"}
LEVELS |= {"9": "critical", "10": "critical"}
LEVELS |= {"low": "info", "medium": "warning", "high": "error", "very-high": "critical"}
"""Severities of `cef` and `leef` -> words of syslog."""


def _members(line: str) -> dict[str, object]:
    found = _LINE.fullmatch(line)
    if not found:
        raise MalformedLine("not_cef", "not CEF:version|, six fields and |, and pairs")
    syslog, version, header, extension = found.groups()
    members: dict[str, object] = {"cefVersion": version}
    for name, text in zip(_HEADER, _FIELD.findall(header), strict=True):
        members[name] = _plain(text)
    keys = list(_KEY.finditer(extension))
    ends = [*(key.start() for key in keys[1:]), len(extension)]
    for key, end in zip(keys, ends, strict=False):
        name = _NAMES.get(key.group(1), key.group(1))
        members[name] = _plain(extension[key.end() : end].rstrip())
    if "message" not in members:
        members["message"] = members.pop("name")
    members["level"] = LEVELS.get(str(members["severity"]).lower(), members["severity"])
    return with_time(members, _TIMES, syslog)


def with_time(members: dict[str, object], keys: tuple[str, ...], syslog: str) -> dict[str, object]:
    """The members, the first of the keys as their time, or the one that begins a syslog header."""
    time = next((members.pop(key) for key in keys if key in members), None)
    header = syslog.strip()
    if time is None:
        words = re.sub(r"^<\d+>(?:1 )?", "", header).split(" ")
        time = words[0] if words[0][:4].isdigit() else None
    if time is not None:
        members["timestamp"] = iso_like(str(time))
    if header:
        members["syslog"] = header
    return members


def _plain(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: _MEANT.get(found.group(1), found.group(1)), text)


FORMAT = objects(
    _members,
    samples=(
        "CEF:0|Security|threatmanager|1.0|100|worm successfully stopped|10|rt=1795378505123 "
        "src=203.0.113.7 dst=198.51.100.1 spt=1232",
        "<134>1 2026-11-22T20:15:05Z gw - - - - CEF:0|Security|a\\|b|1.0|100|caf\u00e9|Low|"
        "request=/a?b\\=c msg=two words requestMethod=GET",
        "CEF:0|Security|threatmanager|1.0|100|stopped|5|start=Nov 22 2026 20:15:05 act=blocked a "
        "\\\\",
    ),
)
