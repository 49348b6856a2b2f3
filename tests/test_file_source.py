"""The file source on real files: what it reads, when, and how it knows a file again."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connectors.batch import BlockId, Span, Stream, Taken
from connectors.errors import StoreError
from connectors.sources import catalog
from connectors.sources.catalog import FIRST_LINES
from connectors.sources.files import FileSource
from connectors.sources.tailed_file import Limits
from tests.conftest import DEADLINE, wait_for
from tests.tailing import SOON, Memory, append


def test_reads_what_is_there_and_what_is_appended(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    tailed = tail(log)
    assert tailed.read(4) == b"one\n"
    append(log, b"two\n")
    assert tailed.read(4) == b"two\n"


def test_of_many_lines_a_few_come_first_so_that_rows_are_there_soon(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"x\n" * (3 * FIRST_LINES))
    tailed = tail(log, limits=Limits(seconds=0.0))
    assert [tailed.batch().records for _ in range(2)] == [FIRST_LINES, 2 * FIRST_LINES]


def test_holds_a_last_line_until_it_ends(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\ntw")
    tailed = tail(log)
    assert tailed.read(4) == b"one\n"
    assert tailed.is_quiet()
    append(log, b"o\n")
    assert tailed.read(4) == b"two\n"


def test_takes_an_unfinished_last_line_when_not_following(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\ntwo")
    tailed = tail(log, follow=False)
    batch = tailed.batch()
    assert (batch.data, batch.records) == (b"one\ntwo", 2)
    with pytest.raises(StopIteration):
        tailed.batch()


def test_finds_files_that_appear_later_also_in_new_directories(tail, tmp_path):
    tailed = tail(tmp_path / "sub" / "*.log")
    assert tailed.is_quiet()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "new.log").write_bytes(b"hello\n")
    assert tailed.read(6) == b"hello\n"


def test_sees_growth_in_a_directory_that_was_made_anew(tail, tmp_path):
    log = tmp_path / "sub" / "a.log"
    log.parent.mkdir()
    log.write_bytes(b"one\n")
    tailed = tail(log)
    tailed.read(4)
    log.unlink()
    log.parent.rmdir()
    assert tailed.is_quiet()
    log.parent.mkdir()
    log.write_bytes(b"another\n")
    assert tailed.read(8) == b"another\n"
    tailed.source._catalog._files._next_scan = time.monotonic() + 3600
    append(log, b"more\n")
    assert tailed.read(5) == b"more\n"


def test_reads_a_file_once_that_two_names_lead_to(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    (tmp_path / "b.log").symlink_to(log)
    os.link(log, tmp_path / "c.log")
    tailed = tail(tmp_path / "*.log")
    assert tailed.read(4) == b"one\n"
    assert tailed.is_quiet()


def test_sees_growth_behind_a_symbolic_link_without_waiting_for_the_slow_scan(tail, tmp_path):
    target = tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    target.write_bytes(b"one\n")
    (tmp_path / "a.log").symlink_to(target)
    tailed = tail(tmp_path / "*.log")
    assert tailed.read(4) == b"one\n"
    tailed.source._catalog._files._next_scan = time.monotonic() + 3600
    append(target, b"two\n")
    assert tailed.read(4) == b"two\n"


def test_goes_on_at_the_recorded_position_after_a_restart(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    first = tail(log)
    first.read(4)
    append(log, b"two\nthree\n")
    second = tail(log, first.memory)
    batch = second.batch()
    assert batch.data == b"two\nthree\n"
    assert (batch.spans[0].start, batch.spans[0].first) == (4, 1)
    assert batch.spans[0].stream.id in first.memory.files


def test_knows_a_renamed_file_again_while_running_and_after_a_restart(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    running = tail(tmp_path / "app*")
    running.read(4)
    log.rename(tmp_path / "app.log.1")
    append(tmp_path / "app.log.1", b"late\n")
    log.write_bytes(b"fresh\n")
    assert running.read(11) in (b"late\nfresh\n", b"fresh\nlate\n")
    (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
    restarted = tail(tmp_path / "app*", running.memory)
    assert restarted.is_quiet()
    append(tmp_path / "app.log.2", b"later\n")
    assert restarted.read(6) == b"later\n"


def test_takes_a_file_that_shrank_for_a_new_one(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\ntwo\n")
    tailed = tail(log)
    tailed.read(8)
    log.write_bytes(b"new\n")
    assert tailed.read(4) == b"new\n"
    assert len(tailed.memory.files) == 2


def test_takes_other_content_in_the_same_file_for_a_new_one(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\ntwo\n")
    tailed = tail(log)
    tailed.read(8)
    with log.open("r+b") as file:
        file.write(b"ONE\nTWO\nTHREE\n")
    assert tailed.read(14) == b"ONE\nTWO\nTHREE\n"


def test_does_not_take_a_recreated_file_for_the_deleted_one(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    tailed = tail(log)
    tailed.read(4)
    log.unlink()
    log.write_bytes(b"two\nthree\n")  # file systems like to give the same inode again
    assert tailed.read(10) == b"two\nthree\n"


def test_gives_equal_files_identities_of_their_own(tail, tmp_path):
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"same\n")
    tailed = tail(tmp_path / "*.log")
    assert tailed.read(10) == b"same\nsame\n"
    assert len(tailed.memory.files) == 2
    restarted = tail(tmp_path / "*.log", tailed.memory)
    assert restarted.is_quiet()


def test_skips_at_the_very_first_start_only_what_is_there_if_told_to_begin_at_the_end(
    tail, tmp_path
):
    old = tmp_path / "old.log"
    old.write_bytes(b"skipped\nhalf")
    first = tail(tmp_path / "*.log", from_end=True)
    assert first.is_quiet()
    append(old, b" line\n")
    (tmp_path / "new.log").write_bytes(b"whole\n")
    assert sorted(first.read(16).splitlines()) == [b"half line", b"whole"]
    (tmp_path / "newer.log").write_bytes(b"between the starts\n")
    second = tail(tmp_path / "*.log", first.memory, from_end=True)
    assert second.read(19) == b"between the starts\n"


def test_emits_a_batch_when_enough_lines_are_there_however_young(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"x\n" * 9)
    tailed = tail(log, limits=Limits(lines=10, bytes=1 << 20, seconds=3600))
    assert tailed.is_quiet()
    append(log, b"x\n" * 6)
    assert tailed.read(20) == b"x\n" * 10
    assert tailed.is_quiet()


def test_emits_a_batch_when_enough_bytes_are_there_however_young(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"123456789\n" * 102)
    tailed = tail(log, limits=Limits(lines=1000, bytes=1024, seconds=3600))
    assert tailed.is_quiet()
    append(log, b"123456789\n")
    assert tailed.read(1020) == b"123456789\n" * 102


def test_waits_counting_from_the_oldest_unread_line(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"old\n")
    limits = Limits(lines=1000, bytes=1 << 20, seconds=0.5)
    started = time.monotonic()
    tailed = tail(log, limits=limits)
    writing = threading.Event()

    def keep_writing() -> None:
        while not writing.wait(0.02):
            append(log, b"young\n")

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        data = tailed.read(1)
    finally:
        writing.set()
        writer.join()
    assert data.startswith(b"old\nyoung\n")
    assert time.monotonic() - started >= limits.seconds


def test_collects_the_lines_of_several_files_in_one_batch_with_their_places(tail, tmp_path):
    (tmp_path / "a.log").write_bytes(b"a1\na2\n")
    (tmp_path / "b.log").write_bytes(b"b1\n")
    batch = tail(tmp_path / "*.log").batch()
    found = {Path(s.stream.name).name: (s.start, s.end, s.records) for s in batch.spans}
    assert found == {"a.log": (0, 6, 2), "b.log": (0, 3, 1)}
    assert len(batch.data) == 9


def test_a_line_of_a_quiet_file_goes_before_backlogs_that_wait_for_longer(tail, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.log").write_bytes(b"backlog\n" * 1000)
    tailed = tail(tmp_path / "*.log", limits=Limits(bytes=800, seconds=0.0))
    tailed.read(800)
    append(tmp_path / "d.log", b"quiet\n")
    tailed.poll_soon()
    assert b"quiet\n" in tailed.batch().data


def test_a_backlog_is_read_however_much_comes_to_quiet_files(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "PATIENCE_SECONDS", 3.0)
    (tmp_path / "long.log").write_bytes(b"backlog\n" * 1000)
    tailed = tail(tmp_path / "*.log", limits=Limits(bytes=800, seconds=0.0))
    tailed.read(800)

    def is_read_on() -> bool:
        for number in range(3):  # as much as a batch takes
            append(tmp_path / f"{number}.log", b"%d: quiet\n" % number * 30)
        tailed.poll_soon()
        return b"backlog\n" in tailed.batch().data

    assert not is_read_on()
    wait_for(is_read_on, "the backlog")


def test_reads_a_line_longer_than_a_batch_whole(tail, tmp_path):
    log = tmp_path / "a.log"
    long = b"x" * 5000 + b"\n"
    log.write_bytes(b"short\n" + long + b"short\n")
    tailed = tail(log, limits=Limits(lines=1000, bytes=1024, seconds=0))
    assert tailed.read(len(long) + 12) == b"short\n" + long + b"short\n"


@pytest.mark.parametrize("characters", [100, 50_000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_reads_a_large_file_in_whole_lines(tail, tmp_path, encoding, characters):
    # In UTF-16, the halves of its characters make newlines, too.
    line = ("\u0a10\u0100\u0f00\u0a00" * (characters // 4) + "\n").encode(encoding)
    log = tmp_path / "a.log"
    data = line * (3_000_000 // len(line))
    log.write_bytes(data + line[:-3])
    tailed = tail(log, limits=Limits(99_999, 1_100_001, 0), encoding=encoding)
    while len(data):
        found = tailed.read(1)
        assert data.startswith(found)
        assert len(found) % len(line) == 0
        data = data[len(found) :]
    assert tailed.is_quiet()


def test_repeats_a_block_in_doubt_as_the_same_bytes_before_anything_else(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\ntwo\n")
    crashed = tail(log)
    batch = crashed.batch()
    crashed.memory.in_doubt[BlockId(7, 1)] = batch.spans
    append(log, b"three\n")
    restarted = tail(log, crashed.memory)
    repeated = restarted.batch()
    assert (repeated.in_doubt, repeated.data) == (BlockId(7, 1), b"one\ntwo\n")
    assert restarted.read(6) == b"three\n"


def test_says_that_a_file_in_doubt_is_missing(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    crashed = tail(log)
    crashed.memory.in_doubt[BlockId(7, 1)] = crashed.batch().spans
    log.unlink()
    restarted = tail(log, crashed.memory)
    assert restarted.is_quiet()
    (problem,) = restarted.source.status().problems
    assert "a.log' is not there" in problem


def test_reports_what_it_cannot_read_and_reads_the_rest(tail, tmp_path, capfd):
    (tmp_path / "directory.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "a.log").write_bytes(b"one\n")
    tailed = tail(tmp_path / "*.log")
    assert tailed.read(4) == b"one\n"
    assert tailed.is_quiet()
    assert len(tailed.source.status().problems) == 2
    assert capfd.readouterr().err.count("not a regular file") == 2


def test_shows_a_path_that_is_not_utf8_escaped(tail, tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.log"
    with open(path, "wb") as file:
        file.write(b"one\n")
    batch = tail(tmp_path / "*.log").batch()
    assert batch.spans[0].stream.name.endswith("/caf\\xe9.log")


def test_status_tells_files_and_how_far_the_store_is_behind(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\nunfinished")
    tailed = tail(log)
    (batch,) = tailed.partition.next_batch()
    before = tailed.source.status()
    assert (before.files, before.lag_bytes) == (1, 4)
    wait_for(lambda: tailed.source.status().lag_seconds > 0, "a lag that grows")
    batch.acknowledge()
    assert tailed.source.status().lag_bytes == 0
    assert tailed.source.status().lag_seconds == 0


def test_ends_when_told_to_stop(tail, tmp_path):
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    stop = threading.Event()
    tailed = tail(log, stop=stop)
    stop.set()
    with pytest.raises(StopIteration):
        tailed.batch()


def test_two_workers_never_have_the_same_lines(tmp_path):
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"line\n" * 1000)
    source = FileSource(
        [str(tmp_path / "*.log")], None, Limits(lines=10, bytes=1 << 20, seconds=0), follow=False
    )
    first, second = source.build("tail", 0, 2), source.build("tail", 1, 2)
    found: list[tuple[int, int]] = []
    while True:
        try:
            held = [*first.next_batch(), *second.next_batch()]
        except StopIteration:
            break
        for batch in reversed(held):
            found += batch.identity.select("file_id", "offset").rows()
            batch.acknowledge()
    assert len(found) == len(set(found)) == 2000


def test_goes_on_seeing_growth_when_events_flood(tail, tmp_path):
    paths = [tmp_path / "a.log", tmp_path / "b.log"]
    tailed = tail(tmp_path / "*.log")
    watcher = tailed.source._catalog._files._watcher
    read = 0

    def flooded() -> bool:
        nonlocal read
        for _ in range(1000):
            for path in paths:  # in turn, or the kernel would make one event of many
                append(path, b"x\n")
        batch = tailed.batch()
        read += len(batch.data) if batch else 0
        return watcher.blind

    wait_for(flooded, "the watcher to give up on growth")
    tailed.read(sum(path.stat().st_size for path in paths) - read)
    append(paths[0], b"last\n")
    assert tailed.read(5) == b"last\n"


def test_goes_on_seeing_new_files_when_renamings_flood(tail, tmp_path):
    moved = [tmp_path / f"a.log.{number}" for number in range(50)]
    moved[0].write_bytes(b"one\n")
    tailed = tail(tmp_path / "*.log*")
    watcher = tailed.source._catalog._files._watcher
    tailed.read(4)

    def flooded() -> bool:
        for before, after in [*pairwise(moved), (moved[-1], moved[0])] * 20:
            before.rename(after)
        tailed.batch()
        return watcher.blind

    wait_for(flooded, "the watcher to give up on names")
    assert not watcher._watches
    (tmp_path / "b.log").write_bytes(b"two\n")
    append(moved[0], b"three\n")
    assert sorted(tailed.read(10).split()) == [b"three", b"two"]


def test_streams_of_other_sources_are_none_of_its_files(tail, tmp_path):
    memory = Memory()
    other = Span(Stream(5, "queue", "redis"), 0, 9, 0, 9, proof="understood by nobody else")
    memory.files[5] = other
    memory.in_doubt[BlockId(1, 1)] = [other]
    (tmp_path / "a.log").write_bytes(b"one\n")
    tailed = tail(tmp_path / "*.log", memory)
    assert tailed.read(4) == b"one\n"
    assert tailed.problems == ""


def test_what_follows_is_handed_out_before_the_batch_before_it_is_stored(tail, tmp_path) -> None:
    lines = [b"%03d\n" % number for number in range(30)]
    (tmp_path / "a.log").write_bytes(b"".join(lines))
    tailed = tail(tmp_path / "a.log", limits=replace(SOON, lines=10))
    first, second, third = [tailed.partition.next_batch()[0] for _ in range(3)]
    assert first.data + second.data + third.data == b"".join(lines)
    stored = tailed.source.files()[0].stored
    third.acknowledge()
    second.acknowledge()
    assert tailed.source.files()[0].stored == stored == 0, "the first is not stored yet"
    first.acknowledge()
    assert tailed.source.files()[0].stored == 120


def test_batches_of_a_file_are_recorded_in_order_whoever_stores_them(tail, tmp_path) -> None:
    (tmp_path / "a.log").write_bytes(b"x\n" * 30)
    tailed = tail(tmp_path / "a.log", limits=replace(SOON, lines=10))
    batches = [tailed.partition.next_batch()[0] for _ in range(3)]
    recorded: list[int] = []

    def record(batch: Taken) -> None:
        with batch.in_order():
            recorded.append(batch.spans[0].start)

    threads = [threading.Thread(target=record, args=[batch]) for batch in reversed(batches[1:])]
    for thread in threads:
        thread.start()
    record(batches[0])
    for thread in threads:
        thread.join(DEADLINE)
    assert recorded == [0, 20, 40]


def test_behind_a_batch_that_could_not_be_recorded_none_is(tail, tmp_path) -> None:
    (tmp_path / "a.log").write_bytes(b"x\n" * 30)
    tailed = tail(tmp_path / "a.log", limits=replace(SOON, lines=10))
    (first,) = tailed.partition.next_batch()
    with pytest.raises(StoreError, match="gone"), first.in_order():
        raise StoreError("gone")
    for later in [tailed.partition.next_batch()[0] for _ in range(2)]:
        with pytest.raises(StoreError, match="The batch before this one"), later.in_order():
            pytest.fail("it is recorded")


def test_what_has_come_while_a_batch_is_stored_is_read_on(tail, tmp_path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(b"one\n")
    tailed = tail(file)
    (first,) = tailed.partition.next_batch()
    with file.open("ab") as more:
        more.write(b"two\n")
    found: list[Taken] = []
    wait_for(lambda: bool(found or found.extend(tailed.partition.next_batch())), "the second line")
    assert (first.data, found[0].data) == (b"one\n", b"two\n")


def test_a_look_at_all_names_asks_once_of_each_file_that_is_as_it_was(tail, tmp_path, monkeypatch):
    quiet = [tmp_path / f"{number}.log" for number in range(20)]
    for file in quiet:
        file.write_bytes(b"line\n")
    tailed = tail(tmp_path / "*.log")
    tailed.read(100)
    asked = Counter[str]()
    stat = os.stat

    def counted(path: Path | str, **options: Any) -> os.stat_result:
        asked[str(path)] += 1
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", counted)
    assert tailed.is_quiet()
    assert {asked[str(file)] for file in quiet} == {1}
