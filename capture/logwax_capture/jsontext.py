"""JSON texts of whatever an application hands over.

What is written is JSON that every reader takes: `NaN` and infinities are texts, and what JSON has
no form for is the text that Python makes of it. Nothing here raises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]

__all__ = ["encode", "quoted", "whole"]

_DEEPEST = 50

quoted = encode_basestring
"""A text as JSON."""


def encode(value: object) -> str:
    """The value as JSON in one line. Half of a surrogate pair stays: see `whole`."""
    kind = type(value)
    if kind is str:
        return quoted(value)  # type: ignore[arg-type]
    if kind is int:
        try:
            return int.__repr__(value)
        except ValueError:  # more digits than Python likes to write
            return quoted(hex(value))  # type: ignore[arg-type]
    if kind is float:
        text = float.__repr__(value)
        return text if math.isfinite(value) else f'"{_NO_NUMBERS[text]}"'  # type: ignore[arg-type]
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value is None:
        return "null"
    try:
        return _dumps(value)
    except Exception:  # whatever an object of the application raises, it costs no line
        return _dumps(_plain(value, ()))


def whole(text: str) -> bytes:
    """The text as UTF-8, with U+FFFD where half of a surrogate pair stood."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


_NO_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _text(value: object) -> object:
    """What JSON has no form for."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.decode(errors="backslashreplace")
    if isinstance(value, (set, frozenset)):
        return list(value)
    return str(value)


_encoder = c_make_encoder(None, _text, quoted, None, ":", ",", False, False, False)


def _dumps(value: object) -> str:
    """As `JSONEncoder.encode`, which makes an encoder for each call, for half the price."""
    return "".join(_encoder(value, 0))


def _plain(value: object, within: tuple[int, ...]) -> object:
    """The same, made of nothing that an encoder stumbles over.

    `within`: the objects that it is in.
    """
    try:
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            return json.loads(encode(int(value)))
        if isinstance(value, float):
            return json.loads(encode(float(value)))
        if id(value) in within or len(within) == _DEEPEST:
            return "..."
        around = (*within, id(value))
        if isinstance(value, Mapping):
            return {_key(key): _plain(member, around) for key, member in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_plain(member, around) for member in value]
        return str(_text(value))
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(_text(key))
