r"""The format of Python's `logging` to a layout: `%(asctime)s %(levelname)-8s %(message)s`.

By the documentation of `logging`, "LogRecord attributes" and "Formatter Objects"; also in its style
`{`, in which this project describes formats, too, and loguru its own: `{time} [{level}] {message}`.
A time is ISO 8601, as `Formatter.formatTime` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flows.parsing.fields import Escapes
from flows.parsing.layout import Field, Layout
from flows.parsing.times import ISO_8601
from flows.parsing.translate.parts import Part, layout_of, padded, pieces
from native.lines import Meaning, Shape

_PERCENT = re.compile(r"%\((?P<name>\w+)\)(?P<width>[-#0 +]*\d*)(?:\.\d+)?[a-z]|%%|(?P<alone>%)")
_BRACES = re.compile(
    r"\{(?P<name>\w+)(?:![rsa])?(?::(?P<width>[^{}]*))?\}|\{\{|\}\}|(?P<alone>[{}])"
)
_TIME = Field("time", "timestamp", time=ISO_8601)
_MESSAGE = Field("message", "message", Shape.WORDS, empty=())
_FIELDS = {
    "asctime": _TIME,
    "time": _TIME,
    "created": Field("time", "timestamp", time=Meaning.EPOCH),
    "levelname": Field("level", "level"),
    "level": Field("level", "level"),
    "message": _MESSAGE,
    "msg": _MESSAGE,
    "name": Field("logger"),
    "logger": Field("logger"),
    "module": Field("module"),
    "process": Field("pid"),
    "lineno": Field("line", shape=Shape.DIGITS),
    "funcName": Field("function"),
    "filename": Field("file"),
    "pathname": Field("path", shape=Shape.WORDS),
    "processName": Field("process", shape=Shape.WORDS),
    "threadName": Field("thread", shape=Shape.WORDS),
    "thread": Field("thread_id"),
    "taskName": Field("task", shape=Shape.WORDS),
    "levelno": Field("level_number"),
}


def translate(text: str) -> Layout:
    """The layout of a format. Raises `ValueError` for what it cannot mean, with the place."""
    return layout_of(_parts(text), "not_log_format", Escapes.NONE)


def _parts(text: str) -> Iterator[Part]:
    for place, piece in pieces(_PERCENT if "%(" in text else _BRACES, text):
        if isinstance(piece, str):
            yield place, piece
        elif piece["alone"]:
            raise ValueError(f"{piece.group()} at {place} is no field")
        elif name := piece["name"]:
            field = _FIELDS.get(name, Field(name, shape=Shape.WORDS))
            is_wide = re.search("[1-9]", piece["width"] or "") and field.column != "timestamp"
            yield from padded(place, field) if is_wide else [(place, field)]
        else:
            yield place, piece.group()[0]
