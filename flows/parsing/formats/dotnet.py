"""Format `dotnet`: Serilog's and NLog's text.

Serilog.Sinks.File: `{Timestamp:yyyy-MM-dd HH:mm:ss.fff zzz} [{Level:u3}] {Message:lj}` by its
README; NLog: `${longdate}|${level:uppercase=true}|${logger}|${message}` by its documentation,
"Simple Layout".
"""

from __future__ import annotations

from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

_SHORT = {
    "INF": "info",
    "WRN": "warn",
    "ERR": "error",
    "DBG": "debug",
    "VRB": "trace",
    "FTL": "fatal",
}
FORMAT = Variants(
    (
        *texts(
            "not_dotnet",
            "{time} [{level}] {message}",
            levels=_SHORT,
            samples=("2026-11-22 20:15:05.123 +00:00 [INF] order 4711 stored",),
        ),
        *texts("not_dotnet", "{time}|{level}|{logger}|{message}"),
    )
)
