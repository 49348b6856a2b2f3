"""Format `postgresql`: PostgreSQL's log, with the prefix of its default or of Debian.

`%m [%p] ` and `%m [%p] %q%u@%d `, by PostgreSQL's documentation, "Error Reporting and Logging",
`log_line_prefix` (default), and the package postgresql-common of Debian (createcluster.conf).
Behind it are a severity and a message, as elog.c (`send_message_to_server_log`) writes them.

The user is the customer, the database and the process are attributes. Lines of `DETAIL`, `HINT`,
`QUERY`, `CONTEXT` and `STATEMENT` belong to the one before: these words are their level. `LOG` is
`info`, as for syslog in the documentation, "Message Severity Levels". Further lines of a message
begin with a tab: `LOG_MULTILINE=indent`.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout, Maybe
from native.lines import Shape

# fmt: off
FORMAT = Layout(
    (
        Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S %Z"), " [",
        Field("pid", shape=Shape.DIGITS), "] ",
        Maybe(
            Field("user", "customer_id", empty=("[unknown]",)), "@",
            Field("database", empty=("[unknown]",)), " ",
        ),
        Field("level", "level", words={"LOG": "info"}), ":  ",
        Field("message", "message", Shape.WORDS, empty=()),
    ),
    samples=(
        "2026-11-22 20:15:05.123 UTC [1234] shop@orders ERROR:  relation \"a\" does not exist",
        "2026-11-22 20:15:05.123 UTC [1234] LOG:  caf\u00e9",
    ),
    reason="not_postgresql",
)
# fmt: on
