"""The compiled part: when it is used, and that it writes what columns do."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from zipfile import ZipFile
from zlib import crc32

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import native
from connectors.batch import COLUMNS
from connectors.distinct import distinct
from connectors.sinks.influxdb.line_protocol import encode
from flows.enrichment.enricher import enricher
from log_generator.formats import FORMATS as GENERATED
from log_generator.formats import render
from log_generator.values import Traffic
from native.lines import is_ascii
from tests.conftest import ROOT
from tests.parsing_checks import parse

SOURCES = [Path(native.__file__).with_name(name) for name in ("native.h", "sources.c")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources, and what `setup.py` would make of them."""
    for source in SOURCES:
        shutil.copy(source, tmp_path)
    checksum = crc32(b"".join(source.read_bytes() for source in SOURCES))
    compiled = tmp_path / "compiled.so"
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


def test_without_a_compiler_the_build_brings_one_and_the_wheel_is_for_every_python(
    tmp_path: Path,
) -> None:
    unwanted = shutil.ignore_patterns(".*", "build", "data", "*.so", "*.egg-info", "tests", "docs")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=unwanted)
    (tmp_path / "no-programs").mkdir()
    pins = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), str(ROOT / "constraints.txt"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path]
    without = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS")}
    subprocess.run(
        [*pip, source], env={**without, **pins, "PATH": str(tmp_path / "no-programs")}, check=True
    )

    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith(f"-py3-none-linux_{platform.machine()}.whl")
    ZipFile(wheel).extractall(tmp_path / "installed")
    assert native.load(tmp_path / "installed" / "native")


def stored_from(name: str, data: bytes) -> bytes:
    """What InfluxDB is sent of these lines, and why some are dead letters."""
    parsed = enricher()(parse(name, data))
    lines = encode(parsed.rows, ("customer_id", "method"))
    return bytes(lines.between(0, len(lines))) + repr(parsed.rejected.rows()).encode()


@pytest.mark.parametrize("name", GENERATED)
def test_a_machine_without_vectors_gets_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Path(native.__file__).parent
    compiled = tmp_path / "compiled.so"
    command = ["cc", "-O1", "-U__SSE2__", "-shared", "-fPIC", "-o", compiled]
    subprocess.run([*command, *sources.glob("*.c"), "-lm"], check=True)
    plain = native.load(tmp_path)
    assert plain

    times = pl.datetime(2026, 11, 1, time_zone="UTC")
    requests = Traffic(seed=1, bad_ratio=0.01).take(5000).with_columns(time=times)
    data = render(requests, GENERATED[name])
    with_vectors = stored_from(name, data)
    monkeypatch.setattr(native, "library", plain)
    assert stored_from(name, data) == with_vectors


@given(st.binary(max_size=100) | st.text(st.characters(codec="ascii")).map(str.encode))
def test_whether_all_is_ascii_is_what_python_says(data: bytes) -> None:
    assert is_ascii(data) == data.isascii()


def test_equal_texts_are_one_whatever_stands_behind_them() -> None:
    for text in ("x" * size for size in range(1, 50)):
        texts = pl.Series([f"{text}11111111", f"{text}22222222"]).str.head(len(text))
        assert distinct(texts).values.to_list() == [text]


TEXTS = st.text(st.sampled_from(',= "\\\n\r\t\0\x1f\x7f#x€😀'), max_size=20)
FLOATS = st.one_of(
    st.floats(),
    st.floats(0, 1e10),
    st.builds(
        lambda digits, shift: digits / 10.0**shift, st.integers(0, 10**16), st.integers(0, 20)
    ),
    st.sampled_from(
        [-0.0, 5e-324, 1e-4, 1e-5, 9.999999999999999e-05, 999999.9999999999, 1e9, 1e16]
    ),
)
VALUES: dict[str, st.SearchStrategy[object]] = {
    "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(2299, 12, 31)),
    "file_id": st.integers(0, 2**64 - 1),
    "line": st.integers(0, 2**64 - 1),
    "customer_id": st.none() | TEXTS,
    "message": st.none() | TEXTS,
    "success": st.none() | st.booleans(),
    "status_code": st.none() | st.integers(0, 2**16 - 1),
    "bytes_sent": st.none() | st.sampled_from([0, 9, 10, 99, 100, 2**63 - 1, 2**63, 2**64 - 1]),
    "duration": st.none() | FLOATS,
}


@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=20), st.data())
def test_compiled_lines_are_byte_for_byte_those_of_columns(
    rows: list[dict[str, object]], data: st.DataObject
) -> None:
    given_ones = data.draw(st.sampled_from([rows, rows * 60]))
    frame = pl.DataFrame(given_ones, schema={name: COLUMNS[name] for name in VALUES})
    tags = data.draw(st.sampled_from([(), ("customer_id", "success")]))
    assert native.library
    compiled = encode(frame, tags)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(native, "library", None)
        plain = encode(frame, tags)
    for row in range(len(frame)):
        assert compiled.between(row, row + 1) == plain.between(row, row + 1)
