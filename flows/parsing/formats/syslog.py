"""Format `syslog`: lines as syslog daemons keep them in files, and as `journalctl` prints them.

`time host program[pid]: message`, by RFC 3164, sections 4.1 and 5.4; the templates
`RSYSLOG_TraditionalFileFormat` and `RSYSLOG_FileFormat` in rsyslog's documentation; journalctl(1),
`--output`: `short`, `short-precise`, `short-iso`, `short-full`, `short-unix`, `with-unit`; and
BusyBox's syslogd and OpenWrt's logread, which add `facility.severity`. So auth.log, kern.log,
mail.log, messages and the like are of this format.

The time lacks its year in most of them. A priority in front of it gives the level, else the
severity in a message of Cisco's (`%LINK-3-UPDOWN: ...`, by its "System Message Format"), else the
word in front of the message (`error: ...`, of sshd; `<info> ...`, of NetworkManager). Some
daemons write no host, some no program; launchd of macOS names a service behind the program, routers
of Cisco have a colon in front of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Wrapped
from flows.parsing.dialects import SYSLOG
from flows.parsing.layout import SPACES, Field, Layout, Maybe, Part, Variants
from flows.parsing.lines import Lines
from flows.parsing.parser import Format, Row
from flows.parsing.said import IN_FRONT
from native.lines import Shape

LEVEL_OF = {str(priority): SYSLOG[str(priority % 8)] for priority in range(24 * 8)}
"""8 * facility + severity, as RFC 5424 numbers them in section 6.2.1 -> the level."""

PRIORITY = Field("priority", "level", Shape.DIGITS, words=LEVEL_OF)

SEVERITY = "%[A-Z][0-9A-Z_]*(?:-[0-9A-Za-z_]+)?-([0-7])-[0-9A-Z_]+"
"""A regular expression of what Cisco's messages begin with, and of their severity."""

_severity_in = re.compile(SEVERITY, re.ASCII)
_NEAR = 64  # characters in which a severity is: a time of its own may stand in front of it

_Parts = tuple[Part | Maybe, ...]
_BSD = "%b %e %H:%M:%S"
_BSD_WITH_YEAR = "%b %e %Y %H:%M:%S"
_TIMES = (
    _BSD,
    "%Y-%m-%dT%H:%M:%S%z",
    "%a %Y-%m-%d %H:%M:%S %Z",
    "%s",
    _BSD_WITH_YEAR,
)
_MESSAGE = Field("message", "message", Shape.WORDS, empty=())
_HOST = Field("host", "host", odd=":[")
_PID: tuple[Part, ...] = ("[", Field("pid", shape=Shape.DIGITS), "]")
_TAG: _Parts = (
    Field("program"),
    Maybe(*_PID),
    Maybe(" (", Field("service", shape=Shape.WORDS), ")"),
    ":",
    Maybe(" ", _MESSAGE),
)
_FACILITY: tuple[Part, ...] = (Field("facility"), ".", Field("level", "level"), " ")
_OF_HOST: tuple[_Parts, ...] = (
    (_HOST, " ", *_TAG),
    (_HOST, " ", *_FACILITY, *_TAG),
    (_HOST, SPACES, Field("program", shape=Shape.WORDS), *_PID, ": ", _MESSAGE),
)
_CHARON: _Parts = (Field("thread", shape=Shape.DIGITS), "[", Field("group"), "] ", _MESSAGE)
_RARE: tuple[tuple[str, _Parts], ...] = (
    (_BSD, _TAG),
    (_BSD, _CHARON),
    ("%Y-%m-%d %H:%M:%S%z", _OF_HOST[2]),
    ("%Y-%m-%d %H:%M:%S%z", (" ", *_OF_HOST[2])),
    (_BSD, (Field("program"), "[", Field("pid"), "] ", _MESSAGE)),
    ("%a %b %e %H:%M:%S %Y", (*_FACILITY, *_TAG)),
    (_BSD, ("--- ", _MESSAGE, " ---")),
    (
        _BSD,
        (_HOST, " ", Field("program", choices=("syslogd",)), " ", Field("version"), ": ", _MESSAGE),
    ),
    (_BSD, (_HOST, " : ", *_TAG)),
    (_BSD_WITH_YEAR, (_HOST, " : ", *_TAG)),
    (_BSD_WITH_YEAR, _TAG),
    ("%Y-%m-%dT%H:%M:%S%z", (Field("program"), "[", Field("pid"), "]: ", _MESSAGE)),  # Heroku's
    (_BSD, (_HOST, " ", _MESSAGE)),
    (_BSD_WITH_YEAR, (_HOST, " ", _MESSAGE)),
)
_SAMPLES = (
    "Nov 22 20:15:05 web-1 sshd[1234]: Invalid user deploy from 203.0.113.7",
    "<4>Nov  2 20:15:05.120 web-1 kernel: caf\u00e9",
)


def _check(texts: Mapping[str, str]) -> None:
    """Refuse a line without a host, of which something else would be taken for one."""
    host = texts.get("host", "")
    if host.endswith(":") or "[" in host:
        raise MalformedLine("not_syslog", f"{host[:64]!r} is no host")


def _layout(time: str, parts: _Parts) -> Layout:
    head: _Parts = (Maybe("<", PRIORITY, ">"), Field("time", "timestamp", time=time), " ")
    is_usual = (time, parts) == (_BSD, _OF_HOST[0])
    return Layout((*head, *parts), _SAMPLES if is_usual else (), "not_syslog", _check)


class _SevereFormat:
    """Lines whose messages say how severe they are, where no priority does."""

    def __init__(self, plain: Format) -> None:
        self._plain = plain

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = self._plain.line(text)
        if said := IN_FRONT.line(str(row.get("message", ""))):
            return {**row, "level": said}
        if row.get("level"):
            return row
        for name in ("message", "attributes"):  # a program is the first of the attributes
            if found := _severity_in.search(str(row.get(name, ""))[:_NEAR]):
                return {**row, "level": SYSLOG[found.group(1)]}
        return {**row, "level": ""}

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        frame = self._plain.columns(lines)
        near = [frame[name] for name in ("message", "attributes") if name in frame.columns]
        said = [IN_FRONT.columns(frame["message"])] if "message" in frame.columns else []
        if "level" in frame.columns:
            said.append(frame["level"].replace({"": None}))
        if b"%" in lines.data:
            numbers = (each.str.head(_NEAR).str.extract(SEVERITY) for each in near)
            said += (each.replace_strict(SYSLOG, default=None) for each in numbers)
        return frame.with_columns(level=pl.coalesce(*said, pl.lit("")))


FORMAT = Wrapped(
    Variants(
        (
            _layout("%d %b %H:%M:%S", _TAG),  # before its day is seconds since 1970
            *(_layout(time, parts) for time in _TIMES for parts in _OF_HOST),
            *(_layout(time, parts) for time, parts in _RARE),
        )
    ),
    _SevereFormat,
)
