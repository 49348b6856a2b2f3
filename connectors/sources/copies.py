"""Files that are like others: a copy may be about to take the place of its original."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.batch import Span
from connectors.encodings import Encoding
from connectors.sources.absent import Absent
from connectors.sources.claims import Key
from connectors.sources.content import Content, may_become_compressed
from connectors.sources.evidence import REACH, Evidence, fits
from connectors.sources.handles import Handles
from connectors.sources.tailed_file import FIRST, TailedFile

STILL_SECONDS = 2.0
"""How long a file that is like another one must not have changed to be a file of its own."""


class Known(Protocol):
    """What is asked of a store about its lines and spans."""

    def before(self, file_id: int, end: int) -> Span | None:
        """The last recorded span of a file that ends at or before `end`."""

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""

    def start_at(self, files: Sequence[Span]) -> None:
        """Record positions that were chosen, not read."""


@dataclass
class _Copy:
    """How large it was when it changed last, since when, and the ids of the files it is like."""

    size: int
    since: float
    likes: set[int]


class Copies:
    """The unknown files that are like known ones, by their keys; for one thread at a time."""

    def __init__(self, encoding: Encoding, known: Known, absent: Absent, handles: Handles) -> None:
        self._encoding = encoding
        self._known = known
        self._absent = absent
        self._handles = handles
        self._copies: dict[Key, _Copy] = {}
        self._firsts: dict[bytes, set[TailedFile]] = {}
        self._first_lengths: set[int] = set()

    def add(self, file: TailedFile) -> None:
        """There may be copies of a file from now on."""
        self._firsts.setdefault(file.first, set()).add(file)
        self._first_lengths.add(len(file.first))
        self._copies.pop(file.key, None)

    def discard(self, file: TailedFile) -> None:
        """A file is not there any more."""
        self._firsts[file.first].discard(file)

    def keep(self, keys: Collection[Key]) -> None:
        """Forget what is known of all others."""
        self._copies = {key: copy for key, copy in self._copies.items() if key in keys}

    def wait_for(self, content: Content, head: bytes, size: int, now: float) -> bool:
        """Whether this may be a copy that is about to take the place of another file.

        Where logs are rotated by copying or compressing, the copy is complete before the original
        is truncated or deleted: it is left alone until it has been still for a while.
        """
        if not content.is_compressed and may_become_compressed(head):
            return True
        likes = list(self._find_like(content, head, size)) if head else []
        if not content.is_compressed and not likes:
            return False
        copy = self._copies.get(content.key)
        if copy is None or copy.size != size:
            copy = self._copies[content.key] = _Copy(size, now, set())
        copy.likes = {file_id for file_id, _ in likes if file_id} or copy.likes
        return now - copy.since < STILL_SECONDS or not all(is_named for _, is_named in likes)

    def __len__(self) -> int:
        return len(self._copies)

    def _find_like(self, content: Content, head: bytes, size: int) -> Iterator[tuple[int, bool]]:
        """Files with the same bytes, as far as both have them, and whether they have a name.

        The id is 0 if the file does not have all bytes of `content`.
        """
        for file in self._with_beginning(head[:FIRST]):
            if not file.hold():  # it cannot be compared now: wait
                if not file.is_compressed:
                    yield 0, False
                continue
            found: list[tuple[int, bool]] = []
            try:
                other = file.open()
                has = file.size if other.is_compressed else max(file.size, file.end_of(other))
                common = min(len(head) if content.is_compressed else size, has)
                reach = min(common, REACH)
                is_longer = not content.is_compressed and size > has
                if not (is_longer and file.is_named and self._is_half_a_line(other, has)) and all(
                    other.read(reach, at) == content.read(reach, at) for at in (0, common - reach)
                ):
                    file.is_copied = True
                    is_within = not content.is_compressed and size <= has
                    found = [(file.file_id * is_within, file.is_named and file.has_its_name())]
            except OSError:  # it has changed or cannot be read: wait until that has been seen
                found = [(0, False)]
            finally:
                self._handles.opened(file)
                file.let_go()
            self._handles.limit()
            yield from found

    def _is_half_a_line(self, content: Content, size: int) -> bool:
        """Whether a plain file has no whole line yet: what goes on otherwise is no copy of it."""
        if content.is_compressed or size > REACH:
            return False
        return not self._encoding.last_end(content.read(size, 0))

    def _with_beginning(self, start: bytes) -> list[TailedFile]:
        """The files of which one begins as the other, as far as both are that long."""
        if len(start) == FIRST:
            firsts = [start[:length] for length in self._first_lengths]
        else:
            firsts = [first for first in self._firsts if first.startswith(start)]
            firsts += [start[:length] for length in range(1, len(start))]
        return [file for first in firsts for file in self._firsts.get(first, ())]

    def original(self, content: Content, head: bytes, size: int) -> TailedFile | None:
        """A file that is stored beyond these `size` bytes, which are its first ones."""
        likes = self._absent.like(head)
        if content.key in self._copies:
            lost = map(self._absent.get, self._copies[content.key].likes)
            likes += [file for file in lost if file]
        return next((file for file in likes if self._is_stump(content, size, file)), None)

    def _is_stump(self, content: Content, size: int, file: TailedFile) -> bool:
        """Whether these are the first `size` bytes of a file that is stored beyond them."""
        if size >= file.position:
            return False
        copy = self._copies.get(content.key)
        if copy and copy.size == size and file.file_id in copy.likes:
            return True
        stored = self._known.before(file.file_id, size)
        if stored and not fits(content, Evidence.of(stored.proof), stored.end):
            return False
        first = stored.end if stored else 0
        data = content.read(size - first, first)
        ends = [0, *self._encoding.ends(data).tolist(), len(data)]
        lines = {
            first + start + filler
            for start, end in itertools.pairwise(ends)
            for filler in [self._encoding.filler(data[start:end])]
            if self._encoding.without_end(data[start + filler : end])
        }
        return lines == self._known.offsets(file.file_id, first, size)
