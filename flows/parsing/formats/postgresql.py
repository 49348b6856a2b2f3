"""Format `postgresql`: PostgreSQL's log, with one of the usual prefixes.

PostgreSQL's documentation, "Error Reporting and Logging", describes `log_line_prefix`. It is
`%m [%p] ` by default; `%m [%p] %q%u@%d `, earlier `%t [%p-%l] %q%u@%d `, in Debian
(postgresql-common, createcluster.conf); `%t [%p]: ` and `%t [%p]: [%l-1]
user=%u,db=%d,app=%a,client=%h ` in the documentation of pgBadger, and what is like it;
`%t:%r:%u@%d:[%p]:` in that of Amazon RDS; `%m [%p]: [%l-1] db=%d,user=%u ` in Google's Cloud SQL.
Behind it are a severity and a message, as elog.c (`send_message_to_server_log`) writes them.

The user is the customer, the database and the process are attributes. Lines of `DETAIL`, `HINT`,
`QUERY`, `CONTEXT` and `STATEMENT` belong to the one before: these words are their level. `LOG` is
`info`, as for syslog in the documentation, "Message Severity Levels". A message that begins with
how long a statement took (`log_min_duration_statement`) gives the duration, too. Further lines of
a message begin with a tab: `LOG_MULTILINE=indent`.
"""

from __future__ import annotations

import re

import polars as pl

from flows.parsing.choice import Wrapped
from flows.parsing.layout import Field, Layout, Maybe, Part, Variants
from flows.parsing.lines import Lines
from flows.parsing.parser import Format, Row
from native.lines import Shape

_TOOK = "duration: "
MILLISECONDS = rf"^{_TOOK}([0-9]{{1,12}})\.([0-9]{{3}}) ms"


class _TimedFormat:
    """Lines in whose messages there are durations."""

    def __init__(self, plain: Format) -> None:
        self._plain = plain

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = self._plain.line(text)
        if found := re.match(MILLISECONDS, str(row["message"])):
            row["duration"] = int("".join(found.groups())) / 1_000_000
        return row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return with_durations(self._plain.columns(lines))


def with_durations(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with the durations that are in their messages."""
    if "message" not in frame.columns or not frame["message"].str.starts_with(_TOOK).any():
        return frame
    parts = [pl.col("message").str.extract(MILLISECONDS, group) for group in (1, 2)]
    micros = frame.select(pl.concat_str(parts).cast(pl.UInt64)).to_series()
    # Polars would multiply by the inverse, and the product is not always the nearest.
    # Of null, numpy makes NaN.
    return frame.with_columns(duration=pl.Series(micros.to_numpy() / 1_000_000))


TIME = Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S %Z")
_UNKNOWN = ("[unknown]",)
_USER = Field("user", "customer_id", Shape.WORDS, empty=_UNKNOWN)
_DATABASE = Field("database", shape=Shape.WORDS, empty=_UNKNOWN)
_APPLICATION = Field("application", shape=Shape.WORDS, empty=_UNKNOWN)
_PID = Field("pid", shape=Shape.DIGITS)
_NUMBER = Field("number", shape=Shape.DIGITS)
_AT: tuple[Part | Maybe, ...] = (
    "] ",
    Maybe(
        *(Field("user", "customer_id", empty=_UNKNOWN), "@"),
        *(Field("database", empty=_UNKNOWN), " "),
    ),
)
_NAMED: tuple[Part | Maybe, ...] = (
    *("user=", _USER, ",db=", _DATABASE, Maybe(",app=", _APPLICATION)),
    *(Maybe(",client=", Field("client", "client_ip", Shape.WORDS, empty=("[local]",))), " "),
)
_CLIENT: tuple[Part, ...] = (
    *(Field("client", "client_ip"), "(", Field("port", shape=Shape.DIGITS), ")"),
)
_LINE = Maybe("[", _NUMBER, "-1] ")
_PREFIXES: tuple[tuple[Part | Maybe, ...], ...] = (
    (" [", _PID, *_AT),
    (" [", _PID, "-", _NUMBER, *_AT),
    (" [", _PID, "]: ", _LINE, *_NAMED),
    (" [", _PID, "]: ", _LINE, "db=", _DATABASE, ",user=", _USER, " "),
    (" [", _PID, "]: ", _LINE),
    (" [", _PID, "] [user=", _USER, ",db=", _DATABASE, ",app=", _APPLICATION, "] "),
    (":", Maybe(*_CLIENT), ":", _USER, "@", _DATABASE, ":[", _PID, "]:"),
    (":[local]:", _USER, "@", _DATABASE, ":[", _PID, "]:"),
)
_SAMPLES = (
    '2026-11-22 20:15:05.123 UTC [1234] shop@orders ERROR:  relation "a" does not exist',
    "2026-11-22 20:15:05.123 UTC [1234] LOG:  caf\u00e9",
)


def _layout(prefix: tuple[Part | Maybe, ...]) -> Layout:
    parts: tuple[Part | Maybe, ...] = (
        TIME,
        *prefix,
        *(Field("level", "level", words={"LOG": "info"}), ":  "),
        Field("message", "message", Shape.WORDS, empty=()),
    )
    samples = _SAMPLES if prefix is _PREFIXES[0] else ()
    return Layout(parts, samples, "not_postgresql")


FORMAT = Wrapped(Variants(tuple(map(_layout, _PREFIXES))), _TimedFormat)
