"""One thread that writes to one SQLite database, for any number of threads that hand it rows."""

from __future__ import annotations

import math
import os
import sqlite3
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, TypeAlias, TypeVar

from logwax_capture import ending
from logwax_capture.jsontext import whole

__all__ = ["LocalLoggerError", "Result", "Rows", "SqliteWorker"]

_Value = TypeVar("_Value")
_Job = Callable[[sqlite3.Connection], Any]
Hook = Callable[[str, Sequence[object]], object]

_VARIABLES = 32_766 if sqlite3.sqlite_version_info >= (3, 32) else 999
_GATHER = 0.01  # seconds that rows wait for others to be committed with
_MUCH = 8192  # rows that wait: from here on, callers let the writer go first now and then
_EACH = 64  # rows
_CHORES_EVERY = 60.0
_RETRY_AFTER = 0.1
_BUSY = 5.0  # seconds that SQLite itself waits for another process
_ROW_IS_WRONG = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
)


class LocalLoggerError(RuntimeError):
    """The database did not take or give what was asked; says which, why, and what to do."""


@dataclass(frozen=True)
class Result:
    """The rows of a query: what `execute` returns as a token. Nobody else keeps them."""

    rows: list[tuple[Any, ...]]


@dataclass
class Rows:
    """Rows on their way into one table.

    `stored` counts those that are committed. The writer alone takes them away.
    """

    table: str
    columns: tuple[str, ...]
    waiting: list[tuple[object, ...]] = field(default_factory=list)
    stored: int = 0

    def __post_init__(self) -> None:
        self.most = 1 << (_VARIABLES // len(self.columns)).bit_length() - 1
        self._marks = f"({', '.join('?' * len(self.columns))})"
        self.one = f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES {self._marks}"
        self._inserts: dict[int, str] = {}

    def first(self, count: int) -> list[tuple[object, ...]]:
        """The first of so many, as many as one statement may insert: a power of two.

        One statement is one transaction, for which the interpreter is let go once: with eight busy
        threads each time costs 5 ms to get it back.
        """
        return self.waiting[: min(self.most, 1 << count.bit_length() - 1)]

    def insert(self, some: list[tuple[object, ...]], connection: sqlite3.Connection) -> None:
        """Insert and commit these."""
        count = len(some)
        statement = self._inserts.get(count)
        if statement is None:
            statement = self._inserts[count] = self.one + f", {self._marks}" * (count - 1)
        connection.execute(statement, list(chain.from_iterable(some)))


class SqliteWorker:
    """A database with one writer, a thread of its own.

    Rows that are handed over (`add`) are committed in the order they came, together with what else
    waits; while there are less than `max_count`, they wait 10 ms for more. Whatever else is asked
    sees all that was added before it in the same thread. A row that the table refuses costs no
    other: it is counted, and `flush` raises. If the database is locked or the disk full, rows wait,
    up to `max_pending`; behind that callers wait, too, and nobody waits longer than `timeout`
    seconds: `LocalLoggerError` says what is in the way.

    A forked child has its own connection and thread; what waits in the parent is the parent's. What
    waits is committed when the program ends. It is lost if that is killed: see `flush`.

    Raises `sqlite3.Error` if the database cannot be opened.
    """

    def __init__(
        self,
        db_path: str | os.PathLike[str],
        max_count: int = 100,
        *,
        execute_init: Iterable[str] = (),
        max_pending: int = 100_000,
        readers: int = 5,
        timeout: float = 30.0,
    ) -> None:
        if max_count < 1 or max_pending < 1 or readers < 1 or timeout <= 0:
            raise ValueError("max_count, max_pending, readers and timeout are more than 0")
        self.db_path = os.fspath(db_path)
        self.timeout = timeout
        self.refused = 0
        self.refusal = ""
        self._init = tuple(execute_init)
        self._max_count = max_count
        self._max_pending = max_pending
        self._much = min(_MUCH, max_pending)
        self._max_readers = readers
        self._rows: list[Rows] = []
        self._chores: list[_Job] = []
        self._hooks: dict[str, list[Hook]] = {}
        self._failed_hooks: set[Hook] = set()
        self._told = 0
        self._jobs: list[tuple[Future[Any], _Job]] = []
        self._start()
        _WORKERS.add(self)
        ending.watch()

    # What callers do

    def rows(self, table: str, columns: tuple[str, ...]) -> Rows:
        """A way for rows into a table, for `add`."""
        rows = Rows(table, columns)
        self._rows.append(rows)
        return rows

    def add(self, rows: Rows, row: tuple[object, ...]) -> None:
        """Hand over a row; it is committed soon. Raises `LocalLoggerError`."""
        if len(rows.waiting) >= self._much:
            self._give_way(len(rows.waiting))
        rows.waiting.append(row)
        if self._attention:
            self._attend()

    def execute(self, query: str, values: Sequence[object] = ()) -> Result | None:
        """Run a statement, in a transaction of its own. Returns a token if there are rows.

        Raises `sqlite3.Error` as SQLite does, `LocalLoggerError`, and `ValueError` for a
        transaction: it would hold the rows of all others.
        """

        def run(connection: sqlite3.Connection) -> Result | None:
            cursor = connection.execute(query, values)
            found = Result(cursor.fetchall()) if cursor.description else None
            if connection.in_transaction:
                raise ValueError(f"{query!r} begins a transaction, which all threads would share.")
            return found

        found: Result | None = self.call(run)
        self._tell(query, [values])
        return found

    def fetch_results(self, token: Result | None) -> list[tuple[Any, ...]] | None:
        """The rows of what `execute` has returned."""
        return token.rows if token else None

    def call(self, job: Callable[[sqlite3.Connection], _Value]) -> _Value:
        """What a function says of the writer's connection, once all rows before it are there.

        Raises what it raises, and `LocalLoggerError`.
        """
        if threading.current_thread() is self._thread:  # a hook asks
            return self._use(job)
        waiting: Future[_Value] = Future()
        self._jobs.append((waiting, job))
        if self._attention:
            self._attend()
        _release(self._wake)  # it may be waiting for more rows
        try:
            return waiting.result(self.timeout)
        except FutureTimeoutError:
            if waiting.cancel() or not waiting.done():
                raise LocalLoggerError(
                    f"{self.db_path}: no answer within {self.timeout} s."
                    f" {self._trouble or 'It has too much to do.'}"
                ) from None
            return waiting.result()

    def read(self, job: Callable[[sqlite3.Connection], _Value]) -> _Value:
        """The same on a connection for reading, beside which rows are written."""
        self.call(_nothing)
        if self._in_memory:
            return self.call(job)
        if not self._readers.acquire(timeout=self.timeout):
            raise LocalLoggerError(
                f"{self.db_path}: {self._max_readers} are reading for more than {self.timeout} s."
            )
        try:
            connection = self._free.pop() if self._free else self._connect()
            try:
                found = job(connection)
            except BaseException:
                connection.close()
                raise
            self._free.append(connection)
            return found
        finally:
            self._readers.release()

    def flush(self) -> None:
        """Return when all that was added before is committed: it outlives a SIGKILL.

        Raises `LocalLoggerError` if it is not in time, or if rows were refused since the last one.
        """
        self.call(_nothing)
        new, self._told = self.refused - self._told, self.refused
        if new:
            raise LocalLoggerError(
                f"{self.db_path}: {new} rows were refused, the last with: {self.refusal}"
            )

    def close(self) -> None:
        """Commit what waits, and end. Raises `LocalLoggerError`, as `flush`."""
        if self._closed:
            return
        self._patient_until = time.monotonic() + self.timeout
        self._closed = True
        self._attention = True
        _release(self._wake)
        self._thread.join(2 * self.timeout + _BUSY)
        if self._thread.is_alive() or self.queue_size:
            raise LocalLoggerError(
                f"{self.db_path}: {self.queue_size} rows could not be stored. {self._trouble}"
            )
        while self._free:
            self._free.pop().close()
        if self.refused > self._told:
            raise LocalLoggerError(f"{self.db_path}: rows were refused: {self.refusal}")

    @property
    def queue_size(self) -> int:
        """Rows that are not committed yet."""
        return sum(len(rows.waiting) for rows in self._rows)

    @property
    def trouble(self) -> str:
        """What keeps rows from being committed just now, if something does."""
        return self._trouble

    def register_hook(self, event: str, hook: Hook) -> None:
        """Call `hook(query, values)` after each statement that was committed.

        `event`: `on_query` for all, `on_insert`, `on_select`, `on_update` or `on_delete`. Hooks are
        called for rows by the writer, and may log. One that raises is said on stderr, once.
        """
        if event not in _EVENTS:
            raise ValueError(f"{event!r} is none of {', '.join(_EVENTS)}.")
        self._hooks.setdefault(event, []).append(hook)

    def unregister_hook(self, event: str, hook: Hook) -> None:
        """Do not call it any more. Raises `ValueError` if nobody has registered it."""
        self._hooks.get(event, []).remove(hook)

    def chore(self, job: Callable[[sqlite3.Connection], bool]) -> None:
        """Let the writer do this each minute, and again at once as long as it returns true."""
        self._chores.append(job)
        self._chores_at = 0.0
        self.call(_nothing)

    # What the writer does

    def _start(self) -> None:
        """Begin, or begin anew in a forked child."""
        self._in_memory = self.db_path in ("", ":memory:")
        self._free: list[sqlite3.Connection] = []
        self._readers = threading.BoundedSemaphore(self._max_readers)
        self._starting = threading.Lock()
        self._gate = threading.Lock()  # held while the writer's connection is in use
        self._wake = threading.Lock()  # held while there is no need to wake up
        self._wake.acquire()
        self._attention = False  # whether who adds a row has to look at more than that
        self._closed = False
        self._ended = False
        self._trouble: str = ""
        self._chores_at = 0.0
        self._patient_until = math.inf
        self._connection: sqlite3.Connection | None = self._open()
        self._thread: threading.Thread = threading.Thread(
            target=self._work, name=f"writer of {self.db_path}", daemon=True
        )
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.db_path,
            timeout=min(self.timeout, _BUSY),
            isolation_level=None,
            check_same_thread=False,
        )

    def _open(self) -> sqlite3.Connection:
        """The writer's connection. Somebody else may be making the same file just now."""
        deadline = time.monotonic() + self.timeout
        while True:
            connection = self._connect()
            try:
                for statement in self._init:
                    connection.execute(statement)
                return connection
            except sqlite3.OperationalError as error:
                connection.close()
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_AFTER / 10)

    def _attend(self) -> None:
        """Wake the writer up, or say why that is of no use."""
        if self._forked:
            with self._starting:
                if self._forked:
                    self._start()
                    self._forked = False
                    ending.watch()
        if self._closed and threading.current_thread() is not self._thread:
            raise LocalLoggerError(f"{self.db_path} is closed.")
        if self._ended:
            raise LocalLoggerError(f"{self.db_path}: the writer has ended: {self._trouble}")
        _release(self._wake)

    _forked = False
    _closed = False

    def _give_way(self, waiting: int) -> None:
        """Wait for room. Before that, let go the interpreter, which the writer gets too rarely.

        Each of some busy threads keeps it for 5 ms; meanwhile the writer's core is idle.
        """
        if waiting < self._max_pending:
            if not waiting % _EACH:
                time.sleep(1e-6)
        elif threading.current_thread() is not self._thread:
            self.call(_nothing)

    def _work(self) -> None:
        try:
            while True:
                closing, jobs = self._closed, self._jobs[:]
                del self._jobs[: len(jobs)]
                found = bool(jobs)
                for rows in self._rows:  # all that were there before these jobs
                    found |= self._store(rows, len(rows.waiting))
                for waiting, job in jobs:
                    self._run(waiting, job)
                if found:
                    continue
                if closing:
                    break
                if time.monotonic() >= self._chores_at:
                    more = [self._is_unfinished(chore) for chore in self._chores]
                    self._chores_at = time.monotonic() + _CHORES_EVERY * (not any(more))
                else:
                    self._sleep()
        except BaseException as error:
            self._trouble = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._ended = self._attention = True
            for waiting, _ in self._jobs:
                if waiting.set_running_or_notify_cancel():
                    waiting.set_exception(LocalLoggerError(f"{self.db_path} is closed."))
            with self._gate:
                if self._connection:
                    self._connection.close()

    def _sleep(self) -> None:
        """Until somebody adds something: who does so after the look sees `_attention`."""
        self._attention = True
        if not self._jobs and not self.queue_size:
            self._wake.acquire(timeout=max(0.0, self._chores_at - time.monotonic()))
        self._attention = False
        if self._closed:
            self._attention = True
        elif not self._jobs and 0 < self.queue_size < self._max_count:
            self._wake.acquire(timeout=_GATHER)

    def _store(self, rows: Rows, count: int) -> bool:
        """Commit the first rows of those that wait; returns whether there were any."""
        left = count
        while left > 0:
            some = rows.first(left)
            try:
                self._use(partial(rows.insert, some))
            except UnicodeEncodeError:  # half of a surrogate pair
                rows.waiting[: len(some)] = [tuple(map(_whole, row)) for row in some]
                continue
            except _ROW_IS_WRONG:
                self._insert_one_by_one(rows, some)
            except sqlite3.Error as error:
                if not self._is_patient(error):
                    return False
                continue
            else:
                del rows.waiting[: len(some)]
                rows.stored += len(some)
                self._tell(rows.one, some)
            self._trouble = ""
            left -= len(some)
        return count > 0

    def _insert_one_by_one(self, rows: Rows, some: list[tuple[object, ...]]) -> None:
        """One of them is refused: the others shall not be."""
        for row in some:
            while True:
                try:
                    self._use(partial(rows.insert, [row]))
                    rows.stored += 1
                    self._tell(rows.one, [row])
                except _ROW_IS_WRONG as error:
                    self.refused += 1
                    self.refusal = f"{error}: {row!r:.500}"
                except sqlite3.Error as error:
                    if not self._is_patient(error):
                        return
                    continue
                del rows.waiting[:1]
                break

    def _is_patient(self, error: sqlite3.Error) -> bool:
        """Wait until a locked database or a full disk may be better; not when closing."""
        self._trouble = f"{type(error).__name__}: {error}."
        time.sleep(_RETRY_AFTER)
        return time.monotonic() < self._patient_until

    def _run(self, waiting: Future[Any], job: _Job) -> None:
        if not waiting.set_running_or_notify_cancel():
            return
        try:
            waiting.set_result(self._use(job))
        except BaseException as error:
            waiting.set_exception(error)

    def _use(self, job: Callable[[sqlite3.Connection], _Value]) -> _Value:
        """Do something with the writer's connection, which a fork may have closed."""
        with self._gate:
            if self._connection is None:
                self._connection = self._open()
            try:
                return job(self._connection)
            finally:
                if self._connection.in_transaction:
                    self._connection.rollback()

    def _is_unfinished(self, chore: _Job) -> bool:
        try:
            return bool(self._use(chore))
        except sqlite3.Error as error:  # in a minute it may be better
            self._trouble = f"{type(error).__name__}: {error}."
            return False

    def _tell(self, query: str, every: Iterable[Sequence[object]]) -> None:
        if not self._hooks:
            return
        event = f"on_{query.split(None, 1)[0].lower()}"
        for hook in [*self._hooks.get("on_query", ()), *self._hooks.get(event, ())]:
            for values in every:
                try:
                    hook(query, values)
                except Exception:  # a bad hook stops nobody, and is said once
                    if hook not in self._failed_hooks:
                        self._failed_hooks.add(hook)
                        traceback.print_exc()


_EVENTS = ("on_query", "on_insert", "on_select", "on_update", "on_delete")
_WORKERS: weakref.WeakSet[SqliteWorker] = weakref.WeakSet()
_FORKING = threading.Lock()
_Lock: TypeAlias = "threading.Lock | threading.BoundedSemaphore"
_HELD: list[_Lock] = []
_ABANDONED: list[object] = []


def _nothing(connection: sqlite3.Connection) -> None:
    """What comes before is done."""


def _release(lock: threading.Lock) -> None:
    """Let go a lock that may be free: unlike an Event it may be done within a signal handler."""
    with suppress(RuntimeError):
        lock.release()


def _whole(value: object) -> object:
    return whole(value).decode() if isinstance(value, str) else value


def _before_fork() -> None:
    """Close all connections: a child of a process that has one open believes that it has its locks.

    The parent would remove the log of its last transactions under such a child's feet.
    """
    _FORKING.acquire()
    for worker in list(_WORKERS):
        locks: list[_Lock] = [worker._gate, *[worker._readers] * worker._max_readers]
        for lock in locks:
            if lock.acquire(timeout=worker.timeout):
                _HELD.append(lock)
        while worker._free:
            worker._free.pop().close()
        if worker._connection and worker._gate in _HELD and not worker._in_memory:
            worker._connection.close()
            worker._connection = None


def _after_in_parent() -> None:
    while _HELD:
        _HELD.pop().release()
    _FORKING.release()


def _after_in_child() -> None:
    """What waits is the parent's; a thread and a connection are made when they are needed."""
    global _FORKING
    _FORKING = threading.Lock()
    _HELD.clear()
    for worker in list(_WORKERS):
        _ABANDONED.append(worker._connection)  # one in memory, perhaps in use
        for rows in worker._rows:
            rows.waiting.clear()
            rows.stored = 0
        worker._starting = threading.Lock()
        worker._jobs = []
        worker._forked = worker._attention = not worker._closed


def _close_all() -> None:
    for worker in list(_WORKERS):
        try:
            worker.close()
        except LocalLoggerError as error:
            print(error, file=sys.stderr)


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
ending.at_end(_close_all)
