"""Format `postgresql_csv`: PostgreSQL's log in CSV, `log_destination = csvlog`.

PostgreSQL's documentation, "Using CSV-Format Log Output", has the columns: 23 of them, 24 since 13,
26 since 14. Their names here are those that its log in JSON has for them ("Using JSON-Format Log
Output"), so they mean what they mean there; but `LOG` is `info`, as in `postgresql`. A message may
go on in the next lines, and the columns behind it are there: those before are enough.
"""

from __future__ import annotations

import csv

from connectors.errors import MalformedLine
from flows.parsing.objects import objects

csv.field_size_limit(2**31 - 1)  # the line is what has a limit

_NAMES = (
    *("timestamp", "user", "dbname", "pid", "remote_host", "session_id", "line_num", "ps"),
    *("session_start", "vxid", "txid", "error_severity", "state_code", "message", "detail", "hint"),
    *("internal_query", "internal_position", "context", "statement", "cursor_position"),
    *("location", "application_name", "backend_type", "leader_pid", "query_id"),
)
_LEAST = _NAMES.index("message") + 1
_SEVERITY = _NAMES.index("error_severity")
_SEVERITIES = {"LOG", "INFO", "NOTICE", "WARNING", "ERROR", "FATAL", "PANIC"} | {
    f"DEBUG{number}" for number in range(1, 6)
}


def _members(text: str) -> dict[str, object]:
    """The columns of a line that have a value. Raises `MalformedLine`."""
    try:
        values = next(csv.reader([text]), [])  # a quote that does not end here ends behind the line
    except csv.Error as error:
        raise MalformedLine("not_postgresql_csv", str(error)) from None
    if not _LEAST <= len(values) <= len(_NAMES) or values[_SEVERITY] not in _SEVERITIES:
        why = f"{len(values)} columns, or no severity in the twelfth"
        raise MalformedLine("not_postgresql_csv", why)
    found = {name: value for name, value in zip(_NAMES, values, strict=False) if value}
    if found["error_severity"] == "LOG":
        found["error_severity"] = "info"
    if host := found.get("remote_host"):
        found["remote_host"] = host.rpartition(":")[0]
    return dict(found)


FORMAT = objects(
    _members,
    samples=(
        '2026-11-22 20:15:05.123 UTC,"shop","orders",1234,"203.0.113.7:42326",5ff25be6.24,2,'
        '"SELECT",2026-11-22 20:14:58 UTC,3/9,0,ERROR,42P01,"relation ""caf\u00e9"" is none",'
        ',,,,,"SELECT * FROM caf\u00e9",15,,"psql"',
    ),
)
