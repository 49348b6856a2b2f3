"""Format `panos`: what firewalls of Palo Alto Networks send as CSV, behind a syslog header or not.

By "Syslog Field Descriptions" of the PAN-OS documentation: each type of log has its fields, in one
order that later versions only add to. Fields have the names of variables there; the reserved ones
(FUTURE_USE) are numbered. Of types without fields here, what is behind the head is the message.

The time is the one of high resolution, which has a zone, where it is of the same minute as
`time_generated`: some versions write one of 1970 in its place. Severities as in `cef`; a line
without one has that of its priority of syslog.
"""

from __future__ import annotations

import re

from connectors.errors import MalformedLine
from flows.parsing.cells import EXTRA, split
from flows.parsing.formats.cef import LEVELS, behind_syslog
from flows.parsing.formats.syslog import LEVEL_OF
from flows.parsing.objects import objects

_HEAD = "- receive_time serial type subtype - timestamp"
_SESSION = (
    "client_ip dst natsrc natdst rule customer_id dstuser app vsys from to inbound_if outbound_if "
    "logset - sessionid repeatcnt sport dport natsport natdport flags proto action"
)
_DEVICE = "dg_hier_level_1 dg_hier_level_2 dg_hier_level_3 dg_hier_level_4 vsys_name host"
_OF_TYPE = {
    "TRAFFIC": f"{_SESSION} bytes bytes_sent bytes_received packets start duration_s category - "
    "seqno actionflags srcloc dstloc - pkts_sent pkts_received session_end_reason "
    f"{_DEVICE} action_source",
    "THREAT": f"{_SESSION} misc message category level direction seqno actionflags srcloc dstloc - "
    "contenttype pcap_id filedigest cloud url_idx user_agent filetype xff referer sender subject "
    f"recipient reportid {_DEVICE} - src_uuid dst_uuid http_method",
    "SYSTEM": f"vsys eventid object - - module level message seqno actionflags {_DEVICE}",
    "CONFIG": "client_ip vsys cmd customer_id client result message",
}
_OTHERS = "message"


def _named(words: str) -> list[str]:
    names = enumerate(words.split(), 1)
    return [f"future_use_{number}" if name == "-" else name for number, name in names]


_KEYS = {type_: _named(f"{_HEAD} {words}") for type_, words in _OF_TYPE.items()}
_KEYS_OF_HEAD = _named(_HEAD)
_TYPE, _TIME = _KEYS_OF_HEAD.index("type"), _KEYS_OF_HEAD.index("timestamp")
_MOMENT = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d\S*", re.ASCII)
_HIGH = re.compile(r"\S{19}\.\d{3}[+-]\d\d:\d\d", re.ASCII)
_WORD = re.compile("[A-Z][A-Z_-]+")
_PRIORITY = re.compile(r"<(\d{1,3})>", re.ASCII)


def _members(line: str) -> dict[str, object]:
    if line.count(",") <= _TIME:
        raise MalformedLine("not_panos", "fewer fields than the head has")
    cells = split(line, ",") if '"' in line else line.split(",")
    times = (cells[1], cells[_TIME]) if len(cells) > _TIME else ("",)
    if not all(map(_MOMENT.fullmatch, times)) or not _WORD.fullmatch(cells[_TYPE]):
        raise MalformedLine("not_panos", "not two times in fields 2 and 7, and a type in field 4")
    syslog, _, cells[0] = cells[0].rpartition(" ")
    cells[_TIME] = _exact(line, cells)
    keys = _KEYS.get(cells[_TYPE])
    rest = EXTRA if keys else _OTHERS
    keys = keys or _KEYS_OF_HEAD
    members: dict[str, object] = dict(behind_syslog(syslog))
    members |= {
        key: text for key, cell in zip(keys, cells, strict=False) if (text := cell.strip(" "))
    }
    if more := ",".join(cells[len(keys) :]).strip(","):
        members[rest] = more
    if level := str(members.get("level", "")):
        members["level"] = LEVELS.get(level, level)
    elif priority := _PRIORITY.match(syslog):
        members["level"] = LEVEL_OF.get(priority.group(1), "")
    return members


def _exact(line: str, cells: list[str]) -> str:
    """The time of a line, the one of high resolution if it is of the same minute."""
    time = cells[_TIME]
    minute = time[:16].replace("/", "-").replace(" ", "T")
    if minute not in line:  # as in nearly all of before PAN-OS 10
        return time
    near = (cell for cell in cells[_TIME + 1 :] if cell.startswith(minute))
    return next(filter(_HIGH.fullmatch, near), time)


FORMAT = objects(
    _members,
    samples=(
        "1,2026/11/22 20:15:06,012801096514,SYSTEM,general,2049,2026/11/22 20:15:05,,general,,0,0,"
        'general,high,"closed: updates.example.com, source: 192.0.2.7",1234,0x0,0,0,0,0,,gw-1',
        "<14>Nov 22 20:15:06 gw-1 1,2026/11/22 20:15:06,0128,SYSTEM,general,2561,2026/11/22 "
        '20:15:05,,general,,0,0,general,informational,"caf\u00e9, closed",1234,0x0,0,0,0,0,,gw-1,0,'
        "0,2026-11-22T20:15:05.440-08:00",
        "Nov 22 20:15:06 1,2026/11/22 20:15:06,0128,USERID,login,2305,2026/11/22 20:15:05,vsys1,"
        "203.0.113.7,cust_1,,0,1,10800",
    ),
)
