"""What a store answers of its dead letters: how many there are, of which reasons, and some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SAMPLE_BYTES = 4096
"""The bytes of a dead letter that a sample has, at most."""

VARIES = (
    (r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", "'…'"),
    (r"\[[^\]]*\]", "[…]"),
    (r"[0-9]+(?:[.,:/-][0-9]+)*", "N"),
)
"""What varies in a detail, and what stands for it: regular expressions, one after another."""

PATTERN_CHARACTERS = 200
"""The characters of a detail that tell reasons apart."""


@dataclass(frozen=True)
class Letter:
    """A dead letter: its place, the beginning of its bytes, its time in microseconds since 1970."""

    source: str
    offset: int
    raw: bytes
    time: int


@dataclass(frozen=True)
class Reason:
    """Dead letters of one reason: how many, the times of the first and the last, and some."""

    reason: str
    count: int
    first: int
    last: int
    samples: Sequence[Letter]


class Letters(Protocol):
    """The dead letters of a store, by their times: from `start` to before `end`, in microseconds.

    The time is that at which it was stored, as a line that fits no format has none; InfluxDB has
    that of the row before it. Every method raises `StoreError`.
    """

    async def count(self, start: int, end: int) -> int:
        """How many there are."""

    async def reasons(self, start: int, end: int, most: int) -> Sequence[Reason]:
        """The `most` most frequent reasons: of each the oldest letter, the newest, one between."""


def pattern_of(detail: str) -> str:
    """A detail without what varies in it."""
    detail = detail[:PATTERN_CHARACTERS]
    for varying, stands_for in VARIES:
        detail = re.sub(varying, stands_for, detail)
    return detail


def said(reason: str, pattern: str) -> str:
    """The word for a reason, and what is the same in all details, if anything is."""
    return f"{reason}: {pattern}" if pattern else reason


def some(oldest: Letter, newest: Letter, others: Sequence[Letter]) -> Sequence[Letter]:
    """The oldest, one of the others, and the newest: each once."""
    between = [letter for letter in others if letter not in (oldest, newest)]
    return list(dict.fromkeys((oldest, *between[:1], newest)))
