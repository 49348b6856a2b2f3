r"""Format `leef`: IBM's Log Event Extended Format 1.0 and 2.0, with or without a syslog header.

`LEEF:version|vendor|product|version|event|key=value\tkey=value`; 2.0 may name another separator in
a field more, as itself or as `0x5E`. By the IBM QRadar documentation, "LEEF event components" and
"Predefined LEEF event attributes". The time is `devTime`, a number since 1970 or in one of the
usual ways, else an ISO 8601 time that begins the header of syslog. Severities as in `cef`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from connectors.errors import MalformedLine
from flows.parsing.formats.cef import LEVELS, SPACES, behind_syslog, meanings, with_time
from flows.parsing.labels import Labelled, Spelling, Texts
from native.lines import Pairs

_LINE = re.compile(
    r"(.*?)LEEF:([0-9]+(?:\.[0-9]+)?)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|"
    r"(?:([^|=]{0,6})\|)?(.*)",
    re.DOTALL,
)
_HEX = re.compile(r"0?[xX]([0-9A-Fa-f]{2,4})")
_HEADER = ("leefVersion", "vendor", "product", "productVersion", "eventId")
_NAMES = {
    "msg": "message",
    "src": "client_ip",
    "usrName": "customer_id",
    "url": "request_path",
}


def _split(line: str) -> Texts:
    syslog, *header, separator, rest = _parts(line)
    texts = behind_syslog(syslog) | dict(zip(_HEADER, header, strict=True))
    for pair in rest.split(_sign(separator)):
        label, sign, text = pair.partition("=")
        if sign:
            texts[label.strip(SPACES)] = text.strip(SPACES)
    return texts


def _parts(line: str) -> tuple[str, ...]:
    found = _LINE.fullmatch(line)
    if not found:
        raise MalformedLine("not_leef", "not LEEF:version|, four fields and |, and pairs")
    return found.groups()


def _sign(separator: str | None) -> str:
    """What is between pairs, by what the header says of it, if it does."""
    if separator and (code := _HEX.fullmatch(separator)):
        return chr(int(code.group(1), 16))
    return separator or "\t"


def _members(texts: Texts) -> dict[str, object]:
    members = with_time(texts, ("devTime",), _NAMES)
    members.setdefault("message", texts["eventId"])
    if "sev" in texts:
        members["level"] = LEVELS.get(texts["sev"], texts["sev"])
    return members


def _spell(sample: Sequence[Texts], line: str) -> Spelling | None:
    head: dict[str, tuple[str, ...]] = {label: (label,) for label in ("syslog", *_HEADER)}
    head["eventId"] = ("eventId", "message")
    separator = _parts(line)[-2]
    sign = _sign(separator)
    if len(sign) > 1 or not sign.isascii() or sign == "=":
        return None
    after = "" if separator is None else f"{separator}|"
    return Spelling(
        Pairs(sign, "=", before="LEEF:", fields=len(_HEADER), after=after),
        head | meanings(sample, ("devTime",)) | {"sev": ("sev", "level")},
        again=("message",),
        words={"level": LEVELS},
    )


FORMAT = Labelled(
    _split,
    _members,
    _NAMES,
    _spell,
    samples=(
        "LEEF:1.0|Microsoft|MSExchange|2016|15345|devTime=1795378505123\tsrc=203.0.113.7\t"
        "dst=198.51.100.1\tsev=5\tmsg=caf\u00e9",
        "<13>1 2026-11-22T20:15:05.520Z gw LEEF:2.0|Lancope|StealthWatch|1.0|41|^|src=203.0.113.7^"
        "dst=198.51.100.1^sev=8^usrName=cust_1",
        "LEEF:2.0|Lancope|StealthWatch|1.0|41|0x7C|devTime=Nov 22 2026 20:15:05.123 "
        "UTC|src=2001:db8::7",
    ),
)
