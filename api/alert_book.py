"""What survives of alerts: what each looks for, its state, and every change of it, in one file.

Whatever is written is there after a kill or a crash: SQLite's transactions, one for each method.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from connectors.errors import LogwaxError, StoreError

FILE = "alerts.sqlite"

MOST = 100
"""Alerts that a book has; each is a question to the store again and again."""

MOST_CHANGES = 1000
"""Changes that are kept of one alert, those that wait to be sent aside."""

_LOCK = "alerts.lock"
_WAIT_SECONDS = 10.0  # for another process that writes

When = Literal["above", "below"]
State = Literal["ok", "firing", "resolved"]
Delivery = Literal["none", "waiting", "sent", "failed"]

_TABLES = """
CREATE TABLE IF NOT EXISTS alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    filter TEXT NOT NULL,
    window INTEGER NOT NULL,
    "when" TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    webhook TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'ok',
    since INTEGER
);
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    alert INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    time INTEGER NOT NULL,
    count INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    body TEXT NOT NULL,
    delivery TEXT NOT NULL,
    problem TEXT NOT NULL
);
"""
_ALERT = 'name, filter, window, "when", threshold, webhook'
_CHANGE = 'id, alert, name, state, time, count, start, "end", body, delivery, problem'


class AlertError(LogwaxError):
    """What is asked of the book cannot be."""


@dataclass(frozen=True)
class Definition:
    """What an alert looks for: more or fewer rows than `threshold` in `window` seconds."""

    name: str
    filter: str
    window: int
    when: When
    threshold: int
    webhook: str


@dataclass(frozen=True)
class Alert:
    """An alert, and its state `since` a time in microseconds since 1970; None: it never changed."""

    id: int
    definition: Definition
    state: State
    since: int | None


@dataclass(frozen=True)
class Change:
    """An alert has changed to `state`: at a time, for so many rows from `start` to before `end`.

    Times are in microseconds since 1970. `body` is what the webhook gets, `problem` why it has not
    got it yet.
    """

    id: str
    alert: int
    name: str
    state: State
    time: int
    count: int
    start: int
    end: int
    body: str
    delivery: Delivery
    problem: str = ""


class AlertBook:
    """The alerts of one `DATA_DIR`; safe in any thread and process. The file is made when needed.

    Every method raises `StoreError` if the file cannot be read or written.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._lock: int | None = None

    def is_mine(self) -> bool:
        """Whether this process is the one that looks after these alerts; it stays so to its end."""
        if self._lock is None and self._path.exists():
            try:
                lock = os.open(self._path.with_name(_LOCK), os.O_RDWR | os.O_CREAT, 0o600)
            except OSError as error:
                raise self._error(error) from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._lock = lock
            except OSError:  # another one does
                os.close(lock)
        return self._lock is not None

    def let_go(self) -> None:
        """Leave the alerts to another process."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def alerts(self) -> Sequence[Alert]:
        """All of them, by name."""
        if not self._path.exists():
            return []
        with self._opened() as db:
            return [_alert(row) for row in db.execute(f"{_SELECT} ORDER BY name, id")]

    def add(self, new: Definition) -> Alert:
        """Add one. Raises `AlertError` if its name is taken, or there are too many."""
        with self._opened() as db:
            if db.execute("SELECT count(*) FROM alerts").fetchone()[0] >= MOST:
                raise AlertError(f"There are {MOST} alerts already: delete one first.")
            _demand_free_name(db, new.name, but=0)
            marks = ", ".join("?" * len(astuple(new)))
            made = db.execute(f"INSERT INTO alerts ({_ALERT}) VALUES ({marks})", astuple(new))
            return _found(db, made.lastrowid or 0)

    def replace(self, id_: int, new: Definition, *, keeps_webhook: bool) -> Alert:
        """Let it look for something else from now on; its state stays until it is judged.

        `keeps_webhook`: it stays as it is. Raises `AlertError` as `add`, `KeyError` without it.
        """
        with self._opened() as db:
            old = _found(db, id_).definition
            _demand_free_name(db, new.name, but=id_)
            webhook = old.webhook if keeps_webhook else new.webhook
            values = (*astuple(new)[:-1], webhook)
            names = ", ".join(f"{name} = ?" for name in _ALERT.split(", "))
            db.execute(f"UPDATE alerts SET {names} WHERE id = ?", (*values, id_))
            if not webhook:
                db.execute(
                    "UPDATE changes SET delivery = 'none' WHERE alert = ? AND delivery = 'waiting'",
                    (id_,),
                )
            return _found(db, id_)

    def remove(self, id_: int) -> None:
        """Remove it, and all that it has changed to. Raises `KeyError` without it."""
        with self._opened() as db:
            _found(db, id_)
            db.execute("DELETE FROM alerts WHERE id = ?", (id_,))
            db.execute("DELETE FROM changes WHERE alert = ?", (id_,))

    def record(self, alert: Alert, change: Change) -> bool:
        """Change its state, and keep that; not if it is another one than `alert` by now."""
        with self._opened() as db:
            try:
                if _found(db, alert.id) != alert:
                    return False
            except KeyError:
                return False
            db.execute(
                "UPDATE alerts SET state = ?, since = ? WHERE id = ?",
                (change.state, change.time, alert.id),
            )
            marks = ", ".join("?" * len(astuple(change)))
            db.execute(f"INSERT INTO changes ({_CHANGE}) VALUES ({marks})", astuple(change))
            db.execute(
                "DELETE FROM changes WHERE alert = :alert AND delivery != 'waiting' AND number <= "
                "(SELECT number FROM changes WHERE alert = :alert "
                "ORDER BY number DESC LIMIT 1 OFFSET :most)",
                {"alert": alert.id, "most": MOST_CHANGES},
            )
            return True

    def changes(self, most: int) -> Sequence[Change]:
        """The newest changes of all alerts, the newest first."""
        if not self._path.exists():
            return []
        with self._opened() as db:
            asked = f"SELECT {_CHANGE} FROM changes ORDER BY number DESC LIMIT ?"
            return [Change(*row) for row in db.execute(asked, (most,))]

    def waiting(self) -> Sequence[tuple[Change, str]]:
        """Of each alert the first change that is not sent, and the webhook that it has now."""
        with self._opened() as db:
            names = ", ".join(f"changes.{name}" for name in _CHANGE.split(", "))
            asked = (
                f"SELECT {names}, webhook FROM changes JOIN alerts ON alerts.id = alert "
                "WHERE number IN "
                "(SELECT min(number) FROM changes WHERE delivery = 'waiting' GROUP BY alert)"
            )
            return [(Change(*row), webhook) for *row, webhook in db.execute(asked)]

    def told(self, change: Change, delivery: Delivery, problem: str = "") -> None:
        """Keep what came of sending a change."""
        with self._opened() as db:
            db.execute(
                "UPDATE changes SET delivery = ?, problem = ? WHERE id = ?",
                (delivery, problem, change.id),
            )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction of its own."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))  # webhooks are secrets
            with closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS)) as db, db:
                db.executescript(f"BEGIN IMMEDIATE; {_TABLES}")
                yield db
        except (sqlite3.Error, OSError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> StoreError:
        return StoreError(
            f"Alerts cannot be kept in {self._path}: {error}; that directory must be writable, and "
            "its disk not full."
        )


_SELECT = f"SELECT id, {_ALERT}, state, since FROM alerts"


def _alert(row: Sequence[object]) -> Alert:
    id_, *definition, state, since = row
    return Alert(id_, Definition(*definition), state, since)  # type: ignore[arg-type]


def _found(db: sqlite3.Connection, id_: int) -> Alert:
    row = db.execute(f"{_SELECT} WHERE id = ?", (id_,)).fetchone()
    if row is None:
        raise KeyError(id_)
    return _alert(row)


def _demand_free_name(db: sqlite3.Connection, name: str, but: int) -> None:
    if db.execute("SELECT 1 FROM alerts WHERE name = ? AND id != ?", (name, but)).fetchone():
        raise AlertError(f"There is an alert {name!r} already: choose another name.")
