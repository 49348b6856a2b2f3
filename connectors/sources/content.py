"""The plain bytes of an open file, whether it is compressed or not."""

from __future__ import annotations

import errno
import gzip
import os
import zlib
from io import BufferedIOBase
from typing import cast

from backports import zstd

from connectors.sources.evidence import REACH

_CHUNK = 1024 * 1024
_NEAR = 64 * 1024  # bytes behind the end that are looked at each time
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
        self._blank = (0, 0, 0)  # from where on there was only filler, of which size and when

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on."""
        return os.pread(self._descriptor, size, offset)

    def size(self) -> int | None:
        """Bytes in the file now; None: not known before they have been read."""
        return os.fstat(self._descriptor).st_size

    def links(self) -> int:
        """How many names it has; 0: it is deleted."""
        return os.fstat(self._descriptor).st_nlink

    def end(self, unit: int, known: int = 0) -> int:
        """Where the bytes of a plain file end: NULs behind them are filler, not data (yet).

        They are looked for behind `known`, in characters of `unit` bytes.
        """
        found = os.fstat(self._descriptor)
        size = found.st_size
        last = size - (size % unit or unit)
        if size <= known or self._last(max(last, known), size):
            return size
        # Who goes on where they were is seen at once; all zeros are looked through after a change.
        end = self._last(known, min(known + _NEAR, size)) or known
        found_last, *when = self._blank
        if when == [size, found.st_mtime_ns]:
            end = max(end, found_last)
        elif not any(when) or end in (known, known + _NEAR):
            end = self._search_last(end, size) or end
            self._blank = end, size, found.st_mtime_ns
        return min(size, -(-end // unit) * unit)

    def _search_last(self, low: int, high: int) -> int:
        """`_last` from back to front, so that holes cost nothing."""
        step = _CHUNK
        while high > low:
            begin = max(low, high - step)
            data = self.skip_hole(begin)
            if data >= high:
                high, step = begin, step * 2
                continue
            if step > _CHUNK:
                step = _CHUNK
                begin = max(low, high - step)
            if end := self._last(begin, high):
                return end
            high = begin
        return 0

    def _last(self, low: int, high: int) -> int:
        """Where the last byte other than NUL ends in [low, high), which fits in memory; 0: none."""
        rest = os.pread(self._descriptor, high - low, low).rstrip(b"\0")
        return low + len(rest) if rest else 0

    def skip_hole(self, offset: int) -> int:
        """Where bytes are stored, from `offset` on: what is before is a hole, and reads as NULs."""
        try:
            return os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # none
                return os.fstat(self._descriptor).st_size
            return offset

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

    def skip_hole(self, offset: int) -> int:
        return offset

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
