"""What goes on behind the text of a field, as attributes.

`PAIRS`, as structlog and tracing write them: a logger in brackets, and `key=value`. `VALUES`, as
Monolog writes them: up to two values of JSON, the context and the extra; empty ones are left out.
`OTHERS`: behind the first of several texts with commas between; all of them are the attribute.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from itertools import islice

from flows.parsing.fields import LENIENT, encode
from native.lines import Rest

_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^\[\]]*\]|\{[^{}]*\}|[^\s'"]*)(?= |\Z)"""
_PAIR = re.compile(rf" +([A-Za-z_][\w.-]*)=({_VALUE})", re.ASCII)
_WITH_PAIRS = re.compile(
    rf"(.*?)(?: +\[([\w.:$-]+)\])?((?: +[A-Za-z_][\w.-]*={_VALUE})*) *", re.DOTALL | re.ASCII
)
_OPENING = re.compile(r" (?=[{\[])")
_MOST_TRIED = 32

_NAMES = {Rest.NONE: (), Rest.PAIRS: ("logger",), Rest.VALUES: ("context", "extra")}


def names_of(rest: Rest, name: str) -> tuple[str, ...]:
    """The names that attributes may have of a field of this name, beside those of pairs."""
    return (name,) if rest is Rest.OTHERS else _NAMES[rest]


def apart(text: str, rest: Rest, name: str) -> tuple[str, Mapping[str, object]]:
    """A text of the field of this name without what goes on behind it, and that by its names."""
    if rest is Rest.PAIRS:
        return _pairs(text)
    if rest is Rest.OTHERS and "," in text:
        return text.partition(",")[0], {name: text}
    return _values(text) if rest is Rest.VALUES else (text, {})


def _pairs(text: str) -> tuple[str, Mapping[str, object]]:
    found = _WITH_PAIRS.fullmatch(text)
    assert found  # for it may be all text
    text, logger, pairs = found.groups()
    named = {"logger": logger} if logger else {}
    return text, named | {key: _plain(value) for key, value in _PAIR.findall(pairs)}


def _plain(value: str) -> str:
    """A value without its quotes."""
    if not value.startswith(("'", '"')):
        return value
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


def _values(text: str) -> tuple[str, Mapping[str, object]]:
    text = text.rstrip(" ")
    names = _NAMES[Rest.VALUES]
    for place in islice(_OPENING.finditer(text), _MOST_TRIED):
        at = place.start()
        values: list[object] = []
        while text.startswith((" {", " ["), at) and len(values) < len(names):
            try:
                value, end = LENIENT.raw_decode(text, at + 1)
                encode(value).encode()  # half of a surrogate pair is no text
            except (ValueError, RecursionError):
                break
            values.append(value)
            at = end
        if at == len(text):
            behind = zip(names, values, strict=False)
            return text[: place.start()], {name: value for name, value in behind if value}
    return text, {}
