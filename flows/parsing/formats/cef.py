r"""Format `cef`: ArcSight's Common Event Format, with or without a syslog header in front.

`CEF:version|vendor|product|version|class|name|severity|key=value key=value`, by "Implementing
ArcSight Common Event Format (CEF)", version 25: `|` and `\` are escaped in the header, `=`, `\` and
line ends in values. The time is `rt`, `end` or `start`, else an ISO 8601 time that begins the
header of syslog. Severities 0 to 3 are `info`, 4 to 6 `warning`, 7 and 8 `error`, 9 and 10
`critical`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from connectors.errors import MalformedLine
from flows.parsing.labels import Labelled, Spelling, Texts
from native.lines import Pairs

_LINE = re.compile(r"(.*?)CEF:\s*([0-9]+(?:\.[0-9]+)?)((?:\|(?:[^|\\]|\\.)*){6})\|(.*)", re.DOTALL)
_FIELD = re.compile(r"\|((?:[^|\\]|\\.)*)", re.DOTALL)
_HEADER = (
    "deviceVendor",
    "deviceProduct",
    "deviceVersion",
    "deviceEventClassId",
    "name",
    "severity",
)
_KEY = re.compile(r"(?:\A|\s)\s*([\w.\[\]-]+)=", re.ASCII)
SPACES = " \t\n\r\f\v"
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
_PRIORITY = re.compile(r"^<\d+>(?:1 )?", re.ASCII)
_WORDS = {"Low": "info", "Medium": "warning", "High": "error", "Very-High": "critical"}
LEVELS = {str(number): "info" for number in range(4)}
LEVELS |= {str(number): "warning" for number in range(4, 7)} | {"7": "error", "8": "error"}
LEVELS |= {"9": "critical", "10": "critical"}
LEVELS |= {
    way(word): level for word, level in _WORDS.items() for way in (str, str.lower, str.upper)
}
"""Severities of `cef` and `leef` -> words of syslog."""


def _split(line: str) -> Texts:
    found = _LINE.fullmatch(line)
    if not found:
        raise MalformedLine("not_cef", "not CEF:version|, six fields and |, and pairs")
    syslog, version, header, extension = found.groups()
    texts = behind_syslog(syslog)
    texts["cefVersion"] = version
    for name, text in zip(_HEADER, _FIELD.findall(header), strict=True):
        texts[name] = _plain(text)
    keys = list(_KEY.finditer(extension))
    ends = [*(key.start() for key in keys[1:]), len(extension)]
    for key, end in zip(keys, ends, strict=False):
        texts[key.group(1)] = _plain(extension[key.end() : end].rstrip(SPACES))
    return texts


def _members(texts: Texts) -> dict[str, object]:
    members = with_time(texts, _TIMES, _NAMES)
    if "message" not in members:
        members["message"] = members.pop("name")
    members["level"] = LEVELS.get(texts["severity"], texts["severity"])
    return members


def behind_syslog(header: str) -> Texts:
    """What the line begins with."""
    return {"syslog": found} if (found := header.strip(SPACES)) else {}


def with_time(texts: Texts, labels: tuple[str, ...], names: Mapping[str, str]) -> dict[str, object]:
    """The members, the first of the labels as their time, or what begins a syslog header."""
    label = next((label for label in labels if label in texts), None)
    members: dict[str, object] = {
        names.get(each, each): text for each, text in texts.items() if each != label
    }
    if label:
        members["timestamp"] = texts[label]
    elif (time := re.sub(_PRIORITY, "", texts.get("syslog", "")).split(" ")[0])[:4].isdigit():
        members["timestamp"] = time
    return members


def meanings(sample: Sequence[Texts], labels: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What the header of syslog means, and the labels of times, in most of these lines.

    A line with a label before the one that counts is another one.
    """
    times = Counter(next((each for each in labels if each in texts), None) for texts in sample)
    time = max(times, key=times.__getitem__)
    before = labels[: labels.index(time)] if time else labels
    header = {"syslog": ("syslog",) if time else ("syslog", "timestamp")}
    return {**header, **dict.fromkeys(before, ()), **({time: ("timestamp",)} if time else {})}


def _plain(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: _MEANT.get(found.group(1), found.group(1)), text)


def _spell(sample: Sequence[Texts], line: str) -> Spelling:
    has_message = 2 * sum("msg" in texts for texts in sample) > len(sample)
    labels = ("syslog", "cefVersion", *_HEADER)
    head: dict[str, tuple[str, ...]] = {label: (label,) for label in labels}
    head |= {"name": ("name" if has_message else "message",), "severity": ("severity", "level")}
    return Spelling(
        Pairs(" ", "=", is_spaced=True, before="CEF:", fields=len(head) - 1),
        head | meanings(sample, _TIMES),
        needed=("message",) if has_message else (),
        words={"level": LEVELS},
    )


FORMAT = Labelled(
    _split,
    _members,
    _NAMES,
    _spell,
    samples=(
        "CEF:0|Security|threatmanager|1.0|100|worm successfully stopped|10|rt=1795378505123 "
        "src=203.0.113.7 dst=198.51.100.1 spt=1232",
        "<134>1 2026-11-22T20:15:05Z gw - - - - CEF:0|Security|a\\|b|1.0|100|caf\u00e9|Low|"
        "request=/a?b\\=c msg=two words requestMethod=GET",
        "CEF:0|Security|threatmanager|1.0|100|stopped|5|start=Nov 22 2026 20:15:05 act=blocked a "
        "\\\\",
    ),
)
