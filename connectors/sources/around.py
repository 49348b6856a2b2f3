"""Lines of a file beside one of them, as they stand there, stored or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from connectors.batch import Span
from connectors.encodings import Encoding
from connectors.sources.content import Content, open_content
from connectors.sources.evidence import Evidence, fits
from connectors.sources.names import of_record
from connectors.sources.tailed_file import TailedFile

REACH = 256 * 1024
"""Bytes before and after a place that are looked at."""

FileLine = tuple[int, str]
"""Where a line begins, and the beginning of its text; what is not of its encoding is replaced."""

_MOST_BEFORE = 64 * REACH
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
            unit = file.encoding.unit
            first = max(0, offset - REACH) // unit * unit
            data = content.read(offset + REACH - first, first)
            return [(at, text[:most]) for at, text in _lines(data, first, file.encoding)]
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


def lines_before(span: Span, place: int, encoding: Encoding) -> Iterator[FileLine]:
    """The whole lines of the file of a span before a place in it, the last one first.

    There are none, or no more, where its bytes are not proven to be those that were read, or are
    compressed, and beyond 16 MiB. It is looked for at the path by which it was known first.
    """
    try:
        with closing(open_content(of_record(span.stream.name))) as content:
            if content.is_compressed or not fits(content, Evidence.of(span.proof), span.end):
                return
            low = max(0, place - _MOST_BEFORE)
            while place > low:
                first = max(0, place - REACH) // encoding.unit * encoding.unit
                found = _lines(content.read(place - first, first), first, encoding)
                yield from reversed(found)
                if not found:  # a line of more than that
                    return
                place = found[0][0]
    except OSError:  # it is not there any more
        return


def _lines(data: bytes, first: int, encoding: Encoding) -> list[FileLine]:
    """The whole lines in the bytes of a file from `first` on, without empty ones."""
    found, begin = [], 0
    for end in map(int, encoding.ends(data)):
        line = data[begin:end]
        filler = encoding.filler(line)
        text = encoding.without_end(line[filler:]).decode(encoding.name, "replace")
        at = first + begin + filler
        if not at:
            text = text.removeprefix("\ufeff")  # a byte order mark
        if text and (begin or not first):  # of the first one the beginning may be missing
            found.append((at, text))
        begin = end
    return found
