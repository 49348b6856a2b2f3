"""Compressed files of every kind, whole, growing and damaged; and files that hold no text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import sqlite3
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from connectors.sources import content, copies, file_list, handles, recognising
from connectors.sources.content import open_content
from connectors.sources.tailed_file import Limits
from tests.conftest import wait_for
from tests.tailing import Memory, Tail, append


def pzstd(data: bytes) -> bytes:
    """As pzstd writes it: before each frame, a skippable one that holds its size."""
    frame = zstd.compress(data)
    return b"\x50\x2a\x4d\x18\x04\0\0\0" + len(frame).to_bytes(4, "little") + frame


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstd.compress,
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "pzst": pzstd,
}
BETWEEN = {"gz": b"\0" * 512, "xz": b"\0" * 4, "zst": b"\x5f\x2a\x4d\x18\x02\0\0\0ab"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for fractions of a second where it would be seconds."""
    monkeypatch.setattr(copies, "STILL_SECONDS", 0.3)
    monkeypatch.setattr(file_list, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(handles, "LINGER_SECONDS", 0.5)


@pytest.fixture(params=PACKED)
def kind(request) -> str:
    return request.param


@pytest.fixture
def pack(kind):
    return PACKED[kind]


def lines(first: int, count: int) -> bytes:
    """Lines that do not compress well, so that a damage is in the midst of them."""
    made = random.Random(first)
    return b"".join(b"%06d %032x\n" % (first + n, made.getrandbits(128)) for n in range(count))


def run(tail, pattern: Path | str, memory: Memory, **options: object) -> Tail:
    """Read what is there, as with FOLLOW=false; the source that has done so."""
    tailed = tail(pattern, memory, follow=False, **options)
    tailed.read_to_end()
    return tailed


def stored(memory: Memory) -> list[bytes]:
    return [line for _, line in sorted(memory.lines.items())]


def is_stored(memory: Memory, *parts: bytes) -> bool:
    return sorted(stored(memory)) == sorted(b"".join(parts).splitlines(True))


# --- all of it -----------------------------------------------------------------------------------


def test_reads_every_member_frame_and_stream(tail, tmp_path, kind, pack):
    parts = [lines(1, 300), b"", lines(1000, 500), lines(2000, 1)]
    between = BETWEEN.get(kind, b"")
    (tmp_path / "a").write_bytes(b"".join(pack(part) + between for part in parts))
    memory = Memory()
    tailed = run(tail, tmp_path / "a", memory)
    assert b"".join(stored(memory)) == b"".join(parts)
    assert tailed.problems == ""


def test_a_line_may_cross_members(tail, tmp_path, pack):
    data = lines(1, 100)
    (tmp_path / "a").write_bytes(pack(data[:2000]) + pack(data[2000:]))
    memory = Memory()
    run(tail, tmp_path / "a", memory)
    assert b"".join(stored(memory)) == data


def test_reads_what_is_appended_while_nothing_runs(tail, tmp_path, pack):
    # Parts of one size: what the last member's trailer says is what is stored already.
    memory, parts = Memory(), [lines(n * 1000, 300) for n in range(3)]
    for part in parts:
        append(tmp_path / "a", pack(part))
        run(tail, tmp_path / "a", memory, archives=tmp_path / "archives")
    assert is_stored(memory, *parts)
    assert len(memory.files) == 1


def test_reads_what_is_appended_while_it_runs(tail, tmp_path, pack):
    memory, parts = Memory(), [lines(1, 300), lines(1000, 500)]
    append(tmp_path / "a", pack(parts[0]))
    tailed = tail(tmp_path / "a", memory)
    assert tailed.read(len(parts[0])) == parts[0]
    packed = pack(parts[1])
    append(tmp_path / "a", packed[:50])
    tailed.poll_soon()
    read = tailed.batch()
    wait_for(lambda: "it ends too early" in tailed.problems, "the half of a member")
    append(tmp_path / "a", packed[50:])
    first = read.data if read else b""
    assert first + tailed.read(len(parts[1]) - len(first)) == parts[1]
    wait_for(lambda: tailed.is_quiet() and tailed.problems == "", "an end without problems")
    assert is_stored(memory, *parts)


def test_archives_that_begin_alike_and_are_of_one_size_are_read_each(tail, tmp_path, pack):
    banner = b"x" * 1500 + b"\n"
    memory, parts = Memory(), [banner + lines(n, 40) for n in (100, 200)]
    (tmp_path / "a.1").write_bytes(pack(parts[0]))
    run(tail, tmp_path / "a.*", memory, archives=tmp_path / "archives")
    (tmp_path / "a.1").unlink()
    (tmp_path / "a.2").write_bytes(pack(parts[1]))
    run(tail, tmp_path / "a.*", memory, archives=tmp_path / "archives")
    assert is_stored(memory, *parts)


def test_goes_on_far_behind_the_beginning(tail, tmp_path, pack, monkeypatch):
    for name, size in {"_KEEP": 2000, "_SURPLUS": 500, "_STEP": 700, "_PIECE": 300}.items():
        monkeypatch.setattr(content, name, size)
    memory, data, log = Memory(), lines(1, 1000), tmp_path / "app.log"
    log.write_bytes(data)
    run(tail, log, memory)
    append(log, lines(5000, 100))
    (tmp_path / "app.log.1").write_bytes(pack(log.read_bytes()))
    log.unlink()
    run(tail, f"{log}*", memory)
    assert is_stored(memory, data, lines(5000, 100))
    assert len(memory.files) == 1


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_to_it_each_line_is_stored_once(tail, tmp_path, kind, pack, seed):
    draw, memory, expected = random.Random(seed), Memory(), b""
    archives, path, waiting = tmp_path / "archives", tmp_path / "app.log.1", b""
    for step in range(12):
        what = draw.choice(["member", "empty", "half", "between", "rename", "forget", "run"])
        if what != "half" and waiting:
            append(path, waiting)
            waiting = b""
        if what in ("member", "half") and not waiting:
            part = lines(step * 1000, draw.randrange(1, 200))
            packed, expected = pack(part), expected + part
            cut = draw.randrange(len(packed)) if what == "half" else len(packed)
            append(path, packed[:cut])
            waiting = packed[cut:]
        elif what == "empty" and path.exists():
            append(path, pack(b""))
        elif what == "between" and path.exists():
            append(path, BETWEEN.get(kind, b""))
        elif what == "rename" and path.exists():
            path = path.rename(tmp_path / f"app.log.{step + 2}")
        elif what == "forget":
            archives.unlink(missing_ok=True)
        run(tail, tmp_path / "app.log.*", memory, archives=archives)
    append(path, waiting)
    run(tail, tmp_path / "app.log.*", memory, archives=archives)
    assert b"".join(stored(memory)) == expected
    assert len(memory.files) <= 1


def test_what_is_compressed_and_appended_to_at_once_is_not_stored_again(tail, tmp_path, pack):
    log, memory, parts = tmp_path / "app.log", Memory(), [lines(1, 10), lines(100, 10)]
    log.write_bytes(parts[0])
    tailed = tail(f"{log}*", memory)
    assert tailed.read(len(parts[0])) == parts[0]
    (tmp_path / "app.log.1").write_bytes(pack(parts[0]) + pack(parts[1]))
    log.unlink()
    assert tailed.read(len(parts[1])) == parts[1]
    assert is_stored(memory, *parts)


# --- not decompressed again ----------------------------------------------------------------------


@pytest.fixture
def decompressed(monkeypatch):
    """How often a gzip file was asked for more of what is in it."""
    calls: list[int] = []
    real = content._Gzip.decompress

    def counted(self: content._Gzip, data: bytes, max_length: int) -> bytes:
        calls.append(len(data))
        return real(self, data, max_length)

    monkeypatch.setattr(content._Gzip, "decompress", counted)
    monkeypatch.setattr(content, "_STEP", 4096)
    return calls


def test_what_is_stored_is_not_decompressed_at_the_next_start(tail, tmp_path, decompressed):
    memory, archives, data = Memory(), tmp_path / "archives", lines(1, 2000)
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(data))
    run(tail, tmp_path / "app.log*", memory, archives=archives)
    assert len(decompressed) > 20
    (tmp_path / "app.log.1.gz").rename(tmp_path / "app.log.2.gz")
    decompressed.clear()
    run(tail, tmp_path / "app.log*", memory, archives=archives)
    assert len(decompressed) <= 2
    assert is_stored(memory, data)


def test_nor_is_the_compressed_rotation_of_what_was_stored_after_it_was_looked_at_once(
    tail, tmp_path, decompressed
):
    memory, archives, log = Memory(), tmp_path / "archives", tmp_path / "app.log"
    log.write_bytes(lines(1, 2000))
    run(tail, f"{log}*", memory, archives=archives)
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    run(tail, f"{log}*", memory, archives=archives)
    decompressed.clear()
    run(tail, f"{log}*", memory, archives=archives)
    assert len(decompressed) <= 2
    assert is_stored(memory, lines(1, 2000))


@pytest.mark.parametrize("archives", [b"torn", None])
def test_that_can_be_forgotten_at_any_time(tail, tmp_path, archives, decompressed):
    memory, path, data = Memory(), tmp_path / "archives", lines(1, 2000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(data))
    run(tail, tmp_path / "a.gz", memory, archives=path)
    if archives:
        path.write_bytes(archives)
    else:
        path.unlink()
    for expected in (True, False):
        decompressed.clear()
        run(tail, tmp_path / "a.gz", memory, archives=path)
        assert (len(decompressed) > 20) is expected
    assert is_stored(memory, data)


def test_it_is_said_once_if_that_cannot_be_remembered(tail, tmp_path, capfd):
    (tmp_path / "a.gz").write_bytes(gzip.compress(lines(1, 10)))
    (tmp_path / "b.gz").write_bytes(gzip.compress(lines(20, 10)))
    (tmp_path / "archives").mkdir()
    memory = Memory()
    run(tail, tmp_path / "*.gz", memory, archives=tmp_path / "archives")
    assert is_stored(memory, lines(1, 10), lines(20, 10))
    assert capfd.readouterr().err.count("cannot remember in") == 1


def test_a_file_that_grows_while_it_is_read_is_not_remembered_as_it_was(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n"))
    opened = open_content(str(path))
    append(path, gzip.compress(b"two\n"))
    assert opened.read(100, 0) == b"one\ntwo\n"
    assert (opened.size(), opened.ending) == (8, None)
    opened.close()


# --- damaged -------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_file_that_is_damaged_at_once_is_reported_until_it_is_replaced(
    tail, tmp_path, kind, pack, damage, capfd
):
    good, path = pack(lines(1, 10)), tmp_path / "a"
    begin = good[:22] if kind == "pzst" else good[:10]
    bad = begin if damage == "cut" else begin + b"\xff" * 90
    path.write_bytes(bad)
    memory = Memory()
    tailed = run(tail, path, memory)
    assert f"cannot read {str(path)!r}: its compressed data is damaged" in tailed.problems
    assert capfd.readouterr().err.count("is damaged") == 1
    assert memory.lines == {}
    (tmp_path / "new").write_bytes(good)
    (tmp_path / "new").rename(path)
    assert run(tail, path, memory).problems == ""
    assert is_stored(memory, lines(1, 10))


def test_a_running_pipeline_waits_before_it_calls_a_file_damaged_and_takes_it_back(
    tail, tmp_path, pack
):
    path, packed = tmp_path / "a", pack(lines(1, 100))
    tailed = tail(tmp_path / "a*")
    path.write_bytes(packed[:18])
    assert tailed.is_quiet()
    assert tailed.problems == ""
    wait_for(lambda: tailed.is_quiet() and "is damaged" in tailed.problems, "the problem")
    append(path, packed[18:])
    assert tailed.read(len(lines(1, 100))) == lines(1, 100)
    wait_for(lambda: tailed.is_quiet() and tailed.problems == "", "no problem any more")


def test_what_is_before_the_damage_is_stored_once_and_the_rest_when_it_is_whole(
    tail, tmp_path, kind, pack
):
    parts = [lines(1, 300), lines(1000, 300)]
    whole = b"".join(map(pack, parts))
    memory, path = Memory(), tmp_path / "a"
    for length in (len(pack(parts[0])), len(whole) - 30, len(whole) - 10):
        path.write_bytes(whole[:length])
        for _ in range(2):
            tailed = run(tail, path, memory)
            assert ("is damaged" in tailed.problems) is (length > len(pack(parts[0])))
            found = b"".join(stored(memory))
            assert found.startswith(parts[0]) and b"".join(parts).startswith(found)
    path.write_bytes(whole)
    assert run(tail, path, memory).problems == ""
    assert is_stored(memory, *parts)


def test_garbage_behind_is_a_damage(tail, tmp_path, pack):
    (tmp_path / "a").write_bytes(pack(lines(1, 300)) + b"garbage")
    memory = Memory()
    assert "is damaged" in run(tail, tmp_path / "a", memory).problems
    assert is_stored(memory, lines(1, 300))


def test_all_that_can_be_had_before_a_wrong_byte_is_read(tmp_path):
    data = lines(1, 5000)
    packed = bytearray(gzip.compress(data))
    packed[len(packed) // 2 :] = random.Random(1).randbytes(len(packed) // 2)
    (tmp_path / "a.gz").write_bytes(packed)
    one_by_one, decoder = b"", zlib.decompressobj(wbits=31)
    with pytest.raises(zlib.error):
        for at in range(len(packed)):
            one_by_one += decoder.decompress(packed[at : at + 1])
    opened = open_content(str(tmp_path / "a.gz"))
    assert opened.read(len(data), 0) == one_by_one
    assert data.startswith(one_by_one[: len(data) // 3]) and len(one_by_one) > len(data) // 3
    assert "is damaged" in opened.damage
    opened.close()


def test_a_wrong_checksum_is_a_damage(tail, tmp_path):
    packed = bytearray(gzip.compress(lines(1, 100)))
    packed[-6] ^= 1
    (tmp_path / "a.gz").write_bytes(packed)
    assert "incorrect data check" in run(tail, tmp_path / "a.gz", Memory()).problems


def test_a_compressed_file_that_is_overwritten_before_it_was_read_is_a_gap(tail, tmp_path):
    path, data = tmp_path / "a.gz", lines(1, 100)
    path.write_bytes(gzip.compress(data))
    limits = Limits(lines=10, bytes=1024 * 1024, seconds=0.0)
    tailed = tail(path, limits=limits)
    tailed.read(10 * 40)
    path.write_bytes(gzip.compress(b"other\n"))
    wait_for(lambda: tailed.batch() is None and "were gone" in tailed.problems, "the gap")
    read = sum(len(line) for line in stored(tailed.memory) if line != b"other\n")
    assert f"its bytes from {read} on were gone" in tailed.problems


# --- binary --------------------------------------------------------------------------------------


def tar(compression: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{compression}") as archive:
        entry = tarfile.TarInfo("app.log")
        entry.size = len(lines(1, 100))
        archive.addfile(entry, io.BytesIO(lines(1, 100)))
    return made.getvalue()


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("app.log", lines(1, 100))
    return made.getvalue()


def database() -> bytes:
    with sqlite3.connect(":memory:") as made:
        made.execute("CREATE TABLE t (line)")
        return made.serialize() if hasattr(made, "serialize") else b"SQLite format 3\0" + bytes(84)


BINARY = {
    "ELF": lambda: Path(os.path.realpath(sys.executable)).read_bytes()[:5000],
    "tar": lambda: tar(""),
    "tar archive": lambda: tar("gz"),
    "ZIP": zipped,
    "SQLite": database,
    "lz4": lambda: b"\x04\x22\x4d\x18" + random.Random(1).randbytes(3000),
    "lz4 ": lambda: b"\x50\x2a\x4d\x18\x01\0\0\0x\x04\x22\x4d\x18" + random.Random(1).randbytes(99),
    "compress": lambda: b"\x1f\x9d\x90" + random.Random(1).randbytes(3000),
    "PNG": lambda: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + random.Random(1).randbytes(300),
    "lzma": lambda: lzma.compress(lines(1, 10), format=lzma.FORMAT_ALONE),
    "twice": lambda: gzip.compress(gzip.compress(lines(1, 10))),
    "binary": lambda: random.Random(1).randbytes(5000),  # as brotli writes it, say
    "UTF-16": lambda: lines(1, 100).decode().encode("utf-16"),
}


@pytest.mark.parametrize("what", BINARY)
def test_a_binary_file_is_one_problem_until_it_is_text(tail, tmp_path, what, capfd):
    path, memory = tmp_path / "a", Memory()
    path.write_bytes(BINARY[what]())
    tailed = tail(path, memory)
    if what not in ("tar archive", "twice"):  # which are looked at when they have been still
        assert tailed.is_quiet()
    wait_for(lambda: tailed.is_quiet() and "is not text" in tailed.problems, "the problem")
    assert what.strip() in tailed.problems
    assert tailed.is_quiet()
    assert (memory.lines, capfd.readouterr().err.count("\n")) == ({}, 1)
    (tmp_path / "new").write_bytes(lines(1, 10))
    (tmp_path / "new").rename(path)
    assert tailed.read(len(lines(1, 10))) == lines(1, 10)
    assert tailed.problems == ""


def test_a_binary_file_is_not_opened_again_and_again(tail, tmp_path, monkeypatch):
    opened = []
    real = recognising.open_content
    monkeypatch.setattr(recognising, "open_content", lambda path: opened.append(path) or real(path))
    (tmp_path / "a").write_bytes(BINARY["PNG"]())
    tailed = tail(tmp_path / "a")
    assert tailed.is_quiet()
    assert "PNG" in tailed.problems
    opened.clear()
    tailed.source._catalog._files.poll_soon()
    assert tailed.is_quiet()
    assert opened == []


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (lines(1, 3) + random.Random(1).randbytes(500) + b"\n" + lines(5, 30), "utf-8"),
        (random.Random(2).randbytes(600) + b"\n" + lines(5, 30), "utf-8"),
        (b"\0" * 700 + b"x" * 500 + b"\n", "utf-8"),
        (b"\0\1\2\n", "utf-8"),
        (b"\x1b[32mINFO\x1b[0m started\n" * 50, "utf-8"),
        (("gr\u00fc\u00dfe " * 30 + "\n").encode("latin-1") * 5, "utf-8"),
        (lines(1, 100).decode().encode("utf-16-le"), "utf-16-le"),
        (lines(1, 100).decode().encode("utf-16-be"), "utf-16-be"),
        (b"BZh9 is how bzip2 begins\n", "utf-8"),
        (b"P", "utf-8"),
    ],
)
def test_text_is_text_though_some_of_it_is_not(tail, tmp_path, data, encoding):
    (tmp_path / "a").write_bytes(data)
    tailed = tail(tmp_path / "a", follow=False, encoding=encoding)
    batches = []
    wait_for(lambda: not (batches.append(tailed.batch_or_end()) or batches[-1]), "the end")
    stored = data.lstrip(b"\0") if encoding == "utf-8" else data  # less the filler
    assert b"".join(batch.data for batch in batches if batch) == stored
    assert tailed.problems == ""


def test_a_file_is_waited_for_until_it_shows_whether_it_is_compressed(tail, tmp_path):
    tailed = tail(tmp_path / "a*")
    packed = gzip.compress(lines(1, 10))
    (tmp_path / "a").write_bytes(packed[:2])
    assert tailed.is_quiet()
    append(tmp_path / "a", packed[2:])
    assert tailed.read(len(lines(1, 10))) == lines(1, 10)
