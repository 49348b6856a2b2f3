r"""Apache's `LogFormat` to a layout: `%h %l %u %t "%r" %>s %b`.

By the documentation of mod_log_config; inside of its fields `"`, `\` and control characters are
escaped. It may be as it stands in the configuration: `LogFormat "%h %l %u %t" timed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flows.parsing.fields import Escapes
from flows.parsing.layout import REQUEST, Field, Layout, bracketed
from flows.parsing.times import CLF
from flows.parsing.translate.parts import Part, layout_of, pieces
from native.lines import Meaning, Shape

_DIRECTIVE = re.compile(
    r"%U%q|%(?:!?\d{3}(?:,\d{3})*)?[<>]?(?:\{([^}]*)\})?[<>]?(\^t[io]|[A-Za-z%])|(%)"
)
_LOG_FORMAT = re.compile(r'\s*LogFormat\s+"((?:[^"\\]|\\.)*)"(?:\s+\S+)?\s*')
_FIELDS = {
    "h": Field("host", "client_ip"),
    "a": Field("client", "client_ip"),
    "l": Field("ident"),
    "u": Field("user", "customer_id", Shape.WORDS, empty=("-", '""')),
    "t": bracketed("time", CLF),
    "r": Field("request", REQUEST, Shape.WORDS),
    "m": Field("method", "method"),
    "U": Field("path", "request_path"),
    "H": Field("protocol"),
    "q": Field("query", shape=Shape.WORDS),
    "s": Field("status", "status_code"),
    "b": Field("bytes", "bytes_sent"),
    "B": Field("body", "bytes_sent"),
    "O": Field("sent", "bytes_sent"),
    "I": Field("received"),
    "S": Field("transferred"),
    "D": Field("microseconds", "duration", shift=6),
    "T": Field("seconds", "duration"),
    "v": Field("virtual_host", "host"),
    "V": Field("server_name", "host"),
    "p": Field("port"),
    "P": Field("process"),
    "A": Field("local_address"),
    "f": Field("file", shape=Shape.WORDS),
    "k": Field("keepalives"),
    "L": Field("log_id"),
    "R": Field("handler"),
    "X": Field("connection"),
}
_HEADERS = {"referer": "referer", "user-agent": "user_agent", "host": "host"}
_SHIFTS = {"": 0, "s": 0, "ms": 3, "us": 6}
_KINDS = {"i": "", "o": "sent_", "C": "cookie_", "e": "env_", "n": "note_"}


def translate(text: str) -> Layout:
    """The layout of a `LogFormat`. Raises `ValueError` for what it cannot mean, with the place."""
    whole = _LOG_FORMAT.fullmatch(text)
    format = (whole.group(1) if whole else text).replace('\\"', '"').replace("\\t", "\t")
    return layout_of(_parts(format), "not_log_format", Escapes.APACHE)


def _parts(text: str) -> Iterator[Part]:
    for place, piece in pieces(_DIRECTIVE, text):
        if isinstance(piece, str):
            yield place, piece
            continue
        argument, name, alone = piece.groups()
        if alone:
            raise ValueError(f"% at {place} is no directive")
        field = "%" if name == "%" else _field(argument, name or "U")  # a path and its query
        if field is None:
            raise ValueError(f"{piece.group()} at {place} cannot be read")
        is_bracketed = name == "t" and not argument
        for part in ("[", field, "]") if is_bracketed else (field,):
            yield place, part


def _field(argument: str | None, name: str) -> Field | None:
    """What a directive stands for; None: nobody knows, or it cannot be read."""
    if argument is None:
        return _FIELDS.get(name)
    if name in _KINDS:
        header = argument.lower()
        column = _HEADERS.get(header, "") if name == "i" else ""
        title = re.sub(r"[^a-z0-9_]", "_", header)
        return Field(_KINDS[name] + title, column, Shape.WORDS)
    if name == "T" and argument in _SHIFTS:
        return Field(f"duration_{argument}", "duration", shift=_SHIFTS[argument])
    if name in "ap":
        return Field(f"{_FIELDS[name].name}_{argument}", _FIELDS[name].column)
    if name == "t" and argument in ("sec", "msec", "usec"):
        return Field("time", "timestamp", time=Meaning.EPOCH)
    return None
