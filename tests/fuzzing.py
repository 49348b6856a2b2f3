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
from importlib import import_module
from itertools import compress
from pathlib import Path
from typing import NoReturn
from zoneinfo import ZoneInfo

import polars as pl

import native
from flows.parsing import FORMATS
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Format
from log_generator.formats import FORMATS as GENERATED
from log_generator.formats import render
from log_generator.values import Traffic
from tests.conftest import ROOT
from tests.parsing_checks import filled


def described(name: str) -> Format:
    """The format of this name."""
    made: Format = import_module(FORMATS[name]).make(ZoneInfo("Europe/Berlin"), 3)
    return made


def write_corpus(folder: Path) -> None:
    """Lines to begin with, in files: those in the documentation, and generated ones."""
    documented = (ROOT / "docs" / "formats.md").read_text().replace("`", "\n").encode()
    times = pl.datetime(2026, 11, 1, time_zone="UTC")
    requests = Traffic(seed=1, bad_ratio=0.2).take(40).with_columns(time=times)
    generated = b"".join(render(requests, each) for each in GENERATED.values())
    for number, line in enumerate({*documented.split(b"\n"), *generated.split(b"\n")}):
        for which in range(len(FORMATS)):
            (folder / f"{number}-{which}").write_bytes(bytes([which]) + line)


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
    formats = [described(name) for name in FORMATS]

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    def one(data: int, size: int) -> int:
        try:
            if size:
                check(formats, ctypes.string_at(data, size))
        except BaseException:  # which would not get through the C code
            traceback.print_exc()
            os._exit(1)
        return 0

    words = [file.encode(), *map(str.encode, arguments), None]
    argv = ctypes.pointer((ctypes.c_char_p * len(words))(*words))
    argc = ctypes.c_int(len(words) - 1)
    sys.exit(native.library.LLVMFuzzerRunDriver(ctypes.byref(argc), ctypes.byref(argv), one))


if __name__ == "__main__":
    fuzz(sys.argv[1], sys.argv[2:])
