"""The plain bytes of an open file, whether it is compressed or not."""

from __future__ import annotations

import gzip
import os
import zlib
from io import BufferedIOBase
from typing import cast

from backports import zstd

from connectors.sources.evidence import REACH

_CHUNK = 1024 * 1024
_KEEP = 16 * 1024 * 1024  # bytes behind the one read last that are not decompressed again


class Content:
    """An open file; reading may raise `OSError`. Not safe for use by several threads at once.

    `key` is device and inode. `is_compressed`: it is a gzip (RFC 1952) or Zstandard (RFC 8878)
    file, and all sizes and offsets are of what it decompresses to. `damage` says why that ends
    before its time.
    """

    is_compressed = False
    damage = ""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self.key = (found.st_dev, found.st_ino)

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on."""
        return os.pread(self._descriptor, size, offset)

    def size(self) -> int | None:
        """Bytes in the file now; None: not known before they have been read."""
        return os.fstat(self._descriptor).st_size

    def promises(self, size: int) -> bool:
        """Whether a compressed file itself says that it holds `size` bytes; it is believed."""
        return False

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class _Compressed(Content):
    """Read from front to back, with a window so that small steps back are free."""

    is_compressed = True

    def __init__(self, descriptor: int, is_gzip: bool) -> None:
        super().__init__(descriptor)
        self._is_gzip = is_gzip
        self._size: int | None = None
        self._head = b""
        self._rewind()

    def _rewind(self) -> None:
        raw = os.fdopen(os.dup(self._descriptor), "rb")
        raw.seek(0)
        self._raw = raw
        self._stream = cast(
            BufferedIOBase, gzip.GzipFile(fileobj=raw) if self._is_gzip else zstd.ZstdFile(raw)
        )
        self._window, self._start = bytearray(), 0

    def read(self, size: int, offset: int) -> bytes:
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if offset < self._start:
            self._raw.close()
            self._rewind()
        while self._start + len(self._window) < offset + size and self._decompress():
            surplus = offset - _KEEP - self._start
            if surplus > _KEEP:
                del self._window[:surplus]
                self._start += surplus
        return bytes(self._window[offset - self._start : offset - self._start + size])

    def _decompress(self) -> bool:
        try:
            chunk = self._stream.read1(_CHUNK)
        except (EOFError, zlib.error, zstd.ZstdError, gzip.BadGzipFile) as error:
            self.damage = f"its compressed data is damaged or not complete: {error}"
            chunk = b""
        self._window += chunk
        if len(self._head) < REACH and not self._start:
            self._head = bytes(self._window[:REACH])
        if not chunk:
            self._size = self._start + len(self._window)
        return bool(chunk)

    def size(self) -> int | None:
        return self._size

    def promises(self, size: int) -> bool:
        try:
            if self._is_gzip:  # in its last four bytes, modulo 2^32
                end = os.fstat(self._descriptor).st_size
                said = int.from_bytes(os.pread(self._descriptor, 4, end - 4), "little")
                kept = said == size % 2**32
            else:
                header = os.pread(self._descriptor, 18, 0)
                kept = zstd.get_frame_info(header).decompressed_size == size
        except zstd.ZstdError:
            return False
        if kept:
            self._size = size
        return kept

    def close(self) -> None:
        self._raw.close()
        super().close()


def open_content(path: str) -> Content:
    """Open the file at `path`. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # never wait for a pipe's other end
    try:
        magic = os.pread(descriptor, 4, 0)
        if magic.startswith(b"\x1f\x8b\x08"):
            return _Compressed(descriptor, is_gzip=True)
        if magic == b"\x28\xb5\x2f\xfd":
            return _Compressed(descriptor, is_gzip=False)
        return Content(descriptor)
    except OSError:
        os.close(descriptor)
        raise
