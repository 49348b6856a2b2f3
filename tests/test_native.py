"""The compiled part: when it is used, and that it writes what columns do."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import sys
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from zipfile import ZipFile
from zlib import crc32
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import native
from connectors.batch import COLUMNS
from connectors.distinct import distinct
from connectors.sinks.influxdb.line_protocol import encode
from flows.enrichment.enricher import enricher
from flows.parsing.formats import combined
from flows.parsing.lines import Lines
from log_generator.formats import FORMATS as GENERATED
from log_generator.formats import render
from log_generator.values import Traffic
from native.block import write_block
from native.lines import Form, Kind, Meaning, Part, Shape
from native.text import SLACK, Quoted, Rows, Views, _Form, mask_ids, texts_of
from tests.conftest import ROOT
from tests.fuzzing import MOST_BYTES, write_corpus
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


def test_without_compiler_and_npm_the_build_brings_both_and_the_wheel_is_for_every_python(
    tmp_path: Path,
) -> None:
    made = ("build", "data", "*.so", "*.egg-info", "lib", "node_modules")
    unwanted = shutil.ignore_patterns(".*", *made, "tests", "docs")
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
    page = tmp_path / "installed" / "api" / "page"
    assert (page / "index.html").exists() and (page / "lib" / "preact.js").exists()


@pytest.mark.parametrize("ours", [Form, Kind, Shape, Meaning, Part, _Form])
def test_c_numbers_its_enumerations_as_python_does(ours: type[IntEnum]) -> None:
    sources = "".join(file.read_text() for file in Path(native.__file__).parent.glob("*.[ch]"))
    sources = " ".join(sources.split())
    assert [one.value for one in ours] == list(range(len(ours)))
    assert f"enum {{ {', '.join(one.name for one in ours)} }};" in sources


def test_what_may_be_behind_a_text_is_as_much_in_c_as_in_python() -> None:
    assert f"SLACK = {SLACK} }};" in Path(native.__file__).with_name("concat.c").read_text()


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


def test_equal_texts_are_one_whatever_stands_behind_them() -> None:
    for text in ("x" * size for size in range(1, 50)):
        texts = pl.Series([f"{text}11111111", f"{text}22222222"]).str.head(len(text))
        assert distinct(texts).values.to_list() == [text]


def with_nothing_behind(texts: list[str]) -> pl.Series:
    """These texts, each in memory of its own, which ends with it."""
    memory = [np.frombuffer(text.encode(), np.uint8).copy() for text in texts]
    views = np.zeros(len(texts), "V16")
    for number, text in enumerate(memory):
        size, place = struct.pack("<i", len(text)), struct.pack("<ii", number, 0)
        start = text.tobytes() if len(text) <= 12 else text.tobytes()[:4] + place
        views[number] = size + start.ljust(12, b"\0")
    made = texts_of(views, [pa.py_buffer(text) for text in memory])
    assert Views(made).values == views.ctypes.data
    return made


def test_a_line_with_the_attributes_of_the_line_before_shares_them() -> None:
    """Else every line of an access log would take memory for its protocol."""
    lines = Lines(b"".join(f"{sample}\n".encode() for sample in combined.FORMAT.samples[:1] * 3))
    attributes = combined.FORMAT.make(ZoneInfo("UTC")).columns(lines)["attributes"]
    _, views, *_ = attributes.to_arrow(compat_level=pl.CompatLevel.newest()).buffers()
    first, second, _ = np.frombuffer(views, "V16")  # the last line is read in a copy of it
    assert attributes.to_list() == ['{"protocol":"HTTP/1.1"}'] * 3
    assert first == second


def test_texts_with_nothing_behind_them_are_read_as_others() -> None:
    texts = [(text + '/17/a-"' * 20)[:size] for text in "/?" for size in range(140)]
    bare, usual = with_nothing_behind(texts), pl.Series("", texts)
    assert mask_ids(bare).to_list() == mask_ids(usual).to_list()
    assert distinct(bare).values.to_list() == distinct(usual).values.to_list()
    assert b"".join(write_block(bare.to_frame())) == b"".join(write_block(usual.to_frame()))
    one, other = (Rows(len(texts), [Quoted("q=", each), each]) for each in (bare, usual))
    assert one.between(0, len(texts)) == other.between(0, len(texts))


SANITIZED = [  # without those that load ClickHouse's engine, which refuses to be beside sanitizers
    "tests/test_enrichment.py",
    "tests/test_formats.py",
    "tests/test_line_protocol.py",
    "tests/test_native.py",
    *(str(file) for file in ROOT.glob("tests/test_parsing_*.py") if "encodings" not in file.name),
]


def runtime(name: str) -> str:
    """Where clang has one of its own libraries."""
    command = ["clang", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def sanitized(folder: Path, *more: str) -> tuple[Path, dict[str, str]]:
    """The compiled part with sanitizers, and the environment that a process needs for it."""
    file = folder / "sanitized.so"
    flags = ["-O1", "-g", "-shared", "-fPIC", "-shared-libasan", "-fno-sanitize-recover=all"]
    sources = Path(native.__file__).parent.glob("*.c")
    command = ["clang", *flags, "-fsanitize=address,undefined", *more, "-o", file, *sources, "-lm"]
    subprocess.run(command, check=True)
    return file, {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "LD_PRELOAD": runtime(f"libclang_rt.asan-{platform.machine()}.so"),
        "ASAN_OPTIONS": "detect_leaks=0:malloc_context_size=0:quarantine_size_mb=8",
        "PYTHONMALLOC": "malloc",  # so that memory is bounded object by object
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }


def test_nothing_is_read_or_written_outside_of_what_was_given(tmp_path: Path) -> None:
    file, environment = sanitized(tmp_path)
    pytest_ = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--capture=sys",
    ]
    # The fuzzer, which is sanitized, too, looks for lines on which they do not agree.
    unwanted = ("plain", "outside_of", "compiler", "vectors", "many_lines", "mutated", "agree")
    unwanted += ("local_times",)  # the same C for every zone
    chosen = " and ".join(f"not {word}" for word in unwanted)
    done = subprocess.run(
        [*pytest_, f"--compiled={file}", "--hypothesis-profile=few", "-k", chosen, *SANITIZED],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_mutated_line_is_read_otherwise_than_its_definition_says(
    tmp_path: Path, soak: bool
) -> None:
    driver = runtime(f"libclang_rt.fuzzer_no_main-{platform.machine()}.a")
    whole = ["-Wl,-Bsymbolic", "-Wl,--whole-archive", driver, "-Wl,--no-whole-archive", "-lstdc++"]
    mutator = str(ROOT / "tests/fuzzing.c")
    file, environment = sanitized(tmp_path, "-fsanitize=fuzzer-no-link", *whole, mutator)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_corpus(corpus)
    seconds = f"-max_total_time={1800 if soak else 20}"
    lengths = [f"-max_len={MOST_BYTES}", "-len_control=0"]
    others = ["-use_value_profile=1", f"-artifact_prefix={tmp_path}/"]
    wanted, mutated = 10_000_000 if soak else 10_000, 0
    while mutated < wanted:  # a busy machine needs another run, which goes on with the same corpus
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzzing", file, seconds, *lengths, *others, corpus],
            cwd=ROOT,
            env={**environment, "POLARS_MAX_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        found = [file.read_bytes() for file in tmp_path.glob("crash-*")]
        assert (done.returncode, found) == (0, []), done.stderr[-10_000:]
        print(done.stdout)
        lines = int(done.stdout.split()[0])
        assert lines
        mutated += lines


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
