"""Files that have left their names, and whose writers go on."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.sources import file_list, handles, writers
from connectors.sources.writers import Writers
from tests.conftest import wait_for
from tests.tailing import Tail, append

OLD = b"".join(b"%04d an old line\n" % number for number in range(200))

APPENDER = """
import sys
with open(sys.argv[1], "ab", buffering=0) as log:
    print("open", flush=True)
    for line in sys.stdin:
        log.write(line.rstrip("\\n").replace("|", "\\n").encode())
        print("written", flush=True)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for fractions of a second where it would be seconds."""
    for module, name, seconds in (
        (handles, "LINGER_SECONDS", 0.2),
        (file_list, "SCAN_SECONDS", 0.1),
        (file_list, "GRACE_SECONDS", 0.3),
        (writers, "RESCAN_SECONDS", 0.2),
        (writers, "_SHARE", 1),
    ):
        monkeypatch.setattr(module, name, seconds)


@contextmanager
def appender(path: Path) -> Iterator[Callable[[str], None]]:
    """Another process with the file open; it appends what it is given, with `|` for line ends."""
    command = [sys.executable, "-c", APPENDER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "open\n"

        def write(text: str) -> None:
            print(text, file=process.stdin, flush=True)
            assert process.stdout.readline() == "written\n"

        yield write
        process.stdin.close()


def look_for_a_while(tailed: Tail, seconds: float = 1.0) -> None:
    """Longer than anybody would be waited for who is not there; nothing comes."""
    end = file_list.time.monotonic() + seconds
    while file_list.time.monotonic() < end:
        assert tailed.is_quiet()


LEAVINGS = {
    "deleted": lambda log, elsewhere: log.unlink(),
    "moved": lambda log, elsewhere: log.rename(elsewhere / "app.log.1"),
    "replaced": lambda log, elsewhere: (elsewhere / "new").rename(log),
}


@pytest.mark.parametrize("leaves", LEAVINGS)
def test_a_file_that_left_its_name_is_read_for_as_long_as_a_process_has_it_open(
    tail, tmp_path, leaves
):
    log, elsewhere = tmp_path / "app.log", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "new").write_bytes(b"new\n")
    log.write_bytes(OLD)
    tailed = tail(log, linger=0.2)
    tailed.read(len(OLD))
    with appender(log) as write:
        LEAVINGS[leaves](log, elsewhere)
        if leaves == "replaced":
            assert tailed.read(4) == b"new\n"
        for _ in range(2):
            look_for_a_while(tailed)
            write("late|")
            assert tailed.read(5) == b"late\n"


def test_a_line_is_not_torn_while_its_writer_has_the_file_open(tail, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(tmp_path / "app.log*", linger=0.2)
    tailed.read(len(OLD))
    with appender(log) as write:
        log.rename(tmp_path / "app.log.1")
        write("one|tw")
        assert tailed.read(4) == b"one\n"
        look_for_a_while(tailed)
        write("o|thr")
        assert tailed.read(4) == b"two\n"
        look_for_a_while(tailed)
    assert tailed.read(3) == b"thr"  # there is nobody any more who could end it


def test_a_line_that_goes_on_after_it_was_quiet_for_long_is_waited_for_again(tail, tmp_path):
    log, later = tmp_path / "app.log", tmp_path / "app.log.1"
    log.write_bytes(b"one\n")
    tailed = tail(tmp_path / "app.log*", linger=0.0)
    tailed.read(4)
    log.rename(later)
    look_for_a_while(tailed)
    with appender(later) as write:
        write("tw")
        look_for_a_while(tailed)
        write("o|")
        assert tailed.read(4) == b"two\n"


def test_a_deleted_file_that_was_not_open_is_read_where_its_writer_has_it(
    tail, tmp_path, monkeypatch
):
    monkeypatch.setattr(handles, "HANDLES", 1)
    log, other = tmp_path / "app.log", tmp_path / "other.log"
    log.write_bytes(OLD)
    tailed = tail(tmp_path / "*.log", linger=0.2)
    tailed.read(len(OLD))
    other.write_bytes(b"other\n")
    tailed.read(6)
    with appender(log) as write:
        log.unlink()
        look_for_a_while(tailed)
        write("late|")
        assert tailed.read(5) == b"late\n"
    assert tailed.problems == ""


def test_a_file_that_went_while_it_was_not_open_and_that_cannot_be_opened_is_a_gap(
    tail, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(handles, "HANDLES", 1)
    monkeypatch.setattr(Writers, "path", lambda self, *_: "/proc/0/fd/refused")

    def refuse(path: str) -> object:
        if path.startswith("/proc"):
            raise PermissionError(13, "Permission denied", path)
        return open_content(path)

    open_content = file_list.open_content
    monkeypatch.setattr(file_list, "open_content", refuse)
    log, other = tmp_path / "app.log", tmp_path / "other.log"
    log.write_bytes(OLD)
    tailed = tail(tmp_path / "*.log")
    tailed.read(len(OLD))
    other.write_bytes(b"other\n")
    tailed.read(6)
    log.unlink()
    assert tailed.is_quiet()
    assert f"what comes after its byte {len(OLD)} is lost" in tailed.problems
    assert str(log) in capfd.readouterr().err


@pytest.mark.parametrize("written_to", [True, False])
def test_a_stop_reports_a_deleted_file_that_somebody_writes_to(tail, tmp_path, capfd, written_to):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(log)
    tailed.read(len(OLD))
    with appender(log) if written_to else open(log, "rb"):
        log.unlink()
        assert tailed.is_quiet()
        tailed.source.close()
    assert (f"{str(log)!r} is deleted" in capfd.readouterr().err) == written_to


def test_where_writers_cannot_be_seen_a_file_is_waited_for(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(Writers, "write", lambda self, *_: None)
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(log, linger=60.0)
    tailed.read(len(OLD))
    with appender(log) as write:
        log.unlink()
        look_for_a_while(tailed)
        write("late|")
        assert tailed.read(5) == b"late\n"


def test_a_deleted_file_is_soon_let_go_where_nobody_can_have_it_open(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(Writers, "write", lambda self, *_: False)
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    tailed = tail(log, linger=3600.0)
    tailed.read(len(OLD))
    log.unlink()

    def is_let_go() -> bool:
        tailed.batch()
        return not tailed.source.files()

    wait_for(is_let_go, "a closed file")


def test_a_moved_file_is_waited_for_though_nobody_has_it_open(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(Writers, "write", lambda self, *_: False)
    log, elsewhere = tmp_path / "app.log", tmp_path / "elsewhere"
    elsewhere.mkdir()
    log.write_bytes(OLD)
    tailed = tail(log, linger=60.0)
    tailed.read(len(OLD))
    log.rename(elsewhere / "app.log")
    look_for_a_while(tailed)
    append(elsewhere / "app.log", b"by its other name\n")
    assert tailed.read(18) == b"by its other name\n"


# --- seeing writers --------------------------------------------------------------------------


def key_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def test_who_reads_a_file_is_no_writer(tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    with log.open("rb"):
        assert Writers().write(key_of(log), (), 1.0) is not True
    with log.open("ab"):
        assert Writers().write(key_of(log), (), 1.0) is True


def test_who_has_a_file_mapped_is_a_writer(tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    with log.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    assert Writers().write(key_of(log), (), 1.0) is True
    mapped.close()
    assert Writers().write(key_of(log), (), 1.0) is not True


def test_processes_are_not_looked_at_again_before_it_is_time(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "RESCAN_SECONDS", 3.0)
    log, other = tmp_path / "app.log", tmp_path / "other.log"
    log.write_bytes(OLD)
    other.write_bytes(OLD)
    seen = Writers()
    with log.open("ab"), other.open("ab"):
        assert seen.write(key_of(log), [key_of(other)], 1.0) is True
        looked: list[str] = []
        monkeypatch.setattr(os, "listdir", lambda path: looked.append(path) or [])
        assert seen.write(key_of(other), [], 2.0) is True
        assert looked == []
        seen.write(key_of(other), [], 1e6)
        assert looked == ["/proc"]


def test_only_root_outside_of_a_container_can_say_that_nobody_writes(tmp_path, monkeypatch):
    log = tmp_path / "app.log"
    log.write_bytes(OLD)
    monkeypatch.setattr(writers, "_written_by", lambda process, keys: iter(()))
    first = os.stat("/proc/self/ns/pid").st_ino
    for user, namespace, says in ((0, first, False), (1000, first, None), (0, first + 1, None)):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        monkeypatch.setattr(writers, "_FIRST_NAMESPACE", namespace)
        monkeypatch.setattr(writers, "_is_local", lambda device: True)
        assert Writers().write(key_of(log), (), 1.0) is says
    monkeypatch.setattr(writers, "_FIRST_NAMESPACE", first)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(writers, "_is_local", lambda device: False)  # NFS, for instance
    assert Writers().write(key_of(log), (), 1.0) is None
