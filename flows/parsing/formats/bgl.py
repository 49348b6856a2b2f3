"""Format `bgl`: supercomputers' logs, as the Computer Failure Data Repository and Loghub have them.

`label seconds date node`, then of BlueGene/L `time node type component level message`, of
Thunderbird, Spirit and Liberty a line of syslog, by A. Oliner and J. Stearley, "What Supercomputers
Say" (DSN 2007). A label is one of an alert; `-` says that it is none.
The seconds are the time; the date says the same.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout, Maybe, Part, Variants
from native.lines import Shape

_MESSAGE = Field("message", "message", Shape.WORDS, empty=())
_BLUE_GENE: tuple[Part | Maybe, ...] = (
    *(Field("local_time"), " ", Field("repeated_node"), " "),
    *(Field("type", choices=("RAS", "NULL")), " "),
    *(Field("component"), " ", Field("level", "level"), Maybe(" ", _MESSAGE)),
)
_LOCAL: tuple[Part | Maybe, ...] = (
    *(Field("local_date", shape=Shape.TWO_WORDS), " ", Field("local_time"), " "),
    *(Field("sender"), " "),
)
_TAG: tuple[Part | Maybe, ...] = (
    *(Field("program"), Maybe("[", Field("pid", shape=Shape.DIGITS), "]"), ":"),
    Maybe(" ", _MESSAGE),
)


def _layout(*end: Part | Maybe, samples: tuple[str, ...] = ()) -> Layout:
    parts: tuple[Part | Maybe, ...] = (
        *(Field("label"), " ", Field("time", "timestamp", time="%s %Y.%m.%d"), " "),
        *(Field("node", "host"), " ", *end),
    )
    return Layout(parts, samples, "not_bgl")


FORMAT = Variants(
    (
        _layout(
            *_BLUE_GENE,
            samples=(
                "- 1795378505 2026.11.22 R02-M1-N0 2026-11-22-20.15.05.675872 R02-M1-N0 RAS KERNEL "
                "INFO instruction cache parity error corrected",
                "APPREAD 1795378505 2026.11.22 R02 2026-11-22-20.15.05.675872 R02 RAS APP FATAL "
                "caf\u00e9",
            ),
        ),
        _layout(
            *_LOCAL,
            *_TAG,
            samples=(
                "- 1795378505 2026.11.22 dn228 Nov 22 20:15:05 dn228/dn228 crond[2915]: "
                "session closed for user root",
            ),
        ),
        _layout(*_LOCAL, _MESSAGE),
    )
)
