"""Single fields that several formats share, read from their texts."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from flows.parsing.parser import MISFITS, Row

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


def dash_is_empty(text: str) -> str:
    """`-` stands for an absent value in access logs."""
    return "" if text == "-" else text


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


def put_numbers(row: Row, texts: dict[str, str]) -> dict[str, str]:
    """Put the texts of columns of numbers into a row; returns those that do not fit, by column.

    They belong into the row's attributes, and are noted as its misfits. No value is none.
    """
    misfits = {}
    for column, text in texts.items():
        value = None if text in NO_VALUE else _READ[column](text)
        if value is not None:
            row[column] = value
        elif text not in NO_VALUE:
            misfits[column] = text
    if misfits:
        row[MISFITS] = tuple(misfits)
    return misfits


def _status_code(text: str) -> int | None:
    """An HTTP status: three digits from 100 to 599 (RFC 9110, section 15)."""
    return int(text) if re.fullmatch("[1-5][0-9][0-9]", text) else None


def _seconds(text: str) -> float | None:
    """A finite number of 0 or more, or a duration of Go."""
    found = number(text)
    if found is None:
        return go_duration(text)
    return float(found) if 0 <= found < math.inf else None


def _count(text: str) -> int | None:
    """A whole number from 0 to 2^64-1."""
    return int(text) if _DIGITS.fullmatch(text) and int(text) <= MAX_UINT64 else None


_READ = {"status_code": _status_code, "duration": _seconds, "bytes_sent": _count}
