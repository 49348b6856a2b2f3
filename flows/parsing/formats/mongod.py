"""Format `mongod`: the log of MongoDB before 4.4, which writes JSON since.

`time severity component [context] message`, by MongoDB's manual 4.2, "Log Messages"; 2.6 wrote no
severity and no component, 2.4 a time without a year.
"""

from __future__ import annotations

from flows.parsing.dialects import MONGODB
from flows.parsing.layout import SPACES, Field, Layout, Part, Variants
from native.lines import Meaning, Shape

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


def _layout(time: Meaning | str, middle: tuple[Part, ...], *samples: str) -> Layout:
    return Layout((Field("time", "timestamp", time=time), *middle, *_END), samples, "not_mongod")


FORMAT = Variants(
    (
        _layout(
            Meaning.ISO,
            _SEVERITY,
            "2026-11-22T20:15:05.123+0000 I NETWORK  [listener] waiting for connections",
        ),
        _layout(Meaning.ISO, (" ",), "2026-11-22T20:15:05.123+0000 [conn1] caf\u00e9"),
        _layout("%a %b %e %H:%M:%S", (" ",), "Sun Nov 22 20:15:05.123 [conn1] end connection"),
    )
)
