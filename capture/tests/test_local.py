"""The local logger: what is logged is there, in order, once, and nobody waits without bound."""

import asyncio
import json
import logging
import math
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from logwax_capture import local_tables as tables
from logwax_capture.local import (
    LocalLoggerError,
    MultiThreadedLogger,
    SqliteHandler,
    SqliteWorker,
    profile_function,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.db"


@pytest.fixture(params=["file", "memory"])
def logger(request, path):
    with MultiThreadedLogger(path if request.param == "file" else ":memory:") as logger:
        yield logger


@pytest.fixture
def on_disk(path):
    with MultiThreadedLogger(path) as logger:
        yield logger


def run(code, *arguments, **options):
    """A program of its own with these lines."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        text=True,
        **options,
    )


def rows(path, query, *values):
    """What the file says to somebody else."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query, values).fetchall()


def at(logger, moment, message="x"):
    """Log as if it were another time."""
    logger.worker.add(logger._logs, (moment, "INFO", 1, "clock", message, None))


# The names of the documents


def test_the_documents_own_tests(logger):
    logger.log("INFO", "test", "Test message")
    logs = logger.get_logs(limit=1)
    assert (len(logs), logs[0][2]) == (1, "INFO")
    logger.log_metric("test_metric", 123.45, "ms")
    metrics = logger.get_metrics(limit=1)
    assert (len(metrics), metrics[0][2]) == (1, "test_metric")


def test_without_a_path_the_file_is_system_logs_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with MultiThreadedLogger() as logger:
        logger.log("INFO", "main", "Logging system initialized")
    assert (tmp_path / "system_logs.db").exists()
    assert logger.max_workers == 5


def test_a_log_has_time_level_thread_module_message_and_extra_as_json(logger, in_kolkata):
    before = datetime.now(timezone.utc) - timedelta(microseconds=1)
    logger.log("ERROR", "api", "Request failed", extra={"user_id": 12345, "nested": {"a": [1.5]}})
    logger.log("INFO", "api", "no extra", {})
    plain, log = logger.get_logs()
    assert (log[0], log[2:6]) == (
        1,
        ("ERROR", threading.get_ident(), "api", "Request failed"),
    )
    assert json.loads(log[6]) == {"user_id": 12345, "nested": {"a": [1.5]}}
    assert plain[6] is None
    when = datetime.strptime(log[1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc)
    assert before <= when <= datetime.now(timezone.utc), "the time is UTC"


def test_a_metric_has_time_name_value_and_unit(logger):
    logger.log_metric("memory_usage", 512, "MB")
    logger.log_metric("load", 0.5)
    load, memory = logger.get_metrics()
    assert (memory[2:], load[2:]) == (("memory_usage", 512.0, "MB"), ("load", 0.5, None))


def test_queries_give_the_newest_first_of_a_level_a_name_a_module_or_a_time(logger):
    for day in (1, 2, 3):
        at(logger, f"2026-11-0{day} 12:00:00.000000", f"day {day}")
    logger.log("ERROR", "api", "failed")
    logger.log_metric("cpu_usage", 1)
    logger.log_metric("memory_usage", 2)
    assert [log[5] for log in logger.get_logs()] == ["failed", "day 3", "day 2", "day 1"]
    assert [log[5] for log in logger.get_logs(level="ERROR", limit=100)] == ["failed"]
    assert [log[5] for log in logger.get_logs(module="clock", limit=1)] == ["day 3"]
    second = datetime(2026, 11, 2, 12, tzinfo=timezone.utc)
    third = second + timedelta(days=1)
    assert [log[5] for log in logger.get_logs(since=second, until=third)] == ["day 2"]
    assert logger.get_logs(limit=0) == []
    assert [metric[2] for metric in logger.get_metrics(metric_name="cpu_usage", limit=50)] == [
        "cpu_usage"
    ]
    assert len(logger.get_metrics(since=third)) == 2


def test_what_has_the_same_time_comes_in_the_order_it_was_logged(logger):
    for number in range(5):
        at(logger, "2026-11-26 12:00:00.000000", str(number))
    assert [log[5] for log in logger.get_logs()] == ["4", "3", "2", "1", "0"]
    assert [log[5] for log in logger.get_logs(level="INFO")] == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("limit", [-1, "10", None, 1.5])
def test_a_limit_that_is_none_is_refused(logger, limit):
    with pytest.raises(ValueError, match="limit is a whole number of 0 or more"):
        logger.get_logs(limit=limit)


def test_statistics_count_logs_metrics_levels_and_threads_of_one_moment(logger):
    def work():
        logger.log("INFO", "worker", "x")
        logger.log("DEBUG", "worker", "x")
        logger.log_metric("m", 1)

    def every():
        found = logger.get_log_statistics()
        assert found["total_logs"] == sum(count for _, count in found["logs_by_level"])
        return found

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(40)]:
            every()
            done.result()
    logger.log("INFO", "main", "x")
    found = every()
    assert (found["total_logs"], found["total_metrics"]) == (81, 40)
    assert found["logs_by_level"] == [("INFO", 41), ("DEBUG", 40)]
    assert sorted(found) == ["logs_by_level", "logs_by_thread", "total_logs", "total_metrics"]
    counts = [count for _, count in found["logs_by_thread"]]
    assert sum(counts) == 81
    assert counts == sorted(counts, reverse=True)


def test_the_tables_are_those_of_the_documents_in_wal_mode_with_their_indexes(on_disk, path):
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]
    assert on_disk.worker.execute("PRAGMA synchronous").rows == [(1,)]
    assert on_disk.worker.execute("PRAGMA cache_size").rows == [(-64000,)]
    indexes = {name for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type='index'")}
    assert indexes >= {
        "idx_logs_timestamp",
        "idx_logs_level",
        "idx_logs_thread",
        "idx_metrics_name",
    }
    for table, columns in tables.COLUMNS.items():
        found = rows(path, f"SELECT name, \"notnull\" FROM pragma_table_info('{table}')")
        assert tuple(name for name, _ in found) == columns
        assert [name for name, must in found if not must] == ["id", columns[-1]]


def test_the_documents_queries_run_as_written(logger):
    worker = logger.worker
    at(
        logger,
        (datetime.now(timezone.utc) - timedelta(minutes=61)).strftime("%Y-%m-%d %H:%M:%S.%f"),
    )
    logger.log("ERROR", "api", "now")
    worker.execute("UPDATE logs SET level = 'ERROR'")
    logger.log_metric("request_duration", 10, "ms")
    logger.log_metric("request_duration", 20, "ms")
    logger.log_metric("operation_duration_api", 7.5, "ms")
    logger.log_metric("operation_duration_cache", 9.5, "ms")

    token = worker.execute("""
    SELECT timestamp, module, message
    FROM logs
    WHERE level = 'ERROR'
    AND timestamp >= datetime('now', '-1 hour')
    ORDER BY timestamp DESC
""")
    errors = worker.fetch_results(token)
    assert [error[1:] for error in errors] == [("api", "now")]

    token = worker.execute("""
    SELECT AVG(value) as avg_response_time
    FROM metrics
    WHERE metric_name = 'request_duration'
    AND timestamp >= datetime('now', '-1 hour')
""")
    avg_time = worker.fetch_results(token)[0][0]
    assert avg_time == 15.0

    token = worker.execute("""
    SELECT thread_id, COUNT(*) as log_count
    FROM logs
    GROUP BY thread_id
    ORDER BY log_count DESC
""")
    thread_stats = worker.fetch_results(token)
    assert sorted(thread_stats) == sorted([(1, 1), (threading.get_ident(), 1)])

    token = worker.execute("""
    SELECT metric_name, MAX(value) as max_duration
    FROM metrics
    WHERE metric_name LIKE 'operation_duration_%'
    GROUP BY metric_name
    ORDER BY max_duration DESC
    LIMIT 10
""")
    slowest = worker.fetch_results(token)
    assert slowest == [("operation_duration_cache", 9.5), ("operation_duration_api", 7.5)]


def test_the_documents_own_column_can_be_added_and_filled(path):
    worker = SqliteWorker(path, max_count=500, execute_init=tables.SCHEMA)
    worker.execute("""
    ALTER TABLE logs ADD COLUMN hostname TEXT
""")
    worker.execute(
        """
    INSERT INTO logs (timestamp, level, module, message, hostname)
    VALUES (?, ?, ?, ?, ?)
""",
        ("2026-11-26 12:00:00", "INFO", "api", "x", "box-1"),
    )
    worker.close()
    with MultiThreadedLogger(path) as logger:
        logger.log("INFO", "api", "y")
    assert rows(path, "SELECT message, hostname FROM logs") == [("x", "box-1"), ("y", None)]


# Profiling, logging, hooks


def test_a_profiled_function_is_what_it_was_and_each_call_is_a_metric(logger):
    @profile_function(logger)
    def expensive_operation(a, *, b):
        """What it does."""
        if b is None:
            raise KeyError(a)
        return a + b

    assert (expensive_operation.__name__, expensive_operation.__doc__) == (
        "expensive_operation",
        "What it does.",
    )
    assert expensive_operation(1, b=2) == 3
    with pytest.raises(KeyError):
        expensive_operation(1, b=None)
    assert profile_function(logger, len)([1]) == 1

    @profile_function(logger)
    async def later():
        await asyncio.sleep(0.02)
        return "done"

    assert asyncio.run(later()) == "done"
    found = logger.get_metrics()
    assert Counter((metric[2], metric[4]) for metric in found) == {
        ("function_expensive_operation_duration", "ms"): 2,
        ("function_len_duration", "ms"): 1,
        ("function_later_duration", "ms"): 1,
    }
    assert found[0][3] >= 20, "the time until the coroutine was done, in ms"


@pytest.fixture
def plain():
    plain = logging.Logger("shop.orders", logging.INFO)
    yield plain
    plain.handlers.clear()


def test_a_handler_of_logging_writes_into_the_logger(logger, plain):
    plain.addHandler(SqliteHandler(logger))
    plain.info("This goes to %s!", "SQLite", extra={"order": 7})
    plain.debug("below the level")
    try:
        {}["missing"]
    except KeyError:
        plain.exception("failed")
    failed, log = logger.get_logs()
    assert log[2:6] == ("INFO", threading.get_ident(), "shop.orders", "This goes to SQLite!")
    extra = json.loads(log[6])
    assert (extra["filename"], extra["order"]) == ("test_local.py", 7)
    assert isinstance(extra["lineno"], int)
    assert json.loads(failed[6])["exception"].endswith("KeyError: 'missing'")


def test_what_a_record_lacks_is_told_and_not_raised_into_the_application(logger, plain, capsys):
    plain.addHandler(SqliteHandler(logger))
    plain.info("%d", "no number")
    logger.close()
    plain.info("closed")
    err = capsys.readouterr().err
    assert "TypeError" in err
    assert "is closed" in err


def test_hooks_are_called_for_what_is_committed_and_a_bad_one_stops_nobody(on_disk, path, capsys):
    seen = []

    def count(query, values):
        (there,) = rows(path, "SELECT count(*) FROM logs")[0]
        if "logs" in query.lower():
            seen.append((values[4], there))

    def bad(query, values):
        raise RuntimeError("a hook of the application")

    on_disk.register_hook("on_insert", bad)
    on_disk.register_hook("on_insert", count)
    on_disk.log("INFO", "api", "first")
    on_disk.log_metric("m", 1)
    on_disk.get_logs()
    on_disk.flush()
    assert seen == [("first", 1)], "it was in the file when the hook was called"
    assert on_disk.log_count == 1
    on_disk.unregister_hook("on_insert", count)
    on_disk.log("INFO", "api", "second")
    on_disk.flush()
    assert (len(seen), on_disk.log_count) == (1, 2)
    assert capsys.readouterr().err.count("RuntimeError: a hook") == 1, "said once"


def test_a_hook_may_log_and_ask(logger):
    def echo(query, values):
        if "logs" in query and values[3] == "api":
            logger.log("INFO", "hook", f"{len(logger.get_logs())} so far")

    logger.register_hook("on_insert", echo)
    logger.log("INFO", "api", "x")
    logger.flush()
    assert Counter(log[4] for log in logger.get_logs()) == {"api": 1, "hook": 1}


def test_each_kind_of_statement_has_its_hook_and_unknown_ones_are_refused(logger):
    seen = []
    for event in ("on_query", "on_select", "on_update", "on_delete"):
        logger.register_hook(event, lambda query, _, event=event: seen.append((event, query)))
    for query in ("UPDATE logs SET level = 'x'", "DELETE FROM logs", "SELECT 1"):
        logger.worker.execute(query)
    assert [event for event, _ in seen] == [
        "on_query",
        "on_update",
        "on_query",
        "on_delete",
        "on_query",
        "on_select",
    ]
    with pytest.raises(ValueError, match="on_commit"):
        logger.register_hook("on_commit", print)


# Full text, retention, backup, export


def test_words_are_found_in_module_message_and_extra(logger):
    logger.log("INFO", "payments", "order paid", {"city": "Zürich"})
    logger.log("INFO", "api", 'said "order refused" AND left')
    assert [log[4] for log in logger.get_logs(search="ORDER")] == ["api", "payments"]
    assert [log[4] for log in logger.get_logs(search="order zürich")] == ["payments"]
    assert [log[4] for log in logger.get_logs(search='"order refused" AND')] == ["api"]
    assert logger.get_logs(search="payments*") == logger.get_logs(search="payments")
    logger.log("INFO", "late", "order again")
    assert [log[4] for log in logger.get_logs(search="order", limit=1)] == ["late"]
    assert logger.get_logs(search="nothing like it") == []


def test_what_was_purged_is_found_no_more_and_the_index_stays_whole(logger):
    for day in range(1, 4):
        at(logger, f"2026-01-0{day} 00:00:00.000000", f"old {day}")
    assert len(logger.get_logs(search="old")) == 3
    at(logger, "2026-01-04 00:00:00.000000", "old, and not in the index yet")
    logger.log("INFO", "api", "new")
    assert logger.purge(timedelta(days=30)) == 4
    assert logger.get_logs(search="old") == []
    assert [log[5] for log in logger.get_logs(search="new")] == ["new"]
    logger.worker.execute(
        "INSERT INTO logs_search (logs_search, rank) VALUES ('integrity-check', 1)"
    )


def test_what_is_older_than_the_retention_goes_by_itself(path, wait_for):
    with MultiThreadedLogger(path) as logger:
        for _ in range(6_000):  # more than one step takes
            at(logger, "2026-01-01 00:00:00.000000")
        logger.log("INFO", "api", "new")
    with MultiThreadedLogger(path, retention=timedelta(days=30)) as logger:
        wait_for(lambda: len(logger.get_logs(limit=10)) == 1, "the old logs to go")
        assert logger.get_logs()[0][5] == "new"


def test_what_is_not_shipped_yet_stays_and_ids_are_never_given_twice(path):
    with MultiThreadedLogger(path, ship=True) as logger:
        for number in range(4):
            at(logger, "2026-01-01 00:00:00.000000", str(number))
        assert logger.purge(timedelta(days=30)) == 0
        logger.worker.execute(tables.SET_MARK, (tables.shipped("logs"), 3))
        logger.worker.execute(tables.SET_MARK, (tables.shipped("logs"), 2))  # late, and twice
        assert logger.purge(timedelta(days=30)) == 3
        assert [log[0] for log in logger.get_logs()] == [4]
        logger.worker.execute(tables.SET_MARK, (tables.shipped("logs"), 4))
        assert logger.purge(timedelta(days=30)) == 1
    with MultiThreadedLogger(path, ship=True) as logger:
        logger.log("INFO", "api", "x")
        assert logger.worker.execute(tables.NEXT["logs"], (4, 10)).rows[0][0] == 5
        assert logger.worker.execute(tables.GET_MARK, (tables.shipped("logs"),)).rows == [(4,)]


def test_a_file_has_a_stream_of_its_own_that_stays(tmp_path):
    streams = []
    for name in ("a.db", "b.db", "a.db"):
        with MultiThreadedLogger(tmp_path / name) as logger:
            streams += logger.worker.execute(tables.GET_MARK, ("stream",)).rows
    a, b, again = streams
    assert a == again != b


def test_a_backup_is_a_whole_database_of_its_moment(logger, tmp_path):
    logger.log("INFO", "api", "before")
    logger.backup(tmp_path / "backup.db")
    logger.log("INFO", "api", "after")
    assert rows(tmp_path / "backup.db", "SELECT message FROM logs") == [("before",)]
    assert rows(tmp_path / "backup.db", "PRAGMA integrity_check") == [("ok",)]


def test_an_export_has_a_line_of_json_for_each_log_oldest_first(logger, tmp_path):
    at(logger, "2026-11-26 12:00:00.000001", "first")
    logger.log("ERROR", "api", "second", {"order": 7, "level": "gold"})
    out = tmp_path / "logs.json"
    assert logger.export(out, until=datetime(2026, 11, 26, 13, tzinfo=timezone.utc)) == 1
    assert logger.export(out) == 2
    first, second = map(json.loads, out.read_text().splitlines())
    assert first == {
        "timestamp": "2026-11-26T12:00:00.000001Z",
        "level": "INFO",
        "logger": "clock",
        "message": "first",
        "thread_id": 1,
    }
    assert (second["level"], second["order"], second["extra_level"]) == ("ERROR", 7, "gold")
    assert os.listdir(tmp_path).count("logs.json.part") == 0


# Values that a table does not take


def test_whatever_extra_holds_is_stored_as_it_was_when_it_was_logged(logger):
    extra = {"path": Path("/tmp"), "nan": math.nan, 7: {1}}
    logger.log("INFO", "api", "x", extra)
    extra["path"] = "changed"
    assert json.loads(logger.get_logs()[0][6]) == {"path": "/tmp", "nan": "NaN", "7": [1]}


def test_half_a_surrogate_pair_costs_neither_its_row_nor_another(logger):
    for message in ("before", "half \udcff", "behind"):
        logger.log("INFO", "api", message, {"name": "\ud800"})
    assert [log[5] for log in logger.get_logs()] == ["behind", "half \ufffd", "before"]


def test_what_can_never_be_stored_is_refused_where_it_is_logged(logger):
    with pytest.raises(TypeError, match="level and module are texts"):
        logger.log(None, "api", "x")
    with pytest.raises(ValueError, match="NaN is no figure"):
        logger.log_metric("m", math.nan)
    with pytest.raises(ValueError, match="could not convert"):
        logger.log_metric("m", "many")
    with pytest.raises(TypeError, match="name and unit are texts"):
        logger.log_metric("m", 1, 7)
    logger.log("INFO", "api", ValueError("a message is made a text"))
    assert [log[5] for log in logger.get_logs()] == ["a message is made a text"]


def test_a_row_that_the_table_refuses_costs_no_other_and_flush_says_so(on_disk):
    on_disk.worker.execute(
        "CREATE TRIGGER no BEFORE INSERT ON logs WHEN new.message = 'bad'"
        " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    )
    for message in ["good"] * 50 + ["bad"] + ["good"] * 50 + ["bad"]:
        on_disk.log("INFO", "api", message)
    with pytest.raises(LocalLoggerError, match="2 rows were refused, the last with: not this one"):
        on_disk.flush()
    on_disk.flush()
    assert Counter(log[5] for log in on_disk.get_logs(limit=1000)) == {"good": 100}
    assert (on_disk.status()["refused"], on_disk.status()["stored"]) == (2, 100)


# Errors are raised, results kept by who asked, transactions nobody's


def test_errors_of_a_query_are_raised_to_who_asked(logger):
    with pytest.raises(sqlite3.OperationalError, match="no such table: nowhere"):
        logger.worker.execute("SELECT * FROM nowhere")
    with pytest.raises(sqlite3.IntegrityError):
        logger.worker.execute("INSERT INTO logs (level) VALUES (NULL)")
    logger.log("INFO", "api", "the writer goes on")
    assert len(logger.get_logs()) == 1


def test_nobody_begins_a_transaction_for_all_threads(logger):
    for statement in ("BEGIN", "SAVEPOINT mine"):
        with pytest.raises(ValueError, match="begins a transaction"):
            logger.worker.execute(statement)
    with pytest.raises(sqlite3.OperationalError):
        logger.worker.execute("ROLLBACK")
    logger.log("INFO", "api", "x")
    logger.flush()


def test_four_threads_of_selects_all_get_their_answers(logger):
    """Its example hung within seconds: a result came before anybody waited for it."""

    def ask(number):
        for turn in range(500):
            token = logger.worker.execute("SELECT ?", (number * 1000 + turn,))
            assert logger.worker.fetch_results(token) == [(number * 1000 + turn,)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))


def test_neither_rows_nor_answers_are_kept(logger):
    import gc
    import weakref

    for _ in range(2_000):
        logger.log("INFO", "api", "x")
    token = logger.worker.execute("SELECT 1")
    gone = weakref.ref(token)
    logger.flush()
    del token
    gc.collect()
    assert gone() is None
    assert (logger.worker.queue_size, logger.worker._jobs) == (0, [])


def test_sixteen_threads_calling_everything_neither_hang_nor_leak(tmp_path, soak):
    calls = 100_000 if soak else 1_600
    path = tmp_path / "app.db"
    out = tmp_path / "out"
    out.mkdir()
    logger = MultiThreadedLogger(path, max_workers=3)
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    logs = Counter()

    def work(thread):
        choose = random.Random(thread)
        every = [
            lambda: logger.log("INFO", "api", "x", {"thread": thread}),
            lambda: logger.log_metric("m", thread),
            lambda: logger.get_logs(limit=5),
            lambda: logger.get_logs(search="x", limit=5),
            lambda: logger.get_metrics("m", limit=5),
            logger.get_log_statistics,
            logger.flush,
            logger.status,
            lambda: logger.purge(timedelta(seconds=1)),
            lambda: logger.worker.execute("SELECT 1"),
            lambda: logger.export(out / str(thread)),
            lambda: logger.backup(out / f"{thread}.db"),
        ]
        for turn in range(calls // 16):
            call = choose.randrange(len(every) - 2 * bool(turn % 50))
            logs[thread] += call == 0
            every[call]()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert logger.log_count == sum(logs.values())
    (most,) = logger.worker.execute("SELECT max(id) FROM logs").rows[0]
    assert most == logger.log_count
    now = len(os.listdir("/proc/self/fd")), threading.active_count()
    assert now[0] - before[0] <= 3 * 3, "each reader has the file, its log and its index open"
    assert now[1] == before[1]
    logger.close()
    assert not (tmp_path / "app.db-wal").exists(), "the last connection is closed"


# Waiting


def test_a_locked_database_makes_rows_wait_and_loses_none(path):
    with MultiThreadedLogger(path) as logger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(100):
            logger.log("INFO", "api", str(number))
        other.rollback()
        logger.flush()
        assert [log[5] for log in logger.get_logs()] == [str(n) for n in range(99, -1, -1)]


def test_nobody_waits_longer_than_the_timeout_and_hears_what_is_in_the_way(path, wait_for):
    logger = MultiThreadedLogger(path, timeout=0.2)
    logger.worker._much = logger.worker._max_pending = 50
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        logger.log("INFO", "api", "first")
        wait_for(lambda: "locked" in logger.status()["trouble"], "the writer to meet the lock")
        with pytest.raises(LocalLoggerError, match=r"no answer within 0\.2 s.*database is locked"):
            logger.flush()
        with pytest.raises(LocalLoggerError, match="no answer"):
            for _ in range(100):
                logger.log("INFO", "api", "more than may wait")
    wait_for(lambda: not logger.worker.queue_size, "the rows to be stored")
    logger.close()


def test_closing_says_what_could_not_be_stored(path):
    logger = MultiThreadedLogger(path, timeout=0.2)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        logger.log("INFO", "api", "x")
        with pytest.raises(LocalLoggerError, match=r"1 rows could not be stored.*locked"):
            logger.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_has_ended_is_noticed_by_the_next_call(path, wait_for):
    logger = MultiThreadedLogger(path)

    def end(*_):
        raise SystemExit

    logger.worker._sleep = end
    logger.log("INFO", "api", "x")
    logger.worker._thread.join(30)
    with pytest.raises(LocalLoggerError, match="the writer has ended: SystemExit"):
        logger.log("INFO", "api", "y")
    with pytest.raises(LocalLoggerError, match="the writer has ended"):
        logger.get_logs()


def test_after_close_everything_is_there_and_every_call_raises(path):
    logger = MultiThreadedLogger(path)
    for number in range(1000):
        logger.log("INFO", "api", str(number))
    logger.close()
    logger.close()
    assert rows(path, "SELECT count(*) FROM logs") == [(1000,)]
    for call in (
        lambda: logger.log("INFO", "api", "x"),
        lambda: logger.log_metric("m", 1),
        lambda: logger.worker.execute("SELECT 1"),
        logger.get_logs,
        logger.get_log_statistics,
        logger.flush,
    ):
        with pytest.raises(RuntimeError, match="is closed"):
            call()


def test_a_file_that_is_no_database_is_told_at_the_start(tmp_path):
    (tmp_path / "no.db").write_text("no database " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        MultiThreadedLogger(tmp_path / "no.db")
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        MultiThreadedLogger(tmp_path / "nowhere" / "app.db")
    with pytest.raises(ValueError, match="more than 0"):
        MultiThreadedLogger(tmp_path / "app.db", max_count=0)


# Threads, forks, processes, kills


def test_eight_threads_lose_nothing_and_keep_their_order(on_disk, path):
    def work(thread):
        for turn in range(2_000):
            on_disk.log("INFO", str(thread), str(turn), {"thread": thread})
            on_disk.log_metric("turn", turn)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    on_disk.flush()
    assert rows(path, "SELECT count(*) FROM metrics") == [(16_000,)]
    found = {}
    for module, message in rows(path, "SELECT module, message FROM logs ORDER BY id"):
        found.setdefault(module, []).append(message)
    assert found == {str(thread): [str(turn) for turn in range(2_000)] for thread in range(8)}


def test_a_signal_may_log_while_its_thread_does(logger):
    rung = 0

    def ring(*_):
        nonlocal rung
        rung += 1
        logger.log("INFO", "signal", "x")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        count = 0
        while rung < 30:
            logger.log("INFO", "thread", "x")
            count += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    logger.flush()
    assert logger.log_count == count + rung


def test_all_that_flush_acknowledged_is_there_after_a_kill(path, soak):
    code = """if True:
    import sys
    from logwax_capture.local import MultiThreadedLogger
    logger = MultiThreadedLogger(sys.argv[1])
    count = 0
    while True:
        for _ in range(100):
            logger.log("INFO", sys.argv[2], str(count))
            count += 1
        logger.flush()
        print(count, flush=True)
    """
    for kill in range(20 if soak else 2):
        program = run(code, path, kill, stdout=subprocess.PIPE)
        lines = [program.stdout.readline() for _ in range(5)]
        program.kill()
        lines += program.stdout.read().splitlines()
        program.wait()
        acknowledged = int([line for line in lines if line.strip()][-1])
        query = "SELECT CAST(message AS INTEGER) FROM logs WHERE module = ? ORDER BY id"
        found = [number for (number,) in rows(path, query, str(kill))]
        assert found == list(range(len(found)))
        assert len(found) >= acknowledged >= 500
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_what_waits_is_stored_when_the_program_ends(path):
    code = """if True:
    import multiprocessing, sys
    from logwax_capture.local import MultiThreadedLogger
    logger = MultiThreadedLogger(sys.argv[1], max_count=10**6)
    def child():
        for number in range(500):
            logger.log("INFO", "child", str(number))
    logger.log("INFO", "parent", "before")
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    for number in range(500):
        logger.log("INFO", "parent", str(number))
    """
    program = run(code, path, stderr=subprocess.PIPE)
    assert program.communicate(timeout=60)[1] == ""
    found = rows(path, "SELECT module, count(*) FROM logs GROUP BY 1 ORDER BY 1")
    assert found == [("child", 500), ("parent", 501)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_has_a_writer_of_its_own_and_takes_no_rows_of_its_parent(path, soak):
    """Forked under load, while other threads hold whatever locks there are."""
    forks = 500 if soak else 20
    context = multiprocessing.get_context("fork")
    with MultiThreadedLogger(path) as logger:
        over, counts = threading.Event(), Counter()

        def load(thread):
            while not over.is_set():
                logger.log("INFO", "load", "x")
                counts[thread] += 1
                time.sleep(0)

        def child(number):
            if number % 2:  # the first call of a child may be a question
                assert len(logger.get_logs(limit=1)) == 1
            logger.log("INFO", "child", str(number))
            logger.flush()
            assert logger.log_count == 1

        threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for number in range(forks):
            process = context.Process(target=child, args=(number,))
            process.start()
            process.join(60)
            assert process.exitcode == 0
        over.set()
        for thread in threads:
            thread.join()
    found = Counter(dict(rows(path, "SELECT module, count(*) FROM logs GROUP BY 1")))
    assert found == {"load": sum(counts.values()), "child": forks}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_child_loses_nothing_when_its_parent_closes_the_file(path):
    """A child that took its parent's locks for its own would see the log removed under its feet."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    logger = MultiThreadedLogger(path)

    def child():
        logger.log("INFO", "child", "before")
        logger.flush()
        theirs.send("logged")
        theirs.recv()
        logger.log("INFO", "child", "after")
        logger.flush()

    logger.log("INFO", "parent", "before")
    logger.flush()
    process = context.Process(target=child)
    process.start()
    assert ours.poll(30)
    logger.close()
    ours.send("closed")
    process.join(30)
    assert process.exitcode == 0
    assert rows(path, "SELECT message FROM logs WHERE module = 'child' ORDER BY id") == [
        ("before",),
        ("after",),
    ]


def test_processes_may_open_the_same_new_file_at_once(path):
    code = """if True:
    import sys
    from logwax_capture.local import MultiThreadedLogger
    with MultiThreadedLogger(sys.argv[1]) as logger:
        for number in range(200):
            logger.log("INFO", sys.argv[2], str(number))
    """
    programs = [run(code, path, number) for number in range(4)]
    assert [program.wait(60) for program in programs] == [0] * 4
    found = rows(path, "SELECT module, count(*) FROM logs GROUP BY 1 ORDER BY 1")
    assert found == [(str(number), 200) for number in range(4)]
