"""Lines of a file beside one of them, as they stand there, stored or not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from connectors.encodings import Encoding
from connectors.sources.content import Content, open_content
from connectors.sources.evidence import fits
from connectors.sources.tailed_file import TailedFile

REACH = 256 * 1024
"""Bytes before and after a place that are looked at."""

FileLine = tuple[int, str]
"""Where a line begins, and the beginning of its text; what is not of its encoding is replaced."""

_TRIES = 3  # while a worker moves on in the file


def lines_around(file: TailedFile, offset: int, most: int) -> Sequence[FileLine] | None:
    """The whole lines within `REACH`, in order, without empty ones; `most` characters of each.

    None: the bytes at this place are not proven to be those that were read, or not worth reading
    again, as in a compressed file. May be called while others read on in the file.
    """
    try:
        with closing(open_content(file.path)) as content:
            if content.is_compressed or not _is_it(file, content, offset):
                return None
            return _lines(content, file.encoding, offset, most)
    except OSError:  # it is not there any more
        return None


def _is_it(file: TailedFile, content: Content, offset: int) -> bool:
    """Whether this is what has been read of the file, the byte at `offset` included."""
    for _ in range(_TRIES):
        evidence, position = file.evidence, file.position  # they may not belong to one another
        if not (evidence and evidence.head_length and offset < position):
            return False
        if content.key == file.key and fits(content, evidence, position):
            return True
    return False


def _lines(content: Content, encoding: Encoding, offset: int, most: int) -> Sequence[FileLine]:
    first = max(0, offset - REACH) // encoding.unit * encoding.unit
    data = content.read(offset + REACH - first, first)
    found, begin = [], 0
    for end in map(int, encoding.ends(data)):
        line = data[begin:end]
        filler = encoding.filler(line)
        text = encoding.without_end(line[filler:]).decode(encoding.name, "replace")
        at = first + begin + filler
        if not at:
            text = text.removeprefix("\ufeff")  # a byte order mark
        if text and (begin or not first):  # of the first one the beginning may be missing
            found.append((at, text[:most]))
        begin = end
    return found
