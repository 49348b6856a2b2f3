"""Format `postgresql`: PostgreSQL's log, with the prefix of its default or of Debian.

`%m [%p] ` and `%m [%p] %q%u@%d `, by PostgreSQL's documentation, "Error Reporting and Logging",
`log_line_prefix` (default), and the package postgresql-common of Debian (createcluster.conf).
Behind it are a severity and a message, as elog.c (`send_message_to_server_log`) writes them.

The user is the customer, the database and the process are attributes. Lines of `DETAIL`, `HINT`,
`QUERY`, `CONTEXT` and `STATEMENT` belong to the one before: these words are their level. `LOG` is
`info`, as for syslog in the documentation, "Message Severity Levels". A message that begins with
how long a statement took (`log_min_duration_statement`) gives the duration, too. Further lines of
a message begin with a tab: `LOG_MULTILINE=indent`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from flows.parsing.layout import Field, Layout, LayoutFormat, Maybe
from flows.parsing.lines import Lines
from flows.parsing.parser import Row
from native.lines import Shape

_TOOK = "duration: "
_MILLISECONDS = rf"^{_TOOK}([0-9]{{1,12}})\.([0-9]{{3}}) ms"


@dataclass(frozen=True)
class _Timed:
    """A layout in whose messages there are durations."""

    layout: Layout

    @property
    def samples(self) -> tuple[str, ...]:
        return self.layout.samples

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> _TimedFormat:
        return _TimedFormat(self.layout.make(time_zone))


class _TimedFormat:
    def __init__(self, inner: LayoutFormat) -> None:
        self._inner = inner

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = self._inner.line(text)
        if found := re.match(_MILLISECONDS, str(row["message"])):
            row["duration"] = int("".join(found.groups())) / 1_000_000
        return row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        frame = self._inner.columns(lines)
        if "message" not in frame.columns or not frame["message"].str.starts_with(_TOOK).any():
            return frame
        parts = [pl.col("message").str.extract(_MILLISECONDS, group) for group in (1, 2)]
        micros = pl.concat_str(parts).cast(pl.UInt64)
        return frame.with_columns(duration=(micros / 1_000_000).fill_null(0.0))


# fmt: off
_LAYOUT = Layout(
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
FORMAT = _Timed(_LAYOUT)
