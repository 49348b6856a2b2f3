"""Times in lines: ISO 8601 and epoch, as values and as columns, always to UTC in microseconds.

What is finer than a microsecond is cut off. A local time that occurs twice (the clock goes back)
is the earlier one; one that does not exist (the clock goes forward) is read with the offset from
before the change. Both are what `datetime` does with `fold=0` (PEP 495).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.errors import MalformedLine

UTC = ZoneInfo("UTC")
FIRST = datetime(1900, 1, 1, tzinfo=timezone.utc)
END = datetime(2300, 1, 1, tzinfo=timezone.utc)
"""What ClickHouse's DateTime64 holds begins at `FIRST` and is before `END`; it wraps beyond."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)([Tt ])(\d\d):(\d\d):(\d\d)(?:([.,])(\d+))?"
    r"( ?(?:[Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?",
    re.ASCII,
)
_SECONDS = len("2026-11-01T00:00:00")
_MICROS = 6
_SAMPLE = 100
_MOSTLY = 0.97
# Epoch numbers tell their unit by their size: seconds have 10 digits until the year 2286.
# Numbers below the limit become microseconds by the factor and the divisor.
_EPOCH_UNITS = ((10**11, 1_000_000, 1), (10**14, 1_000, 1), (10**17, 1, 1), (10**20, 1, 1_000))
_EXACT_FLOAT = 2**53
# Where Polars and zoneinfo agree on every zone; outside, their data differ in age and end.
_ZONES_AGREE = datetime(2000, 1, 1), datetime(2099, 12, 31)


def utc(local: datetime, zone: ZoneInfo) -> datetime:
    """`local`, in `zone` if it carries no zone, as UTC. Raises `MalformedLine` out of range."""
    try:
        moment = (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(timezone.utc)
    except OverflowError:
        moment = None
    if moment is None or not FIRST <= moment < END:
        raise MalformedLine("bad_timestamp", f"{local} is outside of the years 1900 to 2299")
    return moment


def iso(text: str, zone: ZoneInfo) -> datetime:
    """An ISO 8601 (RFC 3339) time; a missing zone is `zone`. Raises `MalformedLine`."""
    found = _ISO.fullmatch(text)
    if not found:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r} is not an ISO 8601 time")
    year, month, day, _, hour, minute, second, _, fraction, offset = found.groups()
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
            int((fraction or "")[:_MICROS].ljust(_MICROS, "0")),
            timezone(_offset(offset)) if offset else None,
        ) + timedelta(seconds=leap)
    except (ValueError, OverflowError) as error:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r}: {error}") from None
    return utc(moment, zone)


def _offset(text: str) -> timedelta:
    """An offset from UTC: `Z`, `+02`, `+0200` or `+02:00`, maybe after a space."""
    text = text.strip()
    if text in "Zz":
        return timedelta()
    digits = text[1:].replace(":", "").ljust(4, "0")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return size if text[0] == "+" else -size


def epoch(number: float) -> datetime:
    """Seconds, milli-, micro- or nanoseconds since 1970. Raises `MalformedLine` out of range."""
    for limit, factor, divisor in _EPOCH_UNITS:
        if abs(number) < limit:
            whole = isinstance(number, int)
            micros = number * factor // divisor if whole else round(number * factor / divisor)
            try:
                return utc(_EPOCH + timedelta(microseconds=micros), UTC)
            except OverflowError:
                break
    raise MalformedLine("bad_timestamp", f"{str(number)[:64]} is not an epoch time")


def iso_column(texts: pl.Series, zone: ZoneInfo) -> pl.Series:
    """Texts as UTC times, null where they are not shaped like the first of them that is a time."""
    shapes = (_ISO.fullmatch(text) for text in texts.head(_SAMPLE).drop_nulls())
    shape = next((found for found in shapes if found), None)
    if not shape:
        return pl.repeat(None, len(texts), dtype=pl.Datetime("us", "UTC"), eager=True)
    separator, mark, fraction, offset = shape.group(4, 8, 9, 10)
    ending = offset or ""
    seconds = f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{separator}[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}"
    digits = f"{re.escape(mark)}[0-9]{{{len(fraction)}}}" if mark else ""
    alike = _alike(texts, shape.group(), len(ending))
    if alike is None:
        alike = texts.str.contains(f"{seconds}{digits}{re.escape(ending)}$")
    micros = pl.col("text").str.slice(_SECONDS + 1, min(len(fraction or ""), _MICROS))
    if (alike.sum() or 0) < _MOSTLY * len(texts):
        alike = texts.str.contains(rf"{seconds}(?:[.,][0-9]+)?{re.escape(ending)}$")
        rest = pl.col("text").str.slice(_SECONDS).str.strip_suffix(ending)
        micros = rest.str.slice(1, _MICROS).str.pad_end(_MICROS, "0")
        fraction = "0" * _MICROS
    if not alike.all():
        # What is not alike may yet look like a time to Polars.
        texts = texts.set(~alike, None)
    frame, text = texts.to_frame("text"), pl.col("text")
    # The same second is parsed once, fractions are plain numbers, and the offset is known.
    layout = f"%Y-%m-%d{separator}%H:%M:%S"
    times = text.str.head(_SECONDS).str.to_datetime(layout, time_unit="us", strict=False)
    if fraction:
        scale = 10 ** max(0, _MICROS - len(fraction))
        times += pl.duration(microseconds=micros.cast(pl.UInt32, strict=False) * scale)
    if offset:
        column = in_range((times - _offset(offset)).dt.replace_time_zone("UTC"))
    else:
        column = local_column(times, zone)
    return frame.select(column).to_series()


def _alike(texts: pl.Series, example: str, same: int) -> pl.Series | None:
    """Which texts have digits where the example has, and all else, and its last `same`, as it is.

    None if not all are as long: a regular expression tells it of any texts, but takes longer.
    """
    _, offsets, data = texts.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    count, size = len(texts), len(example)
    if not (np.diff(np.frombuffer(offsets, np.int64)[: count + 1]) == size).all():
        return None
    characters = np.frombuffer(data, np.uint8)[: count * size].reshape(count, size)
    alike = np.ones(count, np.bool_)
    for place, column in enumerate(np.ascontiguousarray(characters.T)):
        if example[place].isdigit() and place < size - same:
            alike &= column - np.uint8(ord("0")) <= 9  # what is below 0 wraps around
        else:
            alike &= column == ord(example[place])
    return pl.Series(alike)


def local_column(times: pl.Expr, zone: ZoneInfo) -> pl.Expr:
    """Times without a zone, read in `zone`, as UTC times; null where that is not certain."""
    if zone.key == "UTC":
        return in_range(times.dt.replace_time_zone("UTC"))

    def read(local: pl.Expr) -> pl.Expr:
        return local.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")

    day = pl.duration(days=1)
    moments = pl.coalesce(read(times), read(times - day) + day).dt.convert_time_zone("UTC")
    return pl.when(times.is_between(*_ZONES_AGREE)).then(moments)


def epoch_column(numbers: pl.Series) -> pl.Series:
    """Numbers since 1970 as UTC times, by the same sizes as `epoch`; null where not certain."""
    number = pl.col("number")
    # A float this large was an integer in the line, and has lost its last digits.
    largest = 2**63 - 1 if numbers.dtype.is_integer() else _EXACT_FLOAT
    micros = pl.lit(None, pl.Int64)
    for limit, factor, divisor in reversed(_EPOCH_UNITS):
        scaled = number * factor
        if numbers.dtype.is_integer():
            scaled = scaled // divisor
        else:
            scaled = (scaled / divisor).round().cast(pl.Int64, strict=False)
        bound = min(limit, largest)
        micros = (
            pl.when(number.is_between(-bound, bound, closed="none")).then(scaled).otherwise(micros)
        )
    times = micros.cast(pl.Datetime("us", "UTC"))
    return numbers.to_frame("number").select(in_range(times)).to_series()


def in_range(times: pl.Expr) -> pl.Expr:
    """The times that a store can hold, null for the others."""
    return pl.when(times.is_between(FIRST, END, closed="left")).then(times)
