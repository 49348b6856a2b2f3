"""From requests to lines. A new format is one function here and one line in `FORMATS`.

A format's function gets the text of the time and of the status as expressions, so that a malformed
line is a good one with a part replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from log_generator.values import Fault

_ISO_8601 = "%Y-%m-%dT%H:%M:%S%.3f%:z"


class Format(NamedTuple):
    """How a line is written: the strftime pattern of its time, and `line(time, status)`."""

    time: str
    line: Callable[[pl.Expr, pl.Expr], pl.Expr]


def _api_requests(time: pl.Expr, status: pl.Expr) -> pl.Expr:
    """`YYYY-MM-DD HH:MM:SS customer_id request_path status_code duration_seconds`, local time."""
    seconds = (pl.col("duration_ms") / 1000).round(5)
    return pl.format("{} {} {} {} {}", time, "customer_id", "path", status, seconds)


def _json(time: pl.Expr, status: pl.Expr) -> pl.Expr:
    """One object (RFC 8259) a line; `ts` is ISO 8601 with its offset."""
    return pl.format(
        '{{"ts":"{}","customer_id":"{}","method":"{}","path":"{}","status":{},"duration_ms":{},'
        '"ip":"{}","user_agent":"{}","request_id":"{}"}}',
        time,
        "customer_id",
        "method",
        "path",
        status,
        "duration_ms",
        "ip",
        _escaped("user_agent"),
        "request_id",
    )


def _combined(time: pl.Expr, status: pl.Expr) -> pl.Expr:
    r"""`%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`, as Apache's mod_log_config has it.

    Quotes inside are written `\"`, and `%b` is `-` for no bytes.
    """
    size = pl.when(pl.col("bytes") > 0).then(pl.col("bytes").cast(pl.String)).otherwise(pl.lit("-"))
    return pl.format(
        '{} - {} [{}] "{} {} HTTP/1.1" {} {} "{}" "{}"',
        "ip",
        "customer_id",
        time,
        "method",
        "path",
        status,
        size,
        "referer",
        _escaped("user_agent"),
    )


def _logfmt(time: pl.Expr, status: pl.Expr) -> pl.Expr:
    """The keys of the JSON format as `key=value`, quoted where go-logfmt quotes."""
    return pl.format(
        "ts={} customer_id={} method={} path={} status={} duration_ms={} ip={} user_agent={} "
        "request_id={}",
        time,
        "customer_id",
        "method",
        _quoted("path"),
        status,
        "duration_ms",
        "ip",
        _quoted("user_agent"),
        "request_id",
    )


FORMATS = {
    "api_requests": Format("%Y-%m-%d %H:%M:%S", _api_requests),
    "json": Format(_ISO_8601, _json),
    "combined": Format("%d/%b/%Y:%H:%M:%S %z", _combined),
    "logfmt": Format(_ISO_8601, _logfmt),
}
"""Value of `LOG_GENERATOR_FORMAT` -> how its lines are written."""


def render(requests: pl.DataFrame, style: Format) -> bytes:
    """The requests as lines, each ended by a newline; those with a `fault` malformed in `style`.

    `requests` has the columns of `Traffic.take` and `time`, in the zone to write it in.
    """
    good = style.line(*_time_and_status(style))
    bad = requests.with_row_index().filter(pl.col("fault") != Fault.NONE)
    lines = requests.select(good).to_series()
    if not bad.is_empty():
        lines = lines.scatter(bad["index"], bad.select(_malformed(style)).to_series())
    text: str = lines.str.join("\n").item()
    return f"{text}\n".encode()


def _malformed(style: Format) -> pl.Expr:
    """The line that the request's `fault` makes of it."""
    time, status = _time_and_status(style)
    # Cut before the status: in formats that close nothing at the end, what is left could be whole.
    before_status = style.line(time, pl.lit("\n")).str.split("\n").list.first()
    kept = (pl.col("cut") * before_status.str.len_chars()).ceil().clip(1).cast(pl.Int64)
    fault = pl.col("fault")
    return (
        pl.when(fault == Fault.TRUNCATED)
        .then(before_status.str.head(kept))
        .when(fault == Fault.BAD_STATUS)
        .then(style.line(time, pl.lit('"n/a"')))
        .when(fault == Fault.BAD_DATE)
        .then(style.line(time.str.replace_all(r"\d", "9"), status))
        .when(fault == Fault.FOREIGN_OUTPUT)
        .then(pl.lit("Traceback (most recent call last):"))
    )


def _time_and_status(style: Format) -> tuple[pl.Expr, pl.Expr]:
    return pl.col("time").dt.to_string(style.time), pl.col("status").cast(pl.String)


def _escaped(column: str) -> pl.Expr:
    return pl.col(column).str.replace_all('"', r"\"", literal=True)


def _quoted(column: str) -> pl.Expr:
    needed = pl.col(column).str.contains('[ ="]')
    return pl.when(needed).then(pl.format('"{}"', _escaped(column))).otherwise(pl.col(column))
