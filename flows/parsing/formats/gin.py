r"""Format `gin`: the requests that Gin, a framework for Go, logs.

`[GIN] time | status | duration | client | method "path"`, by `defaultLogFormatter` of its
`logger.go`; the path is quoted as Go does it, and goes on with the query. Colours are removed.
What a handler says of an error follows in lines of its own: `LOG_MULTILINE='^\[GIN'`.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.fields import Escapes
from flows.parsing.layout import SPACES, Field, Layout, quoted
from native.lines import Shape

FORMAT = Coloured(
    Layout(
        (
            "[GIN] ",
            Field("time", "timestamp", time="%Y/%m/%d - %H:%M:%S"),
            *(" |", SPACES, Field("status", "status_code", Shape.DIGITS)),
            *(" |", SPACES, Field("duration", "duration")),
            *(" |", SPACES, Field("client", "client_ip")),
            *(" |", SPACES, Field("method", "method"), SPACES),
            *('"', quoted("path", "request_path", Escapes.JSON), '"'),
        ),
        samples=(
            '[GIN] 2026/11/22 - 20:15:05 | 200 |     48.31ms |     203.0.113.7 | GET      "/a?b=c"',
            '[GIN] 2026/11/22 - 20:15:05 | 404 |       923ns |     2001:db8::7 | GET      "/caf'
            '\u00e9"',
        ),
        reason="not_gin",
    )
)
