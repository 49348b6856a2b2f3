"""Enricher `patterns`: the message less what varies, to group messages by.

A pattern is a pure function of the first 1,000 characters of its message: no batch, order, worker
or restart changes it. First every word with a digit becomes `<*>`. Few texts are left then, and
each of them goes through the masks once. The masks know nothing of one program: they take what
varies in the messages of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import polars as pl

import native
from connectors.batch import ENRICHED
from connectors.status import Status
from flows.enrichment import Enrich
from flows.enrichment.known import LONGEST, Known
from native.text import mask_numbers
from settings import Settings

_PART = "[A-Za-z0-9_$@#/*+~-]"
_NUMBERED = rf"(?:{_PART}\.?)*[0-9](?:[.:]{{0,2}}{_PART})*"
"""A word that has a digit, less the name and the colon before a number: `numbers.c` does it."""

_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_VARYING = "|".join(
    (
        # URL, e-mail, name with dots, host
        r"(?-u:\b)[A-Za-z][A-Za-z0-9+.-]*://[^\s,;()\[\]{}\"']+",
        r"[A-Za-z0-9_.+-]+@[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+",
        r"(?-u:\b)[A-Za-z_$][A-Za-z0-9_$-]*(?:\.[A-Za-z0-9_$-]+){2,}(?:/[A-Za-z0-9_.$-]+)?",
        r"(?-u:\b)[A-Za-z][A-Za-z0-9_-]*\.(?:com|org|net|edu|gov|io|local)(?-u:\b)",
        # hexadecimal digits of which none, or the last only, are decimal ones
        r"(?:(?-u:\b)[0-9a-fA-F]{2}:)+<\*>|::(?:[0-9a-fA-F]{1,4}:)*<\*>"
        r"|(?-u:\b)[a-fA-F]{8,}(?-u:\b)",
        # the words of a date
        rf"(?-u:\b)(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?:<\*>|{_MONTH}(?-u:\b)(?: +<\*>)?)",
        rf"(?-u:\b){_MONTH}[a-z]* +<\*>",
    )
)
_MASKS = (
    # a text in quotes that is a value
    (r"""([=:] ?)(?:"[^"]*"|'[^']*')""", "${1}<*>"),
    # which exception it was
    (r"(?:[A-Za-z_][A-Za-z0-9_$]*\.){2,}([A-Z][A-Za-z0-9_]*(?:Exception|Error))", "<*>.$1"),
    (_VARYING, "<*>"),
    # a path, perhaps with its query
    (
        r"(^|[ =:(\[\"'{,])(?:\.{0,2}|~|[A-Za-z]:|<\*>)[/\\][^\s,;()\[\]{}\"':=?]+"
        r"(?:\?[^\s,;()\[\]{}\"']*)?",
        "${1}<*>",
    ),
    # a unit; that a number is less; a zone
    (
        r"<?<\*> (?:[KMGT]i?B|B|bytes|[mun]?s|secs?|seconds|min|minutes|[A-Z]{2,4}T|UTC)(?-u:\b)",
        "<*>",
    ),
    (r"(=| = )[^\s,;()\[\]{}\"<>&|]+(?:\{[^{}]*\})?", "${1}<*>"),
    (r"(?-u:\b)([Uu]ser) +(?:[^\s,;:()<>]+|<\*>)", "${1} <*>"),
    (r" \(\)", " (<*>)"),
    # several in a row are one
    (r"<\*>(?:(?:[ ,|:;/-]|<\*>)*<\*>)+", "<*>"),
)
"""What is replaced, one after another, in texts without numbers; patterns of Rust's regex."""


def make(settings: Settings, status: Status) -> Enrich:
    """The enricher, made of `message`."""
    known = Known(_patterns, ENRICHED["patterns"])

    def enrich(rows: pl.DataFrame) -> pl.DataFrame:
        if "message" not in rows.columns:
            return rows
        messages = rows["message"]
        longest = messages.str.len_bytes().max()
        if not longest:
            return rows
        if longest > LONGEST:  # type: ignore[operator]
            messages = messages.str.head(LONGEST)
        return known.add(rows, without_numbers(messages))

    return enrich


def pattern_id(pattern: str) -> str:
    """What a pattern is found by: 16 hexadecimal digits, for ever the same; of none, nothing."""
    return blake2b(pattern.encode(), digest_size=8).hexdigest() if pattern else ""


def without_numbers(messages: pl.Series) -> pl.Series:
    """The messages with `<*>` for every word that has a digit."""
    if native.library:
        return mask_numbers(messages)
    return messages.str.replace_all(_NUMBERED, "<*>")


def _patterns(texts: Sequence[str]) -> pl.DataFrame:
    masked = pl.col("pattern")
    for varying, kept in _MASKS:
        masked = masked.str.replace_all(varying, kept)
    patterns = pl.DataFrame({"pattern": texts}).select(masked.str.strip_chars()).to_series()
    ids = [pattern_id(pattern) for pattern in patterns.to_list()]
    return pl.DataFrame([patterns, pl.Series("pattern_id", ids)])
