"""Lines that are parsed outside of the tail, by the same steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from connectors.batch import Parsed, Span, Stream, Taken
from connectors.encodings import Encoding
from flows.enrichment.enricher import enricher
from flows.parsing.parser import parser
from settings import Settings

Piece = tuple[int, str, int, bytes]
"""File id, path, offset, and bytes that end with a line end."""


def parse_step(settings: Settings) -> Callable[[Taken], Parsed]:
    """The parse step of these settings."""
    return parser(
        settings.log_format,
        settings.log_timezone,
        settings.log_encoding,
        settings.log_max_line_bytes,
        settings.log_duration_unit,
    )


def parse_and_enrich(settings: Settings) -> Callable[[Taken], Parsed]:
    """The parse and the enrich step of these settings, in one."""
    parse, enrich = parse_step(settings), enricher()
    return lambda batch: enrich(parse(batch))


def batch_of(pieces: Iterable[Piece], encoding: Encoding) -> Taken:
    """A batch of lines that need not follow one another."""
    spans, texts = [], []
    for file_id, path, offset, text in pieces:
        lines = encoding.count(text)
        spans.append(Span(Stream(file_id, path), offset, offset + len(text), 0, lines))
        texts.append(text)
    return Taken(tuple(spans), b"".join(texts))
