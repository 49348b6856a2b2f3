"""Format `redis`: the log of Redis and Valkey.

`pid:role time level message`, by server.c (`serverLogRaw`) of Redis since 5.0; before, the time had
no year, before 3.0 the process was in brackets, and before 2.4 there was none. The levels are
signs: `.` debug, `-` verbose, `*` notice, `#` warning. Roles are `C`, a child, `M`, `S`, a replica,
and `X`, a sentinel.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.errors import MalformedLine
from flows.parsing.layout import Field, Layout, Part, Variants
from native.lines import Shape

_PID = Field("pid", shape=Shape.DIGITS)
_ROLE: tuple[Part, ...] = (_PID, ":", Field("role", width=1), " ")
_LEVELS = {".": "debug", "-": "info", "*": "notice", "#": "warning"}
_MESSAGE = Field("message", "message", Shape.WORDS, empty=(), odd="[")
_END: tuple[Part, ...] = (
    " ",
    Field("level", "level", width=1, words=_LEVELS, empty=()),
    " ",
    Field("message", "message", Shape.WORDS, empty=()),
)


def _layout(head: tuple[Part, ...], time: str, *samples: str) -> Layout:
    return Layout((*head, Field("time", "timestamp", time=time), *_END), samples, "not_redis")


def _check(texts: Mapping[str, str]) -> None:
    """Refuse what others write like Redis did when it named no process: `time - [level] ...`."""
    if texts["message"].startswith("["):
        raise MalformedLine("not_redis", "it has no process")


FORMAT = Variants(
    (
        _layout(
            _ROLE,
            "%d %b %Y %H:%M:%S",
            "1234:M 22 Nov 2026 20:15:05.123 * Ready to accept connections",
            "1234:C 22 Nov 2026 20:15:05.123 # caf\u00e9",
        ),
        _layout(
            ("[", _PID, "] "),
            "%d %b %H:%M:%S",
            "[1234] 22 Nov 20:15:05.123 - Accepted 203.0.113.7:50122",
        ),
        _layout(_ROLE, "%d %b %H:%M:%S"),
        Layout(
            (Field("time", "timestamp", time="%d %b %H:%M:%S"), *_END[:-1], _MESSAGE),
            (),
            "not_redis",
            _check,
        ),
    )
)
