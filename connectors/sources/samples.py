"""A few lines of a file, from its beginning, its middle and its end, to see what they are."""

from __future__ import annotations

from itertools import pairwise

from connectors.encodings import Encoding
from connectors.sources.content import Content

_REACH = 48 * 1024  # bytes at each place
_EACH = 70  # lines at each place


def lines_of(data: bytes, encoding: Encoding) -> list[str]:
    """The whole lines of some bytes that are not empty, each without its end."""
    ends = [0, *encoding.ends(data).tolist()]
    raws = (encoding.without_end(data[start:end]) for start, end in pairwise(ends))
    texts = (raw.decode(encoding.name, "replace").removeprefix("\ufeff") for raw in raws)
    return [text for text in texts if text]


def sample(content: Content, start: int, size: int, encoding: Encoding) -> list[str]:
    """Up to 210 whole lines of the bytes from `start` to `size`; of a compressed file the first.

    Raises `OSError`.
    """
    found = []
    places = _places(start, size) if not content.is_compressed else [start]
    for at in places:
        data = content.read(min(_REACH, size - at), at)
        lines = lines_of(data, encoding)
        if at > start:
            lines = lines[1:]  # without the one it begins in
        if len(places) == 1 and len(lines) > 3 * _EACH:
            middle = len(lines) // 2
            lines = lines[:_EACH] + lines[middle : middle + _EACH] + lines[-_EACH:]
        elif len(places) > 1:
            lines = lines[:_EACH] if at < places[-1] else lines[-_EACH:]
        found += lines
    return found


def _places(start: int, size: int) -> list[int]:
    """Where to look, in order."""
    if size - start <= _REACH:
        return [start]
    last = size - _REACH
    middle = (start + last) // 2
    return [start, *(at & ~1 for at in (middle, last) if at > start)]
