"""Times in lines: ISO 8601 and epoch, as values and as columns, always to UTC in microseconds.

A local time that occurs twice (the clock goes back) is the earlier one; one that does not exist (the
clock goes forward) is read with the offset from before the change. Both are what `datetime` does with
`fold=0` (PEP 495).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine

FIRST = datetime(1900, 1, 1, tzinfo=timezone.utc)
LAST = datetime(2299, 12, 31, tzinfo=timezone.utc)
"""What ClickHouse's DateTime64 can hold; it wraps silently beyond."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO = re.compile(
    r"\s*\+?(\d+)-(\d\d?)-(\d\d?)([Tt ])(\d\d?):(\d\d?):(\d\d?)(?:[.,](\d+))?"
    r"\s*([Zz]|[+-]\d\d(?::?\d\d)?)?"
)
_SECONDS = len("2026-11-01T00:00:00")
_MICROS = 6
# Epoch numbers tell their unit by their size: seconds have 10 digits until the year 2286.
_EPOCH_UNITS = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (float("inf"), 0.001))


def utc(local: datetime, zone: ZoneInfo) -> datetime:
    """`local`, in `zone` if it carries no zone, as UTC. Raises `MalformedLine` out of range."""
    try:
        moment = (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(timezone.utc)
    except OverflowError:
        moment = None
    if moment is None or not FIRST <= moment < LAST:
        raise MalformedLine("bad_timestamp", f"{local} is outside of the years 1900 to 2299")
    return moment


def iso(text: str, zone: ZoneInfo) -> datetime:
    """An ISO 8601 (RFC 3339) time; a missing zone is `zone`. Raises `MalformedLine`."""
    found = _ISO.fullmatch(text)
    if not found:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r} is not an ISO 8601 time")
    year, month, day, _, hour, minute, second, fraction, offset = found.groups()
    # A leap second is the first one of the next minute, as in Unix time.
    leap = second == "60"
    try:
        moment = datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            59 if leap else int(second),
            int((fraction or "0")[:6].ljust(6, "0")),
            timezone(_offset(offset)) if offset else None,
        ) + timedelta(seconds=leap)
    except (ValueError, OverflowError) as error:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r}: {error}") from None
    return utc(moment, zone)


def _offset(text: str) -> timedelta:
    """An offset from UTC: `Z`, `+02`, `+0200` or `+02:00`."""
    if text in "Zz":
        return timedelta()
    digits = text[1:].replace(":", "").ljust(4, "0")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return size if text[0] == "+" else -size


def epoch(number: float) -> datetime:
    """Seconds, milli-, micro- or nanoseconds since 1970. Raises `MalformedLine` out of range."""
    try:
        scale = next(scale for limit, scale in _EPOCH_UNITS if abs(number) < limit)
        moment = _EPOCH + timedelta(microseconds=round(number * scale))
    except (OverflowError, ValueError, StopIteration):
        raise MalformedLine("bad_timestamp", f"{number!r} is not an epoch time") from None
    return utc(moment, ZoneInfo("UTC"))


def iso_column(texts: pl.Series, zone: ZoneInfo) -> pl.Series:
    """Texts as UTC times, null where they are not shaped like the first of them."""
    first = texts.drop_nulls().head(1)
    found = _ISO.fullmatch(first[0]) if len(first) else None
    if not found:
        return pl.repeat(None, len(texts), dtype=pl.Datetime("us", "UTC"), eager=True)
    separator, fraction, offset = found.group(4), found.group(8) or "", found.group(9)
    layout = f"%Y-%m-%d{separator}%H:%M:%S"
    frame, text = texts.to_frame("text"), pl.col("text")
    ending = first[0][_SECONDS:].removeprefix("." + fraction if fraction else "")
    alike = (text.str.len_bytes() == len(first[0])) & text.str.ends_with(ending)
    if fraction:
        alike &= text.str.slice(_SECONDS, 1) == "."
    if len(fraction) <= _MICROS and frame.select(alike.all()).item():
        # The same second is parsed once, fractions are plain numbers, and the offset is known.
        times = text.str.head(_SECONDS).str.to_datetime(layout, time_unit="us", strict=False)
        if fraction:
            digits = text.str.slice(_SECONDS + 1, len(fraction)).cast(pl.UInt32, strict=False)
            times += pl.duration(microseconds=digits * 10 ** (_MICROS - len(fraction)))
        if offset:
            times = (times - _offset(offset)).dt.replace_time_zone("UTC")
    else:
        layout += "%.f" + ("" if not offset else offset if offset in "Zz" else "%z")
        times = text.str.to_datetime(layout, time_unit="us", strict=False)
        if offset:
            times = times.dt.replace_time_zone("UTC")
    return frame.select(in_range(times) if offset else local_column(times, zone)).to_series()


def local_column(times: pl.Expr, zone: ZoneInfo) -> pl.Expr:
    """Times without a zone, read in `zone`, as UTC times."""
    if zone.key == "UTC":
        return in_range(times.dt.replace_time_zone("UTC"))

    def read(local: pl.Expr) -> pl.Expr:
        return local.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")

    day = pl.duration(days=1)
    return in_range(pl.coalesce(read(times), read(times - day) + day).dt.convert_time_zone("UTC"))


def epoch_column(column: pl.Expr) -> pl.Expr:
    """Numbers since 1970 as UTC times, by the same sizes as `epoch`."""
    micros = column.cast(pl.Float64)
    scaled = pl.when(False).then(micros)
    for limit, scale in _EPOCH_UNITS:
        scaled = scaled.when(micros.abs() < limit).then(micros * scale)
    whole = scaled.otherwise(None).round().cast(pl.Int64, strict=False)
    return in_range(whole.cast(pl.Datetime("us", "UTC")))


def in_range(times: pl.Expr) -> pl.Expr:
    """The times that a store can hold, null for the others."""
    return pl.when(times.is_between(FIRST, LAST, closed="left")).then(times)
