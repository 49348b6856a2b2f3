"""Where compressed files end, remembered: so that each need not be decompressed at every start."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from connectors.sources.content import Content, Whole

_ENTRY = struct.Struct("<QQqQQQ")  # a `Whole`, the plain size, and the digest of its last bytes
_MOST = 200_000 * _ENTRY.size


class Endings:
    """The plain size of every compressed file that has been read to its end, in a file at `path`.

    This is no position: of what is stored only the ledger knows. It only saves time, may be deleted
    at any time, and several processes may share it.
    """

    def __init__(self, path: Path | None, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._known: dict[Whole, tuple[int, int]] = {}
        try:
            data = path.read_bytes() if path else b""
            if path and (len(data) > _MOST or len(data) % _ENTRY.size):  # too much, or torn
                path.unlink()
                data = b""
        except FileNotFoundError:
            return
        except OSError as error:
            self._give_up(error)
            return
        for inode, size, changed, last, plain_size, tail in _ENTRY.iter_unpack(data):
            self._known[inode, size, changed, last] = plain_size, tail

    def recall(self, content: Content) -> None:
        """Tell a file that has just been opened where it ends, if that is known."""
        if content.whole in self._known:
            content.ending = self._known[content.whole]

    def learn(self, content: Content) -> None:
        """Remember where a file ends that has been read to there."""
        if not (self._path and content.whole and content.ending):
            return
        if self._known.get(content.whole) == content.ending:
            return
        self._known[content.whole] = content.ending
        try:
            # One write of a few bytes at the end: no other process gets between.
            with suppress(FileNotFoundError):  # no DATA_DIR, so nothing is kept
                entries = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(entries, _ENTRY.pack(*content.whole, *content.ending))
                finally:
                    os.close(entries)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._say(
            f"cannot remember in {str(self._path)!r} where compressed files end: {error.strerror}. "
            "They are decompressed at each start."
        )
        self._path = None
