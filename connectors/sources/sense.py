"""How the lines of a file are meant: their format, which are one record, what names their columns.

What was found out about a file is no setting: it travels with its spans, and the ledger keeps it
in their proof. So a block in doubt, and whatever is looked at again later, is meant as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from connectors.batch import Parsed, Taken
from connectors.encodings import Encoding
from connectors.sources.content import Content
from connectors.sources.evidence import Evidence
from connectors.sources.framing import Framing

HEADER_BYTES = 8 * 1024
"""What is kept of a line that names columns."""

_CHUNK = 4 * 1024 * 1024

FIRST_LINE = ""
"""Of a format whose columns the first line of a file names."""


@dataclass(frozen=True)
class Sense:
    """What is known of the lines of one file.

    `format` is the value of `LOG_FORMAT` that they are of; empty: that of the settings. `framing`
    says which of them are one record (None: each is one). `header`: how lines begin that name the
    columns of those behind them (None: none does); `FIRST_LINE`: it is the first line of the file.
    `why` is for people.
    """

    format: str = ""
    framing: Framing | None = None
    header: str | None = None
    why: str = field(default="", compare=False)


class Unknown(Protocol):
    """A file of which it is to be found out how its lines are meant.

    By its last span they are of `format` (empty: that says nothing), and `evidence` is that of it;
    reading goes on at `start`.
    """

    file_id: int
    name: str
    format: str
    evidence: Evidence | None
    size: int
    encoding: Encoding

    @property
    def start(self) -> int:
        """Where reading goes on."""

    def open(self) -> Content:
        """Its content. Raises `OSError`."""


class Chooser(Protocol):
    """Says of each file how its lines are meant; called from any thread."""

    def choose(self, file: Unknown) -> Sense | None:
        """How they are meant; None as long as there are no lines that show it.

        What it is told of a file is asked for often. Raises `OSError`.
        """

    def look(self, batch: Taken, parsed: Parsed) -> None:
        """Learn what has become of a batch: lines may be others by now."""


def is_directive(line: str, header: str) -> bool:
    """Whether a line of a format with a header is none of its rows.

    It is the header once more; or begins with `#` and a word, as the header does (W3C, Zeek).
    """
    if header.startswith("#"):
        return line.startswith("#") and (header.startswith("# ") or not line.startswith("# "))
    return line == header


def headers_in(data: bytes, begins: str, encoding: Encoding) -> Iterator[tuple[int, str]]:
    """Where in some bytes, with which a line begins, are lines that name columns; and these."""
    if begins == FIRST_LINE:
        yield 0, first_line(data, encoding)
        return
    mark = begins.encode(encoding.name)
    bom = "\ufeff".encode(encoding.name)
    at = len(bom) if data.startswith(bom) else 0
    if not data.startswith(mark, at):
        at = _next(data, mark, at, encoding)
    while at >= 0:
        yield at, first_line(data[at : at + HEADER_BYTES], encoding)
        at = _next(data, mark, at, encoding)


def _next(data: bytes, mark: bytes, at: int, encoding: Encoding) -> int:
    found = data.find(encoding.newline + mark, at)
    return found + len(encoding.newline) if found >= 0 else -1


def headers_of(
    content: Content, begins: str, end: int, encoding: Encoding
) -> Iterator[tuple[int, str]]:
    """The same of a file, before `end`. Raises `OSError`."""
    at = 0
    while at < end and (data := content.read(_CHUNK, at)):
        if len(data) == _CHUNK:
            data = data[: encoding.last_end(data) or _CHUNK]
        for place, header in headers_in(data, begins, encoding):
            if at + place < end:
                yield at + place, header
        at = end if begins == FIRST_LINE else at + len(data)


def header_before(content: Content, begins: str, at: int, encoding: Encoding) -> str:
    """The line that names the columns of those that begin at `at`; empty: there is none.

    Raises `OSError`.
    """
    last = ""
    for _, header in headers_of(content, begins, max(at, 1), encoding):
        last = header
    return last


def first_line(data: bytes, encoding: Encoding) -> str:
    """The first line of some bytes with which a file begins, as much of it as is kept."""
    ends = encoding.ends(data)
    raw = encoding.without_end(data[: int(ends[0])]) if len(ends) else data
    return raw[:HEADER_BYTES].decode(encoding.name, "replace").removeprefix("\ufeff")
