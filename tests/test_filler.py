"""NULs in files: space that is preallocated, holes that truncation leaves, bytes out of order."""

from __future__ import annotations

import gzip
import mmap
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from connectors.batch import Parsed, Span, Stream
from connectors.encodings import Encoding
from connectors.sources import file_list, tailed_file
from connectors.sources.content import open_content
from connectors.sources.records import Piece, taken
from connectors.sources.tailed_file import Limits
from flows.line_ranges import CHUNK, NO_CUTS, LineRanges
from flows.parsing.parser import parser
from tests.conftest import wait_for
from tests.tailing import Memory, Tail, append

LINE = b'{"ts":"2026-11-22T20:15:05Z","msg":"%d"}\n'
OLD = b"".join(b"%04d an old line\n" % number for number in range(100))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for fractions of a second where it would be seconds."""
    monkeypatch.setattr(file_list, "SCAN_SECONDS", 0.1)
    monkeypatch.setattr(tailed_file, "FILL_SECONDS", 0.3)


def put(path: Path, data: bytes, at: int) -> None:
    """Write in place, as who has preallocated a file does."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def rows_of(data: bytes, start: int = 0, encoding: str = "utf-8") -> tuple[pl.DataFrame, Parsed]:
    span = Span(Stream(1, "a.log"), start, start + len(data), 7, 2)
    written = Encoding(encoding)
    batch = parser("json", "UTC")(taken([Piece.of(span, data, written)], written, 1024 * 1024))
    return batch.rows, batch


def lag_of(tailed: Tail) -> int:
    tailed.is_quiet()
    return tailed.source.status().lag_bytes


# --- behind the last line --------------------------------------------------------------------


def fallocated(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def zeroed(path: Path, size: int) -> None:
    append(path, bytes(size - path.stat().st_size))


@pytest.mark.parametrize("preallocate", [os.truncate, fallocated, zeroed])
def test_bytes_that_follow_in_place_are_read_and_cutting_to_size_changes_nothing(
    tail, tmp_path, preallocate
):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    preallocate(log, 300_000)
    tailed = tail(log)
    assert tailed.read(len(OLD)) == OLD
    assert lag_of(tailed) == 0
    put(log, b"one\ntw", len(OLD))
    assert tailed.read(4) == b"one\n"
    put(log, b"o\n", len(OLD) + 6)
    assert tailed.read(4) == b"two\n"
    os.truncate(log, len(OLD) + 8)
    assert tailed.is_quiet()
    append(log, b"three\n")
    assert tailed.read(6) == b"three\n"
    assert (len(tailed.memory.files), tailed.problems) == (1, "")


def test_what_is_written_through_a_mapping_is_seen_without_events(tail, tmp_path, monkeypatch):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    os.truncate(log, 65536)
    tailed = tail(log)
    tailed.read(len(OLD))
    monkeypatch.setattr(file_list, "SCAN_SECONDS", 3600.0)
    tailed.poll_soon()
    assert tailed.batch() is None
    with log.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        at = len(OLD)
        for number in range(3):
            line = b"%d in a mapping\n" % number
            mapped[at : at + len(line)] = line
            at += len(line)
            assert tailed.read(len(line)) == line


def test_a_file_of_nothing_but_preallocated_space_is_nothing_yet(tail, tmp_path):
    log = tmp_path / "app.log"
    log.touch()
    os.truncate(log, 1 << 20)
    tailed = tail(log)
    assert tailed.is_quiet()
    assert tailed.source.files() == []
    put(log, b"first\n", 0)
    assert tailed.read(6) == b"first\n"


def test_a_preallocated_file_is_known_again_when_it_is_filled_further(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    os.truncate(log, 65536)
    first = tail(log)
    assert first.read(4) == b"one\n"
    put(log, b"two\n", 4)
    log.rename(tmp_path / "app.log.1")
    assert tail(log, first.memory).read(4) == b"two\n"
    assert len(first.memory.files) == 1


def test_a_run_reads_of_a_preallocated_file_what_is_there(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    os.truncate(log, 1 << 20)
    put(log, b"behind a hole\nunfinished", 500_000)
    tailed = tail(log, follow=False)
    with pytest.raises(StopIteration):
        while True:
            tailed.batch()
    stored = b"".join(tailed.memory.lines.values())
    assert stored.replace(b"\0", b"") == OLD + b"behind a hole\nunfinished"
    assert tailed.memory.history[-1].end == 500_000 + len(b"behind a hole\nunfinished")


@pytest.mark.parametrize(
    ("encoding", "text"), [("utf-16-le", "a\n"), ("utf-16-be", "a\u4100"), ("utf-8", "a")]
)
def test_the_end_of_the_bytes_is_the_end_of_a_character(tmp_path, encoding, text):
    log = tmp_path / "app.log"
    data = text.encode(encoding)
    log.write_bytes(data + bytes(70_002))
    content = open_content(str(log))
    assert content.end(Encoding(encoding).unit) == len(data)
    content.close()


def test_the_end_behind_a_hole_of_terabytes_is_found(tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"begin\n")
    for end in (1 << 30, 1 << 41):
        put(log, b"x\n", end - 2)
        os.truncate(log, end + (1 << 41))
        content = open_content(str(log))
        assert content.end(1) == end
        content.close()


# --- before a line ---------------------------------------------------------------------------


@pytest.mark.parametrize("hole", [1, 100, 5000, 70_000, 2_000_000])
@pytest.mark.parametrize("before", [b"", OLD])
def test_a_hole_before_a_line_is_skipped_and_counted(tail, tmp_path, hole, before):
    log = tmp_path / "app.log"
    log.write_bytes(before)
    os.truncate(log, len(before) + hole)
    append(log, b"one\ntwo\npart")
    memory = Memory()
    limits = Limits(lines=10**6, bytes=65_536, seconds=0.0, line_bytes=1024)
    tailed = tail(log, memory, limits=limits)
    filler = 0
    data = b""

    def is_read() -> bool:
        nonlocal filler, data
        for batch in tailed.partition.next_batch():
            span = batch.spans[0]
            assert span.end - span.start == len(batch.data)
            assert not span.continued
            filler += batch.filler
            data += batch.data
            tailed.memory.record(batch)
            batch.acknowledge()
        return data.endswith(b"one\ntwo\n")

    wait_for(is_read, "the lines")
    assert (data, filler) == (before + b"one\ntwo\n", hole)
    begin = len(before) + hole
    assert {at for _, at in memory.lines if at >= len(before)} == {begin, begin + 4}
    assert lag_of(tailed) == 0
    append(log, b"ial\n")
    assert tailed.read(8) == b"partial\n"
    assert len(memory.files) == 1


def test_a_hole_of_gigabytes_costs_nothing(tail, tmp_path):
    log = tmp_path / "app.log"
    log.touch()
    os.truncate(log, 1 << 40)
    append(log, b"far away\n")
    tailed = tail(log)
    assert tailed.read(9) == b"far away\n"
    assert [at for _, at in tailed.memory.lines] == [1 << 40]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_hole_in_utf_16_is_of_whole_characters(tail, tmp_path, encoding):
    log = tmp_path / "app.log"
    one, two = "eins\n".encode(encoding), "\u0100zwei\n".encode(encoding)
    log.write_bytes(one + bytes(5000) + two)
    tailed = tail(log, encoding=encoding)
    assert tailed.read(len(one + two)) == one + two
    assert max(span.start for span in tailed.memory.history) == len(one) + 5000


def test_a_log_that_is_truncated_below_its_writer_is_read_on_and_known_again(tail, tmp_path):
    log = tmp_path / "app.log"
    with log.open("wb", buffering=0) as out:  # as in: program > app.log
        out.write(OLD)
        tailed = tail(log)
        tailed.read(len(OLD))
        os.truncate(log, 0)
        out.write(b"after\n")
        assert tailed.read(6) == b"after\n"
        tailed.source.close()
        out.write(b"later\n")
        again = tail(log, tailed.memory)
        assert again.read(6) == b"later\n"
    assert len(tailed.memory.files) == 2


def test_a_hole_in_a_compressed_file_is_skipped(tail, tmp_path):
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(bytes(3 << 20) + b"one\n" + bytes(5000)))
    tailed = tail(tmp_path / "app.log*", limits=Limits(lines=10**6, bytes=65_536, seconds=0.0))
    assert tailed.read(4).rstrip(b"\0") == b"one\n"
    assert min(at for _, at in tailed.memory.lines) == 3 << 20


def test_what_is_appended_behind_the_filler_of_an_archive_is_read(tail, tmp_path):
    archive = tmp_path / "app.log.gz"
    archive.write_bytes(gzip.compress(b"one\n" + bytes(200_000)))
    tailed = tail(archive, limits=Limits(lines=10**6, bytes=65_536, seconds=0.0))
    assert tailed.read(4).rstrip(b"\0") == b"one\n"
    assert tailed.is_quiet()
    with archive.open("ab") as out:
        out.write(gzip.compress(b"two\n"))
    assert tailed.read(4) == b"two\n"


def test_what_comes_out_of_order_is_read_in_order(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(tailed_file, "FILL_SECONDS", 60.0)
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    tailed = tail(log)
    assert tailed.read(4) == b"one\n"
    put(log, b"ree\nfour\n", 10)  # as an NFS client may, or a writer that has reserved its place
    assert tailed.is_quiet()
    put(log, b"two\nth", 4)
    assert tailed.read(15) == b"two\nthree\nfour\n"


@pytest.mark.parametrize("size", [10, 100_000])  # less than a batch, and more
def test_lines_before_bytes_that_are_still_to_come_are_read(tail, tmp_path, monkeypatch, size):
    monkeypatch.setattr(tailed_file, "FILL_SECONDS", 60.0)
    log = tmp_path / "app.log"
    four = b"four\n" * size
    log.write_bytes(b"one\n" + bytes(12) + four)
    tailed = tail(log, limits=Limits(lines=10**6, bytes=65_536, seconds=0.0))
    assert tailed.read(4) == b"one\n"
    assert tailed.is_quiet()
    put(log, b"two\nthree\n.\n", 4)
    expected = b"two\nthree\n.\n" + four
    assert tailed.read(len(expected)) == expected


# --- in a batch ------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_lines_behind_filler_in_a_batch_keep_their_places(encoding):
    first, second = ((LINE % number).decode().encode(encoding) for number in range(2))
    hole = bytes(3_000_000)
    data = hole[:20] + first + hole + second + hole[:2] + "\n".encode(encoding)
    rows, batch = rows_of(data, start=1000, encoding=encoding)
    assert batch.rejected.is_empty()
    assert rows["message"].to_list() == ["0", "1"]
    assert rows["offset"].to_list() == [1020, 1020 + len(first) + 3_000_000]
    assert rows["line"].to_list() == [7, 8]
    assert batch.filler == 3_000_022


def test_a_program_that_writes_a_nul_before_each_line_loses_none():
    rows, batch = rows_of(b"".join(b"\0" + LINE % number for number in range(1000)))
    assert rows["message"].to_list() == [str(number) for number in range(1000)]
    assert (batch.filler, len(batch.rejected)) == (1000, 0)


def test_a_nul_within_a_line_stays_in_it():
    rows, batch = rows_of(b'{"ts":"2026-11-22T20:15:05Z","msg":"a\0b"}\n' + LINE % 1)
    assert len(rows) + len(batch.rejected) == 2
    assert batch.filler == 0


# --- in what commands look at ----------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("hole", [2, 5000, CHUNK - 4, 2 * CHUNK + 6])
def test_line_ranges_begin_behind_filler(tmp_path, encoding, hole):
    log = tmp_path / "app.log"
    one, two, three = (f"{text}\n".encode(encoding) for text in ("one", "two", "three"))
    log.write_bytes(bytes(hole) + one + two + bytes(hole) + three + bytes(hole))
    content = open_content(str(log))
    ranges = LineRanges(content, Encoding(encoding), log.stat().st_size, NO_CUTS)
    begins = [hole, hole + len(one), 2 * hole + len(one + two)]
    found = [int(start) for starts, _ in ranges.lines(0) for start in starts]
    assert found == begins
    for first in (hole // 4 * 2, hole, begins[2] - 2, begins[2]):
        starts, _ = ranges.lines_between(first, log.stat().st_size)
        assert starts.tolist() == [begin for begin in begins if begin >= first]
    content.close()


def test_an_encoding_finds_its_own_nuls():
    data = np.frombuffer("a\u0100\0b".encode("utf-16-le"), np.uint8).tobytes()
    assert Encoding("utf-16-le").find_filler(data) == 4
    assert Encoding("utf-16-le").filler(data) == 0
    assert Encoding("utf-16-be").filler("\0\0a".encode("utf-16-be")) == 4
    assert Encoding().find_filler(b"ab\0", 1) == 2
    assert Encoding().find_filler(b"ab") == 2
