"""Columns as a block of ClickHouse's format Native: see `concat.c`."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator

import numpy as np
import polars as pl

import native
from native.text import Views, number_texts

_TYPES: dict[pl.DataType, tuple[str, type[np.generic]]] = {
    pl.UInt64(): ("UInt64", np.uint64),
    pl.UInt32(): ("UInt32", np.uint32),
    pl.UInt16(): ("UInt16", np.uint16),
    pl.Float64(): ("Float64", np.float64),
    pl.Boolean(): ("Bool", np.bool_),
    pl.Datetime("us", "UTC"): ("DateTime64(6, 'UTC')", np.int64),
}
_TEXTS = (pl.String(), pl.Binary())
_MOST_DISTINCT = 256
_MOST_SIZE = 5  # bytes that a size takes
_DICTIONARY = struct.pack("<QQ", 1, 0x600)  # the version; numbers of one byte, keys that follow


def can_write(columns: pl.DataFrame) -> bool:
    """Whether these columns can be written here at all."""
    known = all(dtype in _TYPES or dtype in _TEXTS for dtype in columns.dtypes)
    return native.library is not None and known and not columns.is_empty()


def write_block(columns: pl.DataFrame) -> Iterator[bytes | memoryview]:
    """The pieces of the block, each made when it is asked for; no column has nulls.

    NaN is null. A column that holds none is not nullable, so a table of any kind takes it.
    Texts of which there are few are numbered, so that ClickHouse need not look at each of them.
    """
    yield _varint(columns.width) + _varint(columns.height)
    for column in columns.iter_columns():
        if column.dtype in _TYPES:
            type_, dtype = _TYPES[column.dtype]
            values = np.ascontiguousarray(column.to_physical().to_numpy(), dtype)
            if column.dtype.is_float() and (missing := np.isnan(values)).any():
                yield _texts(column.name, f"Nullable({type_})")
                yield missing.view(np.uint8).data
            else:
                yield _texts(column.name, type_)
            yield values.view(np.uint8).data
        else:
            yield from _write_texts(column)


def _write_texts(column: pl.Series) -> Iterator[bytes | memoryview]:
    assert native.library
    views = Views(column)
    if numbered := number_texts(views, _MOST_DISTINCT):
        numbers, firsts = numbered
        yield _texts(column.name, "LowCardinality(String)") + _DICTIONARY
        keys = column.gather(firsts).cast(pl.Binary).to_list()
        yield struct.pack("<Q", len(keys)) + _texts(*keys) + struct.pack("<Q", views.rows)
        yield numbers.astype(np.uint8).data
    else:
        yield _texts(column.name, "String")
        data = np.empty(views.size() + views.rows * _MOST_SIZE, np.uint8)
        write = native.library.logwax_write_texts
        write.restype = ctypes.c_int64
        yield data.data[
            : write(
                ctypes.c_void_p(views.values),
                views.buffers,
                ctypes.c_int64(views.rows),
                ctypes.c_void_p(data.ctypes.data),
            )
        ]


def _texts(*texts: str | bytes) -> bytes:
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(_varint(len(text)) + text for text in encoded)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes((*found, number))
