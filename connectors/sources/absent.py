"""Known files that are not there, until their content turns up."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.sources.content import Content
from connectors.sources.evidence import digest
from connectors.sources.tailed_file import TailedFile


class Absent:
    """Known files that are not there, found by their first bytes."""

    def __init__(self) -> None:
        self._by_id: dict[int, TailedFile] = {}
        self._by_print: dict[int, dict[int, dict[int, TailedFile]]] = {}

    def __iter__(self) -> Iterator[TailedFile]:
        return iter(list(self._by_id.values()))

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def get(self, file_id: int) -> TailedFile | None:
        """The file with this id."""
        return self._by_id.get(file_id)

    def add(self, file: TailedFile) -> None:
        """Miss a file; what was known of it under its id is forgotten."""
        self.remove(file.file_id)
        self._by_id[file.file_id] = file
        length, expected = file.fingerprint
        self._by_print.setdefault(length, {}).setdefault(expected, {})[file.file_id] = file

    def remove(self, file_id: int) -> None:
        """Do not miss a file any more."""
        file = self._by_id.pop(file_id, None)
        if file:
            length, expected = file.fingerprint
            self._by_print.get(length, {}).get(expected, {}).pop(file_id, None)

    def like(self, head: bytes) -> list[TailedFile]:
        """The files that begin with what `head` begins with, as far as it is known of them."""
        return [
            file
            for length, by_hash in self._by_print.items()
            if 0 < length <= len(head)
            for file in by_hash.get(digest(head[:length]), {}).values()
        ]

    def recognise(self, content: Content, head: bytes, path: str) -> TailedFile | None:
        """The file, of these, whose content this is. Raises `OSError`."""
        return max(
            (file for file in self.like(head) if _reaches(content, file)),
            key=lambda file: (file.key[1] == content.key[1], file.path == path, file.position),
            default=None,
        )


def _reaches(content: Content, file: TailedFile) -> bool:
    """Whether `content` begins with all that has been read of `file`."""
    size = content.size()
    if size is None:
        content.read(1, file.position)  # which may show its end
        return file.is_at(content)
    return size >= file.position and file.is_at(content)
