"""Format `mysql`: the error log of MySQL and MariaDB.

`time thread [label] [code] [subsystem] message`, by MySQL's Reference Manual, "Error Log Output
Format" (code and subsystem since 8.0, the ISO time since 5.7), and MariaDB's documentation, "Error
Log", whose hours may have one digit behind two spaces; both wrote `yymmdd hh:mm:ss` before, without
a thread. Lines of mysqld_safe are here, too. `Note` and `System` are `notice`.
"""

from __future__ import annotations

from flows.parsing.layout import SPACES, Field, Layout, Part, Variants
from native.lines import Shape

_MESSAGE = Field("message", "message", Shape.WORDS, empty=())
_LEVEL = Field("level", "level", words={"Note": "notice", "System": "notice"})
_THREAD = Field("thread", shape=Shape.DIGITS)
_ISO = "%Y-%m-%dT%H:%M:%S%z"
_OLD = ("%y%m%d %H:%M:%S", "%y%m%d  %H:%M:%S")
_TIMES = ("%Y-%m-%d %H:%M:%S", _ISO, "%Y-%m-%d  %H:%M:%S", *_OLD)
_NEW: tuple[Part, ...] = (
    *(" ", _THREAD, " [", _LEVEL, "] [", Field("code"), "] [", Field("subsystem"), "] "),
    _MESSAGE,
)
_FORMS: tuple[tuple[Part, ...], ...] = (
    (" ", _THREAD, " [", _LEVEL, "] ", _MESSAGE),
    (" ", Field("program", choices=("mysqld_safe",)), " ", _MESSAGE),
)
_ENTRYPOINT: tuple[Part, ...] = (
    *(" [", _LEVEL, "] [", Field("subsystem", choices=("Entrypoint",)), "]: "),
    _MESSAGE,
)
_OLD_FORMS: tuple[tuple[Part, ...], ...] = (
    (" [", _LEVEL, "] ", _MESSAGE),
    (SPACES, Field("subsystem", choices=("InnoDB",)), ": ", _MESSAGE),
)


def _layout(time: str, parts: tuple[Part, ...], *samples: str) -> Layout:
    return Layout((Field("time", "timestamp", time=time), *parts), samples, "not_mysql")


FORMAT = Variants(
    (
        _layout(
            _ISO,
            _NEW,
            "2026-11-22T20:15:05.123456Z 0 [System] [MY-010116] [Server] mysqld starting",
        ),
        *(_layout(time, form) for form in _FORMS for time in _TIMES),
        *(_layout(time, form) for form in _OLD_FORMS for time in _OLD),
        _layout("%Y-%m-%d %H:%M:%S%z", _ENTRYPOINT),
    )
)
