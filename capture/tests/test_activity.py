"""The activity log: the caller never waits, and what was taken is inserted once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from logwax_capture.activity import ActivityThreadService, create_table
from logwax_capture.background import RefusedError
from logwax_capture.errors import SettingError
from logwax_capture.ids import next_id
from logwax_capture.spill import Entry, Spill

PACKAGE = Path(__file__).parent.parent
ENTRY = (
    "7",
    "ada@example.com",
    "ada",
    "192.0.2.1",
    "signed in",
    "login",
    False,
    {"device": "phone"},
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "app.sqlite"
    connection = sqlite3.connect(path)
    create_table(connection)
    connection.close()
    return path


class Service(ActivityThreadService):
    """One whose database may be away, and may be slow."""

    def __init__(self, database: Path, spill: Path, **settings: Any) -> None:
        self.is_away = False
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.threads: set[str] = set()

        def connect() -> sqlite3.Connection:
            self.threads.add(threading.current_thread().name)
            self.goes_on.wait()
            if self.is_away:
                raise sqlite3.OperationalError("the database is away")
            return sqlite3.connect(database, check_same_thread=False)

        usual = {"DRF_LOGGER_INTERVAL": 0.05, "LOGS_SPILL_DIR": str(spill)}
        super().__init__(connect, **{**usual, **settings})


@pytest.fixture
def make(database: Path, tmp_path: Path) -> Iterator[Any]:
    made = []

    def make(**settings: Any) -> Service:
        made.append(Service(database, tmp_path / "spill", **settings))
        return made[-1]

    yield make
    for service in made:
        service.is_away = False
        service.goes_on.set()
        service.close()


def messages(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    found = connection.execute("SELECT message FROM activity_log ORDER BY id").fetchall()
    connection.close()
    return [row[0] for row in found]


def put(service: ActivityThreadService, *numbers: object) -> None:
    for number in numbers:
        service.put_log_data("7", "", "", "", str(number), "", None, None)


def test_an_entry_is_inserted_with_all_that_was_given(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    make().put_log_data(*ENTRY)
    wait_for(lambda: messages(database), "the row")
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    (row,) = map(dict, connection.execute("SELECT * FROM activity_log"))
    connection.close()
    assert len(row.pop("entry_id")) == 32
    assert row.pop("created_at").endswith("+00:00")
    assert row == {
        **{"id": 1, "user": "7", "email": "ada@example.com", "username": "ada", "ip": "192.0.2.1"},
        **{"message": "signed in", "action": "login", "vpn": "false"},
        "extras": '{"device": "phone"}',
    }


def test_a_batch_goes_as_soon_as_it_is_full(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    service = make(DRF_LOGGER_INTERVAL=3600, LOGS_QUEUE_MAX_SIZE=2)
    put(service, 1)
    assert service.get_status()["queue_backlog"] == 1
    put(service, 2)
    wait_for(lambda: messages(database) == ["1", "2"], "both rows")


def test_less_than_a_batch_goes_after_the_interval(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    put(make(LOGS_QUEUE_MAX_SIZE=1000), 1)
    wait_for(lambda: messages(database) == ["1"], "the row")


def test_the_caller_never_inserts_itself(make: Any, database: Path) -> None:
    service = make(LOGS_QUEUE_MAX_SIZE=1)
    put(service, *range(100))
    assert service.flush()
    assert service.threads == {"insert_log_into_database"}


def test_the_caller_does_not_wait_for_a_database_that_hangs(make: Any, database: Path) -> None:
    service = make(LOGS_QUEUE_MAX_SIZE=1)
    service.goes_on.clear()
    put(service, *range(100))  # the test would never end
    assert service.get_status()["queue_backlog"] == 100
    service.goes_on.set()
    assert service.flush()
    assert messages(database) == [str(number) for number in range(100)]


def test_a_failed_batch_is_kept_and_tried_again(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    service = make()
    service.is_away = True
    put(service, 1, 2)
    wait_for(lambda: service.get_status()["failed_insert_count"] >= 2, "two failures")
    assert service.is_alive()
    service.is_away = False
    wait_for(lambda: messages(database) == ["1", "2"], "both rows")


def test_a_batch_of_which_nobody_knows_whether_it_came_in_is_there_once(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    class Lost(sqlite3.Connection):
        fails = True

        def commit(self) -> None:
            super().commit()
            if Lost.fails:
                Lost.fails = False
                raise sqlite3.OperationalError("the connection was lost")

    service = ActivityThreadService(
        lambda: sqlite3.connect(database, factory=Lost),
        DRF_LOGGER_INTERVAL=0.05,
        LOGS_SPILL_DIR=str(database.parent / "spill"),
    )
    put(service, 1, 2)
    wait_for(lambda: service.get_status()["inserted_count"] == 2, "both")
    assert messages(database) == ["1", "2"]
    service.close()


def test_a_full_queue_spills_and_all_is_inserted_later(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    service = make(LOGS_QUEUE_BOUND=10)
    service.is_away = True
    put(service, *range(50))
    assert service.get_status()["spilled_count"] >= 30
    assert service.get_status()["dropped_count"] == 0
    service.is_away = False
    wait_for(lambda: len(messages(database)) == 50, "all rows")
    assert set(messages(database)) == {str(number) for number in range(50)}


def test_a_flush_waits_for_what_was_spilled_too(make: Any, database: Path) -> None:
    service = make(LOGS_QUEUE_BOUND=10)
    service.is_away = True
    put(service, *range(50))
    service.is_away = False
    assert service.flush()
    assert len(messages(database)) == 50


def test_a_caller_writes_nothing_while_another_thread_makes_room(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    writers: set[str] = set()

    class Watched(Spill):
        def append(self, entries: Sequence[Entry]) -> bool:
            writers.add(threading.current_thread().name)
            return super().append(entries)

    service = make(LOGS_QUEUE_BOUND=10_000)
    service._queue._spill = Watched(database.parent / "spill", 1 << 30)
    service.goes_on.clear()
    put(service, *range(9_000))
    wait_for(lambda: writers, "what is in memory beyond the half of the bound")
    assert writers == {"insert_log_into_database spill"}
    service.goes_on.set()
    assert service.flush()
    assert len(set(messages(database))) == 9_000


def test_ids_of_forked_processes_differ() -> None:
    reader, writer = os.pipe()
    before = next_id()
    if not (child := os.fork()):
        os.write(writer, next_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert len({before, next_id(), os.read(reader, 32).decode()}) == 3
    os.close(reader)
    os.close(writer)


def test_a_full_queue_drops_the_oldest_and_counts_them_if_that_was_chosen(
    make: Any, database: Path, caplog: pytest.LogCaptureFixture, wait_for: Callable[..., None]
) -> None:
    service = make(LOGS_QUEUE_BOUND=10, LOGS_WHEN_FULL="drop", LOGS_QUEUE_MAX_SIZE=10)
    service.goes_on.clear()
    put(service, *range(10))
    wait_for(lambda: service.threads, "the first batch in hand")
    put(service, *range(10, 50))
    assert service.get_status()["dropped_count"] == 30
    assert "entries are dropped from now on" in caplog.text
    service.goes_on.set()
    assert service.flush()
    assert messages(database) == [str(number) for number in [*range(10), *range(40, 50)]]


def test_an_entry_that_the_table_refuses_holds_up_no_other(
    make: Any, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connection = sqlite3.connect(database)
    connection.execute(
        "CREATE TRIGGER fussy BEFORE INSERT ON activity_log WHEN new.message = '3'"
        " BEGIN SELECT RAISE(ABORT, 'not three'); END"
    )
    connection.close()
    service = make(LOGS_QUEUE_MAX_SIZE=10)
    put(service, *range(10))
    assert service.flush()
    assert messages(database) == [str(number) for number in range(10) if number != 3]
    assert service.get_status()["refused_count"] == 1
    assert "not three" in caplog.text


def test_an_entry_that_is_there_by_an_attempt_that_came_late_is_not_said_to_be_lost(
    make: Any, database: Path
) -> None:
    """PostgreSQL may commit a transaction after its client has lost the connection."""
    service = make()
    insert = service._insert

    def late(batch: Sequence[Entry], is_again: bool) -> None:
        insert(batch, is_again)
        service._insert = insert
        raise RefusedError("UNIQUE constraint failed: activity_log.entry_id")

    service._insert = late
    put(service, 1)
    assert service.flush()
    assert service.get_status()["refused_count"] == 0
    assert messages(database) == ["1"]


def test_text_that_no_database_takes_is_refused_alone(make: Any, database: Path) -> None:
    service = make(LOGS_QUEUE_MAX_SIZE=3)
    put(service, 1, "\ud800", 3)
    assert service.flush()
    assert messages(database) == ["1", "3"]


@pytest.mark.parametrize(
    "setting", ["DRF_LOGGER_INTERVAL", "LOGS_QUEUE_MAX_SIZE", "LOGS_QUEUE_BOUND"]
)
@pytest.mark.parametrize("value", [0, -1, "many"])
def test_a_setting_of_no_sense_is_an_error_with_its_name(setting: str, value: object) -> None:
    with pytest.raises(SettingError, match=f"Value of {setting} must be greater than 0"):
        ActivityThreadService(**{setting: value})


def test_all_wrong_settings_are_said_at_once() -> None:
    with pytest.raises(SettingError, match=r"LOGS_QUEUE_SIZE is no setting; .* spill or drop"):
        ActivityThreadService(LOGS_QUEUE_SIZE=5, LOGS_WHEN_FULL="block")


def test_the_service_is_a_thread_that_can_be_started_and_started_again(make: Any) -> None:
    service = make()
    assert isinstance(service, threading.Thread)
    service.start()
    service.start()
    assert service.is_alive()


def test_many_threads_lose_nothing(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    service = make(LOGS_QUEUE_BOUND=100)
    threads = [
        threading.Thread(target=put, args=(service, *range(first, first + 500)))
        for first in range(0, 8000, 500)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(messages(database)) == 8000, "all rows")
    assert len(set(messages(database))) == 8000


def test_a_forked_process_inserts_its_own_entries_and_none_of_the_parent_s(
    make: Any, database: Path, wait_for: Callable[..., None]
) -> None:
    service = make()
    service.goes_on.clear()
    put(service, "parent")
    child = os.fork()
    if not child:
        service.goes_on.set()
        put(service, "child")
        os._exit(0 if service.flush() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert messages(database) == ["child"]
    service.goes_on.set()
    wait_for(lambda: messages(database) == ["child", "parent"], "both")


ENDING = """
import os, signal, sqlite3, sys, time
from logwax_capture.activity import ActivityThreadService
def connect():
    if sys.argv[3] == "away":
        raise sqlite3.OperationalError("away")
    return sqlite3.connect(sys.argv[1])
service = ActivityThreadService(connect, DRF_LOGGER_INTERVAL=3600, LOGS_SPILL_DIR=sys.argv[2])
for number in range(20):
    service.put_log_data("", "", "", "", str(number), "", None, None)
"""
FORKED = """
import multiprocessing
def work():
    service.put_log_data("", "", "", "", "child", "", None, None)
multiprocessing.get_context("fork").Process(target=work).start()
"""
TWENTY = [str(number) for number in range(20)]


def end(database: Path, code: str, server: str = "there") -> int:
    arguments = [sys.executable, "-c", ENDING + code, str(database)]
    arguments += [str(database.parent / "spill"), server]
    return subprocess.run(arguments, cwd=PACKAGE, timeout=60).returncode


def test_what_is_left_is_inserted_at_exit(database: Path) -> None:
    assert end(database, "") == 0
    assert messages(database) == TWENTY


def test_what_is_left_is_inserted_at_sigterm(database: Path) -> None:
    assert end(database, "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)") == -signal.SIGTERM
    assert messages(database) == TWENTY


def test_a_handler_of_the_application_is_left_alone(database: Path) -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    code += "service.put_log_data('', '', '', '', 'last', '', None, None)\n"
    code += "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    assert end(database, code) == 7
    assert messages(database) == [*TWENTY, "last"]


def test_a_process_of_multiprocessing_inserts_what_it_has(database: Path) -> None:
    assert end(database, FORKED) == 0
    assert sorted(messages(database)) == sorted([*TWENTY, "child"])


def test_a_database_that_is_away_does_not_hold_up_the_exit(database: Path, make: Any) -> None:
    assert end(database, "", "away") == 0
    assert messages(database) == []
    make()._start_bulk_insertion()  # the next start takes up what was spilled
    assert messages(database) == TWENTY
