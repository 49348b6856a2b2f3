r"""Format `elasticsearch`: the log of Elasticsearch and OpenSearch in its text form.

`[time][level][logger] [node] message`, by their `log4j2.properties`:
`[%d{ISO8601}][%-5p][%-25c{1.}] [%node_name]%marker %m%n`. The padding is no part of a field.
Traces follow on lines of their own: `LOG_MULTILINE=^\[`.
"""

from __future__ import annotations

from flows.parsing.layout import SPACES, Field, Layout, Maybe, Part, Variants
from native.lines import Meaning, Shape


def _layout(*padding: tuple[Part, ...], samples: tuple[str, ...] = ()) -> Layout:
    # fmt: off
    parts: tuple[Part | Maybe, ...] = (
        "[", Field("time", "timestamp", Shape.WORDS, Meaning.ISO), "][", Field("level", "level"),
        *padding[0], "][", Field("logger"), *padding[1], "]", Maybe(" [", Field("node"), "]"), " ",
        Field("message", "message", Shape.WORDS, empty=()),
    )
    # fmt: on
    return Layout(parts, samples, "not_elasticsearch")


_USUAL = (
    "[2026-11-22T20:15:05,123][INFO ][o.e.n.Node               ] [es-1] started",
    "[2026-11-22T20:15:05,123][WARN ][o.e.n.Node               ] [es-1] caf\u00e9 [x]",
)
FORMAT = Variants(
    (
        _layout((SPACES,), (SPACES,), samples=_USUAL),
        _layout((SPACES,), ()),
        _layout((), (SPACES,)),
        _layout((), ()),
    )
)
