"""Format `raw`: any line. It is the message, whole; a time and a level are looked for in it.

The time is the first that looks like one of those below in the first 128 characters; a line without
one has the time at which its stream was seen first. The level is that of a message of Cisco's
(`%LINK-3-UPDOWN`: its "System Message Format"), else the first word there that is one, as
`said.ANYWHERE` has it; else that of a priority of syslog in front.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from zoneinfo import ZoneInfo

import polars as pl

from connectors.batch import COLUMNS
from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.formats.syslog import LEVEL_OF, SEVERITY
from flows.parsing.layout import Field, Layout, Variants
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Format, Row
from flows.parsing.said import ANYWHERE
from flows.parsing.times import ISO_8601, NAMED, WHEN_SEEN, names_of
from native.lines import Meaning, Shape

_NEAR = 128  # characters
_FAR = 12  # characters in front of the time by which an event is known to begin
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WHOLE = tuple(
    f"{month}{rest}"
    for month, rest in zip(
        _MONTHS,
        ("uary", "ruary", "ch", "il", "", "e", "y", "ust", "tember", "ober", "ember", "ember"),
        strict=True,
    )
)
_UPPER = (month.upper() for month in _MONTHS)
_MONTH = f"(?:{'|'.join((*_WHOLE, *_MONTHS, *_UPPER))})"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_GAP = r"""(?: - |[ \t",:]+(?:time=)?"?)"""  # between a day and a clock, as in `date=... time=...`
_DATE = "[0-9]{4}[-/.][0-9]{2}[-/.][0-9]{2}"
BEGINNINGS = (
    f"{_DATE}(?:[Tt]|{_GAP})[0-9]{{2}}:[0-9]{{2}}:",
    f"{_DATE}[Tt ][0-9]{{1,2}}:",
    f"[0-9]{{4}} {_MONTH} [ 0-9]?[0-9] [0-9]{{2}}:",
    "[0-9]{2}/[0-9]{2}(?:/[0-9]{2}|/[0-9]{4})?[-:][0-9]{2}:[0-9]{2}:",
    "[0-9]{1,2}[/.][0-9]{1,2}[/.][0-9]{4}(?:, ?| --? | )[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?: [AP]M)?",
    "[0-9]{1,2}/[0-9]{1,2}/[0-9]{2}, ?[0-9]{1,2}:[0-9]{2}:",
    f"{_MONTH}-[0-9]{{2}}-[0-9]{{2}} [0-9]{{2}}:",
    "[0-9]{2}-[0-9]{2}-[0-9]{4} [0-9]{2}:",
    "[0-9]{4}:[0-9]{1,2}:[0-9]{1,2}-[0-9]{2}:",
    "[0-9]{6}(?:[0-9]{2})?[- ][0-9]{1,2}:[0-9]{2}:",
    f"[0-9]{{1,2}}[-/ ]?{_MONTH}(?:[-/ ]?[0-9]{{4}})?(?:::?| )[0-9]{{1,2}}:[0-9]{{2}}:",
    f"(?:{_DAY} )?{_MONTH} [ 0-9]?[0-9],? (?:[0-9]{{4}},? )?[0-9]{{1,2}}:",
    f"(?:{'|'.join(each.lower() for each in _MONTHS)})/[0-9]{{2}}(?:/[0-9]{{4}})? [0-9]{{2}}:",
    "[0-9]{2}/[0-9]{2}/[0-9]{2} [0-9]{1,2}:",
    "(?:[0-9]{2}-)?[0-9]{2}[-.][0-9]{2}[ |][0-9]{2}:[0-9]{2}:",
    "[IWEF](?:[0-9]{2})?[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}[.]",  # klog, and with a year
    "[0-9]{4}[-.][0-9]{2}[-.][0-9]{2}-[0-9]{2}[.][0-9]{2}[.][0-9]{2}[:.][0-9]",
    "(?:[0-9]{8}:|[0-9]{4}/)[0-9]{6}[.][0-9]{3}",
    r"^[0-9]{10}(?:[0-9]{3})?(?:\.[0-9]+)?:? ",
    r"1[0-9]{9}\.[0-9]{3,9} ",
)
_HEADS = (*BEGINNINGS, 'Started [A-Z]+ "')  # as Rails begins a request, whose time is behind it
_GAPS = (" ", ", ", ",", " - ")
_MONTH_OF = {
    form: name
    for name, whole in zip(_MONTHS, _WHOLE, strict=True)
    for form in (whole, name.upper())
    if form != name
} | {f"{name.lower()}/": f"{name}/" for name in _MONTHS}
_PATTERNS = (
    ISO_8601,
    "%Y/%m/%d %H:%M:%S%o",
    "%Y.%m.%d %H:%M:%S",
    "%Y:%m:%d-%H:%M:%S",
    "%Y%m%d-%H:%M:%S",
    "%Y%m%d %H:%M:%S",
    "%y%m%d %H:%M:%S",
    "%Y-%m-%d-%H.%M.%S",
    "%Y.%m.%d-%H.%M.%S:%f",
    "%Y%m%d:%H%M%S",
    "%m%d/%H%M%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%d/%b/%Y:%H:%M:%S",
    "%d/%b/%Y %H:%M:%S",
    "%d-%b-%Y %H:%M:%S%o",
    "%d-%b-%Y::%H:%M:%S",
    "%d%b%Y %H:%M:%S",
    "%d %b %Y %H:%M:%S%o",
    "%d %b %H:%M:%S",
    "%a %b %e %H:%M:%S %Y",
    "%a %b %e %H:%M:%S %z %Y",
    "%a %b %e %H:%M:%S",
    *(f"%m/%d/%Y{gap}%I:%M:%S %p" for gap in _GAPS),
    *(
        f"{day}{gap}%H:%M:%S%o"
        for day in ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y")
        for gap in (*_GAPS, "-", ":")
    ),
    "%d/%m/%Y -- %H:%M:%S",
    *(f"{day},{gap}%H:%M:%S" for day in ("%m/%d/%y", "%d/%m/%y") for gap in ("", " ")),
    "%m/%d/%y-%H:%M:%S",
    "%m/%d-%H:%M:%S",
    "%b-%d-%y %H:%M:%S",
    "%Y %b %e %H:%M:%S%o",
    "%d-%m-%Y %H:%M:%S",
    "%b %e, %Y %I:%M:%S %p",
    "%b %e, %Y, %I:%M:%S %p",
    "%b %e, %Y %H:%M:%S%o",
    "%b %e %Y %H:%M:%S%o",
    "%b %e %H:%M:%S",
    "%b/%d/%Y %H:%M:%S",
    "%b/%d %H:%M:%S",
    "%y/%m/%d %H:%M:%S",
    "%m/%d/%y %H:%M:%S",
    "%y-%m-%d %H:%M:%S",
    "%m-%d %H:%M:%S",
    "%m-%d|%H:%M:%S",
    "%m.%d %H:%M:%S",
    *(f"{letter}{day} %H:%M:%S" for day in ("%m%d", "%y%m%d") for letter in "IWEF"),
)
_REST = Field("rest", "message", Shape.WORDS)
_LAYOUTS = (
    *((Field("time", "timestamp", time=each), _REST) for each in _PATTERNS),
    (Field("time", "timestamp", time=Meaning.EPOCH), " ", _REST),
)
_TIMES = Variants(tuple(Layout(parts, samples=(), reason="no_timestamp") for parts in _LAYOUTS))
_FIND_TIME = rf"(?:\b(?:{'|'.join(BEGINNINGS)})|^\[[0-9]{{10}}\] )[0-9A-Za-z:.,/+ -]*"
_APART = re.compile(f"^({_DATE}){_GAP}([0-9]{{2}}:)", re.ASCII)
_NO_FRACTION = re.compile("(:[0-9]{2}),([0-9]{1,2},|[0-9]{10})", re.ASCII)  # but a cell of CSV
_COLON = re.compile("(:[0-9]{2}:[0-9]{2}):([0-9]{3})", re.ASCII)  # in front of milliseconds
_FIND_PRIORITY = "^<(1?[0-9]?[0-9])>"
_time_in, _number_in, _priority_in = (
    re.compile(each, re.ASCII) for each in (_FIND_TIME, SEVERITY, _FIND_PRIORITY)
)
_find_time = _FIND_TIME.replace(r"\b", r"(?-u:\b)")  # as Polars calls what `re.ASCII` is


def beginning(lines: Sequence[str]) -> str:
    """A regular expression of how these lines begin, up to their time; empty: they differ.

    It is one for `LOG_MULTILINE`.
    """
    for each in _HEADS:
        found = [re.search(each, line[:_NEAR], re.ASCII) for line in lines]
        places = [one.start() for one in found if one]
        if places and len(places) == len(lines) and max(places) <= _FAR:
            return f".{{0,{max(places)}}}?{each}" if max(places) else each
    return ""


class Raw:
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo, duration_shift: int) -> None:
        self._times = _TIMES.make(time_zone)
        names = NAMED.keys() - names_of(time_zone)
        self._named = _MONTH_OF | {"[": "", "] ": " ", ": ": " ", " UTC": " +0000"}
        self._named |= {f" {name}": f" {NAMED[name]}" for name in names}
        self._names = re.compile("|".join(map(re.escape, self._named)))

    def timeless(self) -> Format:
        """The same within lines that have a time themselves, which counts."""
        return _Within(self)

    def line(self, text: str) -> Row:
        """One line."""
        near = text[:_NEAR]
        row: Row = {"timestamp": WHEN_SEEN, "message": text}
        if time := _time_in.search(near):
            with suppress(MalformedLine):  # it may only look like one
                row["timestamp"] = self._times.line(self._usual(time.group()))["timestamp"]
        if number := _number_in.search(near):
            row["level"] = LEVEL_OF[number.group(1)]
        elif level := ANYWHERE.line(near):
            row["level"] = level
        elif priority := _priority_in.search(near):
            row["level"] = LEVEL_OF.get(priority.group(1), "")
        return row

    def _usual(self, time: str) -> str:
        """A time with one space in front of its clock, short months, and its zone as an offset."""
        time = _COLON.sub(r"\1.\2", _APART.sub(r"\1 \2", time), count=1)
        time = _NO_FRACTION.sub(r"\1 ,\2", time, count=1)
        return self._names.sub(lambda name: self._named[name.group()], time)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are no text, or whose time is odd, are left open."""
        text = lines.texts()
        near = text.str.head(_NEAR)
        number, priority = (
            near.str.extract(each).replace_strict(LEVEL_OF, default=None, return_dtype=pl.String)
            for each in (SEVERITY, _FIND_PRIORITY)
        )
        word = ANYWHERE.columns(near)
        found = near.str.extract(_find_time, 0)
        usual = found.fill_null("").str.replace(_APART.pattern, "${1} ${2}")
        usual = usual.str.replace(_COLON.pattern, "${1}.${2}")
        usual = usual.str.replace(_NO_FRACTION.pattern, "${1} ,${2}")
        usual = usual.str.replace_many(self._named)
        times = self._times.columns(Lines("".join(usual + "\n").encode()))
        is_timeless = found.is_null()
        moments = pl.repeat(WHEN_SEEN, len(text), eager=True, dtype=COLUMNS["timestamp"])
        if "timestamp" in times.columns:
            moments = moments.zip_with(is_timeless, times["timestamp"])
        is_odd = text.str.contains(r"^(\?*$|\x{feff})")
        return pl.DataFrame(
            {
                "timestamp": moments,
                "level": pl.select(pl.coalesce(number, word, priority, pl.lit(""))).to_series(),
                "message": text,
                OK: (is_timeless | times[OK]) & ~is_odd,
            }
        )


class _Within:
    """Lines within others: level and message."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    def line(self, text: str) -> Row:
        """One line."""
        row = self._raw.line(text)
        del row["timestamp"]
        return row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are no text, or whose time is odd, are left open."""
        return self._raw.columns(lines).drop("timestamp", strict=False)


FORMAT = Scanner(
    Raw,
    samples=(
        "worker 3 says at 2026-11-22 20:15:05.123: ERROR no answer from 203.0.113.7",
        "nothing but caf\u00e9 [warn] Nov 22 20:15:05",
        "Sun Nov 22 20:15:05 CET 2026 GET /a",
        "[GIN] 2026/11/22 - 20:15:05 | 200",
        'date="2026-11-22" time="20:15:05" severity=high',
        "11/22/2026, 8:15:05 PM [WRN] no answer",
        "22.11.2026 20:15:05 level=warning",
        "<134>1 1795378505.123456789 web-1 events",
        "Nov 22 2026 20:15:05 EST: %ASA-4-106023: Deny tcp",
    ),
)
