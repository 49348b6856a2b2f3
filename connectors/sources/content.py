"""The plain bytes of an open file, whether it is compressed or not."""

from __future__ import annotations

import bz2
import errno
import lzma
import os
import stat
import zlib
from collections.abc import Callable
from typing import Protocol

from backports import zstd

from connectors.sources.evidence import REACH, digest

_PIECE = 32 * 1024  # compressed bytes that are read at a time
_STEP = 256 * 1024  # plain bytes that are made of them at a time, at most
_KEEP = 5 * 1024 * 1024  # bytes behind the one read last that are not decompressed again
_SURPLUS = 1024 * 1024
_CHUNK = 1024 * 1024
_NEAR = 64 * 1024  # bytes behind the end of a plain file that are looked at each time
_MAGIC_REACH = 10

GZIP, ZSTD, XZ = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
# A text may begin with "BZh9": behind it is a block, or nothing but the end.
_BZIP2 = tuple(
    b"BZh%d" % level + next_one
    for level in range(1, 10)
    for next_one in (b"1AY&SY", b"\x17rE8P\x90")
)
SKIPPABLE = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))

Whole = tuple[int, int, int, int]
"""A compressed file: inode, size, time of its last change (ns), digest of its last bytes."""


class Content:
    """An open file; reading may raise `OSError`. Not safe for use by several threads at once.

    `key` is device and inode. `is_compressed`: it is a gzip (RFC 1952), Zstandard (RFC 8878), xz
    (xz-file-format 1.2) or bzip2 file, and all sizes and offsets are of what all of it decompresses
    to: of every member, frame or stream. `damage` says why that ends before its time.

    `whole` tells a compressed file from others, and from what it becomes when it changes. `ending`
    is its plain size and the digest of its last bytes, once all of it has been read; it may be set
    by whoever knows it.
    """

    is_compressed = False
    damage = ""
    whole: Whole | None = None
    ending: tuple[int, int] | None = None

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self.key = (found.st_dev, found.st_ino)
        self._blank = (0, 0, 0)  # from where on there was only filler, of which size and when

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on."""
        return os.pread(self._descriptor, size, offset)

    def digest(self, size: int, offset: int) -> int:
        """The digest of these bytes."""
        return digest(self.read(size, offset))

    def size(self) -> int | None:
        """Bytes in the file now; None: not known before they have been read."""
        return os.fstat(self._descriptor).st_size

    def changed_at(self) -> int:
        """When it was written last, in microseconds since 1970."""
        return os.fstat(self._descriptor).st_mtime_ns // 1000

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
        # A writer that goes on is seen at once; all zeros are looked through only after a change.
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

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class _Stream(Protocol):
    """Decompresses one member, frame or stream, as `bz2.BZ2Decompressor` does."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._member.decompress(self._member.unconsumed_tail or data, max_length)


_DAMAGES = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)


class _Compressed(Content):
    """Read from front to back, with a window so that small steps back are free."""

    is_compressed = True

    def __init__(self, descriptor: int, begin: Callable[[], _Stream]) -> None:
        super().__init__(descriptor)
        self._begin = begin
        self._size: int | None = None
        self._head = b""
        self._careful: int | None = None  # from here on compressed bytes are read one by one
        self._rewind()

    def _rewind(self) -> None:
        self.whole = self._look()
        self._at = self._piece = 0  # compressed bytes that were taken, and before the last piece
        self._stream = self._begin()
        self._is_over = False
        self._window, self._start = bytearray(), 0

    def read(self, size: int, offset: int) -> bytes:
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if (end := self.size()) is not None and offset >= end:
            return b""
        if offset < self._start:
            self._rewind()
        while self._start + len(self._window) < offset + size and self._decompress():
            surplus = min(offset - _KEEP - self._start, len(self._window) - REACH)
            if surplus > _SURPLUS:
                del self._window[:surplus]
                self._start += surplus
        return bytes(self._window[offset - self._start : offset - self._start + size])

    def _decompress(self) -> bool:
        """Add plain bytes to the window; False: there are no more."""
        while not self._is_over:
            if self._stream.eof and not self._next_stream():
                return self._end("")
            piece = self._take() if self._stream.needs_input else None
            try:
                chunk = self._stream.decompress(piece or b"", _STEP)
            except _DAMAGES as error:
                if self._careful is None:
                    # What the piece holds before the damage can be had byte by byte only.
                    self._careful = self._piece
                    self._rewind()
                    return True
                return self._end(str(error))
            if chunk:
                self._window += chunk
                if len(self._head) < REACH and not self._start:
                    self._head = bytes(self._window[:REACH])
                return True
            if piece == b"" and not self._stream.eof:
                return self._end("it ends too early")
        return False

    def _take(self) -> bytes:
        size = _PIECE
        if self._careful is not None:
            size = min(size, max(1, self._careful - self._at))
        piece = os.pread(self._descriptor, size, self._at)
        self._piece = self._at
        self._at += len(piece)
        return piece

    def _next_stream(self) -> bool:
        """Whether there is more behind the end of a stream, beside padding of zeros."""
        self._at -= len(self._stream.unused_data)
        while piece := os.pread(self._descriptor, _PIECE, self._at):
            rest = piece.lstrip(b"\0")
            self._at += len(piece) - len(rest)
            if rest:
                self._stream = self._begin()
                return True
        return False

    def _end(self, damage: str) -> bool:
        self._is_over = True
        self._size = self._start + len(self._window)
        if damage:
            self.damage = f"its compressed data is damaged or not complete: {damage}"
        elif self._look() == self.whole:
            self.ending = self._size, digest(bytes(self._window[-REACH:]))
        return False

    def digest(self, size: int, offset: int) -> int:
        end = offset + size
        if self.ending and self.ending[0] == end and size == min(REACH, end):
            return self.ending[1]
        return super().digest(size, offset)

    def size(self) -> int | None:
        return self.ending[0] if self.ending else self._size

    def _look(self) -> Whole:
        found = os.fstat(self._descriptor)
        last = os.pread(self._descriptor, REACH, max(0, found.st_size - REACH))
        return found.st_ino, found.st_size, found.st_mtime_ns, digest(last)

    def skip_hole(self, offset: int) -> int:
        return offset


def open_content(path: str) -> Content:
    """Open the file at `path`. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # never wait for a pipe's other end
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file", path)
        begin = _format(descriptor)
        return _Compressed(descriptor, begin) if begin else Content(descriptor)
    except OSError:
        os.close(descriptor)
        raise


def may_become_compressed(head: bytes) -> bool:
    """Whether these first bytes of a file are too few to say that it is not compressed."""
    magics = (GZIP, ZSTD, XZ, *_BZIP2, *SKIPPABLE)
    return any(len(head) < len(magic) and magic.startswith(head) for magic in magics)


def _format(descriptor: int) -> Callable[[], _Stream] | None:
    """What decompresses a file; None: it is not compressed."""
    at = 0
    head = os.pread(descriptor, _MAGIC_REACH, at)
    if head.startswith(GZIP):
        return _Gzip
    if head.startswith(XZ):
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)
    if head.startswith(_BZIP2):
        return bz2.BZ2Decompressor
    while head.startswith(SKIPPABLE) and len(head) >= 8:  # of pzstd; other formats have them, too
        at += 8 + int.from_bytes(head[4:8], "little")
        head = os.pread(descriptor, _MAGIC_REACH, at)
    if head.startswith(ZSTD) or (at and not head):
        return zstd.ZstdDecompressor
    return None
