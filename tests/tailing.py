"""A file source driven by hand, and a memory of what it read: used by the tests of the source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from connectors.batch import BlockId, Span, Taken
from connectors.sources.files import FileSource
from connectors.sources.tailed_file import Limits
from connectors.store import Ledger
from tests.conftest import wait_for

SOON = Limits(lines=1000, bytes=1024 * 1024, seconds=0.0)


class Memory:
    """Positions kept in memory, as a store keeps them: what a sink would have recorded."""

    def __init__(self) -> None:
        self.files: dict[int, Span] = {}
        self.in_doubt: dict[BlockId, Sequence[Span]] = {}
        self.started = False
        self.history: list[Span] = []
        self.lines: dict[tuple[int, int], bytes] = {}

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        files = [s for id, s in self.files.items() if file_ids is None or id in file_ids]
        return Ledger(files, dict(self.in_doubt), not self.started)

    def before(self, file_id: int, end: int) -> Span | None:
        found = [s for s in self.history if s.stream.id == file_id and s.end <= end]
        return max(found, key=lambda s: s.end, default=None)

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        return {at for id, at in self.lines if id == file_id and first <= at < last}

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        return ()

    def start_at(self, files: Sequence[Span]) -> None:
        self.started = True
        self.files.update({span.stream.id: span for span in files})
        self.history.extend(files)

    def record(self, batch: Taken) -> None:
        self.started = True
        self.files.update({span.stream.id: span for span in batch.spans})
        self.history.extend(batch.spans)
        at = 0
        for span in batch.spans:
            offset = span.start
            for line in batch.data[at : at + span.end - span.start].splitlines(True):
                self.lines[span.stream.id, offset] = line
                offset += len(line)
            at += span.end - span.start


class Tail:
    """One worker's partition, driven by hand."""

    def __init__(
        self, pattern: Path | str, memory: Memory | None = None, **options: object
    ) -> None:
        self.memory = memory or Memory()
        limits = options.pop("limits", SOON)
        options.setdefault("linger", 1.0)  # where it would be minutes
        self.source = FileSource(str(pattern).split(","), self.memory, limits, **options)  # type: ignore[arg-type]
        self.partition = self.source.build("tail", 0, 1)

    def batch(self) -> Taken | None:
        """The next batch, stored, if one is due."""
        for batch in self.partition.next_batch():
            self.memory.record(batch)
            batch.acknowledge()
            return batch
        return None

    def batch_or_end(self) -> Taken | None:
        """The same for a source that does not follow."""
        try:
            return self.batch()
        except StopIteration:
            return None

    def read(self, size: int) -> bytes:
        """Wait for the next `size` bytes."""
        data = b""

        def enough() -> bool:
            nonlocal data
            batch = self.batch()
            data += batch.data if batch else b""
            return len(data) >= size

        wait_for(enough, f"{size} bytes")
        return data

    def read_to_end(self) -> None:
        """Store all that is there; for a source that does not follow."""

        def has_ended() -> bool:
            try:
                self.batch()
            except StopIteration:
                return True
            return False

        wait_for(has_ended, "the end")

    def is_quiet(self) -> bool:
        """Whether nothing comes although names and sizes have just been looked at."""
        self.poll_soon()
        return self.batch() is None

    def poll_soon(self) -> None:
        """Have all names looked at with the next batch."""
        self.source._catalog._files.poll_soon()

    @property
    def problems(self) -> str:
        """What the source says that it cannot read."""
        return "\n".join(self.source.status().problems)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
