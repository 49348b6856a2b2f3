"""Lines to columns: what is as usual, the C sources of the formats say."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cache
from itertools import pairwise, takewhile
from operator import eq
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

import native
from native.text import SLACK, array_of, frame_of, shrunk

MOST_KEYS = 64
"""Keys that can be read at once."""

_MOST_BYTES = 2**31 - 1  # what a view can address
_USUAL_LINE = 64  # bytes at least: shorter ones are looked at twice
_USUAL_SHARE = 4  # of the room that could be needed: what takes more is read on into all of it


class Form(IntEnum):
    """A format: see the enumeration of the same names in `native.h`."""

    JSON = 0
    LOGFMT = 1
    LAYOUT = 2
    PAIRS = 3
    CONSOLE = 4


class Kind(IntEnum):
    """What the values of a key become: see the enumeration of the same names in `native.h`."""

    TEXT = 0
    TIME = 1
    STATUS = 2
    SMALL = 3
    LARGE = 4
    SECONDS = 5
    ATTRIBUTE = 6
    NAMED = 7
    LESSER = 8
    NOTHING = 9
    ASKED = 10


class Key(NamedTuple):
    """A key of a line and the column it means; of seconds, 10^shift of its units are one.

    `words` of a `NAMED` one stand for others, of up to 12 bytes all; of one that `is_address` a
    port is left out, and what is behind the first of several. Those that stand for an empty text
    are no value. `inside` keys from number `first` on are within its values: they are behind all
    that are within none; of pairs, its texts are theirs, too, or, of an `ASKED` one, method, path
    and protocol are. A `LESSER` one is an attribute where key number `main` has a value. A line has
    the `label` (empty: the name).
    """

    name: str
    column: str
    kind: Kind
    shift: int = 0
    words: tuple[tuple[str, str], ...] = ()
    is_address: bool = False
    first: int = 0
    inside: int = 0
    main: int = 0
    label: str = ""


class Tell(NamedTuple):
    """Numbers of keys of which a line has all, and whether it is read by these keys then."""

    keys: tuple[int, ...]
    is_ours: bool


class Pairs(NamedTuple):
    """How pairs are written: with a `sign` behind a label, and a byte `between` them.

    With a head, the text `before` is in front of it, behind what the first key means, the next
    `fields` keys mean those of it, the first of which is a number, each up to a bar, and the text
    `after` is behind them. A value `none` is as good as missing. If they are `spaced`, a value goes
    up to the spaces before the next label.
    """

    between: str = ""
    sign: str = ""
    none: str = ""
    is_spaced: bool = False
    before: str = ""
    fields: int = 0
    after: str = ""


class Keys(NamedTuple):
    """How keys are read, the first `top` of them at the top of a line.

    The first of the `tells` that a line has counts, `untold` if it has none. Times that are not as
    usual are read by the codes `way`.
    """

    all: Sequence[Key]
    top: int
    tells: Sequence[Tell] = ()
    untold: bool = True
    way: bytes = b""
    pairs: Pairs = Pairs()


class Shape(IntEnum):
    """How far a field goes: see the enumeration of the same names in `native.h`."""

    WORD = 0
    TWO_WORDS = 1
    DIGITS = 2
    WORDS = 3
    ESCAPED = 4
    MOMENT = 5
    SPACES = 6
    LITERAL = 7


class Meaning(IntEnum):
    """What a field is beyond its kind: see the enumeration of the same names in `native.h`."""

    ISO = 0
    EPOCH = 1
    REQUEST = 2
    PATTERN = 3


class Rest(IntEnum):
    """What is behind the text of a field: see the enumeration of the same names in `native.h`."""

    NONE = 0
    PAIRS = 1
    VALUES = 2
    OTHERS = 3


class Part(IntEnum):
    """What a time consists of: see the enumeration of the same names in `native.h`."""

    YEAR = 0
    MONTH = 1
    DAY = 2
    HOUR = 3
    MINUTE = 4
    SECOND = 5
    SHORT_YEAR = 6
    PADDED_DAY = 7
    MONTH_NAME = 8
    WEEKDAY = 9
    HALF = 10
    FRACTION = 11
    DECIMALS = 12
    ZONE = 13
    ZONE_NAME = 14
    UNIX = 15
    SEPARATOR = 16
    MAYBE_ZONE = 17


class Step(NamedTuple):
    """A part of a layout: the text before it, and a field; of `SPACES` and `LITERAL` there is none.

    The field ends where one of the texts of `ends` is, or, if it `may_be_last`, at the end of the
    line, or is `width` bytes. With `takes_end`, what is behind the (only) end is read on. A time
    that has `codes` ends by itself. `together`: this step and those behind it are all there, or
    none of them, so many.

    A line is left open if the field has one of two `odd` bytes; if it `is_even`, so is one with
    more than a space between words. Two `words` stand for none, or are all there are, if it
    `is_choice`. `is_guess`: a line may be of the layout all the same if an end is not here. A step
    that `is_fixed` ends in one place only. One that `is_cell` may be in quotes (RFC 4180). Of a
    `rest` the keys behind the step's are.
    """

    key: int
    shape: Shape
    meaning: Meaning = Meaning.ISO
    before: str = ""
    ends: tuple[str, ...] = ()
    may_be_last: bool = False
    takes_end: bool = False
    width: int = 0
    codes: bytes = b""
    odd: str = ""
    words: tuple[str, ...] = ()
    together: int = 0
    is_json: bool = False
    is_even: bool = False
    is_choice: bool = False
    is_guess: bool = False
    is_fixed: bool = False
    is_cell: bool = False
    rest: Rest = Rest.NONE

    @property
    def until(self) -> bytes:
        """Two bytes that each of its ends begins with one of; empty if there are more."""
        firsts = sorted({end.encode()[0] for end in self.ends})
        return bytes((firsts * 2)[:2]) if len(firsts) <= 2 else b""

    @property
    def least(self) -> int:
        """The field is looked at where a byte is less, too."""
        if self.ends and not self.until:
            return 255
        return ord(" ") + 1 if self.shape < Shape.DIGITS else 0

    @property
    def is_byte(self) -> bool:
        """Whether it ends where one byte is, and nowhere else."""
        return len(self.ends) == len("".join(self.ends).encode()) == 1 and not self.may_be_last

    @property
    def is_found(self) -> bool:
        """Whether it is a field that ends where something is behind it."""
        return self.shape < Shape.MOMENT and not self.width and not self.codes

    @property
    def has_zone(self) -> bool:
        """Whether a zone may be the last of its time."""
        zones = (Part.ZONE, Part.ZONE_NAME, Part.MAYBE_ZONE)
        return any(code & _PARTS in zones for code in self.codes if code >= _ABOVE_LITERALS)

    @property
    def is_watched(self) -> bool:
        """Whether there is more to be known of the field than where it ends."""
        return bool(self.odd or self.is_even or self.rest)


Paths: TypeAlias = tuple[tuple[Step, ...], ...]
"""The steps of layouts."""


class Read(NamedTuple):
    """The columns of all lines, and of which lines they are certain.

    `timestamp` is UTC but for lines whose time has no zone: it is what the `clocks` say of the
    `zone` of which they have the name, if they have any.
    """

    columns: pl.DataFrame
    ok: npt.NDArray[np.bool_]
    clocks: npt.NDArray[np.bool_]
    zone: str


_ABOVE_LITERALS, _PARTS = 128, 31  # of codes: see times.c
_CLOCK = 2  # beside 0 and 1, for a line whose time is of no zone
_SPAN = 24  # bytes
_View = np.dtype("V16")
MOST_HERE = 12
"""Bytes of a text that a view has itself."""


class _Word(ctypes.Structure):
    _fields_ = (("word", ctypes.c_uint8 * 16), ("meaning", ctypes.c_uint8 * 16))

    @classmethod
    def of(cls, word: str, meaning: str) -> _Word:
        """Both as views."""
        return cls(*map(_short_view, (word, meaning)))


def _short_view(text: str) -> ctypes.Array[ctypes.c_uint8]:
    data = text.encode()
    assert len(data) <= MOST_HERE
    whole = len(data).to_bytes(4, "little") + data.ljust(MOST_HERE, b"\0")
    return (ctypes.c_uint8 * 16)(*whole)


@cache
def _words(words: tuple[tuple[str, str], ...]) -> ctypes.Array[_Word]:
    behind = ("", "")  # whole vectors are read of the last one, too
    return (_Word * (len(words) + 1))(*(_Word.of(*pair) for pair in (*words, behind)))


class _Key(ctypes.Structure):
    _fields_ = (
        ("label", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("size", ctypes.c_int64),
        ("name_size", ctypes.c_int64),
        ("kind", ctypes.c_int64),
        ("shift", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        ("words", ctypes.c_void_p),
        ("word_count", ctypes.c_int64),
        ("longest_word", ctypes.c_int64),
        ("is_address", ctypes.c_int64),
        ("first", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("main", ctypes.c_int64),
    )

    @classmethod
    def of(cls, key: Key, name: bytes, out: int | None) -> _Key:
        """What C is told of a key, whose `name` is as an object begins with it."""
        label = key.label.encode() or name[2:-2]
        return cls(
            label + bytes(SLACK),
            name + bytes(SLACK),
            len(label),
            len(name),
            key.kind,
            key.shift,
            out,
            ctypes.addressof(_words(key.words)),
            len(key.words),
            max((len(word.encode()) for word, _ in key.words), default=-1),
            key.is_address,
            key.first,
            key.inside,
            key.main,
        )


class _Tell(ctypes.Structure):
    _fields_ = (("keys", ctypes.c_uint64), ("is_ours", ctypes.c_int64))

    @classmethod
    def of(cls, tell: Tell) -> _Tell:
        """What C is told of it."""
        return cls(_bits(tell.keys), tell.is_ours)


def _bits(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in set(numbers))


class _Literal(ctypes.Structure):
    _fields_ = (
        ("text", ctypes.c_char_p),
        ("size", ctypes.c_int64),
        ("word", ctypes.c_uint64),
        ("mask", ctypes.c_uint64),
    )

    @classmethod
    def of(cls, text: str) -> _Literal:
        """What C is told of a text."""
        data = text.encode()
        word, mask = data[:8], b"\xff" * len(data[:8])
        return cls(data, len(data), *(int.from_bytes(part, "little") for part in (word, mask)))


class _Step(ctypes.Structure):
    _fields_ = (
        ("before", _Literal),
        ("ends", ctypes.POINTER(_Literal)),
        ("words", _Literal * 2),
        ("codes", ctypes.c_char_p),
        ("key", ctypes.c_int64),
        ("shape", ctypes.c_int64),
        ("meaning", ctypes.c_int64),
        ("longest_empty", ctypes.c_int64),
        ("end_count", ctypes.c_int64),
        ("behind", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("together", ctypes.c_int64),
        ("rest", ctypes.c_int64),
        ("may_be_last", ctypes.c_bool),
        ("is_json", ctypes.c_bool),
        ("is_even", ctypes.c_bool),
        ("is_choice", ctypes.c_bool),
        ("is_watched", ctypes.c_bool),
        ("is_guess", ctypes.c_bool),
        ("is_fixed", ctypes.c_bool),
        ("is_byte", ctypes.c_bool),
        ("is_found", ctypes.c_bool),
        ("is_cell", ctypes.c_bool),
        ("has_zone", ctypes.c_bool),
        ("least", ctypes.c_uint8),
        ("until", ctypes.c_uint8 * 2),
        ("odd", ctypes.c_uint8 * 2),
    )

    @classmethod
    def of(cls, step: Step) -> _Step:
        """What C is told of a step."""
        words = (*step.words, *step.words, "", "")[:2]
        longest_empty = 0 if step.is_choice else max(len(word.encode()) for word in words)
        odd = (*step.odd.encode(), *step.odd.encode(), 0, 0)[:2]
        return cls(
            _Literal.of(step.before),
            (_Literal * len(step.ends))(*map(_Literal.of, step.ends)),
            (_Literal * 2)(*map(_Literal.of, words)),
            step.codes,
            step.key,
            step.shape,
            step.meaning,
            longest_empty,
            len(step.ends),
            len(step.ends[0].encode()) if step.takes_end else 0,
            step.width,
            step.together,
            step.rest,
            step.may_be_last,
            step.is_json,
            step.is_even,
            step.is_choice,
            step.is_watched,
            step.is_guess,
            step.is_fixed,
            step.is_byte,
            step.is_found,
            step.is_cell,
            step.has_zone,
            step.least,
            (ctypes.c_uint8 * 2)(*step.until),
            odd,
        )


class _Pairs(ctypes.Structure):
    _fields_ = (
        ("before", _Literal),
        ("after", _Literal),
        ("count", ctypes.c_int64),
        ("between", ctypes.c_uint8),
        ("sign", ctypes.c_uint8),
        ("none", ctypes.c_uint8),
        ("is_spaced", ctypes.c_bool),
    )

    @classmethod
    def of(cls, pairs: Pairs) -> _Pairs:
        """What C is told of them."""
        literals = map(_Literal.of, (pairs.before, pairs.after))
        signs = (ord(sign or "\0") for sign in (pairs.between, pairs.sign, pairs.none))
        return cls(*literals, pairs.fields, *signs, pairs.is_spaced)


class _Path(ctypes.Structure):
    _fields_ = (
        ("steps", ctypes.POINTER(_Step)),
        ("count", ctypes.c_int64),
        ("shared", ctypes.c_int64),
    )


@cache
def _paths(paths: Paths) -> ctypes.Array[_Path]:
    tables = [(_Step * len(steps))(*map(_Step.of, steps)) for steps in paths]
    shared = [sum(takewhile(bool, map(eq, *two))) for two in pairwise(((), *paths))]
    return (_Path * len(paths))(
        *(_Path(table, len(table), same) for table, same in zip(tables, shared, strict=True))
    )


class _Made(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("buffer", ctypes.c_int32),
    )

    @classmethod
    def of(cls, memory: npt.NDArray[np.uint8], buffer: int) -> _Made:
        """All of this memory, which is to be the buffer of this number."""
        return cls(memory.ctypes.data, 0, len(memory) - SLACK, buffer)


class _Reading(ctypes.Structure):
    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("key_count", ctypes.c_int64),
        ("tells", ctypes.c_void_p),
        ("tell_count", ctypes.c_int64),
        ("untold", ctypes.c_int64),
        ("lesser", ctypes.c_uint64),
        ("paths", ctypes.c_void_p),
        ("path_count", ctypes.c_int64),
        ("spans", ctypes.c_void_p),
        ("pairs", _Pairs),
        ("way", ctypes.c_char_p),
        ("room", ctypes.c_int64),
        ("attributes", ctypes.c_void_p),
        ("lines", _Made),
        ("texts", _Made),
        ("objects", _Made),
        ("timeless", ctypes.c_int64),
        ("zone", ctypes.c_uint64),
        ("progress", ctypes.c_int64 * 10),
    )


_DTYPES = {
    Kind.TEXT: (_View, pa.string_view()),
    Kind.TIME: (np.dtype(np.int64), pa.timestamp("us", "UTC")),
    Kind.STATUS: (np.dtype(np.uint16), pa.uint16()),
    Kind.SMALL: (np.dtype(np.uint16), pa.uint16()),
    Kind.LARGE: (np.dtype(np.uint64), pa.uint64()),
    Kind.SECONDS: (np.dtype(np.float64), pa.float64()),
    Kind.NAMED: (_View, pa.string_view()),
}


def count_newlines(data: bytes | memoryview) -> int:
    """How many bytes are newlines."""
    return _find_newlines(data, np.empty(0, np.int64))


def find_newlines(data: bytes | memoryview) -> npt.NDArray[np.int64]:
    """The places behind all newlines."""
    places = np.empty(len(data) // _USUAL_LINE, np.int64)
    count = _find_newlines(data, places)
    if count > len(places):
        places = np.empty(count, np.int64)
        _find_newlines(data, places)
    return places[:count]


def _address(data: bytes | memoryview) -> int:
    return int(np.frombuffer(data, np.uint8).ctypes.data)


def _find_newlines(data: bytes | memoryview, places: npt.NDArray[np.int64]) -> int:
    """Fills in as many places as there is room for; returns how many there are."""
    assert native.library
    find = native.library.logwax_find_newlines
    find.restype = ctypes.c_int64
    count: int = find(
        ctypes.c_void_p(_address(data)),
        ctypes.c_int64(len(data)),
        ctypes.c_void_p(places.ctypes.data),
        ctypes.c_int64(len(places)),
    )
    return count


def _letters(word: int) -> str:
    return word.to_bytes(8, "little").rstrip(b"\0").decode()


def can_read(text: bytes, count: int, keys: Sequence[Key], form: Form) -> bool:
    """Whether these lines can be read here at all; without keys there is nothing to read."""
    is_usual = form is Form.LAYOUT or 0 < len(keys) <= MOST_KEYS
    is_small = _room(len(text), count, keys) <= _MOST_BYTES
    return native.library is not None and is_usual and is_small


def _room(size: int, count: int, keys: Sequence[Key]) -> int:
    """The most that the objects of so many lines can take; unescaped texts take `size` at most.

    A byte becomes two at most, where a backslash means itself.
    """
    return 2 * size + count * _room_beside(keys)


def _room_beside(keys: Sequence[Key]) -> int:
    """What an object takes beside what is in its line: `k` alone becomes `"k":true,`."""
    names = sum(len(key.name.encode()) for key in keys if key.kind not in _DTYPES)
    return len("{}") + len('"":true,') * len(keys) + names


def _blanks(count: int, types: Sequence[np.dtype[Any]]) -> Iterator[npt.NDArray[Any]]:
    """So many values of each type, which are none: NaN of floats, else 0; all memory at once."""
    room = -(-count // 16) * 16  # so that each begins where its type may
    memory = np.zeros(room * sum(each.itemsize for each in types), np.uint8)
    begin = 0
    for each in types:
        blank = memory[begin : begin + count * each.itemsize].view(each)
        if each == np.float64:
            blank.fill(np.nan)
        yield blank
        begin += room * each.itemsize


def read(
    form: Form,
    text: bytes,
    starts: npt.NDArray[np.int64],
    keys: Keys,
    paths: Paths = (),
) -> Read:
    """Lines of this format; what is no column's goes into the column `attributes`, if any is.

    Of seconds NaN is none. Lines of layouts are read by the steps of the first of them that fits.
    """
    assert native.library
    count = len(starts) - 1
    typed = {key.column: _DTYPES[key.kind] for key in keys.all if key.kind in _DTYPES}
    types = [dtype for dtype, _ in typed.values()]
    *cells, attributes, ok = _blanks(count, [*types, _View, np.dtype(np.uint8)])
    values = dict(zip(typed, cells, strict=True))
    names = [f'{{"{key.name}":'.encode() for key in keys.all]
    outs = {column: cell.ctypes.data for column, cell in values.items()}
    table = (_Key * len(keys.all))(
        *(
            _Key.of(key, name, outs.get(key.column))
            for key, name in zip(keys.all, names, strict=True)
        )
    )
    tells = (_Tell * len(keys.tells))(*map(_Tell.of, keys.tells))
    has_attributes = any(key.kind not in _DTYPES for key in keys.all)
    table_of_paths = _paths(paths)
    spans = np.empty((max(map(len, paths), default=0), _SPAN), np.uint8)
    reading = _Reading(
        keys=ctypes.addressof(table),
        key_count=keys.top,
        tells=ctypes.addressof(tells),
        tell_count=len(tells),
        untold=keys.untold,
        lesser=_bits(n for n, key in enumerate(keys.all) if key.kind is Kind.LESSER),
        paths=ctypes.addressof(table_of_paths),
        path_count=len(paths),
        spans=spans.ctypes.data,
        pairs=_Pairs.of(keys.pairs),
        way=keys.way or None,
        room=_room_beside(keys.all),
        attributes=attributes.ctypes.data if has_attributes else None,
        timeless=all(key.kind is not Kind.TIME for key in keys.all),
    )
    some = False
    call = native.library.logwax_read
    call.restype = ctypes.c_int64
    texts = [pa.py_buffer(text)]
    # Of the last lines, too, C may read what is behind them: it reads a copy of them. Places are
    # told from `text`, whose views there are the same.
    safe = int(np.searchsorted(starts[1:], len(text) - SLACK, "right"))
    rest = text[starts[safe] :] + bytes(SLACK)
    line, share = 0, _USUAL_SHARE
    while line < count:
        size = len(text) - int(starts[line])
        is_safe = line < safe
        reading.lines.data = _address(text) if is_safe else _address(rest) - int(starts[safe])
        objects = np.empty(_room(size, count - line, keys.all) // share + SLACK, np.uint8)
        others = np.empty(size // share + SLACK, np.uint8)
        reading.objects = _Made.of(objects, len(texts))
        reading.texts = _Made.of(others, len(texts) + 1)
        line = call(
            ctypes.c_int64(form),
            ctypes.byref(reading),
            ctypes.c_void_p(starts.ctypes.data),
            ctypes.c_int64(line),
            ctypes.c_int64(safe if is_safe else count),
            ctypes.c_void_p(ok.ctypes.data),
        )
        share = 1
        texts += [shrunk(objects, reading.objects.size), shrunk(others, reading.texts.size)]
        some |= reading.objects.size > 0
    columns = {
        column: array_of(dtype, values[column], texts) for column, (_, dtype) in typed.items()
    }
    if some:
        columns["attributes"] = array_of(pa.string_view(), attributes, texts)
    return Read(frame_of(columns), ok > 0, ok == _CLOCK, _letters(reading.zone))
