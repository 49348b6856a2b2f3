"""Files as the bytes that were written to them, also after they were compressed."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from connectors.errors import LogwaxError
from connectors.sources.known_files import Descriptor, PlainBytes

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class _Unpacked:
    """`PlainBytes` of a compressed file: cheap forwards, from the beginning again backwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def pread(self, size: int, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)

    def size(self) -> int:
        return self._file.seek(0, os.SEEK_END)


@contextmanager
def open_plain(path: str) -> Iterator[tuple[PlainBytes, int, os.stat_result]]:
    """The bytes of a file (plain, gzip or Zstandard, whatever its name is), how many, its status.

    Raises `LogwaxError` if it cannot be read, or what is compressed is damaged.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
        status = os.fstat(file.fileno())
        magic = os.pread(file.fileno(), 4, 0)
    except OSError as error:
        raise LogwaxError(f"Cannot read {path!r}: {error.strerror}.") from error
    with file:
        if not magic.startswith((_GZIP, _ZSTD)):
            yield Descriptor(file.fileno()), status.st_size, status
            return
        from backports import zstd  # imported here: few need it

        try:
            with gzip.open(file) if magic.startswith(_GZIP) else zstd.open(file) as opened:
                unpacked = _Unpacked(cast(BinaryIO, opened))
                yield unpacked, unpacked.size(), status
        except (EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
            raise LogwaxError(f"{path!r} is damaged: {error}.") from error
