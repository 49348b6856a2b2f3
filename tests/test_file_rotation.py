"""Files as they really behave: renamed, copied, truncated, deleted, compressed, very long lines."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path

import psutil
import pytest
from backports import zstd

from connectors.batch import BlockId, Taken
from connectors.sources import catalog, copies, file_list, handles
from connectors.sources.claims import Claims
from connectors.sources.tailed_file import Limits
from tests.conftest import wait_for
from tests.tailing import Memory, Tail, append

OLD = b"".join(b"%04d an old line\n" % number for number in range(200))
NEW = b"".join(b"%04d a new line\n" % number for number in range(300))
COMPRESSORS = {".gz": gzip.compress, ".zst": zstd.compress}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for fractions of a second where it would be seconds."""
    for module, name, seconds in (
        (copies, "STILL_SECONDS", 0.4),
        (handles, "LINGER_SECONDS", 0.4),
        (file_list, "GRACE_SECONDS", 0.8),
        (file_list, "SCAN_SECONDS", 0.1),
        (catalog, "GRACE_SECONDS", 0.8),
    ):
        monkeypatch.setattr(module, name, seconds)


def everything(memory: Memory) -> bytes:
    """All stored lines, sorted, each as often as it is stored."""
    return b"".join(sorted(memory.lines.values()))


def wait_until_quiet(tailed) -> None:
    """Read until nothing has come for longer than anything is waited for."""
    quiet_since = None

    def is_quiet() -> bool:
        nonlocal quiet_since
        now = file_list.time.monotonic()
        if tailed.batch() or quiet_since is None:
            quiet_since = now
        return now - quiet_since > 2.0

    wait_for(is_quiet, "silence")


# --- renamed ---------------------------------------------------------------------------------


def test_reads_late_writes_under_a_name_that_no_glob_covers(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(log)
    tailed.read(len(OLD))
    with log.open("ab") as old_handle:
        log.rename(tmp_path / "app.log.1")
        log.write_bytes(NEW)
        old_handle.write(b"late\n")
    assert len(tailed.read(len(NEW) + 5)) == len(NEW) + 5
    assert {span.stream.name for span in tailed.memory.history} == {str(log)}


def test_finds_a_file_that_was_rotated_twice_while_nothing_ran(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    first = tail(log)
    first.read(len(OLD))
    append(log, b"unread\n")
    log.rename(tmp_path / "app.log.2")
    log.write_bytes(NEW)
    second = tail(log, first.memory)
    assert sorted(second.read(len(NEW) + 7).splitlines())[-1] == b"unread"
    assert len(first.memory.files) == 2


def test_does_not_follow_a_file_that_the_globs_do_not_cover_any_more(tail, tmp_path):
    (tmp_path / "a.log").write_bytes(OLD)
    first = tail(tmp_path / "a.log")
    first.read(len(OLD))
    append(tmp_path / "a.log", b"more\n")
    (tmp_path / "b.log").write_bytes(NEW)
    second = tail(tmp_path / "b.log", first.memory)
    assert second.read(len(NEW)) == NEW
    append(tmp_path / "b.log", b"late\n")
    (tmp_path / "b.log").rename(tmp_path / "b.log.1")  # the directory is searched for it
    wait_until_quiet(second)
    assert everything(second.memory) == b"".join(
        sorted([*OLD.splitlines(True), *NEW.splitlines(True), b"late\n"])
    )


def test_knows_a_file_again_on_another_device(tail, tmp_path):
    shared_memory = Path("/dev/shm")  # another file system on every Linux
    assert shared_memory.stat().st_dev != tmp_path.stat().st_dev
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "app.log").write_bytes(OLD)
    tailed = tail(tmp_path / "logs" / "app.log")
    tailed.read(len(OLD))
    with tempfile.TemporaryDirectory(dir=shared_memory) as mounted:
        shutil.copy(tmp_path / "logs" / "app.log", mounted)
        append(Path(mounted) / "app.log", b"more\n")
        shutil.rmtree(tmp_path / "logs")
        (tmp_path / "logs").symlink_to(mounted)
        assert tailed.read(5) == b"more\n"
        assert len(tailed.memory.files) == 1


@pytest.mark.parametrize("name", ["link", "symlink", "none"])
def test_reads_a_file_once_whatever_leads_to_it(tail, tmp_path, name):
    log = tmp_path / "a.log"
    log.write_bytes(OLD)
    if name == "link":
        os.link(log, tmp_path / "b.log")
    elif name == "symlink":
        (tmp_path / "b.log").symlink_to(log)
    tailed = tail(f"{log},{tmp_path}/*.log")
    wait_until_quiet(tailed)
    assert everything(tailed.memory) == OLD


# --- copied and truncated --------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_reads_from_the_copy_what_was_truncated_before_it_was_read(tail, tmp_path, pattern):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(tmp_path / pattern)
    tailed.read(len(OLD))
    append(log, b"unread\n")
    shutil.copy(log, tmp_path / "app.log.1")
    log.write_bytes(b"fresh\n")
    wait_until_quiet(tailed)
    assert everything(tailed.memory) == OLD + b"fresh\nunread\n"


def test_a_copy_that_is_seen_before_the_original_is_truncated_is_not_stored_again(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(tmp_path / "app.log*")
    tailed.read(len(OLD))
    shutil.copy(log, tmp_path / "app.log.1")
    assert tailed.is_quiet()
    append(log, b"in between\n")
    assert tailed.read(11) == b"in between\n"
    os.truncate(log, 0)
    wait_until_quiet(tailed)
    assert everything(tailed.memory) == OLD + b"in between\n"


def test_a_copy_of_less_than_is_stored_is_known_after_a_restart(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    shutil.copy(log, tmp_path / "app.log.1")
    append(log, b"in between\n")
    first = tail(log)
    first.read(len(OLD) + 11)
    os.truncate(log, 0)
    second = tail(tmp_path / "app.log*", first.memory)
    wait_until_quiet(second)
    assert everything(first.memory) == OLD + b"in between\n"


def test_a_file_that_is_compressed_while_its_batch_is_stored_is_not_read_again(
    tail, tmp_path, monkeypatch
):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    reader = tail(f"{log}*")
    (batch,) = reader.partition.next_batch()
    packed = gzip.compress(OLD)
    (tmp_path / "app.log.2.gz").write_bytes(packed)
    log.unlink()
    reader.poll_soon()
    assert reader.partition.next_batch() == []  # it may be a copy
    monkeypatch.setattr(copies, "STILL_SECONDS", 0.0)
    waits = copies.Copies.wait_for

    def store_in_the_midst_of_the_poll(*arguments):
        monkeypatch.undo()
        monkeypatch.setattr(copies, "STILL_SECONDS", 0.0)
        reader.memory.record(batch)
        batch.acknowledge()
        return waits(*arguments)

    monkeypatch.setattr(copies.Copies, "wait_for", store_in_the_midst_of_the_poll)
    reader.poll_soon()
    reader.batch()
    wait_until_quiet(reader)
    assert (everything(reader.memory), len(reader.memory.files)) == (OLD, 1)


@pytest.mark.parametrize("ends", [False, True])
def test_a_file_that_begins_like_half_a_line_is_no_copy_and_is_met_at_once(tail, tmp_path, ends):
    log, half = tmp_path / "app.log", tmp_path / "app.log.1"
    half.write_bytes(b"00")
    reader = tail(f"{log}*")
    reader.batch()
    with half.open("ab"), log.open("wb", buffering=0) as writer:
        writer.write(b"0001 one\n")
        if ends:
            append(half, b"99 other\n")
            half.unlink()
        reader.poll_soon()
        reader.partition.next_batch()
        assert {file.path for file in reader.source.files()} >= {str(log)}


def test_a_copy_that_stays_is_a_file_of_its_own(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(tmp_path / "app.log*")
    tailed.read(len(OLD))
    shutil.copy(log, tmp_path / "app.log.copy")
    assert tailed.read(len(OLD)) == OLD
    assert len(tailed.memory.files) == 2


# --- truncated and deleted -------------------------------------------------------------------


def test_reads_a_deleted_file_to_its_end(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(log)
    tailed.read(len(OLD))
    with log.open("ab") as handle:
        log.unlink()
        handle.write(b"last words\n")
        handle.flush()
        assert tailed.read(11) == b"last words\n"


def test_reads_a_deleted_file_for_as_long_as_it_grows(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(log)
    tailed.read(len(OLD))
    with log.open("ab", buffering=0) as handle:
        log.unlink()
        for _ in range(12):  # for three times as long as it is waited for
            handle.write(b"still here\n")
            assert tailed.read(11) == b"still here\n"
            quiet_until = file_list.time.monotonic() + 0.1
            while file_list.time.monotonic() < quiet_until:
                assert tailed.batch() is None


def test_lets_go_of_a_deleted_file_once_it_is_quiet(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(log)
    tailed.read(len(OLD))
    log.unlink()

    def is_closed() -> bool:
        tailed.batch()
        return not any(f.path.startswith(str(log)) for f in psutil.Process().open_files())

    wait_for(is_closed, "a closed file")


@pytest.mark.parametrize("regrown", [b"", b"x\n", NEW * 2])
def test_reports_what_was_truncated_before_it_could_be_read(tail, tmp_path, capfd, regrown):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    patient = Limits(lines=200, bytes=1 << 20, seconds=3600)
    tailed = tail(log, limits=patient)
    tailed.read(len(OLD))
    append(log, b"noticed\n")
    assert tailed.is_quiet()
    log.write_bytes(regrown)

    def is_reported() -> bool:
        tailed.is_quiet()
        return f"its bytes from {len(OLD)} to {len(OLD) + 8} were gone" in tailed.problems

    wait_for(is_reported, "a report")
    assert "were gone before they could be read" in capfd.readouterr().err


def test_a_file_that_was_replaced_before_its_first_batch_is_read_from_its_beginning(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD[:90])
    tailed = tail(log, limits=Limits(lines=1000, bytes=1 << 20, seconds=0.5))
    assert tailed.is_quiet()
    with log.open("r+b") as file:
        file.write(NEW)
    assert tailed.read(len(NEW)) == NEW
    wait_until_quiet(tailed)
    assert "its bytes from 0 to 90 were gone" in tailed.problems


# --- compressed ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_goes_on_in_a_compressed_rotation_at_the_right_byte(tail, tmp_path, suffix, pattern):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    first = tail(tmp_path / pattern)
    first.read(len(OLD))
    append(log, b"unread\n")
    (tmp_path / f"app.log.1{suffix}").write_bytes(COMPRESSORS[suffix](log.read_bytes()))
    log.unlink()
    second = tail(tmp_path / pattern, first.memory)
    assert second.read(7) == b"unread\n"
    assert len(first.memory.files) == 1


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_reads_a_new_compressed_file_whole(tail, tmp_path, suffix):
    data = NEW * 100 + b"without its newline"
    (tmp_path / f"app.log{suffix}").write_bytes(COMPRESSORS[suffix](data))
    tailed = tail(tmp_path / "app.log*", limits=Limits(lines=10**6, bytes=20_000, seconds=0.0))
    wait_until_quiet(tailed)
    assert sorted(tailed.memory.lines.values()) == sorted(data.splitlines(keepends=True))
    assert tail(tmp_path / "app.log*", tailed.memory, follow=False).batch_or_end() is None


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_a_file_that_is_being_compressed_is_not_stored_again(tail, tmp_path, suffix):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(tmp_path / "app.log*")
    tailed.read(len(OLD))
    packed = COMPRESSORS[suffix](OLD)
    half = tmp_path / f"app.log{suffix}"
    half.write_bytes(packed[:100])
    assert tailed.is_quiet()
    append(half, packed[100:])
    log.unlink()
    wait_until_quiet(tailed)
    assert everything(tailed.memory) == OLD


def test_reports_a_damaged_compressed_file_and_reads_what_is_before(tail, tmp_path):
    data = bytes(os.urandom(3000)).hex().encode()
    lines = b"".join(data[at : at + 60] + b"\n" for at in range(0, len(data), 60))
    (tmp_path / "a.gz").write_bytes(gzip.compress(lines)[:-2000])
    tailed = tail(tmp_path / "a.gz")
    wait_until_quiet(tailed)
    read = b"".join(line for _, line in sorted(tailed.memory.lines.items()))
    assert read and lines.startswith(read) and read.endswith(b"\n")
    assert "damaged or not complete" in tailed.problems


def test_a_run_ends_though_a_compressed_file_is_damaged_within_a_line(tail, tmp_path):
    lines = b"".join(os.urandom(300).hex().encode() + b"\n" for _ in range(50))
    (tmp_path / "a.gz").write_bytes(gzip.compress(lines)[:-5000])
    tailed = tail(tmp_path / "a.gz", follow=False)
    tailed.read_to_end()
    assert 0 < len(tailed.memory.lines) < 50


def crash(tail, log, *blocks):
    """Write a log and read it; all of it is in each of these blocks, which are in doubt."""
    log.write_bytes(OLD)
    crashed = tail(log)
    (batch,) = crashed.partition.next_batch()
    crashed.memory.start_at(batch.spans)
    crashed.memory.in_doubt = dict.fromkeys(blocks, batch.spans)
    return crashed


def test_settles_a_block_in_doubt_from_the_compressed_file(tail, tmp_path):
    log = tmp_path / "app.log"
    crashed = crash(tail, log, BlockId(1, 1))
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(OLD))
    log.unlink()
    again = tail(log, crashed.memory).batch()
    assert (again.data, again.in_doubt, again.is_whole) == (OLD, BlockId(1, 1), True)


def test_settles_a_block_after_a_later_one_that_overlaps_it(tail, tmp_path):
    log = tmp_path / "app.log"
    crashed = crash(tail, log, BlockId(1, 5), BlockId(2, 6))
    restarted = tail(log, crashed.memory)
    (later,) = restarted.partition.next_batch()
    assert later.in_doubt == BlockId(2, 6)
    assert restarted.is_quiet()
    later.acknowledge()
    assert restarted.batch().in_doubt == BlockId(1, 5)


def test_settles_of_a_block_in_doubt_what_is_still_there(tail, tmp_path):
    (tmp_path / "a.log").write_bytes(OLD)
    (tmp_path / "b.log").write_bytes(NEW)
    crashed = tail(tmp_path / "*.log")
    (batch,) = crashed.partition.next_batch()
    crashed.memory.start_at(batch.spans)
    crashed.memory.in_doubt = {BlockId(1, 1): batch.spans}
    (tmp_path / "a.log").unlink()
    restarted = tail(tmp_path / "*.log", crashed.memory)
    assert restarted.read(len(NEW)) == NEW
    assert "a.log' is not there as it was, and it is not known" in restarted.problems


def test_does_not_settle_with_other_bytes(tail, tmp_path):
    log = tmp_path / "app.log"
    data = NEW * 2
    log.write_bytes(data)
    crashed = tail(log)
    (batch,) = crashed.partition.next_batch()
    crashed.memory.start_at(batch.spans)
    crashed.memory.in_doubt = {BlockId(1, 1): batch.spans}
    middle = len(data) // 2
    log.write_bytes(data[:middle] + b"X" + data[middle + 1 :])
    restarted = tail(log, crashed.memory)
    wait_until_quiet(restarted)
    assert restarted.memory.lines == {}
    assert f"whether its bytes from 0 to {len(data)} are stored" in restarted.problems
    append(log, b"more\n")
    assert restarted.read(5) == b"more\n"


# --- lines -----------------------------------------------------------------------------------


def test_finishes_a_line_across_a_restart(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntw")
    first = tail(log)
    first.read(4)
    append(log, b"o\n")
    assert tail(log, first.memory).read(4) == b"two\n"


def test_what_is_appended_to_a_line_that_was_taken_unfinished_is_its_continuation(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntw")
    first = tail(log, follow=False)
    assert first.batch().data == b"one\ntw"
    append(log, b"o\nthree\n")
    batch = tail(log, first.memory, follow=False).batch()
    assert (batch.data, batch.spans[0].continued) == (b"o\nthree\n", True)
    append(log, b"four\n")
    assert not tail(log, first.memory, follow=False).batch().spans[0].continued


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_takes_an_unfinished_last_line_when_its_file_has_been_rotated_away(tail, tmp_path, pattern):
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntwo")
    tailed = tail(tmp_path / pattern)
    tailed.read(4)
    log.rename(tmp_path / "app.log.1")
    assert tailed.read(3) == b"two"


def test_waits_for_the_end_of_a_last_line_that_is_written_late(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(handles, "LINGER_SECONDS", 30.0)
    log = tmp_path / "app.log"
    log.write_bytes(b"one\ntw")
    tailed = tail(log)
    tailed.read(4)
    with log.open("ab") as handle:
        log.rename(tmp_path / "app.log.1")
        assert tailed.is_quiet()
        handle.write(b"o\n")
    assert tailed.read(4) == b"two\n"


def test_cuts_a_line_that_is_over_long_and_goes_on_after_it(tail, tmp_path):
    log = tmp_path / "app.log"
    limits = Limits(lines=100, bytes=1 << 20, seconds=0.0, line_bytes=2 << 20)
    log.write_bytes(b"before\n" + b"x" * (9 << 20) + b"\n" + b"after\n")
    tailed = tail(log, limits=limits)
    assert tailed.read(7) == b"before\n"
    cut = tailed.batch()
    assert (cut.records, len(cut.data), len(cut.spans)) == (1, 1024, 1)
    assert (cut.spans[0].start, cut.spans[0].end) == (7, 7 + (9 << 20) + 1)
    assert tailed.read(6) == b"after\n"


def test_cuts_an_over_long_line_that_grows_slowly(tail, tmp_path):
    log = tmp_path / "app.log"
    limits = Limits(lines=100, bytes=1 << 20, seconds=0.0, line_bytes=1 << 20)
    tailed = tail(log, limits=limits)
    for _ in range(20):
        append(log, b"x" * (1 << 18))
        assert tailed.is_quiet()
    append(log, b"end\nafter\n")
    assert tailed.read(1024) == b"x" * 1024
    assert tailed.read(6) == b"after\n"


def test_repeats_a_cut_line_in_doubt(tail, tmp_path):
    log = tmp_path / "app.log"
    limits = Limits(lines=100, bytes=1 << 20, seconds=0.0, line_bytes=1 << 20)
    log.write_bytes(b"x" * (3 << 20) + b"\nafter\n")
    crashed = tail(log, limits=limits)
    (batch,) = crashed.partition.next_batch()
    crashed.memory.start_at(batch.spans)
    crashed.memory.in_doubt = {BlockId(1, 1): batch.spans}
    again = tail(log, crashed.memory, limits=limits).batch()
    assert (again.data, again.spans) == (batch.data, batch.spans)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_finds_the_lines_of_utf_16(tail, tmp_path, encoding):
    text = "\ufeffਊ eins\nzwei ਊ\r\n"  # U+0A0A is made of newline bytes
    log = tmp_path / "app.log"
    data = text.encode(encoding)
    log.write_bytes(data + "dr".encode(encoding)[:-1])
    tailed = tail(log, encoding=encoding)
    batch = tailed.batch()
    assert (batch.data, batch.records) == (data, 2)
    append(log, "dr".encode(encoding)[-1:] + "ei\n".encode(encoding))
    assert tailed.read(10) == "drei\n".encode(encoding)


# --- many files ------------------------------------------------------------------------------


def test_keeps_few_of_many_files_open(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(handles, "HANDLES", 16)
    for number in range(200):
        (tmp_path / f"{number}.log").write_bytes(b"%d\n" % number)
    tailed = tail(tmp_path / "*.log")
    wait_until_quiet(tailed)
    for number in range(200):
        append(tmp_path / f"{number}.log", b"more\n")
    wait_until_quiet(tailed)
    assert len(tailed.memory.lines) == 400
    opened = [f.path for f in psutil.Process().open_files() if f.path.startswith(str(tmp_path))]
    assert len(opened) <= 16


def test_a_busy_file_does_not_keep_quiet_ones_waiting(tail, tmp_path):
    (tmp_path / "busy.log").write_bytes(OLD * 2000)
    tailed = tail(tmp_path / "*.log", limits=Limits(lines=1000, bytes=16_384, seconds=0.0))
    tailed.batch()
    (tmp_path / "quiet.log").write_bytes(b"quiet\n")
    tailed.poll_soon()
    assert any(b"quiet\n" in tailed.batch().data for _ in range(3))


def test_a_line_that_ended_between_two_rotations_that_nobody_saw_is_whole(
    tail, tmp_path, monkeypatch
):
    log, first, second = (tmp_path / f"app.log{end}" for end in ("", ".1", ".2"))
    log.write_bytes(b"one\nhal")
    tailed = tail(f"{log}*")
    assert tailed.read(4) == b"one\n"
    log.rename(first)
    assert tailed.is_quiet()
    append(first, b"f\n")
    first.rename(second)
    monkeypatch.setattr(handles, "LINGER_SECONDS", 0.0)  # as if the store had been away for long
    tailed.poll_soon()
    assert tailed.batch().data == b"half\n"


# --- processes that share files --------------------------------------------------------------


def test_a_file_is_with_one_process_at_a_time_which_learns_how_far_others_came(tail, tmp_path):
    log, memory, claims = tmp_path / "app.log", Memory(), tmp_path / "claims"
    log.write_bytes(OLD)
    one, other = tail(log, memory, claims=claims), tail(log, memory, claims=claims)
    (batch,) = one.partition.next_batch()
    assert other.batch() is None
    memory.record(batch)
    batch.acknowledge()
    append(log, b"more\n")
    assert other.read(5) == b"more\n"
    append(log, b"and more\n")
    assert one.read(9) == b"and more\n"
    assert len(memory.files) == 1


def test_an_inode_that_is_used_again_does_not_bring_back_the_id_of_another_file(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)
    few = one.mint((1, 2), b"2026-", 99, lambda *_: False)
    assert other.mint((1, 2), b"2026-11-01 a line", 99, lambda *_: False) == few
    new = other.mint((1, 2), b"2026-11-02 another file", 99, lambda file_id, *_: file_id == few)
    assert new != few
    assert one.mint((1, 2), b"2026-11-02 another file", 99, lambda *_: False) == new


def test_the_claims_of_a_file_that_is_forgotten_are_removed_unless_somebody_has_it(tmp_path):
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take(7)
    other.forget(7)
    assert (tmp_path / "7").exists()
    one.release(7, 0)
    other.forget(7)
    assert not (tmp_path / "7").exists()
    assert one.take(7)


@pytest.fixture(params=["compressed", "copied"])
def rotate(request, tmp_path):
    """Rotates `app.log`: what was in it is in another file, and not there any more."""

    def rotate_it() -> None:
        log = tmp_path / "app.log"
        if request.param == "copied":
            shutil.copy(log, f"{log}.1")
            log.write_bytes(b"")
        else:
            (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
            log.unlink()

    return rotate_it


def test_a_file_that_a_process_meets_rotated_while_another_has_not_read_it_is_stored_once(
    tail, tmp_path, rotate
):
    memory, claims = Memory(), tmp_path / "claims"
    (tmp_path / "app.log").write_bytes(OLD)
    one = tail(tmp_path / "app.log*", memory, claims=claims)
    rotate()
    wait_until_quiet(tail(tmp_path / "app.log*", memory, claims=claims))
    wait_until_quiet(one)
    assert everything(memory) == OLD


def test_a_file_that_a_process_meets_rotated_while_another_stores_it_is_stored_once(
    tail, tmp_path, rotate
):
    memory, claims = Memory(), tmp_path / "claims"
    (tmp_path / "app.log").write_bytes(OLD)
    one = tail(tmp_path / "app.log*", memory, claims=claims)
    (batch,) = one.partition.next_batch()
    rotate()
    other = tail(tmp_path / "app.log*", memory, claims=claims)
    wait_until_quiet(other)
    memory.record(batch)
    batch.acknowledge()
    wait_until_quiet(other)
    assert everything(memory) == OLD


def test_a_file_that_a_process_meets_rotated_after_another_died_with_it_is_stored(
    tail, tmp_path, rotate
):
    memory, claims = Memory(), tmp_path / "claims"
    (tmp_path / "app.log").write_bytes(OLD)
    victim = tail(tmp_path / "app.log*", memory, claims=claims)
    victim.partition.next_batch()
    rotate()
    kill(victim)
    wait_until_quiet(tail(tmp_path / "app.log*", memory, claims=claims))
    assert everything(memory) == OLD


def test_a_file_rotated_after_a_process_died_with_it_is_itself_though_its_inode_is_used_again(
    tail, tmp_path
):
    memory, claims, log = Memory(), tmp_path / "claims", tmp_path / "new.log"
    log.write_bytes(OLD)
    victim = tail(tmp_path / "*.log*", memory, claims=claims)
    (batch,) = victim.partition.next_batch()
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(OLD))
    log.write_bytes(NEW)  # in place: the inode stays
    kill(victim)
    heir = tail(tmp_path / "*.log*", memory, claims=claims, follow=False)
    while heir.batch_or_end():
        pass
    assert everything(memory) == b"".join(sorted((OLD + NEW).splitlines(True)))
    [file_id] = {span.stream.id for span in batch.spans}
    assert [status.path for status in heir.source.files() if status.file_id == file_id] == [
        str(tmp_path / "a.log.gz")
    ]


def test_a_file_rotated_after_a_process_died_with_it_is_itself_though_it_was_met_short(
    tail, tmp_path
):
    memory, claims, log = Memory(), tmp_path / "claims", tmp_path / "app.log"
    log.write_bytes(OLD[:20])
    victim = tail(f"{log}*", memory, claims=claims)
    append(log, OLD[20:])
    batches: list[Taken] = []
    wait_for(lambda: batches.extend(victim.partition.next_batch()) or batches, "a batch")
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    kill(victim)
    heir = tail(f"{log}*", memory, claims=claims)
    wait_until_quiet(heir)
    assert [status.file_id for status in heir.source.files()] == [batches[0].spans[0].stream.id]
    assert everything(memory) == OLD


def test_what_another_process_read_from_a_copy_is_no_gap(tail, tmp_path):
    log, memory, claims = tmp_path / "app.log", Memory(), tmp_path / "claims"
    log.write_bytes(OLD)
    one = tail(f"{log}*", memory, claims=claims)
    tail(log, memory, claims=claims).read(len(OLD))
    shutil.copy(log, f"{log}.1")
    log.write_bytes(b"")
    wait_until_quiet(one)
    assert everything(memory) == OLD
    assert one.problems == ""


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_is_like_one_that_another_process_stores_is_a_file_of_its_own(
    tail, tmp_path, suffix
):
    memory, claims = Memory(), tmp_path / "claims"
    data = COMPRESSORS.get(suffix, bytes)(OLD)
    (tmp_path / f"two.log{suffix}").write_bytes(data)
    one = tail(tmp_path / "two.log*", memory, claims=claims)
    batches: list[Taken] = []
    wait_for(lambda: batches.extend(one.partition.next_batch()) or batches, "a batch")
    (tmp_path / f"one.log{suffix}").write_bytes(data)
    other = tail(tmp_path / "*.log*", memory, claims=claims)
    wait_until_quiet(other)
    memory.record(batches[0])
    batches[0].acknowledge()
    wait_until_quiet(other)
    assert everything(memory) == b"".join(sorted(OLD.splitlines(True) * 2))


def kill(tail: Tail) -> None:
    """What the system does when a process is killed."""
    for lock in tail.source._catalog._claims._held.values():
        os.close(lock)


def settled_by(tail: Tail) -> Taken:
    """The next batch that settles block 1 of writer 1."""
    batches: list[Taken | None] = []

    def has_settled() -> bool:
        batches.append(tail.batch())
        return bool(batches[-1] and batches[-1].in_doubt == BlockId(1, 1))

    wait_for(has_settled, "the block in doubt")
    assert batches[-1]
    return batches[-1]


def test_a_process_settles_what_another_left_in_doubt(tail, tmp_path):
    log, memory, claims = tmp_path / "app.log", Memory(), tmp_path / "claims"
    log.write_bytes(OLD)
    survivor = tail(f"{log},{tmp_path}/other.log", memory, claims=claims)
    victim = tail(log, memory, claims=claims)
    (batch,) = victim.partition.next_batch()
    memory.start_at(batch.spans)
    memory.in_doubt = {BlockId(1, 1): batch.spans}
    (tmp_path / "other.log").write_bytes(b"new\n")  # for which the survivor asks the ledger
    assert survivor.read(4) == b"new\n"
    kill(victim)
    assert settled_by(survivor).data == OLD


def test_a_process_settles_what_is_recorded_late_after_others_have_had_the_file(tail, tmp_path):
    log, memory, claims = tmp_path / "app.log", Memory(), tmp_path / "claims"
    log.write_bytes(OLD)
    victim, survivor = tail(log, memory, claims=claims), tail(log, memory, claims=claims)
    other = tail(log, memory, claims=claims, limits=Limits(lines=10, seconds=0.0))
    (batch,) = victim.partition.next_batch()
    kill(victim)
    assert other.batch().records == 10
    memory.start_at(batch.spans)  # a server that was slow executes what it was sent before
    memory.in_doubt = {BlockId(1, 1): batch.spans}
    append(log, b"more\n")
    assert settled_by(survivor).data == OLD
