"""Times in lines, always to UTC in microseconds.

What is finer than a microsecond is cut off. A local time that occurs twice (the clock goes back)
is the earlier one; one that does not exist (the clock goes forward) is read with the offset from
before the change. Both are what `datetime` does with `fold=0` (PEP 495).

A time without a year stays local time of the year `YEARLESS`, which no store can hold, until
`with_years` is told when its stream was seen first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.fields import number
from native.lines import Meaning, Part

UTC = ZoneInfo("UTC")
FIRST = datetime(1900, 1, 1, tzinfo=timezone.utc)
END = datetime(2300, 1, 1, tzinfo=timezone.utc)
"""What ClickHouse's DateTime64 holds begins at `FIRST` and is before `END`; it wraps beyond."""

YEARLESS = 4
"""The year of times that have none: a leap year, and before `FIRST`."""

WHEN_SEEN = datetime(YEARLESS - 1, 1, 1, tzinfo=timezone.utc)
"""Stands for a time that a line does not have: `with_years` makes it that of its stream's sight."""

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
    clock = (int(part) for part in (year, month, day, hour, minute, second))
    return utc(_moment(text, (*clock,), fraction or "", (offset or "").strip(), zone), zone)


def _moment(
    text: str, clock: tuple[int, ...], fraction: str, offset: str, zone: ZoneInfo
) -> datetime:
    """The time of a clock: year, month, day, hour, minute, second. Raises `MalformedLine`."""
    year, month, day, hour, minute, second = clock
    # A leap second is the first one of the next minute, as in Unix time.
    leap = second == 60
    try:
        moment = datetime(
            year,
            month,
            day,
            hour,
            minute,
            59 if leap else second,
            int(fraction[:_MICROS].ljust(_MICROS, "0")),
        ) + timedelta(seconds=leap)
        return _in_its_zone(moment, offset, zone)
    except (ValueError, OverflowError) as error:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r}: {error}") from None


def _in_its_zone(local: datetime, name: str, zone: ZoneInfo) -> datetime:
    """The time in the zone that it names: an offset, UTC, a region, what `zone` is called then.

    PostgreSQL and others write such names: of others nobody knows what they mean. Raises
    `ValueError`.
    """
    if not name:
        return local
    if name in ("UTC", "GMT"):
        return local.replace(tzinfo=timezone.utc)
    if "/" in name:
        try:
            return local.replace(tzinfo=ZoneInfo(name))
        except ZoneInfoNotFoundError:
            raise ValueError(f"{name} is no zone") from None
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


_NO_MORE = "(?![0-9])"
_DIGITS = f"[0-9][0-9]?{_NO_MORE}"
_OFFSET = f"[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?{_NO_MORE}"
_NO_WORD = "(?![0-9A-Za-z])"
_CLOSE = rf"(?:[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?){_NO_WORD}"
_APART = rf"(?:Z|UTC|GMT|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9]){_NO_WORD}"
_REGION = "[A-Z][A-Za-z]+(?:/[0-9A-Za-z_+-]+)+(?![/0-9A-Za-z_+-])"
_DIRECTIVES = {
    "Y": (Part.YEAR, f"[0-9]{{4}}{_NO_MORE}"),
    "y": (Part.SHORT_YEAR, f"[0-9]{{2}}{_NO_MORE}"),
    "m": (Part.MONTH, _DIGITS),
    "b": (Part.MONTH_NAME, "|".join(_MONTHS)),
    "d": (Part.DAY, _DIGITS),
    "e": (Part.PADDED_DAY, f" ?{_DIGITS}"),
    "a": (Part.WEEKDAY, "Mon|Tue|Wed|Thu|Fri|Sat|Sun"),
    "H": (Part.HOUR, _DIGITS),
    "I": (Part.HOUR, _DIGITS),
    "M": (Part.MINUTE, _DIGITS),
    "S": (Part.SECOND, _DIGITS),
    "p": (Part.HALF, "[AaPp][Mm]"),
    "f": (Part.DECIMALS, f"[0-9]+{_NO_MORE}"),
    "z": (Part.ZONE, f"[Zz]|{_OFFSET}"),
    "Z": (Part.ZONE_NAME, f"[A-Z]{{3,5}}(?![A-Z/])|{_REGION}|{_OFFSET}"),
    "o": (
        Part.MAYBE_ZONE,
        f"(?P<ZONE>{_CLOSE})| (?P<ZONE_NAME>{_APART})|(?!{_CLOSE}| {_APART})",
    ),
    "t": (Part.SEPARATOR, "[Tt ]"),
    "s": (Part.UNIX, f"[0-9]{{1,11}}{_NO_MORE}"),
}
"""Directives -> the part of a time, and what it looks like: each text in one way only."""
_FRACTION = f"(?:[.,](?P<{Part.FRACTION.name}>[0-9]+{_NO_MORE})|(?![.,][0-9]))"
_NUMERIC = tuple("%" + name for name in "YymdeHIMSs")
ISO_8601 = "%Y-%m-%d%t%H:%M:%S%o"
"""The pattern of times that are ISO 8601, or nearly."""
_PIECE = re.compile("%.|[^%]|%", re.DOTALL)
_ABOVE_LITERALS, _JOINED, _EXACT = 128, 64, 32


@dataclass(frozen=True)
class Pattern:
    """A way to write times: what it looks like, and what the compiled part is told of it.

    `shape` is a regular expression without groups. `codes` are literals and, from 128 on, the
    numbers of parts of a time: 32 more if they are exactly two digits, 64 more if others follow.
    """

    text: str
    shape: str
    codes: bytes
    has_year: bool
    expression: re.Pattern[str]

    def read(self, text: str, zone: ZoneInfo) -> datetime:
        """A time; without a year, a local one of the year `YEARLESS`. Raises `MalformedLine`."""
        found = self.expression.fullmatch(text)
        if not found:
            raise MalformedLine("bad_timestamp", f"{text[:64]!r} is not a time like {self.text}")
        parts = {Part[name]: part for name, part in found.groupdict().items() if part is not None}
        fraction = parts.get(Part.FRACTION) or parts.get(Part.DECIMALS, "")
        if Part.UNIX in parts:
            micros = int(fraction[:_MICROS].ljust(_MICROS, "0"))
            return utc(_EPOCH + timedelta(0, int(parts[Part.UNIX]), micros), UTC)
        clock = (_year(parts), _month(parts), _day(parts), _hour(parts, text))
        more = (int(parts.get(part, 0)) for part in (Part.MINUTE, Part.SECOND))
        offset = parts.get(Part.ZONE) or parts.get(Part.ZONE_NAME, "")
        moment = _moment(text, (*clock, *more), fraction, offset, zone)
        return utc(moment, zone) if self.has_year else moment.replace(tzinfo=timezone.utc)


def _year(parts: Mapping[Part, str]) -> int:
    if Part.SHORT_YEAR not in parts:
        return int(parts.get(Part.YEAR, YEARLESS))
    short = int(parts[Part.SHORT_YEAR])
    return short + (1900 if short >= 69 else 2000)  # as POSIX has it


def _month(parts: Mapping[Part, str]) -> int:
    name = parts.get(Part.MONTH_NAME)
    return _MONTHS.index(name) + 1 if name else int(parts[Part.MONTH])


def _day(parts: Mapping[Part, str]) -> int:
    return int(parts[Part.DAY] if Part.DAY in parts else parts[Part.PADDED_DAY])


def _hour(parts: Mapping[Part, str], text: str) -> int:
    hour = int(parts[Part.HOUR])
    if Part.HALF not in parts:
        return hour
    if not 1 <= hour <= 12:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r}: there is no hour {hour} of 12")
    return hour % 12 + 12 * (parts[Part.HALF] in ("PM", "pm", "Pm", "pM"))


@cache
def pattern(text: str) -> Pattern:
    """The pattern that directives as of strftime(3) and literals make.

    `%Y %y %m %b %d %e %a %H %I %p %M %S %f %z %Z %s`. Days, months and clocks may have one digit,
    unless others touch them. `%S` and `%s` take a fraction behind `.` or `,`, unless there is a
    `%f`, its digits behind something else. `%Z` is a name or an offset. Names are English. Ours are
    `%t`, which is `T` or a space, and, at the end, `%o`: a zone if there is one, which may be `Z`,
    an offset, or UTC behind a space. Raises `ValueError` for what is no time of a day.
    """
    pieces = _PIECE.findall(text)
    names = "".join(piece[1:] for piece in pieces)
    if unknown := [piece for piece in pieces if piece[0] == "%" and piece[1:] not in _DIRECTIVES]:
        raise ValueError(f"time {text!r}: {unknown[0]} is no directive")
    has_year = any(name in names for name in "Yys")
    is_whole = all(any(name in names for name in part) for part in ("mb", "de", "HI"))
    if not ("s" in names or is_whole) or len({*names}) < len(names):
        raise ValueError(f"time {text!r} needs a month, a day and a clock, each of them once")
    if ("I" in names) != ("p" in names):
        raise ValueError(f"time {text!r}: %I and %p need each other")
    if not has_year and any(name in names for name in "zZo"):
        raise ValueError(f"time {text!r} has a zone, but no year")
    if "%o" in pieces[:-1]:
        raise ValueError(f"time {text!r}: %o is at the end")
    if not text.isascii():
        raise ValueError(f"time {text!r}: literals are ASCII")
    expression, codes = "", b""
    for before, piece, behind in zip(["", *pieces], pieces, [*pieces[1:], ""], strict=False):
        if piece[0] != "%":
            expression += re.escape(piece)
            codes += piece.encode()
            continue
        part, look = _DIRECTIVES[piece[1:]]
        is_joined = behind in _NUMERIC
        is_exact = is_joined or before in _NUMERIC
        if is_exact:
            look = look.replace(_DIGITS, f"[0-9]{{2}}{_NO_MORE}")
        expression += f"(?P<{part.name}>{look.removesuffix(_NO_MORE) if is_joined else look})"
        codes += bytes([_ABOVE_LITERALS + part + _JOINED * is_joined + _EXACT * is_exact])
        if piece[1:] in "Ss" and "f" not in names:
            expression += _FRACTION
            codes += bytes([_ABOVE_LITERALS + Part.FRACTION])
    shape = re.sub(r"\(\?P<[A-Z_]+>", "(?:", expression)
    return Pattern(text, shape, codes, has_year, re.compile(expression))


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


_READ_TIME: dict[Meaning | None, Callable[[str, ZoneInfo], datetime]] = {
    None: any_time,
    Meaning.ISO: iso,
    Meaning.CLF: clf,
    Meaning.HAPROXY: haproxy,
    Meaning.EPOCH: epoch_text,
}


def reader_of(time: Meaning | str | None) -> Callable[[str, ZoneInfo], datetime]:
    """What reads times that are written like this: a text is a `pattern`."""
    return pattern(time).read if isinstance(time, str) else _READ_TIME[time]


def local_column(times: pl.Expr, zone: ZoneInfo) -> pl.Expr:
    """Times without a zone, read in `zone`, as UTC times; null where that is not certain."""

    def read(local: pl.Expr) -> pl.Expr:
        return local.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")

    day = pl.duration(days=1)
    moments = pl.coalesce(read(times), read(times - day) + day).dt.convert_time_zone("UTC")
    return pl.when(times.is_between(*_ZONES_AGREE)).then(moments)


_Micros = npt.NDArray[np.int64]
_DAY = 24 * 3600 * 1_000_000
_LEAP_DAY = 31 + 28  # days before 29 February
_SURELY_NEAR = 182 * _DAY  # the same day of another year is farther away
_FAR_YEARS = 8  # from one leap year to the next one, as from 1896 to 1904


def _years_of(times: _Micros) -> _Micros:
    return times.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970


def _start_of(years: _Micros) -> _Micros:
    """Microseconds since 1970 of 1 January."""
    return (years - 1970).astype("datetime64[Y]").astype("datetime64[us]").astype(np.int64)


def _is_leap(years: _Micros) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    return found


def _nearest(times: _Micros, seen: _Micros) -> _Micros:
    """Times of the year `YEARLESS`, in the years that bring them nearest to these others.

    29 February is in the nearest leap year.
    """
    since = times - _start_of(np.array(YEARLESS))
    day = since // _DAY

    def in_years(which: npt.NDArray[Any], years: _Micros) -> tuple[_Micros, _Micros]:
        """These in those years, and how far they are from where they should be near."""
        moments = _start_of(years) + since[which]
        moments -= _DAY * ((day[which] > _LEAP_DAY) & ~_is_leap(years))
        far = np.abs(moments - seen[which])
        far[(day[which] == _LEAP_DAY) & ~_is_leap(years)] = np.iinfo(np.int64).max
        return moments, far

    years = _years_of(seen)
    found, far = in_years(np.arange(len(times)), years)
    others = np.flatnonzero(far > _SURELY_NEAR)
    for away in range(-_FAR_YEARS, _FAR_YEARS + 1) if len(others) else ():
        moments, farther = in_years(others, years[others] + away)
        is_nearer = farther < far[others]
        found[others[is_nearer]] = moments[is_nearer]
        far[others[is_nearer]] = farther[is_nearer]
    return found


def with_years(rows: pl.DataFrame, seen: Mapping[int, int], zone: ZoneInfo) -> pl.DataFrame:
    """These rows, and the times among them that have no year in the year and zone they are of.

    That is the year in which they are nearest to when their stream was `seen` first, by its
    `file_id`, in microseconds of UTC: it is the same whenever they are parsed. `WHEN_SEEN` is then.
    """
    if "timestamp" not in rows.columns:  # for there are no rows
        return rows
    is_open = (rows["timestamp"] < FIRST).fill_null(value=False)
    if not is_open.any():
        return rows
    some = rows.filter(is_open)
    near = {
        stream: _micros_of((_EPOCH + timedelta(microseconds=micros)).astimezone(zone))
        for stream, micros in seen.items()
    }
    times = some["timestamp"].to_physical().to_numpy()
    nears = some["file_id"].replace_strict(near, return_dtype=pl.Int64).to_numpy()
    local = pl.Series("timestamp", _nearest(times, nears)).cast(pl.Datetime("us"))
    moments = pl.select(local_column(pl.lit(local), zone)).to_series()
    if (is_missing := some["timestamp"] == WHEN_SEEN).any():
        sights = some["file_id"].replace_strict(seen, return_dtype=pl.Int64)
        moments = moments.zip_with(~is_missing, sights.cast(moments.dtype))
    if moments.null_count():
        exact = [utc(each, zone) for each in local.filter(moments.is_null())]
        moments = moments.scatter(np.flatnonzero(moments.is_null()), exact)
    return rows.with_columns(timestamp=rows["timestamp"].scatter(np.flatnonzero(is_open), moments))


def start_of_year() -> int:
    """When this year began: it stands for when a stream was seen first, if nobody knows."""
    return _micros_of(datetime(datetime.now(timezone.utc).year, 1, 1))


def _micros_of(local: datetime) -> int:
    """What a clock on the wall shows then, as if it were UTC."""
    return (local.replace(tzinfo=timezone.utc) - _EPOCH) // timedelta(microseconds=1)


def with_year(moment: datetime, seen: int, zone: ZoneInfo) -> datetime:
    """The same for one time of a stream that was `seen` first then."""
    row = pl.DataFrame({"timestamp": [moment], "file_id": [0]})
    found: datetime = with_years(row, {0: seen}, zone)["timestamp"][0]
    return found
