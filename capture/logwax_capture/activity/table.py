"""The table of activities, and how entries get into it over a connection of Python's DB-API."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from typing import Any

from logwax_capture.activity.events import log_activities, transaction
from logwax_capture.background import RefusedError
from logwax_capture.spill import Entry

logger = logging.getLogger(__name__)

NAME = "activity_log"
COLUMNS = (
    *("entry_id", "created_at", "user", "email", "username", "ip"),
    *("message", "action", "vpn", "extras"),
)
"""All are text: `created_at` ISO 8601 in UTC, `extras` JSON, `entry_id` 32 hexadecimal digits."""

_ID = {
    "sqlite3": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "psycopg": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}

Connect = Callable[[], Any]


def create_table(connection: Any) -> None:
    """Make the table where it is not, in SQLite or PostgreSQL; commits."""
    key = _ID.get(_driver(connection), _ID["psycopg"])
    types = {"entry_id": "CHAR(32) NOT NULL UNIQUE"}
    columns = ", ".join(f'"{name}" {types.get(name, "TEXT NOT NULL")}' for name in COLUMNS)
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {NAME} (id {key}, {columns})")
        cursor.execute(f"CREATE INDEX IF NOT EXISTS {NAME}_created_at ON {NAME} (created_at)")
    connection.commit()


class Insert:
    """Inserts batches over a connection of its own, each in one transaction.

    `connect` opens a connection (PEP 249). One that fails is closed, and opened anew next time.
    `into_outbox`: what is inserted is also written into the outbox, in the same transaction.
    """

    def __init__(self, connect: Connect, *, into_outbox: bool = False) -> None:
        self._connect = connect
        self._into_outbox = into_outbox
        self._connection: Any = None

    def __call__(self, batch: Sequence[Entry], is_again: bool) -> None:
        """Insert the entries that are not there yet; raises `RefusedError` if one is at fault."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._insert(self._connection, batch, is_again)
        except Exception as error:
            self._close()
            if is_at_fault(error):
                raise RefusedError(str(error)) from error
            raise

    def _insert(self, connection: Any, batch: Sequence[Entry], is_again: bool) -> None:
        mark = _mark(connection)
        whole = transaction(connection) if self._into_outbox else nullcontext()
        with closing(connection.cursor()) as cursor, whole:
            if is_again:
                ids = [entry["entry_id"] for entry in batch]
                marks = ", ".join(mark(number) for number in range(len(ids)))
                cursor.execute(f"SELECT entry_id FROM {NAME} WHERE entry_id IN ({marks})", ids)
                there = {row[0] for row in cursor.fetchall()}
                batch = [entry for entry in batch if entry["entry_id"] not in there]
            if batch:
                names = ", ".join(f'"{name}"' for name in COLUMNS)
                marks = ", ".join(mark(number) for number in range(len(COLUMNS)))
                rows = [tuple(entry[name] for name in COLUMNS) for entry in batch]
                cursor.executemany(f"INSERT INTO {NAME} ({names}) VALUES ({marks})", rows)
            if self._into_outbox:
                log_activities(connection, batch)
        connection.commit()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except Exception as error:  # it is broken already, which is why it is closed
            logger.debug("A broken connection cannot be closed: %s", error)


def is_at_fault(error: Exception) -> bool:
    """Whether the rows are at fault, not the database: by the names that PEP 249 gives."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"DataError", "IntegrityError", "ValueError", "OverflowError", "TypeError"})


def _driver(connection: Any) -> str:
    return type(connection).__module__.partition(".")[0]


def _mark(connection: Any) -> Callable[[int], str]:
    """How the driver marks parameter number 0, 1, 2 and so on."""
    style = getattr(sys.modules.get(_driver(connection)), "paramstyle", "qmark")
    marks: dict[str, Callable[[int], str]] = {
        "qmark": lambda number: "?",
        "numeric": lambda number: f":{number + 1}",
        "named": lambda number: f":{number + 1}",
    }
    return marks.get(style, lambda number: "%s")
