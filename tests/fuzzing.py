"""libFuzzer on the compiled part, with the definition of each format as its oracle.

`python -m tests.fuzzing FILE ARGUMENTS...` takes native/ compiled with libFuzzer in it, and the
arguments of libFuzzer (https://llvm.org/docs/LibFuzzer.html). It mutates lines so that they reach
more of the C code. They are read as the pipeline reads them: each row that the fast way is sure of
must be the row that the definition makes. The first that is not ends the process, as does whatever
a sanitizer finds.
"""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from itertools import compress
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo

import native
from flows.parsing import FORMATS
from flows.parsing.choice import describe
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Format
from tests.parsing_checks import filled


def write_corpus(folder: Path) -> None:
    """Lines to begin with, each in a file: the samples of the formats."""
    for which, name in enumerate(FORMATS):
        for number, line in enumerate(describe(name).samples):
            (folder / f"{name}-{number}").write_bytes(bytes([which]) + line.encode())


def check(formats: list[Format], data: bytes) -> None:
    """Raise `AssertionError` if the fast way differs; the first byte says which format it is."""
    which, text = data[0] % len(formats), data[1:].decode("utf-8", "replace")
    lines = [line for line in text.split("\n") if line.removesuffix("\r")]
    if not lines:
        return
    made = formats[which].columns(Lines("".join(f"{line}\n" for line in lines).encode()))
    sure = made.drop_in_place(OK)
    if sure.any():
        rows = made.filter(sure).rows(named=True)
        for line, row in zip(compress(lines, sure), rows, strict=True):
            assert filled(row) == filled(formats[which].line(line.removesuffix("\r"))), line


def fuzz(file: str, arguments: list[str]) -> NoReturn:
    """Run libFuzzer until it has found something, or its time is over."""
    native.library = ctypes.CDLL(file)
    formats = [describe(name).make(ZoneInfo("Europe/Berlin"), 3) for name in FORMATS]

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    def one(data: int, size: int) -> int:
        given = ctypes.string_at(data, size)
        try:
            if given:
                check(formats, given)
        except BaseException:  # which would not get through the C code
            traceback.print_exc()
            print(
                f"LOG_FORMAT={[*FORMATS][given[0] % len(FORMATS)]}: {given[1:]!r}", file=sys.stderr
            )
            os._exit(1)
        return 0

    words = [file.encode(), *map(str.encode, arguments), None]
    argv = ctypes.pointer((ctypes.c_char_p * len(words))(*words))
    argc = ctypes.c_int(len(words) - 1)
    sys.exit(native.library.LLVMFuzzerRunDriver(ctypes.byref(argc), ctypes.byref(argv), one))


if __name__ == "__main__":
    fuzz(sys.argv[1], sys.argv[2:])
