"""Times in lines, always to UTC in microseconds.

What is finer than a microsecond is cut off. A local time that occurs twice (the clock goes back)
is the earlier one; one that does not exist (the clock goes forward) is read with the offset from
before the change. Both are what `datetime` does with `fold=0` (PEP 495).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.fields import number
from native.lines import Meaning

UTC = ZoneInfo("UTC")
FIRST = datetime(1900, 1, 1, tzinfo=timezone.utc)
END = datetime(2300, 1, 1, tzinfo=timezone.utc)
"""What ClickHouse's DateTime64 holds begins at `FIRST` and is before `END`; it wraps beyond."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)([Tt ])(\d\d):(\d\d):(\d\d)(?:([.,])(\d+))?"
    r"( ?(?:[Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)| [A-Z]{3,5})?",
    re.ASCII,
)
_SECOND = r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d)"
_CLF = re.compile(rf"{_SECOND}( [+-]\d{{4}})", re.ASCII)
_HAPROXY = re.compile(rf"{_SECOND}(\.\d+)?", re.ASCII)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MICROS = 6
# Epoch numbers tell their unit by their size: seconds have 10 digits until the year 2286.
# Numbers below the limit become microseconds by the factor and the divisor.
_EPOCH_UNITS = ((10**11, 1_000_000, 1), (10**14, 1_000, 1), (10**17, 1, 1), (10**20, 1, 1_000))
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
    # Whoever writes names of zones writes a space before the clock, too.
    if not found or (text[10] != " " and text[-2:].isalpha()):
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
        ) + timedelta(seconds=leap)
        moment = _in_its_zone(moment, (offset or "").strip(), zone)
    except (ValueError, OverflowError) as error:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r}: {error}") from None
    return utc(moment, zone)


def _in_its_zone(local: datetime, name: str, zone: ZoneInfo) -> datetime:
    """The time in the zone that it names, which is an offset, UTC, or what `zone` is called then.

    PostgreSQL and others write such names: of others nobody knows what they mean. Raises
    `ValueError`.
    """
    if not name:
        return local
    if name in ("UTC", "GMT"):
        return local.replace(tzinfo=timezone.utc)
    if not name.isalpha() or name in "Zz":
        return local.replace(tzinfo=timezone(_offset(name)))
    for fold in (0, 1):  # the hour that occurs twice has two names
        moment = local.replace(tzinfo=zone, fold=fold)
        if moment.tzname() == name:
            return moment
    raise ValueError(f"{name} is not what LOG_TIMEZONE={zone.key} is called then")


def _offset(text: str) -> timedelta:
    """An offset from UTC: `Z`, `+02`, `+0200` or `+02:00`."""
    if text in "Zz":
        return timedelta()
    digits = text[1:].replace(":", "").ljust(4, "0")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return size if text[0] == "+" else -size


def epoch(value: float) -> datetime:
    """Seconds, milli-, micro- or nanoseconds since 1970. Raises `MalformedLine` out of range."""
    for limit, factor, divisor in _EPOCH_UNITS:
        if abs(value) < limit:
            whole = isinstance(value, int)
            micros = value * factor // divisor if whole else round(value * factor / divisor)
            try:
                return utc(_EPOCH + timedelta(microseconds=micros), UTC)
            except OverflowError:
                break
    raise MalformedLine("bad_timestamp", f"{str(value)[:64]} is not an epoch time")


def instant(value: Mapping[str, object]) -> datetime | None:
    """A time in two numbers: those of Java's Instant, or of Google's Timestamp; None: it is none.

    Raises `MalformedLine` out of range.
    """
    for names in (("epochSecond", "nanoOfSecond"), ("seconds", "nanos")):
        seconds, nanoseconds = (value.get(name, 0) for name in names)
        if names[0] in value and isinstance(seconds, int) and isinstance(nanoseconds, int):
            try:
                return utc(_EPOCH + timedelta(0, seconds, nanoseconds // 1000), UTC)
            except OverflowError:
                break
    return None


def clf(text: str, zone: ZoneInfo) -> datetime:
    """A time as Apache's `%t` and nginx's `$time_local` write it. Raises `MalformedLine`."""
    return _with_month(_CLF, text, "17/May/2015:10:05:03 +0000", zone)


def haproxy(text: str, zone: ZoneInfo) -> datetime:
    """A time as HAProxy's `%t` writes it, in no zone. Raises `MalformedLine`."""
    return _with_month(_HAPROXY, text, "17/May/2015:10:05:03.655", zone)


def _with_month(pattern: re.Pattern[str], text: str, example: str, zone: ZoneInfo) -> datetime:
    found = pattern.fullmatch(text)
    if not found or found.group(2) not in _MONTHS:
        raise MalformedLine("bad_timestamp", f"[{text[:64]}] is not a time like {example}")
    day, month, year, clock, rest = found.groups(default="")
    return iso(f"{year}-{_MONTHS.index(month) + 1:02}-{day} {clock}{rest}", zone)


def epoch_text(text: str, zone: ZoneInfo) -> datetime:
    """A text that is a number since 1970. Raises `MalformedLine`."""
    if (found := number(text)) is None:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r} is no number")
    return epoch(found)


def any_time(text: str, zone: ZoneInfo) -> datetime:
    """A time in one of the ways above. Raises `MalformedLine`."""
    if number(text) is not None:
        return epoch_text(text, zone)
    for pattern, read in ((_CLF, clf), (_HAPROXY, haproxy)):
        if pattern.fullmatch(text):
            return read(text, zone)
    return iso(text, zone)


READ_TIME: dict[Meaning | None, Callable[[str, ZoneInfo], datetime]] = {
    None: any_time,
    Meaning.ISO: iso,
    Meaning.CLF: clf,
    Meaning.HAPROXY: haproxy,
    Meaning.EPOCH: epoch_text,
}
"""How a text of a layout becomes a time."""


def local_column(times: pl.Expr, zone: ZoneInfo) -> pl.Expr:
    """Times without a zone, read in `zone`, as UTC times; null where that is not certain."""

    def read(local: pl.Expr) -> pl.Expr:
        return local.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")

    day = pl.duration(days=1)
    moments = pl.coalesce(read(times), read(times - day) + day).dt.convert_time_zone("UTC")
    return pl.when(times.is_between(*_ZONES_AGREE)).then(moments)
