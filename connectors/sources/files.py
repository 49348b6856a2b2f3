"""Source: growing files, as batches of whole lines."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from connectors.batch import Span
from connectors.encodings import Encoding
from connectors.sources.around import FileLine
from connectors.sources.catalog import Catalog, Positions
from connectors.sources.source import SourceInput
from connectors.sources.tailed_file import Limits
from connectors.status import FileStatus
from connectors.store import Ledger


class FileSource(SourceInput):
    """Tails the files that match `patterns` (globs), from where `positions` says they are stored.

    Every worker takes the file whose lines have waited longest; one file is read by one worker at a
    time. A batch is emitted when `limits` says so, counted from the oldest unread line; until then
    the bytes stay in the file. A last line without its newline is held until it ends.

    Guarantee: a batch is emitted again after a crash, as the same bytes and under the same
    identity, until its sink has recorded it; with a sink that recognises identities each line is
    stored once. Without `positions` every start reads from the beginning. Whoever stores a batch
    must call its `acknowledge`, and record what is stored `in_order`.

    `follow=False` reads what is there, the unfinished last line included, and ends. `from_end`
    skips what is there at the first start ever. Processes that name the same `claims` directory
    share the files. A file that has left its name is read on for as long as somebody writes to it,
    or `linger` seconds after it grew last if that cannot be ruled out. The file `archives`
    remembers where compressed files end, so that they are not decompressed at each start. Setting
    `stop` ends the source after the batch in hand.
    """

    def __init__(
        self,
        patterns: Sequence[str],
        positions: Positions | None = None,
        limits: Limits | None = None,
        *,
        encoding: str = "utf-8",
        follow: bool = True,
        from_end: bool = False,
        claims: Path | None = None,
        archives: Path | None = None,
        linger: float = 300.0,
        stop: threading.Event | None = None,
    ) -> None:
        limits = limits or Limits()
        self.chooser = limits.chooser
        self._catalog = Catalog(
            patterns,
            positions or _NoPositions(),
            limits,
            encoding=Encoding(encoding),
            follow=follow,
            from_end=from_end,
            claims=claims,
            archives=archives,
            linger=linger,
        )
        super().__init__(self._catalog, follow=follow, stop=stop)

    def files(self) -> list[FileStatus]:
        """Every file that is there, and how far it is stored; from any thread."""
        return self._catalog.files()

    def around(self, file_id: int, offset: int, most: int) -> Sequence[FileLine] | None:
        """The lines around one that is stored, as they stand in its file, stored or not.

        None unless that is there, known by its bytes, under a name that the globs cover. Up to
        `most` characters of each; from any thread.
        """
        return self._catalog.around(file_id, offset, most)

    def gaps(self) -> tuple[str, ...]:
        """What was gone before this process could read it; from any thread."""
        return self._catalog.gaps()

    def read(self, patterns: Sequence[str]) -> None:
        """Read what these globs cover, within seconds; from any thread.

        What is read already is read on, until the next start, be it covered or not.
        """
        self._catalog.read(patterns)

    def know(self, spans: Sequence[Span]) -> None:
        """Know files from now on whose positions were chosen, should they turn up."""
        self._catalog.know(spans)


class _NoPositions:
    """Nothing is remembered."""

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        return Ledger((), {}, is_new=True)

    def before(self, file_id: int, end: int) -> Span | None:
        return None

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        return set()

    def start_at(self, files: Sequence[Span]) -> None:
        pass

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        return ()
