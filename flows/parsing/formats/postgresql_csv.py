"""Format `postgresql_csv`: PostgreSQL's log with `log_destination = csvlog`.

By PostgreSQL's documentation, "Using CSV-Format Log Output": 22 columns in 8.4, 23 since 9.0, 24
since 13, 26 since 14, in quotes where they are texts. They mean what their keys mean in the log in
JSON ("Keys and Values of JSON Log Entries"), whose names they have here: the address and the port
of a client are apart, and what has no value is left out. A message that begins with how long a
statement took gives the duration, too. Statements of several lines are one record.
"""

from __future__ import annotations

import re

from connectors.errors import MalformedLine
from flows.parsing.cells import split
from flows.parsing.formats.postgresql import MILLISECONDS
from flows.parsing.objects import objects

_KEYS = (
    *("timestamp", "user", "dbname", "pid", "remote_host", "session_id", "line_num", "ps"),
    *("session_start", "vxid", "txid", "error_severity", "state_code", "message", "detail", "hint"),
    *("internal_query", "internal_position", "context", "statement", "cursor_position"),
    *("location", "application_name", "backend_type", "leader_pid", "query_id"),
)
_COUNTS = (22, 23, 24, 26)
_SEVERITY = re.compile("DEBUG[1-5]?|INFO|NOTICE|WARNING|ERROR|LOG|FATAL|PANIC")
_LOCAL = "[local]"


def _members(line: str) -> dict[str, object]:
    cells = split(line, ",")
    members: dict[str, object] = {
        key: cell for key, cell in zip(_KEYS, cells, strict=False) if cell
    }
    if len(cells) not in _COUNTS or not _SEVERITY.fullmatch(str(members.get("error_severity"))):
        why = f"{len(cells)} columns, or no severity in the twelfth"
        raise MalformedLine("not_postgresql_csv", why)
    host, colon, port = str(members.pop("remote_host", "")).rpartition(":")
    if colon:
        members |= {"remote_host": host, "remote_port": port}
    elif port and port != _LOCAL:
        members["remote_host"] = port
    if took := re.match(MILLISECONDS, str(members.get("message", ""))):
        members["duration_ms"] = ".".join(took.groups())
    return members


FORMAT = objects(
    _members,
    samples=(
        '2026-11-22 20:15:05.123 UTC,"shop","orders",1234,"203.0.113.7:50122",6b0994d9.4d2,3,'
        '"SELECT",2026-11-22 20:15:00 UTC,3/4,0,ERROR,22012,"division by zero",,,,,,"select 1/0",,,'
        '"psql","client backend",,0',
        "2026-11-22 20:15:05.123 UTC,,,1234,,6b0994d9.4d2,1,,2026-11-22 20:15:00 UTC,,0,LOG,00000,"
        '"caf\u00e9",,,,,,,,,"","postmaster",,0',
    ),
)
