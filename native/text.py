"""Columns of text to others.

Rows made of many: `concat.c`. Paths without ids: `paths.c`. Texts without numbers: `numbers.c`.
Which texts are equal: `distinct.c`.
"""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

import native

Codes = npt.NDArray[np.uint32]

SLACK = 64
"""Bytes that may be read behind a text, and written behind one that is made; of a series none."""


class Same(NamedTuple):
    """The same text in every row."""

    text: str


class Coded(NamedTuple):
    """One of several texts in every row: which one, the codes say."""

    texts: Sequence[str]
    codes: Codes


class Quoted(NamedTuple):
    """`before`, the row's text with its quotes and backslashes escaped, `",`; or nothing."""

    before: str
    texts: pl.Series


Part = Same | Coded | Quoted | pl.Series
"""A part of every row; of a series, the row's text or number. None has nulls."""


class _Form(IntEnum):
    """See the enumeration of the same names in `concat.c`."""

    SAME = 0
    CODED = 1
    TEXTS = 2
    QUOTED = 3
    SIGNED = 4
    UNSIGNED = 5
    FLOATS = 6


class _Part(ctypes.Structure):
    _fields_ = (
        ("form", ctypes.c_int64),
        ("text", ctypes.c_char_p),
        ("size", ctypes.c_int64),
        ("ends", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("buffers", ctypes.c_void_p),
    )


class Views:
    """The memory of a series of texts, as long as this lives; there is room for a buffer more."""

    def __init__(self, texts: pl.Series) -> None:
        array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
        self._array: pa.Array = array
        self.rows = len(array)
        _, views, *buffers = array.buffers()
        self.values = views.address + 16 * array.offset if views else None
        self.data = buffers
        self.buffers = (ctypes.c_void_p * (len(buffers) + 1))(*(b.address for b in buffers))

    def size(self) -> int:
        """How many bytes all texts have together."""
        _, views, *_ = self._array.buffers()
        sizes = np.frombuffer(views or b"", np.int32)[4 * self._array.offset :: 4]
        return int(sizes[: self.rows].sum())


def mask_ids(paths: pl.Series) -> pl.Series:
    """The paths less their queries, with `:id` in the place of segments that are ids.

    An id is a number, a UUID, or has 16 and more hexadecimal digits. No path is null.
    """
    return _masked(paths, "logwax_mask_ids")


def mask_numbers(texts: pl.Series) -> pl.Series:
    """The texts with `<*>` in the place of every word that has a digit. No text is null."""
    return _masked(texts, "logwax_mask_numbers")


def _masked(texts: pl.Series, function: str) -> pl.Series:
    """What a function makes of texts, which takes twice their bytes at most."""
    views = Views(texts)
    masked = np.zeros(len(texts), "V16")
    made = np.empty(2 * views.size() + SLACK, np.uint8)
    views.buffers[len(views.data)] = made.ctypes.data
    call = getattr(native.library, function)
    call.restype = ctypes.c_int64
    size = call(
        ctypes.c_void_p(views.values),
        views.buffers,
        ctypes.c_int64(len(texts)),
        ctypes.c_void_p(masked.ctypes.data),
        ctypes.c_void_p(made.ctypes.data),
        ctypes.c_int32(len(views.data)),
    )
    return texts_of(masked, [*views.data, shrunk(made, size)])


def shrunk(memory: npt.NDArray[np.uint8], size: int) -> pa.Buffer:
    """What was made in the first `size` bytes of this memory, most of which is given back."""
    memory.resize(size + SLACK, refcheck=False)
    return pa.py_buffer(memory)


_SECRETS = (ctypes.c_uint64 * 2)(secrets.randbits(64), secrets.randbits(64))


def number_texts(texts: Views, most: int) -> tuple[Codes, Codes] | None:
    """Which of the distinct texts each row has, and the row where each of them comes first.

    None: there are more than `most`.
    """
    assert native.library
    rows = texts.rows
    size = 1 << (2 * min(most, rows)).bit_length()
    slots = np.full(size, -1, np.int32)
    numbers = np.empty(rows, np.uint32)
    firsts = np.empty(min(most, rows), np.uint32)
    call = native.library.logwax_number_texts
    call.restype = ctypes.c_int64
    count: int = call(
        ctypes.c_void_p(texts.values),
        texts.buffers,
        ctypes.c_int64(rows),
        _SECRETS,
        ctypes.c_void_p(slots.ctypes.data),
        ctypes.c_int64(size - 1),
        ctypes.c_int64(most),
        ctypes.c_void_p(numbers.ctypes.data),
        ctypes.c_void_p(firsts.ctypes.data),
    )
    return None if count < 0 else (numbers, firsts[:count])


def texts_of(views: npt.NDArray[np.void], buffers: Sequence[pa.Buffer]) -> pl.Series:
    """The texts of these views into the buffers, without a copy."""
    return frame_of({"": array_of(pa.string_view(), views, buffers)}).to_series()


def frame_of(columns: Mapping[str, pa.Array]) -> pl.DataFrame:
    """The columns without a copy, all at once: four times as fast as one by one."""
    # Nor does this import pyarrow.compute, as Polars does for a single array.
    return pl.DataFrame(pa.RecordBatch.from_pydict(columns))


def array_of(
    dtype: pa.DataType, values: npt.NDArray[Any], buffers: Sequence[pa.Buffer]
) -> pa.Array:
    """These values without a copy; of texts, the views into the buffers."""
    more = buffers if pa.types.is_string_view(dtype) else ()
    return pa.Array.from_buffers(dtype, len(values), [None, pa.py_buffer(values), *more])


class Rows:
    """The parts of each row one after another, which are written when they are asked for."""

    def __init__(self, count: int, parts: Sequence[Part]) -> None:
        self._count = count
        self._parts = parts
        self._table = (_Part * len(parts))()
        self._kept: list[object] = [None] * len(parts)
        self._rooms: dict[tuple[int, int], int] = {}
        for number, part in enumerate(parts):
            self._describe(number, part)

    def __len__(self) -> int:
        return self._count

    def room(self, first: int, last: int) -> int:
        """How many bytes the rows from number `first` to before `last` have at most."""
        if (first, last) not in self._rooms:
            self._rooms[first, last] = self._call("logwax_room", first, last)
        return self._rooms[first, last]

    def between(self, first: int, last: int) -> memoryview:
        """The bytes of these rows."""
        while True:
            data = np.empty(self.room(first, last), np.uint8)
            size = self._call("logwax_concat", first, last, ctypes.c_void_p(data.ctypes.data))
            if size >= 0:
                return data.data[:size]
            number, values = -1 - size, self._parts[-1 - size]
            assert isinstance(values, pl.Series)
            self._describe(number, values.cast(pl.String))  # Polars writes numbers of any size

    def _describe(self, number: int, part: Part) -> None:
        self._rooms.clear()
        self._table[number], self._kept[number] = _described(part)

    def _call(self, name: str, first: int, last: int, *more: ctypes.c_void_p) -> int:
        call = getattr(native.library, name)
        call.restype = ctypes.c_int64
        table = self._table, ctypes.c_int64(len(self._table))
        found: int = call(*table, ctypes.c_int64(first), ctypes.c_int64(last), *more)
        return found


def _padded(text: str) -> tuple[int, bytes]:
    encoded = text.encode()
    return len(encoded), encoded + bytes(SLACK)


def _described(part: Part) -> tuple[_Part, object]:
    """What C is told of a part, and what must live while it is."""
    if isinstance(part, Same):
        size, text = _padded(part.text)
        return _Part(form=_Form.SAME, text=text, size=size), text
    if isinstance(part, Coded):
        texts = [text.encode() for text in part.texts]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        text = b"".join([*texts, bytes(SLACK)])
        codes = np.ascontiguousarray(part.codes, np.uint32)
        described = _Part(
            form=_Form.CODED, text=text, ends=ends.ctypes.data, values=codes.ctypes.data
        )
        return described, (text, ends, codes)
    if isinstance(part, Quoted):
        (size, text), views = _padded(part.before), Views(part.texts)
        described = _Part(
            form=_Form.QUOTED,
            text=text,
            size=size,
            values=views.values,
            buffers=ctypes.addressof(views.buffers),
        )
        return described, (text, views)
    if part.dtype in (pl.String, pl.Int128):
        views = Views(part.cast(pl.String))
        described = _Part(
            form=_Form.TEXTS, values=views.values, buffers=ctypes.addressof(views.buffers)
        )
        return described, views
    dtype: type[pl.DataType]
    if part.dtype.is_float():
        form, dtype = _Form.FLOATS, pl.Float64
    elif part.dtype.is_signed_integer():
        form, dtype = _Form.SIGNED, pl.Int64
    else:
        form, dtype = _Form.UNSIGNED, pl.UInt64
    values = np.ascontiguousarray(part.cast(dtype).to_numpy())
    return _Part(form=form, values=values.ctypes.data), values
