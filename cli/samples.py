"""A few lines of a file, to see what they are before anything is stored."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import pairwise

from connectors.batch import Span, Stream, Taken
from connectors.encodings import Encoding
from connectors.saying import shown
from connectors.sources.content import open_content
from connectors.sources.names import Names
from connectors.sources.samples import lines_of
from connectors.sources.sense import headers_in
from flows.parsing import AUTO
from flows.parsing.ranking import Choice, choose, known_headers
from flows.parsing.suggest import fitting, misfits
from settings import Settings

NEWEST = 100
"""Lines of a file that are looked at."""

LOOKED_AT = 20
"""Files that are looked at, at most."""

_REACH = 256 * 1024  # bytes in which they are looked for


def newest_files(patterns: Sequence[str]) -> list[str]:
    """The regular files that globs lead to, those first that were written last."""
    files = {}
    for path in Names(patterns).expand():
        with suppress(OSError):  # files may vanish
            found = os.stat(path)
            if stat.S_ISREG(found.st_mode):
                files[path] = found.st_mtime
    return sorted(files, key=lambda path: (-files[path], path))


def first_lines(path: str, encoding: Encoding, size: int) -> bytes:
    """The whole lines in the first `size` plain bytes of a file. Raises `OSError`."""
    with closing(open_content(path)) as content:
        data = content.read(size, 0)
    if len(data) == size:
        return data[: encoding.last_end(data)]
    return data if data.endswith(encoding.newline) or not data else data + encoding.newline


def newest_lines(path: str, encoding: Encoding) -> list[str]:
    """The newest 100 lines of a file that are not empty; of a compressed one the first.

    Those that name columns of theirs are in front of them.

    Raises `OSError`.
    """
    with closing(open_content(path)) as content:
        size = 0 if content.is_compressed else content.size() or 0
        start = max(0, size - _REACH) & ~1  # where a character of UTF-16 may begin
        data = content.read(size - start if size else _REACH, start)
        lines = lines_of(data, encoding)[1 if start else 0 :]  # without the one it begins in
        if content.is_compressed or (len(lines) <= NEWEST and not start):
            return lines[:NEWEST]
        headers = known_headers(content, size, encoding)
    return [*headers.values(), *lines[-NEWEST:]]


def settings_of(path: str, settings: Settings) -> Settings:
    """The settings as `logwax.toml` has them for a file."""
    rule = settings.rules.of(path)
    if not rule or settings.log_format != AUTO:
        return settings
    of_rule = {"log_format": rule.format, "log_timezone": rule.time_zone}
    return settings.model_copy(update={name: value for name, value in of_rule.items() if value})


def chosen(lines: list[str], settings: Settings) -> Choice | None:
    """The format that is found out for such lines; None: the settings name one."""
    return choose(lines, settings.log_timezone) if settings.log_format == AUTO else None


def batch_of(path: str, data: bytes, form: str, settings: Settings) -> Taken:
    """Lines with which a file begins, in this format, as the pipeline would take them."""
    from connectors.sources.records import Piece, taken  # they take their time
    from flows.steps import framing_of, header_of

    encoding, stream, pieces = Encoding(settings.log_encoding), Stream(0, os.path.abspath(path)), []
    framing, begins = framing_of(form, settings.log_multiline), header_of(form)
    headers = [] if begins is None else [*headers_in(data, begins, encoding)]
    for (start, header), (end, _) in pairwise([(0, begins or ""), *headers, (len(data), "")]):
        if start < end:
            span = Span(stream, start, end, 0, 0, format=form, header=header)
            pieces.append(Piece.of(span, data[start:end], encoding, framing))
    return taken(pieces, encoding, settings.log_max_line_bytes)


def how_they_fit(lines: list[str], settings: Settings) -> str:
    """How many of these lines fit their format, why the first one does not, and what would."""
    found = chosen(lines, settings)
    name = found.best.name if found else settings.log_format
    refused = misfits(lines, name, settings.log_timezone)
    good = len(lines) - len(refused)
    text = f"{good} of {len(lines)} lines fit {name}"
    if refused:
        text += f"; the first that does not: {shown(refused[0])}"
        text += better(lines, good, settings)
    return f"{text} (next: {found.next.taken} {found.next.name})" if found and found.next else text


def better(lines: list[str], good: int, settings: Settings) -> str:
    """The end of a sentence on the format that takes more of these lines than `good`, if any."""
    found = fitting(lines, settings.log_timezone) if lines else []
    if not found or found[0][1] * len(lines) <= good:
        return ""
    name, share = found[0]
    return f"; LOG_FORMAT={name} takes {round(share * len(lines))}"
