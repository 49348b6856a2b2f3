"""Format `w3c`: extended log files of IIS, HTTP.sys, CloudFront, Exchange and others.

By the W3C's working draft WD-logfile-960323, "Extended Log File Format": directives begin with `#`,
and `#Fields:` names what stands in the lines behind it, until it comes again. By the docs of IIS
("W3C Extended Log File Format"), `+` in a user agent stands for a space, times are UTC and
`time-taken` is in milliseconds, as with Blue Coat; others write seconds. CloudFront ("Standard log
file fields") separates by tabs and percent-encodes. Times whose names end with `-local`, and those
of the firewall of Windows, are of the zone of the settings. Exchange separates by commas.

Other names mean what they mean as keys of JSON; fields that mean no column are attributes. Lines
that are behind no header, as of a stream of Redis, have those that IIS writes unless it is told.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from flows.parsing.cells import CLOCK, QUERY, Columns, HeadedFormat, named
from flows.parsing.layout import Field

_MARK = "#Fields:"
_UTC = ZoneInfo("UTC")
_TIME_TAKEN = "time-taken"
_OF_SETTINGS = {"date-local", "time-local", "src-ip"}
_IN_MS = {"s-port", "s-sitename", "s-computername", "sc-substatus", "sc-win32-status", "s-action"}
"""Fields of IIS and Blue Coat, which write milliseconds."""

_MEANS = {
    "timestamp": "date date-local date-time",
    CLOCK: "time time-local",
    "client_ip": "c-ip client-ip src-ip",
    "customer_id": "cs-username",
    "method": "cs-method",
    "request_path": "cs-uri-stem cs-uri",
    QUERY: "cs-uri-query",
    "status_code": "sc-status",
    "bytes_sent": "sc-bytes bytes",
    "duration": _TIME_TAKEN,
    "user_agent": "cs(user-agent)",
    "referer": "cs(referer) cs(referrer)",
    "host": "s-computername server-hostname",
}
_KNOWN = {name: Field(name, column) for column, names in _MEANS.items() for name in names.split()}
_KNOWN["path"] = Field("path")  # of the firewall: whether it sent or received
_KNOWN["timetakenms"] = Field("timetakenms", "duration", shift=3)


def _columns(header: str, shift: int) -> Columns:
    text = header[len(_MARK) :].strip()
    is_listed = "," in text and " " not in text
    names = text.split(",") if is_listed else text.split()
    lower = {name.lower() for name in names}
    known = {**_KNOWN, _TIME_TAKEN: replace(_KNOWN[_TIME_TAKEN], shift=3 * bool(lower & _IN_MS))}
    fields = tuple(replace(one, empty=("", "-")) for one in named(names, known, shift))
    return Columns(
        fields,
        "," if is_listed else "\t ",
        None if lower & _OF_SETTINGS else _UTC,
        {"user_agent": unquote if "x-edge-location" in lower else _spaced},
    )


def _spaced(text: str) -> str:
    """A user agent with its spaces; two signs are a space and a plus."""
    return text if " " in text else text.replace("++", " \0").replace("+", " ").replace("\0", "+")


FORMAT = HeadedFormat(
    _MARK,
    f"{_MARK} date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip "
    "cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken",
    _columns,
    samples=(
        "2026-11-22 20:15:05 192.0.2.1 GET /a b=c 443 cust_1 203.0.113.7 "
        "Mozilla/5.0+(X11;+Linux+x86_64) https://www.example.com/ 200 0 0 48",
        "2026-11-22 20:15:06 192.0.2.1 POST /a - 443 - 2001:db8::1 - - 500 19 2147943395 1204",
    ),
)
