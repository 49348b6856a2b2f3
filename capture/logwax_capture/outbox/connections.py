"""Connections of psycopg 3, SQLAlchemy, Django and sqlite3: an application's own, and senders'."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from typing import Any

from logwax_capture import extra

Execute = Callable[[str, Sequence[object]], object]

_SQLITE_WAITS = 30.0  # seconds for a lock of another process, at most


def sqlite_connection(path: str) -> sqlite3.Connection:
    """A connection for a sender: every statement is one transaction, unless one was begun."""
    connection = sqlite3.connect(
        path, timeout=_SQLITE_WAITS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL").close()
    return connection


def postgres_connection(url: str) -> Any:
    """The same of PostgreSQL. A peer that is gone is noticed within half a minute."""
    psycopg = extra("postgres", "psycopg")
    return psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=10,
        application_name="logwax outbox",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=25_000,
    )


def django_connection(alias: str = "default") -> Any:
    """The same of the database that Django knows by this alias; Django's own is left alone."""
    django = extra("django", "django.db")
    connection = django.connections[alias]
    parameters = connection.get_connection_params()
    if connection.vendor == "sqlite":
        return sqlite_connection(str(parameters["database"]))
    made = connection.get_new_connection(parameters)
    made.autocommit = True
    return made


def as_text(moment: datetime) -> str:
    """A time as SQLite's columns have it: UTC, of one length, so that texts sort as times do."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(" ", "microseconds")


def from_text(text: str) -> datetime:
    """The time that a column of SQLite has."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def dialect_of(connection: Any) -> tuple[str, str, Execute]:
    """The database (`postgresql` or `sqlite`), its mark of a parameter, and how to execute.

    Raises `TypeError` if the connection is of no known library, or to another database.
    """
    vendor, mark, execute = _dialect_of(connection)
    if vendor not in ("postgresql", "sqlite"):
        raise TypeError(f"an outbox is in PostgreSQL or SQLite, not in {vendor}")
    return vendor, mark, execute


def _dialect_of(connection: Any) -> tuple[str, str, Execute]:
    library = _library(connection)
    if library == "sqlalchemy":
        inner = connection.connection() if hasattr(connection, "get_bind") else connection
        mark = "?" if inner.dialect.paramstyle == "qmark" else "%s"
        return (
            inner.dialect.name,
            mark,
            lambda sql, values: inner.exec_driver_sql(sql, tuple(values)).close(),
        )
    if library == "django":

        def execute(sql: str, values: Sequence[object]) -> None:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)

        return connection.vendor, "%s", execute
    if library == "sqlite3":
        return "sqlite", "?", connection.execute
    return "postgresql", "%s", connection.execute


def atomic(connection: Any) -> AbstractContextManager[object]:
    """A transaction of this connection; inside of one, a part of it that can be undone alone."""
    library = _library(connection)
    if library == "sqlalchemy":
        begun = connection.in_transaction()
        return connection.begin_nested() if begun else connection.begin()  # type: ignore[no-any-return]
    if library == "django":
        atomic = extra("django", "django.db.transaction").atomic
        return atomic(using=connection.alias)  # type: ignore[no-any-return]
    if library == "sqlite3":
        return _sqlite_transaction(connection)
    return connection.transaction()  # type: ignore[no-any-return]


@contextmanager
def _sqlite_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    is_part = connection.in_transaction
    connection.execute("SAVEPOINT logwax" if is_part else "BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("RELEASE logwax" if is_part else "COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors end it by themselves
            for undo in ("ROLLBACK TO logwax", "RELEASE logwax") if is_part else ("ROLLBACK",):
                connection.execute(undo)
        raise


def _library(connection: Any) -> str:
    """Which of the four a connection is of, by its classes: none of them is imported for it."""
    for cls in type(connection).__mro__:
        package = cls.__module__.partition(".")[0]
        if package in ("sqlalchemy", "django", "psycopg"):
            return package
        if package in ("sqlite3", "_sqlite3"):
            return "sqlite3"
    raise TypeError(
        f"{type(connection).__name__} is no connection that an event can be written by: give one "
        "of psycopg 3, sqlite3 or Django, or a session or connection of SQLAlchemy"
    )
