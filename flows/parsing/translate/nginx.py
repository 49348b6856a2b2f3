r"""nginx's `log_format` to a layout: `$remote_addr [$time_local] "$request" $status`.

By ngx_http_log_module and the variables of ngx_http_core_module and ngx_http_upstream_module. With
`escape=default` nginx writes `"`, `\`, and what is no printable ASCII, as `\xHH`. It may be as
it stands in nginx.conf: `log_format timed '$remote_addr [$time_local] ' '"$request" $status';`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flows.parsing.fields import Escapes
from flows.parsing.layout import REQUEST, Field, Layout, bracketed
from flows.parsing.times import CLF
from flows.parsing.translate.parts import Part, layout_of, pieces
from native.lines import Meaning, Shape

_QUOTED = r"\s*(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_DIRECTIVE = re.compile(rf"\s*log_format\s+\S+(?:\s+escape=(\w+))?((?:{_QUOTED})+)\s*;?\s*")
_VARIABLE = re.compile(r"\$(?:\{([a-z0-9_]+)\}|([a-z0-9_]+))|(\$)", re.IGNORECASE)
_COLUMNS = {
    "remote_addr": "client_ip",
    "remote_user": "customer_id",
    "request": REQUEST,
    "request_method": "method",
    "request_uri": "request_path",
    "uri": "request_path",
    "status": "status_code",
    "body_bytes_sent": "bytes_sent",
    "bytes_sent": "bytes_sent",
    "request_time": "duration",
    "http_referer": "referer",
    "http_user_agent": "user_agent",
    "host": "host",
    "server_name": "host",
    "http_host": "host",
}
_ESCAPES = {"default": Escapes.APACHE, "json": Escapes.JSON, "none": Escapes.NONE}
_TIMES = {"time_iso8601": Meaning.ISO, "msec": Meaning.EPOCH}
# What may have spaces where no quotes are around it.
_SEVERAL = re.compile("remote_user|request|upstream_.*|http_.*|sent_http_.*|cookie_.*|arg_.*|args")


def translate(text: str) -> Layout:
    """The layout of a `log_format`. Raises `ValueError` for what it cannot mean, with the place."""
    escape, format = _taken_apart(text)
    return layout_of(_parts(format), "not_log_format", _ESCAPES[escape])


def _taken_apart(text: str) -> tuple[str, str]:
    """How a `log_format` escapes, and its strings in one; other text is taken as these."""
    directive = _DIRECTIVE.fullmatch(text)
    if not directive:
        return "default", text
    strings = [each.strip()[1:-1] for each in re.findall(_QUOTED, directive.group(2))]
    format = re.sub(r"\\(['\"\\])", r"\1", "".join(strings))
    escape = directive.group(1) or "default"
    if escape == "json" and format.lstrip().startswith("{"):
        raise ValueError("its lines are JSON: LOG_FORMAT=json")
    if escape not in _ESCAPES:
        raise ValueError(f"escape={escape} is none of {', '.join(_ESCAPES)}")
    return escape, format


def _parts(text: str) -> Iterator[Part]:
    for place, piece in pieces(_VARIABLE, text):
        if isinstance(piece, str):
            yield place, piece
        elif piece.group(3):
            raise ValueError(f"$ at {place} is no variable")
        else:
            yield place, _field((piece.group(1) or piece.group(2)).lower())


def _field(name: str) -> Field:
    if name == "time_local":
        return bracketed(name, CLF)
    if name in _TIMES:
        return Field(name, "timestamp", time=_TIMES[name])
    shape = Shape.WORDS if _SEVERAL.fullmatch(name) else Shape.WORD
    return Field(name, _COLUMNS.get(name, ""), shape)
