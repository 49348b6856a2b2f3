"""Single fields that several formats share; each raises `MalformedLine` for what it cannot take."""

from __future__ import annotations

import math

from connectors.errors import MalformedLine

MAX_UINT64 = 2**64 - 1


def dash_is_empty(text: str) -> str:
    """`-` stands for an absent value in access logs."""
    return "" if text == "-" else text


def status_code(text: str) -> int:
    """An HTTP status: three digits from 100 to 599 (RFC 9110, section 15)."""
    if not (text.isascii() and text.isdigit() and len(text) == 3 and "1" <= text[0] <= "5"):
        raise MalformedLine("bad_status", f"{text[:64]!r} is not a status from 100 to 599")
    return int(text)


def decimal(name: str, text: str) -> float:
    """A finite number of 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0 or "_" in text:
        raise MalformedLine(f"bad_{name}", f"{text[:64]!r} is not a number of 0 or more")
    return number


def count(name: str, text: str) -> int:
    """A whole number from 0 to 2^64-1; `-` is 0."""
    if text == "-":
        return 0
    if not (text.isascii() and text.isdigit()) or int(text[:21]) > MAX_UINT64:
        raise MalformedLine(f"bad_{name}", f"{text[:64]!r} is not a whole number of 0 or more")
    return int(text)
