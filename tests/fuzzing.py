"""libFuzzer on the compiled part, with the definition of each format as its oracle.

`python -m tests.fuzzing FILE ARGUMENTS...` takes native/ and `fuzzing.c`, compiled with libFuzzer
in them, and the arguments of libFuzzer (https://llvm.org/docs/LibFuzzer.html). It mutates lines so
that they reach more of the C code. They are read as the pipeline reads them: each row that the fast
way is sure of must be the row that the definition makes. The first that is not ends the process, as
does whatever a sanitizer finds. How many lines were mutated is printed at the end.
"""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from collections import deque
from itertools import compress
from pathlib import Path
from random import Random
from typing import NoReturn
from zoneinfo import ZoneInfo

import native
from flows.parsing import FORMATS
from flows.parsing.choice import Description, describe
from tests.layouts import ALL
from tests.parsing_checks import agreed

_MOST_LINES = 100
_LONGEST = 500
_GOOD = 0.3
MOST_BYTES = 1 + _MOST_LINES * (_LONGEST + 1)
"""The longest input: the number of a format, as a byte, and lines."""

_CHECK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_MUTATE = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint
)


def write_corpus(folder: Path) -> None:
    """Lines to begin with, each in a file: the samples of the formats."""
    for which, (name, form) in enumerate(_described().items()):
        for number, line in enumerate(form.samples):
            (folder / f"{name}-{number}").write_bytes(bytes([which]) + line.encode())


def _described() -> dict[str, Description]:
    """All formats, and the layouts of the tests, by name."""
    return {**{name: describe(name) for name in FORMATS}, **ALL}


class Target:
    """What libFuzzer calls."""

    def __init__(self) -> None:
        self._names = [*_described()]
        described = [*_described().values()]
        self._formats = [one.make(ZoneInfo("Europe/Berlin"), 3) for one in described]
        self._good = [deque(map(str.encode, one.samples), _MOST_LINES) for one in described]
        self.lines = self.sure = 0

    def mutate(self, data: int, size: int, room: int, seed: int) -> int:
        """Put the next input in the place of one: many mutations of one line.

        It is of the input, or one that was read before: most mutations are of no format any more.
        libFuzzer itself would change one line of an input, and the others would be no news.
        """
        assert native.library
        random = Random(seed)
        form, *lines = (
            ctypes.string_at(data, 1),
            *ctypes.string_at(data + 1, max(size - 1, 0)).split(b"\n"),
        )
        if random.random() < _GOOD:
            lines = [*self._good[form[0] % len(self._names)]]
        line = random.choice(lines)[:_LONGEST]
        place = ctypes.create_string_buffer(_LONGEST)
        made = []
        for _ in range(_MOST_LINES):
            ctypes.memmove(place, line, len(line))
            length = native.library.LLVMFuzzerMutate(place, len(line), _LONGEST)
            made.append(place.raw[:length])
        after = (form + b"\n".join(made))[:room]
        ctypes.memmove(data, after, len(after))
        return len(after)

    def say(self, *_: object) -> None:
        """Print what was done."""
        print(f"{self.lines} lines mutated, {self.sure} read", flush=True)

    def check(self, data: int, size: int) -> int:
        """End the process if the fast way reads a line otherwise."""
        given = ctypes.string_at(data, size)
        try:
            if given:
                self._check(given[0] % len(self._names), given[1:].decode("utf-8", "replace"))
        except BaseException:  # which would not get through the C code
            print(f"{self._names[given[0] % len(self._names)]}: {given[1:]!r}", file=sys.stderr)
            traceback.print_exc()
            os._exit(1)
        return 0

    def _check(self, which: int, text: str) -> None:
        lines = [line for line in text.split("\n") if line.removesuffix("\r")]
        if not lines:
            return
        sure = list(compress(lines, agreed(self._formats[which], lines)))
        self._good[which].extend(map(str.encode, sure))
        self.lines += len(lines)
        self.sure += len(sure)


def fuzz(file: str, arguments: list[str]) -> NoReturn:
    """Run libFuzzer until it has found something, or its time is over."""
    native.library = ctypes.CDLL(file)
    native.library.LLVMFuzzerMutate.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
    native.library.LLVMFuzzerMutate.restype = ctypes.c_size_t
    target = Target()
    mutate, check = _MUTATE(target.mutate), _CHECK(target.check)
    ctypes.c_void_p.in_dll(native.library, "mutate").value = ctypes.cast(
        mutate, ctypes.c_void_p
    ).value
    words = [file.encode(), *map(str.encode, arguments), None]
    argv = ctypes.pointer((ctypes.c_char_p * len(words))(*words))
    argc = ctypes.c_int(len(words) - 1)
    say = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p)(target.say)
    ctypes.CDLL(None).on_exit(say, None)  # libFuzzer does not come back here
    native.library.LLVMFuzzerRunDriver(ctypes.byref(argc), ctypes.byref(argv), check)
    raise AssertionError("libFuzzer came back")


if __name__ == "__main__":
    fuzz(sys.argv[1], sys.argv[2:])
