"""Single fields that several formats share; each raises `MalformedLine` for what it cannot take."""

from __future__ import annotations

import math
import re

from connectors.errors import MalformedLine

MAX_UINT16 = 2**16 - 1
MAX_UINT64 = 2**64 - 1

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DIGITS = re.compile(r"[0-9]{1,20}")


def dash_is_empty(text: str) -> str:
    """`-` stands for an absent value in access logs."""
    return "" if text == "-" else text


def number(text: str) -> int | float | None:
    """The number that a text is, or None."""
    if _DIGITS.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def status_code(text: str) -> int:
    """An HTTP status: three digits from 100 to 599 (RFC 9110, section 15)."""
    if not (_DIGITS.fullmatch(text) and len(text) == 3 and "1" <= text[0] <= "5"):
        raise MalformedLine("bad_status_code", f"{text[:64]!r} is not a status from 100 to 599")
    return int(text)


def decimal(name: str, text: str) -> float:
    """A finite number of 0 or more."""
    found = number(text)
    if found is None or not 0 <= found < math.inf:
        raise MalformedLine(f"bad_{name}", f"{text[:64]!r} is not a number of 0 or more")
    return float(found)


def count(name: str, text: str) -> int:
    """A whole number from 0 to 2^64-1; `-` is 0."""
    if text == "-":
        return 0
    if not _DIGITS.fullmatch(text) or int(text) > MAX_UINT64:
        raise MalformedLine(f"bad_{name}", f"{text[:64]!r} is not a whole number up to 2^64-1")
    return int(text)
