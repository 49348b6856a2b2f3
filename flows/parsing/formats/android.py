"""Format `android`: `logcat` with its formats `threadtime` (the default), `time` and `year`.

`11-22 20:15:05.123  1234  5678 I Tag     : message` and `11-22 20:15:05.123 I/Tag( 1234): message`,
by logcat's documentation on developer.android.com, "Control log output format", and logprint.cpp
(`android_log_formatLogLine`), which pads the tag and the numbers with spaces.
"""

from __future__ import annotations

from flows.parsing.layout import SPACES, Field, Layout, Part, Variants
from native.lines import Shape

_LEVEL = Field(
    "level",
    "level",
    width=1,
    words={
        **{"V": "trace", "D": "debug", "I": "info", "W": "warning"},
        **{"E": "error", "F": "fatal", "A": "fatal"},
    },
)
_PID = Field("pid", shape=Shape.DIGITS)
_TID = Field("tid", shape=Shape.DIGITS)
_TAG = Field("tag")
_WORDS = Field("tag", shape=Shape.WORDS)
_MESSAGE = Field("message", "message", Shape.WORDS, empty=())
_THREAD: tuple[Part, ...] = (SPACES, _PID, SPACES, _TID, " ", _LEVEL, " ")
_TIMES = ("%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S")
_FORMS: tuple[tuple[Part, ...], ...] = (
    (*_THREAD, _TAG, ": ", _MESSAGE),
    (*_THREAD, _TAG, SPACES, ": ", _MESSAGE),
    (*_THREAD, _WORDS, ": ", _MESSAGE),
    (" ", _LEVEL, "/", _WORDS, "(", SPACES, _PID, "): ", _MESSAGE),
    (" ", _LEVEL, "/", _WORDS, "(", _PID, "): ", _MESSAGE),
)


_STUDIO: tuple[tuple[Part, ...], ...] = (
    (
        SPACES,
        _PID,
        "-",
        _TID,
        SPACES,
        _TAG,
        SPACES,
        Field("package"),
        SPACES,
        _LEVEL,
        "  ",
        _MESSAGE,
    ),
    (" ", _PID, "-", _TID, "/", Field("package"), " ", _LEVEL, "/", _WORDS, ": ", _MESSAGE),
)
_SAMPLES = (
    "11-22 20:15:05.123  1234  5678 I ActivityManager: Start proc 4321 for service",
    "11-22 20:15:05.123  1234  5678 W chatty  : caf\u00e9",
)


def _layout(time: str, form: tuple[Part, ...]) -> Layout:
    is_usual = form is _FORMS[0] and time == _TIMES[0]
    parts = (Field("time", "timestamp", time=time), *form)
    return Layout(parts, _SAMPLES if is_usual else (), "not_android")


FORMAT = Variants(
    (
        *(_layout(time, form) for time in _TIMES for form in _FORMS),
        *(_layout(_TIMES[1], form) for form in _STUDIO),
    )
)
