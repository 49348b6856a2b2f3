"""A logger that writes into a SQLite file of its own, from any number of threads.

    logger = MultiThreadedLogger("app.db")
    logger.log("INFO", "api", "Request processed", {"user_id": 12345, "duration_ms": 23.4})
    logger.log_metric("response_time", 45.2, "ms")

Callers do not wait for the disk: a thread commits what they log, many records at a time (see
`SqliteWorker`). What is logged is seen by the next query of the same thread. `flush` returns when
it outlives a SIGKILL. Each process has a writer of its own; they may share a file.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from logwax_capture import local_tables as tables
from logwax_capture.jsontext import encode
from logwax_capture.sqlite_worker import LocalLoggerError, Result, SqliteWorker

__all__ = [
    "LocalLoggerError",
    "MultiThreadedLogger",
    "Result",
    "SqliteHandler",
    "SqliteWorker",
    "profile_function",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

_STEP = 5_000  # rows that a purge or the index for full text takes at once
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -64000",
)


class MultiThreadedLogger:
    """Logs and metrics in the tables `logs` and `metrics` of a SQLite file.

    `max_workers` is how many threads may read at the same time, `max_count` how many records a
    commit waits for, up to 10 ms. What is older than `retention` is removed within a
    minute. With `ship`, nothing is that has not been shipped (`local_tables`). `:memory:` is a
    database of this process alone.

    Methods raise `LocalLoggerError` if the file cannot be written for `timeout` seconds or the
    logger is closed, and `sqlite3.Error` where a query is wrong. See `SqliteWorker` for the rest.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str] = "system_logs.db",
        max_workers: int = 5,
        *,
        max_count: int = 100,
        retention: timedelta | None = None,
        ship: bool = False,
        timeout: float = 30.0,
    ) -> None:
        self.worker = SqliteWorker(
            db_path,
            max_count,
            execute_init=(*_PRAGMAS, *tables.SCHEMA),
            readers=max_workers,
            timeout=timeout,
        )
        self.max_workers = max_workers
        self._logs = self.worker.rows("logs", tables.COLUMNS["logs"][1:])
        self._metrics = self.worker.rows("metrics", tables.COLUMNS["metrics"][1:])
        self._second = (-1_000_000, "")  # in microseconds, and as text
        if ship:
            for table in tables.COLUMNS:
                self.worker.execute(tables.SET_MARK, (tables.shipped(table), 0))
        if retention is not None:
            self.worker.chore(lambda connection: _purge(connection, _ago(retention)) > 0)

    def log(
        self, level: str, module: str, message: str, extra: dict[str, Any] | None = None
    ) -> None:
        """Log a message. `extra` is stored as JSON as it is now, whatever it holds."""
        if not isinstance(level, str) or not isinstance(module, str):
            raise TypeError(f"level and module are texts, not {level!r} and {module!r}")
        self.worker.add(
            self._logs,
            (
                self._now(),
                level,
                threading.get_ident(),
                module,
                message if type(message) is str else str(message),
                encode(extra) if extra else None,
            ),
        )

    def log_metric(self, name: str, value: float, unit: str | None = None) -> None:
        """Log a figure. Raises `ValueError` for NaN, which no column of numbers takes."""
        number = float(value)
        if math.isnan(number):
            raise ValueError(f"metric {name}: NaN is no figure")
        if not isinstance(name, str) or not isinstance(unit, (str, type(None))):
            raise TypeError(f"name and unit are texts, not {name!r} and {unit!r}")
        self.worker.add(self._metrics, (self._now(), name, number, unit))

    @property
    def log_count(self) -> int:
        """Log records that this process has committed."""
        return self._logs.stored

    def get_logs(
        self,
        level: str | None = None,
        limit: int = 100,
        *,
        module: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
    ) -> list[tuple[Any, ...]]:
        """The newest logs, newest first, as tuples of `local_tables.COLUMNS["logs"]`.

        `since` is included, `until` is not. `search`: words that all have to be in module, message
        or extra. Raises `ValueError` for a limit that is no whole number of 0 or more.
        """
        if search is not None:
            self._make_searchable()
        conditions = {
            "level = ?": level,
            "module = ?": module,
            "timestamp >= ?": since and _text(since),
            "timestamp < ?": until and _text(until),
            "id IN (SELECT rowid FROM logs_search WHERE logs_search MATCH ?)": search
            and " ".join('"' + word.replace('"', '""') + '"' for word in search.split()),
        }
        return self._newest("logs", conditions, limit)

    def get_metrics(
        self,
        metric_name: str | None = None,
        limit: int = 100,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[tuple[Any, ...]]:
        """The newest metrics, as `get_logs`."""
        conditions = {
            "metric_name = ?": metric_name,
            "timestamp >= ?": since and _text(since),
            "timestamp < ?": until and _text(until),
        }
        return self._newest("metrics", conditions, limit)

    def get_log_statistics(self) -> dict[str, Any]:
        """`total_logs`, `total_metrics`, `logs_by_level` and `logs_by_thread`, most first.

        All four are of the same moment.
        """

        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            connection.execute("BEGIN")
            by_level, by_thread = (
                connection.execute(
                    f"SELECT {column}, count(*) FROM logs GROUP BY 1 ORDER BY 2 DESC, 1"
                ).fetchall()
                for column in ("level", "thread_id")
            )
            (metrics,) = connection.execute("SELECT count(*) FROM metrics").fetchone()
            connection.execute("COMMIT")
            return {
                "total_logs": sum(count for _, count in by_level),
                "total_metrics": metrics,
                "logs_by_level": by_level,
                "logs_by_thread": by_thread,
            }

        return self.worker.read(read)

    def register_hook(self, event: str, hook: Callable[..., object]) -> None:
        """Call `hook(query, values)` for what has been stored: see `SqliteWorker`."""
        self.worker.register_hook(event, hook)

    def unregister_hook(self, event: str, hook: Callable[..., object]) -> None:
        """Do not call it any more."""
        self.worker.unregister_hook(event, hook)

    def purge(self, older_than: timedelta) -> int:
        """Remove what is older, but for what has to be shipped first; returns how many rows."""
        before, removed = _ago(older_than), 0
        while step := self.worker.call(lambda connection: _purge(connection, before)):
            removed += step
        return removed

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy the database, as it is at this moment, to a file. Logging goes on."""

        def copy(connection: sqlite3.Connection) -> None:
            with closing(sqlite3.connect(path)) as target:
                connection.backup(target)

        self.worker.read(copy)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Write logs, oldest first, as lines of JSON; returns how many.

        Logwax reads them (`json`): see `local_tables.line`. The file is there when it is complete.
        """
        part = f"{os.fspath(path)}.part"
        begin = _text(since) if since else ""
        end = _text(until) if until else "~"

        def write(connection: sqlite3.Connection) -> int:
            count = 0
            query = "SELECT * FROM logs WHERE timestamp >= ? AND timestamp < ? ORDER BY id"
            with open(part, "wb") as file:
                for row in connection.execute(query, (begin, end)):
                    file.write(tables.line("logs", row))
                    count += 1
            return count

        count = self.worker.read(write)
        os.replace(part, path)
        return count

    def status(self) -> dict[str, Any]:
        """`waiting`, `stored` and `refused` records, `trouble` if there is some, `bytes`."""
        path = self.worker.db_path
        files = (path, f"{path}-wal")
        return {
            "waiting": self.worker.queue_size,
            "stored": self._logs.stored + self._metrics.stored,
            "refused": self.worker.refused,
            "trouble": self.worker.trouble,
            "bytes": sum(os.path.getsize(file) for file in files if os.path.exists(file)),
        }

    def flush(self) -> None:
        """Return when all that was logged before outlives a SIGKILL: see `SqliteWorker`."""
        self.worker.flush()

    def close(self) -> None:
        """Store what waits, and end."""
        self.worker.close()

    def __enter__(self) -> MultiThreadedLogger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _now(self) -> str:
        micros = int(time.time() * 1e6)
        second, begin = self._second
        if not 0 <= micros - second < 1_000_000:
            second = micros // 1_000_000 * 1_000_000
            begin = time.strftime("%Y-%m-%d %H:%M:%S.", time.gmtime(second // 1_000_000))
            self._second = second, begin
        return begin + str(micros - second + 1_000_000)[1:]

    def _newest(self, table: str, conditions: dict[str, Any], limit: int) -> list[tuple[Any, ...]]:
        if not isinstance(limit, int) or limit < 0:
            raise ValueError(f"limit is a whole number of 0 or more, not {limit!r}")
        given = {text: value for text, value in conditions.items() if value is not None}
        query = (
            f"SELECT {', '.join(tables.COLUMNS[table])} FROM {table}"
            f" WHERE {' AND '.join(given) or '1'} ORDER BY timestamp DESC, id DESC LIMIT ?"
        )
        values = (*given.values(), limit)
        return self.worker.read(lambda connection: connection.execute(query, values).fetchall())

    def _make_searchable(self) -> None:
        """Bring the index for full text up to date, in steps between which rows are stored."""
        (end,) = self.worker.read(_last_id)
        while self.worker.call(lambda connection: _make_searchable(connection, end)):
            pass


class SqliteHandler(logging.Handler):
    """Hands the records of `logging` to a `MultiThreadedLogger`.

    `extra_data` has `filename`, `lineno`, the record's own extra, and `exception` with its trace. A
    level below WARNING needs `logging.getLogger().setLevel(...)`, as with any handler.
    """

    def __init__(self, logger: MultiThreadedLogger, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.logger = logger
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record; what is wrong with it is told as `logging` does, and not raised."""
        try:
            extra = {key: value for key, value in record.__dict__.items() if key not in _RECORD}
            extra.update(filename=record.filename, lineno=record.lineno)
            if record.exc_info and record.exc_info[0]:
                extra["exception"] = self._formatter.formatException(record.exc_info)
            self.logger.log(record.levelname, record.name, record.getMessage(), extra)
        except Exception:  # said as every handler of logging does
            self.handleError(record)


def profile_function(logger: MultiThreadedLogger, func: _Function | None = None) -> Any:
    """Log how long each call takes, in ms, as the metric `function_<name>_duration`.

    `@profile_function(logger)`, or `profile_function(logger, func)`. A call that raises is logged,
    too; of a coroutine function the time until it is done.
    """
    if func is None:
        return functools.partial(profile_function, logger)
    name = f"function_{func.__name__}_duration"

    def told(begin: float) -> None:
        logger.log_metric(name, (time.perf_counter() - begin) * 1000, "ms")

    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def later(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return await func(*args, **kwargs)
            finally:
                told(begin)

        return later

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return func(*args, **kwargs)
        finally:
            told(begin)

    return wrapper


_RECORD = {*logging.makeLogRecord({}).__dict__, "message", "asctime"}


def _text(moment: datetime) -> str:
    """A moment as the tables have it; one without a zone is local, as everywhere in Python."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def _ago(age: timedelta) -> str:
    return _text(datetime.now(timezone.utc) - age)


def _purge(connection: sqlite3.Connection, before: str) -> int:
    """Remove some of what is older; returns how many rows."""
    return sum(
        connection.execute(statement, (before, _STEP)).rowcount
        for statement in tables.PURGE.values()
    )


def _last_id(connection: sqlite3.Connection) -> tuple[int]:
    found: tuple[int] = connection.execute("SELECT coalesce(max(id), 0) FROM logs").fetchone()
    return found


def _make_searchable(connection: sqlite3.Connection, end: int) -> bool:
    """Add some of the logs up to this id to the index; returns whether there were any."""
    for statement in tables.SEARCH:
        connection.execute(statement)
    connection.execute("BEGIN IMMEDIATE")
    begin: int = connection.execute(tables.GET_MARK, ("searchable",)).fetchone()[0]
    step = min(begin + _STEP, end)
    if step > begin:
        connection.execute(tables.MAKE_SEARCHABLE, (begin, step))
        connection.execute(tables.SET_MARK, ("searchable", step))
    connection.execute("COMMIT")
    return step > begin
