"""The compiled part is used where it is of the sources that are there."""

from __future__ import annotations

import shutil
import subprocess
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from zlib import crc32

import pytest

import native

SOURCES = [Path(native.__file__).with_name(name) for name in ("native.h", "sources.c")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources, and what `setup.py` would make of them."""
    for source in SOURCES:
        shutil.copy(source, tmp_path)
    checksum = crc32(b"".join(source.read_bytes() for source in SOURCES))
    compiled = tmp_path / f"compiled{EXTENSION_SUFFIXES[0]}"
    define = f"-DLOGWAX_SOURCES={checksum}u"
    subprocess.run(
        ["cc", "-shared", "-fPIC", define, "-o", compiled, tmp_path / "sources.c"], check=True
    )
    return tmp_path


def test_what_was_compiled_of_these_sources_is_used(folder: Path) -> None:
    assert native.load(folder)


def test_what_was_compiled_of_other_sources_is_not_used(folder: Path) -> None:
    with (folder / "native.h").open("a") as header:
        header.write("/* pulled since */\n")
    assert native.load(folder) is None


def test_nothing_compiled_is_no_error(tmp_path: Path) -> None:
    assert native.load(tmp_path) is None
