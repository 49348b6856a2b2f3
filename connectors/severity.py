"""How severe a row is, on the scale of OpenTelemetry: by its level, or a request by its status.

https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber, and its appendix B
for java.util.logging; for npm's levels OpenTelemetry's transport for winston. What is missing there
is where its program has it: `success` of loguru is above `info` and below `warning`.
"""

from __future__ import annotations

LEVELS: dict[int, tuple[str, ...]] = {
    1: ("trace", "trce", "silly"),
    5: ("debug", "dbug", "config", "fine", "verbose", "http"),
    9: ("info", "notice", "success"),
    13: ("warn",),
    17: ("err", "eror", "severe", "fail"),
    21: ("fatal", "crit", "alert", "emerg", "panic", "dpanic"),
}
"""The number of a level, by how its word begins, in lower case: no word begins like another."""

STATUSES = {9: (1, 399), 13: (400, 499), 17: (500, 65_535)}
"""The number of a request without a level, by the first and the last of its statuses."""


def number_of(word: str) -> int:
    """The number of a word such as `warn`, or of a number. Raises `ValueError`."""
    if word.isascii() and word.isdecimal() and 1 <= int(word) <= 24:
        return int(word)
    for number, words in LEVELS.items():
        if word.lower().startswith(words):
            return number
    raise ValueError("must be trace, debug, info, warn, error, fatal or a number from 1 to 24")
