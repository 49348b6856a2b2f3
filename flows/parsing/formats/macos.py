"""Format `macos`: what `log show` and `log stream` of macOS print, in their styles.

`time thread type activity pid ttl process: message`, by log(1), `--style default`, and
`time type process[pid:tid] message`, `--style compact`. The types are those of os_log(3): `Default`
is the level `notice`, `Fault` `critical`.
"""

from __future__ import annotations

from flows.parsing.layout import SPACES, Field, Layout, Variants
from native.lines import Shape

_TYPES = {
    "Default": "notice",
    "Info": "info",
    "Debug": "debug",
    "Error": "error",
    "Fault": "critical",
    "Activity": "info",
}
_SHORT = {
    "Df": "notice",
    "I": "info",
    "Db": "debug",
    "E": "error",
    "F": "critical",
    "A": "info",
}
_PID = Field("pid", shape=Shape.DIGITS)
_MESSAGE = Field("message", "message", Shape.WORDS, empty=())


def _level(types: dict[str, str]) -> Field:
    return Field("level", "level", choices=tuple(types), words=types)


FORMAT = Variants(
    (
        Layout(
            (
                Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S%z"),
                *(" ", Field("thread"), SPACES, _level(_TYPES), SPACES, Field("activity"), SPACES),
                *(_PID, SPACES, Field("ttl", shape=Shape.DIGITS), SPACES),
                *(Field("process", shape=Shape.WORDS), ": ", _MESSAGE),
            ),
            (
                "2026-11-22 20:15:05.123456+0000 0x1a2b     Error       0x0                  123"
                "    0    mDNSResponder: [com.apple.mDNSResponder:Default] caf\u00e9 is away",
            ),
            "not_macos",
        ),
        Layout(
            (
                Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S"),
                *(" ", _level(_SHORT), SPACES, Field("process", shape=Shape.WORDS), "[", _PID, ":"),
                *(Field("thread"), "] ", _MESSAGE),
            ),
            ("2026-11-22 20:15:05.123 Df kernel[0:1a2b] (IOKit) caf\u00e9",),
            "not_macos",
        ),
    )
)
