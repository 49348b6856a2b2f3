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
from functools import cache, lru_cache
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

CLF = "%d/%b/%Y:%H:%M:%S %z"
"""A `pattern`: Apache's `%t` and nginx's `$time_local`."""

HAPROXY = "%d/%b/%Y:%H:%M:%S"
"""A `pattern`: HAProxy's `%t`, in no zone."""

_OTHERS = (
    *(CLF, f"[{CLF}]", HAPROXY, f"{HAPROXY} %Z"),
    *("%b %e %Y %H:%M:%S", "%b %e %Y %H:%M:%S %Z"),
    *("%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p %z"),
    *("%a %b %e %H:%M:%S %Y", "%a %b %e %H:%M:%S %Z %Y", "%a, %d %b %Y %H:%M:%S %Z"),
    *("%Y-%m-%d%t%H:%M:%S%o", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S %z UTC"),
    *("%Y/%m/%d%t%H:%M:%S%o", "%Y/%m/%d %H:%M:%S %z", "%Y:%m:%d %H:%M:%S"),
    *("%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S"),
)
"""What a time under a key may be besides: Apache's and nginx's, those of CEF, what .NET writes
where the culture is en-US, of ctime(3) and date(1), of mails (RFC 5322, section 3.3), of Go, those
that are nearly ISO 8601, and what spreadsheets write."""

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
NAMED = {
    **{"EST": "-0500", "EDT": "-0400", "CST": "-0600", "CDT": "-0500"},
    **{"MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700"},
    **{"WET": "+0000", "WEST": "+0100", "CET": "+0100", "CEST": "+0200"},
    **{"EET": "+0200", "EEST": "+0300", "MSK": "+0300", "JST": "+0900", "KST": "+0900"},
    **{"AEST": "+1000", "AEDT": "+1100", "NZST": "+1200", "NZDT": "+1300"},
}
"""Names of zones that mean one thing nearly anywhere -> their offset: those of America by RFC 5322,
section 4.3, the others by the time zone database."""

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_MICROS = 6
# Epoch numbers tell their unit by their size: seconds have 10 digits until the year 2286.
# Numbers below the limit become microseconds by the factor and the divisor.
_EPOCH_UNITS = ((10**11, 1_000_000, 1), (10**14, 1_000, 1), (10**17, 1, 1), (10**20, 1, 1_000))


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

    PostgreSQL and others write such names. What `zone` is never called may be of `NAMED`: of others
    nobody knows what they mean. Raises `ValueError`.
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
    if name in NAMED and name not in names_of(zone):
        return local.replace(tzinfo=timezone(_offset(NAMED[name])))
    raise ValueError(f"{name} is not what LOG_TIMEZONE={zone.key} is called then")


@cache
def names_of(zone: ZoneInfo) -> frozenset[str]:
    """What a zone is called, in winter and in summer."""
    return frozenset(datetime(2026, month, 1, tzinfo=zone).tzname() or "" for month in (1, 7))


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
_MINUTES = "(?::?[0-5][0-9]|(?!:?[0-5][0-9]))"  # if there are some, they are of it
_OFFSET = f"[+-](?:[01][0-9]|2[0-3]){_MINUTES}{_NO_MORE}"
_NO_WORD = "(?![0-9A-Za-z])"
_CLOSE = rf"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]){_MINUTES}){_NO_WORD}"
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
    "q": (Part.FRACTION, ""),
}
"""Directives -> the part of a time, and what it looks like: each text in one way only."""
_FRACTION = f"(?:[.,](?P<{Part.FRACTION.name}>[0-9]+{_NO_MORE})|(?![.,][0-9]))"
_BEHIND_POINT = _FRACTION.replace("[.,]", "[.]")
_NUMERIC = tuple("%" + name for name in "YymdeHIMSs")
ISO_8601 = "%Y-%m-%d%t%H:%M:%S%o"
"""The pattern of times that are ISO 8601, or nearly."""
_PIECE = re.compile("%.|[^%]|%", re.DOTALL)
_ABOVE_LITERALS, _JOINED, _EXACT = 128, 64, 32


@dataclass(frozen=True)
class Pattern:
    """A way to write times: what it looks like, and what the compiled part is told of it.

    `shape` is a regular expression without groups. `codes` are literals and, from 128 on, the
    numbers of parts of a time: 32 more if they are exactly two digits, or a fraction is behind a
    point only, 64 more if others follow.
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
    `%t`, which is `T` or a space, `%q`, a fraction behind a point only, if there is one, and, at
    the end, `%o`: a zone if there is one, which may be `Z`, an offset, or UTC behind a space.
    Raises `ValueError` for what is no time of a day.
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
        if part is Part.FRACTION:
            expression += _BEHIND_POINT
            codes += bytes([_ABOVE_LITERALS + part + _EXACT])
            continue
        is_joined = behind in _NUMERIC
        is_exact = is_joined or before in _NUMERIC
        if is_exact:
            look = look.replace(_DIGITS, f"[0-9]{{2}}{_NO_MORE}")
        expression += f"(?P<{part.name}>{look.removesuffix(_NO_MORE) if is_joined else look})"
        codes += bytes([_ABOVE_LITERALS + part + _JOINED * is_joined + _EXACT * is_exact])
        if piece[1:] in "Ss" and not {*"fq"} & {*names}:
            expression += _FRACTION
            codes += bytes([_ABOVE_LITERALS + Part.FRACTION])
    shape = re.sub(r"\(\?P<[A-Z_]+>", "(?:", expression)
    return Pattern(text, shape, codes, has_year, re.compile(expression))


def epoch_text(text: str, zone: ZoneInfo) -> datetime:
    """A text that is a number since 1970. Raises `MalformedLine`."""
    if (found := number(text)) is None:
        raise MalformedLine("bad_timestamp", f"{text[:64]!r} is no number")
    return epoch(found)


def any_time(text: str, zone: ZoneInfo) -> datetime:
    """A time in one of the ways above. Raises `MalformedLine`."""
    if number(text) is not None:
        return epoch_text(text, zone)
    way = way_of(text)
    return way.read(text, zone) if way else iso(text, zone)


def way_of(text: str) -> Pattern | None:
    """How a time is written that is neither a number nor ISO 8601."""
    if _ISO.fullmatch(text):
        return None
    return next((way for way in map(pattern, _OTHERS) if way.expression.fullmatch(text)), None)


_READ_TIME: dict[Meaning | None, Callable[[str, ZoneInfo], datetime]] = {
    None: any_time,
    Meaning.ISO: iso,
    Meaning.EPOCH: epoch_text,
}


def reader_of(time: Meaning | str | None) -> Callable[[str, ZoneInfo], datetime]:
    """What reads times that are written like this: a text is a `pattern`."""
    return pattern(time).read if isinstance(time, str) else _READ_TIME[time]


_Micros = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]
_MICRO = timedelta(microseconds=1)
_DAY = timedelta(days=1) // _MICRO
_FIRST, _END = (FIRST - _EPOCH) // _MICRO, (END - _EPOCH) // _MICRO
_MISSING = (WHEN_SEEN - _EPOCH) // _MICRO


@lru_cache(maxsize=10_000)
def _day_of(day: int, zone: ZoneInfo) -> tuple[int, str] | None:
    """How far the clocks of a zone are ahead of UTC on a day since 1970, and what it is called.

    None: they change on that day.
    """
    begin = datetime(1970, 1, 1, tzinfo=zone) + timedelta(day)
    end = begin + timedelta(days=1) - _MICRO
    first, last = ((at.utcoffset() or timedelta(), at.tzname() or "") for at in (begin, end))
    return (first[0] // _MICRO, first[1]) if first == last else None


def utc_of_clocks(clocks: _Micros, zone: ZoneInfo, name: str = "") -> tuple[_Micros, _Flags]:
    """What clocks of a zone showed as times of UTC, and which of them are certainly such times.

    What `utc` does, for many clocks of the years 1900 to 2299, most of one day. Where the zone was
    not called by its `name`, or may have been called otherwise on that day, no time is certain.
    """
    if not len(clocks):
        return clocks, np.ones(0, np.bool_)
    if clocks.min() // _DAY == clocks.max() // _DAY:
        edges, lengths = np.zeros(1, np.int64), [len(clocks)]
    else:
        days = clocks // _DAY
        edges = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
        lengths = np.diff(edges, append=len(clocks)).tolist()
    found = [_day_of(day, zone) for day in (clocks[edges] // _DAY).tolist()]
    times: _Micros = clocks - np.repeat([one[0] if one else 0 for one in found], lengths)
    is_one = np.repeat([not name or (one is not None and one[1] == name) for one in found], lengths)
    for edge, length, one in zip(edges.tolist(), lengths, found, strict=True):
        for place in range(edge, edge + length) if one is None else ():
            local = _EPOCH.replace(tzinfo=zone) + int(clocks[place]) * _MICRO
            times[place] = (local.astimezone(timezone.utc) - _EPOCH) // _MICRO
    return times, is_one & (times >= _FIRST) & (times < _END)


_LEAP_DAY = (31 + 28) * _DAY  # when 29 February begins
_SURELY_NEAR = 182 * _DAY  # the same day of another year is farther away
_FAR_YEARS = 8  # from one leap year to the next one, as from 1896 to 1904


def _start_of(years: _Micros) -> _Micros:
    """Microseconds since 1970 of 1 January."""
    return (years - 1970).astype("datetime64[Y]").astype("datetime64[us]").astype(np.int64)


def _in_years(since: _Micros, years: _Micros, near: _Micros) -> tuple[_Micros, _Micros]:
    """Times since the beginning of a leap year in other years, and how far from `near` they are."""
    is_leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    is_behind = since >= _LEAP_DAY + _DAY
    moments = _start_of(years) + since - _DAY * (is_behind & ~is_leap)
    is_none = (since >= _LEAP_DAY) & ~is_behind & ~is_leap
    return moments, np.where(is_none, _END, np.abs(moments - near))


def _nearest(times: _Micros, near: _Micros) -> _Micros:
    """Times of the year `YEARLESS`, in the years that bring them nearest to one or other times.

    29 February is in the nearest leap year.
    """
    ends = np.array([times.min(), times.max()])
    if len(times) > len(ends) and not near.ndim and ends[0] // _DAY == ends[1] // _DAY:
        moved = _nearest(ends, near) - ends
        if moved[0] == moved[1]:  # as all between them then are
            found: _Micros = times + moved[0]
            return found
    since = times - _start_of(np.array(YEARLESS))
    years = near.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970
    found, far = _in_years(since, years, near)
    others = np.flatnonzero(far > _SURELY_NEAR)
    if len(others):
        since, best = since[others], far[others]
        near, years = (np.broadcast_to(each, times.shape)[others] for each in (near, years))
        for away in range(-_FAR_YEARS, _FAR_YEARS + 1):
            moments, far = _in_years(since, years + away, near)
            found[others] = np.where(far < best, moments, found[others])
            best = np.minimum(far, best)
    return found


def with_years(rows: pl.DataFrame, seen: Mapping[int, int], zone: ZoneInfo) -> pl.DataFrame:
    """These rows, and the times among them that have no year in the year and zone they are of.

    That is the year in which they are nearest to when their stream was `seen` first, by its
    `file_id`, in microseconds of UTC: it is the same whenever they are parsed. `WHEN_SEEN` is then.
    """
    if "timestamp" not in rows.columns:  # for there are no rows
        return rows
    times = rows["timestamp"].to_physical().to_numpy()
    is_open = times < _FIRST
    if not is_open.any():
        return rows
    clocks = {stream: _clock(micros, zone) for stream, micros in seen.items()}
    if len({*clocks.values()}) == 1:
        near = np.array(next(iter(clocks.values())))
    else:
        near = rows["file_id"].replace_strict(clocks, return_dtype=pl.Int64).to_numpy()[is_open]
    moments = times.copy()
    moments[is_open], _ = utc_of_clocks(_nearest(times[is_open], near), zone)
    is_missing = times == _MISSING
    if is_missing.any():
        sights = rows["file_id"].replace_strict(seen, return_dtype=pl.Int64).to_numpy()
        moments[is_missing] = sights[is_missing]
    return rows.with_columns(timestamp=pl.Series(moments).cast(pl.Datetime("us", "UTC")))


def _clock(micros: int, zone: ZoneInfo) -> int:
    """What a clock of the zone shows then, as if it were UTC."""
    local = (_EPOCH + micros * _MICRO).astimezone(zone)
    return (local.replace(tzinfo=timezone.utc) - _EPOCH) // _MICRO


def with_year(moment: datetime, seen: int, zone: ZoneInfo) -> datetime:
    """The same for one time of a stream that was `seen` first then."""
    row = pl.DataFrame({"timestamp": [moment], "file_id": [0]})
    found: datetime = with_years(row, {0: seen}, zone)["timestamp"][0]
    return found


def start_of_year() -> int:
    """When this year began: it stands for when a stream was seen first, if nobody knows."""
    this = datetime.now(timezone.utc)
    return (datetime(this.year, 1, 1, tzinfo=timezone.utc) - _EPOCH) // _MICRO
