"""Format `syslog5424`: `<priority>1 time host program pid msgid [structured data] message`.

By RFC 5424, section 6, one message a line, as rsyslog's template `RSYSLOG_SyslogProtocol23Format`
and syslog-ng's `syslog-protocol` write it. The severity in the priority is the level. Structured
data is one attribute, as it is. The mark of UTF-8 in front of a message is no part of it.
"""

from __future__ import annotations

from flows.parsing.formats.syslog import PRIORITY
from flows.parsing.layout import SPACES, Field, Layout, Maybe, Part, Variants
from native.lines import Shape

_MESSAGE = Field("message", "message", Shape.WORDS, empty=())
_DATA: tuple[tuple[Part, ...], ...] = (
    ("-",),
    ("[", Field("structured_data", shape=Shape.WORDS), "]"),
)
_ENDS: tuple[tuple[Part | Maybe, ...], ...] = ((SPACES, Maybe("\ufeff"), _MESSAGE), ())


_SAMPLES = (
    "<38>1 2026-11-22T20:15:05.123456+00:00 web-1 sshd 1234 - - Invalid user deploy",
    "<0>1 2026-11-22T20:15:05Z - app - ID1 -  caf\u00e9",
)


def _layout(data: tuple[Part, ...], end: tuple[Part | Maybe, ...]) -> Layout:
    # fmt: off
    parts: tuple[Part | Maybe, ...] = (
        "<", PRIORITY, ">1 ", Field("time", "timestamp"), " ", Field("host", "host"), " ",
        Field("program"), " ", Field("pid"), " ", Field("msgid"), " ", *data, *end,
    )
    # fmt: on
    is_usual = data is _DATA[0] and end is _ENDS[0]
    return Layout(parts, _SAMPLES if is_usual else (), "not_syslog5424")


FORMAT = Variants(tuple(_layout(data, end) for data in _DATA for end in _ENDS))
