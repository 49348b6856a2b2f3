"""Format `zap`: `time level logger caller message {context}`, separated by tabs.

What go.uber.org/zap writes for a console (zapcore, `NewConsoleEncoder`), and so etcd and many
controllers of Kubernetes. Loggers without a name are not there, nor a caller if none is asked for.
The context is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.errors import MalformedLine
from flows.parsing.layout import Field, Layout, Maybe, Part, Variants
from native.lines import Meaning, Shape

_LOGGER: tuple[Part, ...] = (Field("logger"), "\t")
_CALLER: tuple[Part, ...] = (Field("file"), ":", Field("line", shape=Shape.DIGITS), "\t")
_WHERE: tuple[tuple[tuple[Part, ...], str], ...] = (
    ((*_LOGGER, *_CALLER), 'error\thttp\tserver/http.go:117\tfailed\t{"error": "timeout"}'),
    (_CALLER, "INFO\tserver/http.go:1\tcaf\u00e9"),
    (_LOGGER, "INFO\tsetup\tstarting manager"),
    ((), "INFO\tstarting manager"),
)


def _check(texts: Mapping[str, str]) -> None:
    """Refuse what takes a message for a logger, and the context for the message."""
    if texts["message"].startswith("{"):
        raise MalformedLine("not_zap", "the message is missing")


def _layout(time: Meaning, where: tuple[Part, ...], sample: str) -> Layout:
    parts = (
        *(Field("time", "timestamp", time=time), "\t", Field("level", "level"), "\t", *where),
        Field("message", "message", Shape.WORDS, empty=(), odd="{"),
        Maybe("\t", Field("context", shape=Shape.WORDS)),
    )
    return Layout(parts, (sample,), "not_zap", _check)


FORMAT = Variants(
    tuple(
        _layout(time, where, f"{moment}\t{sample}")
        for time, moment in (
            (Meaning.ISO, "2026-11-22T20:15:05.123Z"),
            (Meaning.EPOCH, "1.7953785051234567e+09"),
        )
        for where, sample in _WHERE
    )
)
