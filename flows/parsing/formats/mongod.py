"""Format `mongod`: the log of MongoDB before 4.4, which writes JSON since.

`time severity component [context] message`, by MongoDB's manual 4.2, "Log Messages"; 2.6 wrote no
severity and no component, 2.4 a time without a year. 2.6 wrote no time with a `Z`, as others do
whose lines look much like it.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.errors import MalformedLine
from flows.parsing.dialects import MONGODB
from flows.parsing.layout import SPACES, Field, Layout, Part, Variants
from native.lines import Shape

_ISO = "%Y-%m-%dT%H:%M:%S%z"

_END: tuple[Part, ...] = (
    "[",
    Field("context", shape=Shape.WORDS),
    "] ",
    Field("message", "message", Shape.WORDS, empty=()),
)
_SEVERITY: tuple[Part, ...] = (
    " ",
    Field("level", "level", words=MONGODB),
    SPACES,
    Field("component"),
    SPACES,
)


def _check(texts: Mapping[str, str]) -> None:
    if texts["time"].endswith("Z") and "level" not in texts:
        raise MalformedLine("not_mongod", "the time ends with Z, and no severity is behind it")


def _layout(time: str, middle: tuple[Part, ...], *samples: str) -> Layout:
    moment = Field("time", "timestamp", time=time, odd="Z")
    return Layout((moment, *middle, *_END), samples, "not_mongod", _check)


FORMAT = Variants(
    (
        _layout(
            _ISO,
            _SEVERITY,
            "2026-11-22T20:15:05.123+0000 I NETWORK  [listener] waiting for connections",
        ),
        _layout(_ISO, (" ",), "2026-11-22T20:15:05.123+0000 [conn1] caf\u00e9"),
        _layout("%a %b %e %H:%M:%S", (" ",), "Sun Nov 22 20:15:05.123 [conn1] end connection"),
    )
)
