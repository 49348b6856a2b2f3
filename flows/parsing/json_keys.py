r"""Which lines of JSON Polars has read whole.

It drops keys that are not in its schema without a word, so the keys in the bytes are counted
against the values read. A key is a quote and then a colon. Their number can only come out too high:
a nested, unknown or repeated key, a `\":` within a text. A line in which it agrees has nothing but
what was read, and its keys that another quote follows are its texts: Polars makes a text of
anything where its schema wants one.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.parsing.lines import Flags, Lines, Numbers

_QUOTE, _COLON, _SPACE = b'": '
_CHUNK = 1 << 18
_MOST_SPACES = 2

_Bytes = npt.NDArray[np.uint8]


def accounted(lines: Lines, frame: pl.DataFrame, known: Container[str]) -> Flags:
    """Where a line has nothing that is not in its row of the frame, nor has it of another type.

    The frame has no key with a colon in it. Keys that are `known` may be null.
    """
    text = np.frombuffer(lines.text, np.uint8)
    names = frame.columns
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    if _totals(text) == (_values(frame, names).sum(), _values(frame, texts).sum(), 0):
        sure = np.ones(len(lines), np.bool_)  # which is usual, and far quicker than line by line
    else:
        keys, text_keys = _keys(text)
        unread = _per_line(keys, lines) - _values(frame, names)
        some = np.flatnonzero(unread)
        unread[some] -= _nulls(lines.series[some], frame[some], known)
        sure = (unread == 0) & (_per_line(text_keys, lines) == _values(frame, texts))
    if b"\\" in lines.text:
        # Polars reads half of a surrogate pair as NUL.
        sure &= ~lines.series.str.contains(r"\\u[dD][89a-fA-F]").to_numpy()
    return sure


def _totals(text: _Bytes) -> tuple[int, int, int]:
    """How many keys, keys of texts, and colons after white space all lines have together."""
    keys = texts = spaced = 0
    for start in range(0, len(text), _CHUNK):  # as much as a processor's cache holds
        part = text[start : start + _CHUNK + 2]
        quote, colon = part == _QUOTE, part[1:-1] == _COLON
        key = quote[:-2] & colon
        keys += int(np.count_nonzero(key))
        texts += int(np.count_nonzero(key & quote[2:]))
        spaced += int(np.count_nonzero(colon & (part[:-2] <= _SPACE)))
    return keys, texts, spaced


def _keys(text: _Bytes) -> tuple[Numbers, Numbers]:
    """Where the colons of keys are, and those of them that a text follows, past white space."""
    colons = np.flatnonzero(text == _COLON)
    before = _beside(text, colons, -1)
    found = text.take(before, mode="clip")
    is_key = (found == _QUOTE) | (found <= _SPACE)
    colons, before = colons[is_key], before[is_key]
    after = _beside(text, colons, 1)
    is_text = text.take(after, mode="clip") == _QUOTE
    # Of two colons with but a quote between them, as in "ip":"::1", one is within a text.
    within = np.flatnonzero(after[:-1] == before[1:]) + 1
    keys, is_text = np.delete(colons, within), np.delete(is_text, within)
    return keys, keys[is_text]


def _beside(text: _Bytes, places: Numbers, step: int) -> Numbers:
    """Where the next byte in a direction is, past white space, unless that is a long run."""
    beside = places + step
    for _ in range(_MOST_SPACES):
        space = text.take(beside, mode="clip") <= _SPACE
        if not space.any():
            break
        beside += step * space
    return beside


def _per_line(places: Numbers, lines: Lines) -> Numbers:
    """How many of these places in the text each line has."""
    return np.diff(np.searchsorted(places, lines.starts))


def _values(frame: pl.DataFrame, names: list[str]) -> Numbers:
    """How many values each line has under these keys."""
    sparse = [name for name in names if frame[name].null_count()]
    counts = np.full(len(frame), len(names) - len(sparse), np.int64)
    for name in sparse:
        counts += frame[name].is_not_null().to_numpy()
    return counts


def _nulls(lines: pl.Series, frame: pl.DataFrame, known: Container[str]) -> Numbers:
    """How many known keys are null in each line; a line with another one that is null stays odd."""
    nulls = np.zeros(len(lines), np.int64)
    for name in frame.columns:
        if name in known and frame[name].null_count():
            named = lines.str.contains(rf'[^\\]"{name}"\s*:\s*null')
            nulls += (frame[name].is_null() & named).to_numpy()
    return nulls
