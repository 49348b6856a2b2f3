"""How the lines of a file are meant: their format, which are one record, what names their columns.

What was found out about a file is no setting: it travels with its spans, and the ledger keeps it
in their proof. So a block in doubt, and whatever is looked at again later, is meant as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from connectors.batch import Parsed, Taken
from connectors.encodings import Encoding
from connectors.sources.content import Content
from connectors.sources.evidence import Evidence
from connectors.sources.framing import Framing

HEADER_BYTES = 8 * 1024
"""What is kept of a line that names columns."""

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

    It is the header once more; or begins with `#`, as the header does (W3C, Zeek).
    """
    if header.startswith("#"):
        return line.startswith("#")
    return line == header


def first_line(data: bytes, encoding: Encoding) -> str:
    """The first line of some bytes with which a file begins, as much of it as is kept."""
    ends = encoding.ends(data)
    raw = encoding.without_end(data[: int(ends[0])]) if len(ends) else data
    return raw[:HEADER_BYTES].decode(encoding.name, "replace").removeprefix("\ufeff")
