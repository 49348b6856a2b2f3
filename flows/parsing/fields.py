"""Single fields that several formats share, read from their texts."""

from __future__ import annotations

import json
import math
import re
import sys
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.parsing.parser import Row

MISFITS = "misfits"
"""The key by which a `Row` says in which columns a value of the line does not fit (a tuple)."""

MAX_UINT16 = 2**16 - 1
MAX_UINT64 = 2**64 - 1

NO_VALUE = ("", "-")
"""What stands in a line where there is no number to write."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DIGITS = re.compile(r"[0-9]{1,20}")
_UNITS = {
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "[u\u00b5\u03bc]s": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_DURATION = re.compile(
    "".join(rf"(?:([0-9]{{1,20}}(?:\.[0-9]{{1,20}})?){unit}(?![a-z]))?" for unit in _UNITS)
)


_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPED = dict(zip(b'"\\ntrbv', b'"\\\n\t\r\b\v', strict=True))

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""A value as it is stored."""


def _float(text: str) -> float | str:
    found = float(text)
    return found if math.isfinite(found) else text


LENIENT = json.JSONDecoder(parse_constant=str, parse_float=_float)
"""Has texts in the place of numbers that are none of JSON, or of 64 bits."""


class Escapes(Enum):
    r"""How a program writes what must not stand in a field as it is.

    `APACHE`: `\"`, `\\`, `\n` and `\xhh` (ap_escape_logitem of httpd; nginx: `\xHH`). `JSON`: RFC
    8259, section 7.
    """

    NONE = 0
    APACHE = 1
    JSON = 2


def unescape(text: str, escapes: Escapes) -> str:
    """Undo the escapes; bytes that are not UTF-8, and what means nothing, stay as they are."""
    if "\\" not in text or escapes is Escapes.NONE:
        return text
    if escapes is Escapes.JSON:
        try:
            meant = str(json.loads(f'"{text}"', strict=False))
            meant.encode()  # half of a surrogate pair is no text
        except ValueError:
            return text
        return meant

    def plain(found: re.Match[bytes]) -> bytes:
        escape = found.group(1)
        if len(escape) == 3:
            return bytes.fromhex(escape[1:].decode())
        return bytes([_ESCAPED[escape[0]]]) if escape[0] in _ESCAPED else found.group(0)

    return _ESCAPE.sub(plain, text.encode()).decode(errors="backslashreplace")


def number(text: str) -> int | float | None:
    """The number that a text is, or None."""
    if _DIGITS.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def go_duration(text: str) -> float | None:
    """The seconds of a duration as Go's time.Duration is written, such as `1m3.5s`, or None."""
    found = _DURATION.fullmatch(text)
    if not found or not text:
        return None
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    return float(sum(Fraction(part) * unit for part, unit in parts if part))


def seconds(value: float, shift: int) -> float | None:
    """A duration of which 10^shift are a second, the nearest to what is written; None: none."""
    fits = 0 <= value <= sys.float_info.max
    return float(Decimal(repr(value)).scaleb(-shift)) if fits else None


def put_numbers(row: Row, texts: dict[str, str], shift: int = 0) -> dict[str, str]:
    """Put the texts of columns of numbers into a row; returns those that do not fit, by column.

    They belong into the row's attributes, and are noted as its misfits. No value is none. Of
    durations, 10^shift of the unit are a second.
    """
    misfits = {}
    for column, text in texts.items():
        value = None if text in NO_VALUE else READ[column](text, shift)
        if value is not None:
            row[column] = value
        elif text not in NO_VALUE:
            misfits[column] = text
            row[MISFITS] = (*_misfits(row), column)
    return misfits


def _misfits(row: Row) -> tuple[str, ...]:
    found = row.get(MISFITS, ())
    assert isinstance(found, tuple)
    return found


def _status_code(text: str, shift: int) -> int | None:
    """An HTTP status: three digits from 100 to 599 (RFC 9110, section 15)."""
    return int(text) if re.fullmatch("[1-5][0-9][0-9]", text) else None


def _duration(text: str, shift: int) -> float | None:
    """A finite number of 0 or more, or a duration of Go, which names its units itself."""
    found = number(text)
    return go_duration(text) if found is None else seconds(found, shift)


def _count(text: str, shift: int) -> int | None:
    """A whole number from 0 to 2^64-1."""
    return int(text) if _DIGITS.fullmatch(text) and int(text) <= MAX_UINT64 else None


READ = {"status_code": _status_code, "duration": _duration, "bytes_sent": _count}
"""How a text becomes a value of a column of numbers, None if it does not fit."""

LETTERS = {
    **{"V": "verbose", "D": "debug", "I": "info", "W": "warning"},
    **{"E": "error", "F": "fatal", "C": "critical", "N": "notice", "T": "trace"},
}
"""Severities of which programs write the first letter -> their names."""
