"""Names: what globs cover, through links, without rights, and whatever characters are in them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import check
from connectors import preflight
from connectors.sinks.retry import Retry
from connectors.sources import file_list, handles, watcher
from connectors.sources.names import Names, of_record, recorded
from connectors.sources.tailed_file import Limits
from connectors.store import open_store
from settings import Settings
from tests.conftest import wait_for
from tests.rights import no_more_than_others
from tests.tailing import append


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for fractions of a second where it would be seconds."""
    monkeypatch.setattr(file_list, "SCAN_SECONDS", 0.1)
    monkeypatch.setattr(handles, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(file_list, "GRACE_SECONDS", 0.4)


@pytest.fixture
def anybody() -> Iterator[None]:
    """Rights count, also for root."""
    with no_more_than_others():
        yield


def make(path: Path, data: bytes = b"x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def covered(*patterns: Path | str) -> list[str]:
    """What the globs cover, sorted; each of it is said to be covered, too."""
    names = Names([str(pattern) for pattern in patterns])
    found = sorted(names.expand())
    assert all(map(names.cover, found))
    return found


# --- links ------------------------------------------------------------------------------------


def test_crosses_each_directory_once_whatever_links_lead_back_to_it(tmp_path):
    log = make(tmp_path / "logs" / "a" / "app.log")
    other = make(tmp_path / "logs" / "b" / "deep" / "app.log")
    for place, target in (
        ("a/up", ".."),
        ("b/up", ".."),
        ("b/deep/self", "."),
        ("b/deep/root", "/"),
        ("a/above", tmp_path),
        ("loop", "loop"),
        ("gone", "nowhere"),
    ):
        (tmp_path / "logs" / place).symlink_to(target)
    assert covered(tmp_path / "logs" / "**" / "*.log") == [str(log), str(other)]


def test_ends_where_every_directory_has_links_to_all_others(tmp_path):
    logs = [make(tmp_path / f"{number:02}" / "app.log") for number in range(24)]
    for one in logs:
        for other in logs:
            if one != other:
                (one.parent / f"to-{other.parent.name}").symlink_to(other.parent)
    assert covered(tmp_path / "**" / "*.log") == [str(log) for log in logs]


def test_follows_a_link_to_a_directory_elsewhere(tmp_path):
    make(tmp_path / "elsewhere" / "deep" / "app.log")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "elsewhere")
    found = covered(tmp_path / "logs" / "**" / "*.log")
    assert found == [str(tmp_path / "logs" / "link" / "deep" / "app.log")]


def test_a_running_source_takes_a_loop_of_links_and_goes_on(tail, tmp_path):
    log = make(tmp_path / "a" / "app.log", b"one\n")
    tailed = tail(tmp_path / "**" / "*.log")
    assert tailed.read(4) == b"one\n"
    for number in range(3):
        (tmp_path / "a" / f"up{number}").symlink_to("..")
    append(log, b"two\n")
    assert tailed.read(4) == b"two\n"
    make(tmp_path / "b" / "new.log", b"new\n")
    assert tailed.read(4) == b"new\n"
    assert tailed.source.status().files == 2


@pytest.mark.parametrize("pattern", ["link/*.log", "*/*.log", "**/*.log"])
def test_sees_growth_behind_a_link_to_a_directory_between_two_looks(tail, tmp_path, pattern):
    log = make(tmp_path / "elsewhere" / "app.log", b"one\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "link").symlink_to(tmp_path / "elsewhere")
    tailed = tail(tmp_path / "logs" / pattern)
    assert tailed.read(4) == b"one\n"
    tailed.source._catalog._files._next_scan = file_list.time.monotonic() + 3600
    append(log, b"two\n")
    assert tailed.read(4) == b"two\n"


def test_two_dots_are_what_the_system_takes_them_for(tmp_path, monkeypatch):
    log = make(tmp_path / "srv" / "shared" / "app.log")
    make(tmp_path / "app" / "shared" / "app.log")  # where the text of the path would lead
    (tmp_path / "srv" / "releases" / "7").mkdir(parents=True)
    (tmp_path / "app" / "current").symlink_to(tmp_path / "srv" / "releases" / "7")
    for glob in ("current/../../shared/*.log", "current/../../shared/app.log", "c*/../../s*/*.log"):
        assert covered(tmp_path / "app" / glob) == [str(log)]
    monkeypatch.chdir(tmp_path / "app" / "current")
    assert covered(f"{os.curdir}/../../shared/app.log") == [str(log)]


def test_two_dots_without_a_link_give_the_name_without_them(tmp_path):
    log = make(tmp_path / "b" / "app.log")
    (tmp_path / "a").mkdir()
    (tmp_path / "way").symlink_to(tmp_path)
    assert covered(tmp_path / "a" / ".." / "b" / "*.log") == [str(log)]
    way = tmp_path / "way"
    assert covered(way / "a" / ".." / "b" / "*.log") == [str(way / "b" / "app.log")]


def test_check_looks_for_files_as_the_pipeline_does(tmp_path):
    make(tmp_path / "srv" / "app.log")
    (tmp_path / "srv" / "now").mkdir()
    (tmp_path / "now").symlink_to(tmp_path / "srv" / "now")
    there, not_there = (str(tmp_path / "now" / ".." / name) for name in ("*.log", "*.txt"))
    settings = Settings(_env_file=None, log_paths=f"{there},{not_there}", data_dir=tmp_path)
    (warning,) = preflight.unmatched(settings)
    assert warning.startswith(f"{not_there} matches no file")


# --- what is rotated behind a link ------------------------------------------------------------


@pytest.mark.parametrize("links", [1, 2, 3])
def test_finds_what_was_rotated_behind_links_while_nothing_ran(tail, tmp_path, links):
    log = make(tmp_path / "0" / "app.log", b"old\n")
    name = log
    for number in range(1, links + 1):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "app.log").symlink_to(name)
        name = tmp_path / str(number) / "app.log"
    first = tail(name)
    assert first.read(4) == b"old\n"
    first.source.close()
    append(log, b"unread\n")
    log.rename(log.with_name("app.log.20261122"))
    make(log, b"new\n")
    assert sorted(tail(name, first.memory).read(11).splitlines()) == [b"new", b"unread"]
    assert len(first.memory.files) == 2


def test_finds_what_was_rotated_where_another_link_leads_by_now(tail, tmp_path):
    """As of a container that is started anew: 1.log beside 0.log, and a link of another name."""
    log = make(tmp_path / "pods" / "0.log", b"old\n")
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "x-aaaa.log").symlink_to(log)
    first = tail(tmp_path / "containers" / "*.log")
    assert first.read(4) == b"old\n"
    first.source.close()
    append(log, b"unread\n")
    (tmp_path / "containers" / "x-aaaa.log").unlink()
    new = make(tmp_path / "pods" / "1.log", b"new\n")
    (tmp_path / "containers" / "x-bbbb.log").symlink_to(new)
    second = tail(tmp_path / "containers" / "*.log", first.memory)
    assert sorted(second.read(11).splitlines()) == [b"new", b"unread"]


def test_finds_what_a_link_beside_the_new_one_leads_to(tail, tmp_path):
    """The same where pods/x/0.log is a link itself, to a directory of each container's own."""
    logs = [
        make(tmp_path / name / f"{name}.log", f"{name}\n".encode()) for name in ("aaaa", "bbbb")
    ]
    (tmp_path / "containers").mkdir()
    (tmp_path / "pods").mkdir()
    for number, log in enumerate(logs):
        (tmp_path / "pods" / f"{number}.log").symlink_to(log)
    (tmp_path / "containers" / "x-aaaa.log").symlink_to(tmp_path / "pods" / "0.log")
    first = tail(tmp_path / "containers" / "*.log")
    assert first.read(5) == b"aaaa\n"
    first.source.close()
    append(logs[0], b"unread\n")
    (tmp_path / "containers" / "x-aaaa.log").unlink()
    (tmp_path / "containers" / "x-bbbb.log").symlink_to(tmp_path / "pods" / "1.log")
    second = tail(tmp_path / "containers" / "*.log", first.memory)
    assert sorted(second.read(12).splitlines()) == [b"bbbb", b"unread"]


def test_finds_what_was_rotated_where_a_link_led_before_it_moved_on(tail, tmp_path):
    log = make(tmp_path / "one" / "app.log", b"old\n")
    link = tmp_path / "app.log"
    link.symlink_to(log)
    tailed = tail(link)
    assert tailed.read(4) == b"old\n"
    tailed.source._catalog._files._next_scan = file_list.time.monotonic() + 3600
    for file in tailed.source._catalog._files:  # as of one that was quiet for long, of many
        file.close()
    append(log, b"unread\n")
    log.rename(log.with_name("app.log.1"))
    new = make(tmp_path / "two" / "app.log", b"new\n")
    link.unlink()
    link.symlink_to(new)
    tailed.poll_soon()
    assert sorted(tailed.read(11).splitlines()) == [b"new", b"unread"]
    assert "gone" not in tailed.problems


# --- any characters ---------------------------------------------------------------------------

ODD = ["[ab].log", "*?.log", "a,b.log", "b\udcff.log", "n\nl\x1b[31m.log", "c\\xff.log", " .log"]


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_never_a_pattern(tmp_path, name):
    directory = tmp_path / f"{name}.d"
    make(directory / "a.log")
    make(directory / "aa.log")
    settings = Settings(_env_file=None, log_file_path=directory / name, data_dir=tmp_path)
    assert preflight.unmatched(settings)[0].startswith(f"{directory / name} matches no file")
    make(directory / name)
    assert covered(*settings.patterns) == [str(directory / name)]
    assert preflight.unmatched(settings) == []


def test_a_file_that_is_spelt_like_a_glob_is_covered_by_it(tmp_path):
    file, other = make(tmp_path / "[ab].log"), make(tmp_path / "a.log")
    assert covered(tmp_path / "[ab].log") == [str(file), str(other)]
    make(tmp_path / "d[1]" / "x.log")
    assert covered(tmp_path / "d[1]" / "x.log") == [str(tmp_path / "d[1]" / "x.log")]


def test_brackets_of_the_working_directory_are_no_pattern(tmp_path, monkeypatch):
    log = make(tmp_path / "[w]" / "a.log")
    make(tmp_path / "w" / "b.log")
    monkeypatch.chdir(tmp_path / "[w]")
    assert covered("*.log") == [str(log)]


def test_hidden_names_have_to_be_asked_for(tmp_path):
    hidden, within = make(tmp_path / ".a.log"), make(tmp_path / ".d" / "b.log")
    assert covered(tmp_path / "*.log", tmp_path / "**" / "*.log", tmp_path / "[.]a.log") == []
    assert covered(tmp_path / ".*.log") == [str(hidden)]
    assert covered(tmp_path / ".d" / "*.log") == [str(within)]


@pytest.mark.parametrize("name", [*ODD, "\\x5cxff", "ü\\", "\\xfg"])
def test_what_is_recorded_of_a_path_leads_back_to_it(name):
    assert recorded(name).encode()  # it is UTF-8
    assert of_record(recorded(name)) == name


@pytest.mark.parametrize("name", ODD)
def test_follows_finds_and_tells_of_a_file_of_any_name(tail, tmp_path, name):
    log = make(tmp_path / "d" / name, b"one\n")
    pattern = f"{tmp_path}/d/*.log"
    first = tail(pattern)
    assert first.read(4) == b"one\n"
    first.source._catalog._files._next_scan = file_list.time.monotonic() + 3600
    append(log, b"two\n")  # its events have its name
    assert first.read(4) == b"two\n"
    first.source.close()
    (span,) = first.memory.files.values()
    assert span.stream.name == recorded(str(log))
    append(log, b"three\n")
    log.rename(f"{log}.1")  # only beside the recorded name it can be found
    second = tail(pattern, first.memory)
    assert second.read(6) == b"three\n"
    assert len(first.memory.files) == 1
    assert second.source.files()[0].path == f"{log}.1"


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%41b", "a b'\"", "b\udcff", "n\nl", "file:x"])
def test_the_embedded_store_is_where_data_dir_says(tmp_path, name):
    settings = Settings(_env_file=None, data_dir=tmp_path / "in" / name, instance="i")
    for is_new in (True, False):
        store = open_store(settings, Retry())
        try:
            assert store.ledger().is_new == is_new
            store.start_at([])
        finally:
            store.close()
    assert os.listdir(tmp_path / "in") == [name]
    assert (tmp_path / "in" / name / "clickhouse" / "store").is_dir()


# --- what cannot be read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "closed", "rights"),
    [
        ("*/*.log", "b", 0o000),
        ("**/*.log", "b", 0o000),
        ("**/*.log", "b/c", 0o000),
        ("b/c/x.log", "b", 0o000),
        ("b/c/x.log", "b", 0o600),  # listed, and not entered
        ("*/*/*.log", "b", 0o600),
        ("b/*/x.log", "b", 0o300),  # entered, and not listed
    ],
)
def test_names_directories_that_cannot_be_read_until_they_can(
    tail, tmp_path, capfd, anybody, pattern, closed, rights
):
    log = make(tmp_path / "b" / "c" / "x.log", b"hidden\n")
    if closed == "b":
        make(tmp_path / "b" / "y.log", b"hidden\n")
    make(tmp_path / "a" / "z.log", b"seen\n")
    (tmp_path / closed).chmod(rights)
    tailed = tail(f"{tmp_path / pattern},{tmp_path}/a/z.log")
    settings = Settings(_env_file=None, log_paths=str(tmp_path / pattern), data_dir=tmp_path)
    said = preflight.unreadable(settings)
    assert tailed.read(5) == b"seen\n"
    for _ in range(3):
        assert tailed.is_quiet()
    assert f"cannot read '{tmp_path / closed}" in tailed.problems
    assert "Permission denied" in tailed.problems
    assert f"cannot read '{tmp_path / closed}" in said[0]
    assert capfd.readouterr().err.count("Permission denied") == len(tailed.problems.splitlines())
    (tmp_path / closed).chmod(0o700)
    assert tailed.read(7).startswith(b"hidden\n")
    wait_for(lambda: tailed.batch() is None and not tailed.problems, "no problem")
    assert preflight.unreadable(settings) == []
    assert log.exists()


def test_check_fails_where_something_cannot_be_read(tmp_path, monkeypatch, capfd, anybody):
    monkeypatch.chdir(tmp_path)
    for name, value in (("LOG_PATHS", "**/*.log"), ("DATA_DIR", "data"), ("API_PORT", "0")):
        monkeypatch.setenv(name, value)
    make(tmp_path / "a.log").chmod(0)
    (tmp_path / "b").mkdir(mode=0)
    assert check.run() == 1
    said = capfd.readouterr().out
    assert f"cannot read '{tmp_path}/a.log': Permission denied" in said
    assert f"cannot read '{tmp_path}/b': Permission denied" in said
    assert "All is well" not in said
    (tmp_path / "a.log").chmod(0o600)
    (tmp_path / "b").chmod(0o700)
    assert check.run() == 0


def test_a_file_whose_directory_is_closed_for_a_while_is_not_lost(tail, tmp_path, capfd, anybody):
    log = make(tmp_path / "d" / "a.log", b"one\n")
    tailed = tail(tmp_path / "d" / "*.log", limits=Limits(seconds=1.0))
    assert tailed.read(4) == b"one\n"
    append(log, b"unread\n")
    wait_for(lambda: tailed.batch() or tailed.source.status().lag_bytes, "what is noticed")
    for file in tailed.source._catalog._files:  # as of one that was quiet for long, of many
        file.close()
    (tmp_path / "d").chmod(0)
    try:
        wait_for(lambda: tailed.batch() or "Permission denied" in tailed.problems, "the problem")
        since = file_list.time.monotonic()
        wait_for(
            lambda: tailed.batch() or file_list.time.monotonic() > since + 1, "more than grace"
        )
    finally:
        (tmp_path / "d").chmod(0o700)
    append(log, b"more\n")
    wait_for(lambda: tailed.batch() or b"more\n" in tailed.memory.lines.values(), "the rest")
    wait_for(lambda: tailed.batch() is None and not tailed.problems, "no problem")
    assert b"unread\n" in tailed.memory.lines.values()
    assert len(tailed.memory.files) == 1
    assert "gone" not in capfd.readouterr().err


def test_a_problem_of_a_file_goes_when_it_can_be_read(tail, tmp_path, anybody):
    new, known = make(tmp_path / "new.log", b"new\n"), make(tmp_path / "known.log", b"one\n")
    new.chmod(0)
    tailed = tail(tmp_path / "*.log")
    assert tailed.read(4) == b"one\n"
    for file in tailed.source._catalog._files:  # as of one that was quiet for long, of many
        file.close()
    append(known, b"two\n")
    known.chmod(0)
    wait_for(lambda: tailed.batch() or tailed.problems.count("Permission denied") == 2, "both")
    known.chmod(0o600)
    assert tailed.read(4) == b"two\n"
    assert "known.log" not in tailed.problems
    new.chmod(0o600)
    assert tailed.read(4) == b"new\n"
    assert tailed.problems == ""


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_disk_that_fails_for_a_while_stops_nothing_and_loses_nothing(
    tail, tmp_path, monkeypatch, capfd, code
):
    """Stands for disks that fail, and servers of them that are away: none is there to be had."""
    log = make(tmp_path / "a.log", b"one\n")
    tailed = tail(tmp_path / "*.log")
    assert tailed.read(4) == b"one\n"

    def fail(what: object, *_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), *([what] if isinstance(what, str) else []))

    append(log, b"two\n")
    make(tmp_path / "b.log", b"new\n")
    for function in ("pread", "stat"):
        with monkeypatch.context() as failing:
            failing.setattr(f"{file_list.__name__}.os.{function}", fail)
            for _ in range(3):
                tailed.is_quiet()  # but for what is open
            assert f"cannot read {str(log)!r}: {os.strerror(code)}" in tailed.problems
            assert "events" not in tailed.problems
    wait_for(lambda: tailed.batch() or len(tailed.memory.lines) == 3, "all lines")
    wait_for(lambda: tailed.batch() is None and not tailed.problems, "no problem")
    assert sorted(tailed.memory.lines.values()) == [b"new\n", b"one\n", b"two\n"]
    assert "gone" not in capfd.readouterr().err


def test_a_problem_of_what_is_no_file_goes_when_it_is_one(tail, tmp_path):
    (tmp_path / "a.log").mkdir()
    (tmp_path / "b.log").symlink_to("b.log")
    os.mkfifo(tmp_path / "c.log")
    tailed = tail(tmp_path / "*.log")
    assert tailed.is_quiet()
    assert len(tailed.problems.splitlines()) == 3
    (tmp_path / "a.log").rmdir()
    (tmp_path / "b.log").unlink()
    (tmp_path / "c.log").unlink()
    for name in "abc":
        make(tmp_path / f"{name}.log", name.encode() * 3 + b"\n")
    assert len(tailed.read(12)) == 12
    assert tailed.problems == ""


# --- events -----------------------------------------------------------------------------------


def refuse(error: Exception):
    """Stands for the limits of inotify, which are of the user: all other processes have them."""

    def schedule(*_: object, **__: object) -> None:
        raise error

    return schedule


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "inotify instance limit reached"),
        OSError(28, "inotify watch limit reached"),
        RuntimeError("can't start new thread"),
    ],
)
def test_reads_on_without_events_says_so_once_and_takes_it_back(
    tail, tmp_path, capfd, monkeypatch, error
):
    with monkeypatch.context() as without:
        without.setattr(watcher.Observer, "schedule", refuse(error))
        tailed = tail(tmp_path / "*.log")
        log = make(tmp_path / "a.log", b"one\n")
        assert tailed.read(4) == b"one\n"
        tailed.source._catalog._files._next_scan = file_list.time.monotonic() + 3600
        append(log, b"two\n")
        assert tailed.read(4) == b"two\n"
        for _ in range(3):
            assert tailed.is_quiet()
        assert tailed.problems.startswith(f"cannot get file system events: {error.args[-1]}")
        assert capfd.readouterr().err.count("cannot get") == 1
    assert tailed.is_quiet()
    assert tailed.problems == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_reads_on_when_the_thread_of_the_events_dies(tail, tmp_path):
    log = make(tmp_path / "a.log", b"one\n")
    tailed = tail(tmp_path / "*.log")
    assert tailed.read(4) == b"one\n"
    observer = tailed.source._catalog._files._watcher._observer
    observer.event_queue.put("nothing that it knows")  # it dies of it
    observer.join(10)
    assert tailed.is_quiet()
    assert "thread has ended" in tailed.problems
    tailed.source._catalog._files._next_scan = file_list.time.monotonic() + 3600
    append(log, b"two\n")
    assert tailed.read(4) == b"two\n"


def test_sees_growth_where_two_dots_lead_after_the_link_has_moved_on(tail, tmp_path):
    for release in ("1", "2"):
        make(tmp_path / release / "log" / "app.log", f"release {release}\n".encode())
        (tmp_path / release / "code").mkdir()
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "1" / "code")
    tailed = tail(link / ".." / "log" / "*.log")
    assert tailed.read(10) == b"release 1\n"
    link.unlink()
    link.symlink_to(tmp_path / "2" / "code")
    assert tailed.read(10) == b"release 2\n"
    append(tmp_path / "2" / "log" / "app.log", b"more\n")
    assert tailed.read(5) == b"more\n"
    assert "gone" not in tailed.problems


def test_a_rotated_file_is_found_once_its_directory_may_be_read_again(tail, tmp_path, anybody):
    directory = tmp_path / "logs"
    directory.mkdir()
    log = make(directory / "app.log", b"one\n")
    tailed = tail(log)
    assert tailed.read(4) == b"one\n"
    tailed.source.close()
    append(log, b"two\n")
    log.rename(directory / "app.log.1")
    directory.chmod(0)
    again = tail(log, tailed.memory)
    assert again.is_quiet()
    directory.chmod(0o755)
    assert again.read(4) == b"two\n"


def test_preallocated_space_is_no_data_while_the_directory_cannot_be_read(tail, tmp_path, anybody):
    directory = tmp_path / "logs"
    log = make(directory / "app.log", b"one\n")
    os.truncate(log, 65536)
    tailed = tail(log)
    assert tailed.read(4) == b"one\n"
    with log.open("r+b", buffering=0) as writer:
        directory.chmod(0)
        assert tailed.is_quiet()
        lag = tailed.source.status().lag_bytes
        sizes = [file.size for file in tailed.source.files()]
        writer.seek(4)
        writer.write(b"two\n")
        assert tailed.read(4) == b"two\n"
        directory.chmod(0o755)
    assert (lag, sizes) == (0, [4])
