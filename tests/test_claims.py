"""Claims without room, right or descriptor: files wait, and nothing is stored twice."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from connectors import preflight
from connectors.batch import Taken
from connectors.errors import LogwaxError
from connectors.sources import catalog, file_list
from settings import Settings
from tests.conftest import wait_for
from tests.rights import no_more_than_others
from tests.tailing import SOON, Memory, Tail, append


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for fractions of a second where it would be seconds."""
    monkeypatch.setattr(file_list, "SCAN_SECONDS", 0.1)
    monkeypatch.setattr(catalog, "PUT_OFF_SECONDS", 0.1)


@contextmanager
def limited(which: int, limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(which)
    resource.setrlimit(which, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(which, (soft, hard))


@contextmanager
def no_room(claims: Path) -> Iterator[None]:
    """Every claim that is there, and what new ones are noted in, is on a full disk: full(4)."""
    claims.mkdir(parents=True, exist_ok=True)
    (claims / "minted").touch()
    there = list(claims.iterdir())
    for path in there:
        path.rename(claims.parent / path.name)
        path.symlink_to("/dev/full")
    yield
    for path in there:
        (claims.parent / path.name).rename(path)


@contextmanager
def no_right(claims: Path) -> Iterator[None]:
    for path in claims.iterdir():
        path.chmod(0o400)
    claims.chmod(0o500)
    with no_more_than_others():
        yield
    claims.chmod(0o700)
    for path in claims.iterdir():
        path.chmod(0o600)


def no_descriptor(claims: Path) -> AbstractContextManager[None]:
    free = os.open("/", os.O_RDONLY)
    os.close(free)
    return limited(resource.RLIMIT_NOFILE, free)


@contextmanager
def no_directory(claims: Path) -> Iterator[None]:
    claims.rename(claims.with_name("elsewhere"))
    claims.touch()
    yield
    claims.unlink()
    claims.with_name("elsewhere").rename(claims)


@pytest.mark.parametrize("without", [no_room, no_right, no_descriptor, no_directory])
def test_files_wait_for_claims_that_cannot_be_written(
    tail, tmp_path, capfd, without: Callable[[Path], AbstractContextManager[None]]
):
    known, claims = tmp_path / "known.log", tmp_path / "data" / "claims"
    known.write_bytes(b"one\n")
    tailed = tail(tmp_path / "*.log", claims=claims)
    assert tailed.read(4) == b"one\n"
    append(known, b"two\n")
    (tmp_path / "new.log").write_bytes(b"new\n")
    with without(claims):
        problem = str(claims) if without is not no_descriptor else "Too many open files"
        wait_for(lambda: tailed.batch() or problem in tailed.problems, "the problem")
        for _ in range(3):
            assert tailed.batch() is None
    assert capfd.readouterr().err.count("cannot claim") <= 1
    assert sorted(tailed.read(8).splitlines()) == [b"new", b"two"]
    wait_for(lambda: tailed.batch() is None and not tailed.problems, "no problem")
    assert sorted(tailed.memory.lines.values()) == [b"new\n", b"one\n", b"two\n"]


def test_a_file_goes_on_where_there_is_no_room_for_claims_of_others(tail, tmp_path):
    known, claims = tmp_path / "known.log", tmp_path / "data" / "claims"
    known.write_bytes(b"one\n")
    tailed = tail(tmp_path / "*.log", claims=claims)
    assert tailed.read(4) == b"one\n"
    (claims / "minted").rename(claims.parent / "minted")
    (claims / "minted").symlink_to("/dev/full")
    (tmp_path / "new.log").write_bytes(b"new\n")
    wait_for(lambda: tailed.batch() or "cannot claim" in tailed.problems, "the problem")
    append(known, b"two\n")
    assert tailed.read(4) == b"two\n"
    assert "No space left on device" in tailed.problems
    (claims.parent / "minted").rename(claims / "minted")
    assert tailed.read(4) == b"new\n"


def test_a_file_that_waits_for_its_claim_is_told_of_until_it_need_not(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "PUT_OFF_SECONDS", 3600.0)
    log, claims = tmp_path / "a.log", tmp_path / "data" / "claims"
    log.write_bytes(b"one\n")
    tailed = tail(log, claims=claims)
    assert tailed.read(4) == b"one\n"
    with no_room(claims):
        append(log, b"two\n")
        wait_for(lambda: tailed.batch() or "cannot claim" in tailed.problems, "the problem")
        for _ in range(3):
            assert tailed.is_quiet()  # although it has looked at everything again
            assert "cannot claim" in tailed.problems
    for file in tailed.source._catalog._files:
        file.not_before = 0.0
    assert tailed.read(4) == b"two\n"
    assert tailed.is_quiet()
    assert tailed.problems == ""


def test_what_was_stored_when_its_claim_could_not_be_noted_is_not_stored_again(tail, tmp_path):
    log, claims = tmp_path / "a.log", tmp_path / "claims"
    log.write_bytes(b"one\n")
    first = tail(log, claims=claims)
    (batch,) = first.partition.next_batch()
    first.memory.record(batch)
    with limited(resource.RLIMIT_FSIZE, 0):  # no byte can be written: setrlimit(2)
        batch.acknowledge()
    append(log, b"two\n")
    second = tail(log, first.memory, claims=claims)
    assert second.read(4) == b"two\n"
    append(log, b"three\n")
    assert first.read(6) == b"three\n"
    assert sorted(first.memory.lines.values()) == [b"one\n", b"three\n", b"two\n"]


def test_a_claim_that_was_noted_tells_the_next_holder_how_far_the_file_is_stored(tail, tmp_path):
    log, claims = tmp_path / "a.log", tmp_path / "claims"
    log.write_bytes(b"one\n")
    one = tail(log, claims=claims)
    one.read(4)
    (file_id,) = one.memory.files
    held = catalog.Claims(claims)
    assert held.take(file_id)
    assert (held.left_at(file_id), held.is_fresh(file_id)) == (4, False)
    held.mark(file_id)
    assert held.left_at(file_id) == -1
    assert (claims / str(file_id)).stat().st_size == 24  # in place: that needs no room
    held.release(file_id, 4)


def test_who_does_not_follow_ends_with_a_sentence_where_a_new_file_cannot_be_claimed(
    tail, tmp_path
):
    log, claims = tmp_path / "a.log", tmp_path / "data" / "claims"
    log.write_bytes(b"one\n")
    with no_room(claims), pytest.raises(LogwaxError, match="No space left on device; those"):
        tail(log, claims=claims, follow=False)


@pytest.mark.parametrize("part", ["data/claims", "data", "."])
def test_a_directory_that_claims_cannot_be_written_in_is_told_before_the_start(tmp_path, part):
    (tmp_path / "data" / "claims").mkdir(parents=True)
    settings = Settings(
        _env_file=None, store="clickhouse", data_dir=tmp_path / "data", instance="i", api_port=0
    )
    assert preflight.problems(settings) == []
    (tmp_path / part).chmod(0)
    with no_more_than_others():
        (problem,) = preflight.problems(settings)
    (tmp_path / part).chmod(0o700)
    assert problem.startswith(f"DATA_DIR={tmp_path / 'data'}: cannot write in ")
    assert "Permission denied" in problem


def test_few_files_are_open_where_few_may_be(tail, tmp_path):
    for number in range(220):
        (tmp_path / f"{number}.log").write_bytes(b"%d\n" % number)
    few = len(os.listdir("/proc/self/fd")) + 400  # this process has some already
    with limited(resource.RLIMIT_NOFILE, few):
        tailed = tail(tmp_path / "*.log", claims=tmp_path / "claims")

        def are_all_read() -> bool:
            batch = tailed.batch()
            assert batch is None or len(batch.spans) <= few // 16
            return len(tailed.memory.files) == 220

        wait_for(are_all_read, "all files")
        assert len(tailed.source._catalog._files.handles) == min(few // 4, 220)
        assert tailed.problems == ""


def take(tailed: Tail) -> Taken:
    """The next batch, which is on its way then."""
    found: list[Taken] = []
    wait_for(lambda: bool(found or found.extend(tailed.partition.next_batch())), "a batch")
    return found[0]


def store(tailed: Tail, *batches: Taken) -> None:
    for batch in batches:
        tailed.memory.record(batch)
        batch.acknowledge()


@pytest.fixture
def many_lines(tail, tmp_path, monkeypatch) -> Callable[..., Tail]:
    """Makes processes that share a file of many lines, and read one at a time."""
    monkeypatch.setattr(catalog, "TENURE_SECONDS", 0.0)
    log = tmp_path / "a.log"
    log.write_bytes(b"".join(b"%03d\n" % number for number in range(1000)))

    def make(memory: Memory | None = None) -> Tail:
        return tail(log, memory, claims=tmp_path / "claims", limits=replace(SOON, lines=1))

    return make


def test_who_has_a_file_that_nobody_else_asks_for_reads_on_while_its_batches_are_stored(many_lines):
    alone = many_lines()
    batches = [take(alone) for _ in range(4)]
    assert b"".join(batch.data for batch in batches) == b"000\n001\n002\n003\n"
    store(alone, *batches)
    assert take(alone).data == b"004\n"


def test_who_has_a_file_that_another_asks_for_gives_it_up_when_all_it_has_read_is_stored(
    many_lines,
):
    first = many_lines()
    batches = [take(first), take(first)]
    second = many_lines(first.memory)
    assert second.is_quiet(), "the first has it"
    assert first.is_quiet()
    store(first, batches[0])
    assert first.is_quiet()
    assert second.is_quiet()
    store(first, batches[1])
    assert first.is_quiet(), "it is the other's turn"
    assert take(second).data == b"002\n"
    assert take(second).data == b"003\n"


def test_who_has_a_file_reads_on_in_it_for_a_while_before_another_gets_it(many_lines, monkeypatch):
    monkeypatch.setattr(catalog, "TENURE_SECONDS", 3600.0)
    first = many_lines()
    take(first)
    assert many_lines(first.memory).is_quiet()
    assert [take(first).data for _ in range(3)] == [b"001\n", b"002\n", b"003\n"]


def test_nothing_is_left_of_who_asked_for_a_file_and_is_gone(many_lines, tmp_path):
    first = many_lines()
    batch = take(first)
    (file_id,) = (file.file_id for file in first.source.files())
    assert many_lines(first.memory).is_quiet()  # and it is not heard of again
    store(first, batch)
    assert [take(first).data for _ in range(3)] == [b"001\n", b"002\n", b"003\n"]
    assert {path.name for path in (tmp_path / "claims").iterdir()} == {str(file_id), "minted"}
