"""What senders ask of the outbox: claim a batch, say what became of it, clean up.

A batch is claimed in one short transaction, and frozen: whoever sends it again sends the same
events under the same token. A lease says whose it is and until when, so what a sender that died
had claimed is claimed again. Nothing is open while something is sent.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from logwax_capture import extra
from logwax_capture.outbox.connections import from_text, postgres_connection, sqlite_connection
from logwax_capture.outbox.schema import BATCHES, CHANNEL, ITSELF, NOW, TABLE, ddl

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0  # seconds between two attempts to send a batch
_LOOK = 1.0  # seconds between two looks at all new events, at least
_SHARE = 20  # of the time, the part that these looks may take: dead entries make them slow


class OutboxError(Exception):
    """The database of the outbox cannot be used now; what is in it is safe."""


class Event(NamedTuple):
    """A row of the outbox, as it is sent; `event_context` is a JSON text."""

    id: int
    event_type: str
    event_date_time: datetime
    environment: str
    event_context: str
    metadata_version: int


@dataclass(frozen=True)
class Batch:
    """Events that are sent together, in the order of their ids, always the same.

    `outbox` says which outbox they are of; (`outbox`, id) names an event for ever.
    """

    outbox: int
    number: int
    events: Sequence[Event]
    attempts: int = 1

    @property
    def token(self) -> str:
        """Under which the store knows a second sending of it."""
        return f"outbox:{self.number}:1"

    @property
    def is_repeated(self) -> bool:
        """Whether somebody may have sent it before."""
        return self.attempts > 1

    @property
    def pause(self) -> float:
        """Seconds until it should be sent again, if it could not be sent: longer each time."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self.attempts - 1, 20))
        return random.uniform(longest / 2, longest)  # those that failed together spread out


@dataclass(frozen=True)
class Depth:
    """How many events are not delivered, the age of the oldest in seconds, and the refused ones."""

    waiting: int
    oldest_seconds: float
    failed: int


@dataclass(frozen=True)
class _Dialect:
    """Where the two kinds of databases differ."""

    vendor: str
    begin: str
    lock: str
    among: str
    later: str
    seconds_since: str
    mark: str = "%s"
    session: tuple[str, ...] = ()
    unhurried: str = ""
    """Of a transaction that a crash of the machine may undo: the batch is then sent again."""


_POSTGRESQL = _Dialect(
    "postgresql",
    "BEGIN",
    " FOR UPDATE SKIP LOCKED",
    "= ANY(%s)",
    "clock_timestamp() + %s * interval '1 second'",
    "extract(epoch FROM clock_timestamp() - {0})::float8",
    session=(
        "SET TimeZone = 'UTC'",
        # Statistics lag behind: else all new events would be read and sorted for each batch.
        "SET enable_seqscan = off",
        "SET enable_bitmapscan = off",
        "SET enable_sort = off",
        "SET jit = off",  # what is switched off is so dear that plans would be compiled
    ),
    unhurried="SET LOCAL synchronous_commit = off",
)
_SQLITE = _Dialect(
    "sqlite",
    "BEGIN IMMEDIATE",
    "",
    "IN (SELECT value FROM json_each(%s))",
    "strftime('%Y-%m-%d %H:%M:%f000', 'now', %s || ' seconds')",
    "(julianday('now') - julianday({0})) * 86400.0",
    "?",
)

_EVENT = "id, event_type, event_date_time, environment, event_context, metadata_version"
_OF_BATCH = "id BETWEEN %s AND %s AND batch = %s"
_OPEN = "send_status IN ('AWAITING_DELIVERY', 'SENDING')"


class _Statements:
    """Every statement, as a database understands it."""

    def __init__(self, dialect: _Dialect) -> None:
        now = NOW[dialect.vendor]

        def of(statement: str) -> str:
            return statement.replace("%s", dialect.mark)

        self.due = of(
            f"SELECT number, attempts, first_id, last_id FROM {BATCHES} "
            f"WHERE number <> {ITSELF} AND free_at <= {now} ORDER BY free_at LIMIT 1{dialect.lock}"
        )
        self.take = of(
            f"UPDATE {BATCHES} SET owner = %s, free_at = {dialect.later}, attempts = attempts + 1 "
            "WHERE number = %s"
        )
        self.members = of(f"SELECT {_EVENT} FROM {TABLE} WHERE {_OF_BATCH} AND {_OPEN} ORDER BY id")
        self.sending = of(
            f"UPDATE {TABLE} SET send_status = 'SENDING', updated_at = {now} "
            f"WHERE {_OF_BATCH} AND send_status = 'AWAITING_DELIVERY'"
        )
        self.new = of(
            f"SELECT {_EVENT} FROM {TABLE} WHERE batch IS NULL AND id >= %s "
            f"ORDER BY id LIMIT %s{dialect.lock}"
        )
        self.age = of(
            f"SELECT {dialect.seconds_since.format('min(created_at)')} FROM {TABLE} "
            f"WHERE id {dialect.among}"
        )
        self.freeze = of(
            f"UPDATE {TABLE} SET send_status = 'SENDING', batch = %s, updated_at = {now} "
            f"WHERE id {dialect.among}"
        )
        self.lease = of(
            f"INSERT INTO {BATCHES} (number, owner, free_at, attempts, first_id, last_id) "
            f"VALUES (%s, %s, {dialect.later}, 1, %s, %s)"
        )
        self.refused = of(
            f"UPDATE {TABLE} SET send_status = 'DELIVERY_FAILED', failure = %s, "
            f"updated_at = {now} WHERE id = %s AND batch = %s"
        )
        self.delivered = of(
            f"UPDATE {TABLE} SET send_status = 'DELIVERED', updated_at = {now} "
            f"WHERE {_OF_BATCH} AND {_OPEN}"
        )
        self.over = of(f"DELETE FROM {BATCHES} WHERE number = %s")
        self.renew = of(
            f"UPDATE {BATCHES} SET free_at = {dialect.later} WHERE owner = %s AND number > {ITSELF}"
        )
        self.give_back = of(
            f"UPDATE {BATCHES} SET owner = NULL, free_at = {dialect.later}, failure = %s "
            "WHERE number = %s AND owner = %s"
        )
        self.await_again = of(
            f"UPDATE {TABLE} SET send_status = 'AWAITING_DELIVERY', updated_at = {now} "
            f"WHERE {_OF_BATCH} AND send_status = 'SENDING'"
        )
        self.are_delivered = of(
            f"SELECT id FROM {TABLE} WHERE send_status = 'DELIVERED' AND id > %s "
            "ORDER BY id LIMIT %s"
        )
        self.to_delete = self.are_delivered + dialect.lock
        self.delete = of(
            f"DELETE FROM {TABLE} WHERE send_status = 'DELIVERED' AND id {dialect.among}"
        )
        self.name_it = of(
            f"INSERT INTO {BATCHES} (number, free_at, attempts, first_id, last_id) "
            f"VALUES ({ITSELF}, {now}, 0, %s, 0) ON CONFLICT DO NOTHING"
        )
        self.name = f"SELECT first_id FROM {BATCHES} WHERE number = {ITSELF}"
        since = dialect.seconds_since.format("min(created_at)")
        self.depth = (
            f"SELECT count(*), {since} FROM {TABLE} WHERE batch IS NULL",
            f"SELECT count(*), {since} FROM {TABLE} JOIN {BATCHES} "
            f"ON id BETWEEN first_id AND last_id AND batch = number WHERE {_OPEN}",
            f"SELECT count(*), NULL FROM {TABLE} WHERE failure IS NOT NULL",
        )


class Outbox:
    """The outbox behind `connect`, which makes a connection of psycopg 3 or sqlite3.

    It is for one thread at a time. A connection that is lost is made again at the next call.
    `lease`: seconds after which a batch of which nobody said anything is claimed again; sending one
    must not take as long. Every method raises `OutboxError` if the database cannot be used.
    """

    def __init__(self, connect: Callable[[], Any], *, lease: float = 60.0) -> None:
        self._connect = connect
        self._lease = lease
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._connection: Any = None
        self._dialect = _POSTGRESQL
        self._sql = _Statements(_POSTGRESQL)
        self._failures: tuple[type[Exception], ...] = ()
        self._name: int | None = None
        self._from = 0  # the lowest id that is looked at
        self._look_at = 0.0  # when all new events are looked at again
        self._listens = False

    @classmethod
    def open(cls, url: str, *, lease: float = 60.0) -> Outbox:
        """The outbox in the database of a URL: `postgresql://...` or `sqlite:///path`."""
        scheme, _, rest = url.partition("://")
        scheme = scheme.partition("+")[0]  # of SQLAlchemy: with the driver
        if scheme in ("sqlite", "sqlite3"):
            return cls(lambda: sqlite_connection(rest.removeprefix("/")), lease=lease)
        if scheme in ("postgresql", "postgres"):
            return cls(lambda: postgres_connection(f"postgresql://{rest}"), lease=lease)
        raise OutboxError(
            f"The outbox cannot be in a database of the kind {scheme!r}: "
            "give a URL that begins with postgresql:// or sqlite:///"
        )

    @property
    def vendor(self) -> str:
        """`postgresql` or `sqlite`."""
        with self._cursor():
            return self._dialect.vendor

    def create(self) -> None:
        """Make the tables that are missing."""
        with self._transaction() as cursor:
            for statement in ddl(self._dialect.vendor):
                cursor.execute(statement)

    def claim(self, quantity: int, max_age: float) -> Batch | None:
        """The next batch, which is now ours: one that is to be sent again, else a new one.

        A new one has `quantity` events, or all that there are if the oldest of these has waited for
        `max_age` seconds. None: there are not enough.
        """
        name = self.name
        with self._transaction() as cursor:
            while found := _row(cursor, self._sql.due, ()):
                number, attempts, first, last = found
                cursor.execute(self._sql.take, (self._owner, self._lease, number))
                events = _events(cursor, self._sql.members, (first, last, number))
                if events:
                    cursor.execute(self._sql.sending, (first, last, number))
                    return Batch(name, number, events, attempts + 1)
                cursor.execute(self._sql.over, (number,))
            events = self._new(cursor, quantity, max_age)
            if not events:
                return None
            number = secrets.randbits(62) + 1
            first, last = events[0].id, events[-1].id
            cursor.execute(self._sql.freeze, (number, self._ids(events)))
            cursor.execute(self._sql.lease, (number, self._owner, self._lease, first, last))
        self._from = last + 1
        return Batch(name, number, events)

    def _new(self, cursor: Any, quantity: int, max_age: float) -> list[Event]:
        """New events that make a batch, locked; or none."""
        begun = time.monotonic()
        events: list[Event] = []
        if begun < self._look_at:
            events = _events(cursor, self._sql.new, (self._from, quantity))
        if len(events) < quantity:
            # Ids that were given early may be committed late: below those that we have had.
            events = _events(cursor, self._sql.new, (0, quantity))
            ended = time.monotonic()
            self._look_at = ended + max(_LOOK, _SHARE * (ended - begun))
        if not events or len(events) >= quantity:
            return events
        age = _row(cursor, self._sql.age, (self._ids(events),))
        return events if age and age[0] is not None and age[0] >= max_age else []

    def renew(self) -> None:
        """Begin the leases of all batches that are ours anew."""
        with self._cursor() as cursor:
            cursor.execute(self._sql.renew, (self._lease, self._owner))

    def delivered(self, batch: Batch, refused: Mapping[int, str] | None = None) -> None:
        """Say that the store has the events, except those that it refused, with its reasons."""
        first, last = batch.events[0].id, batch.events[-1].id
        with self._transaction() as cursor:
            if self._dialect.unhurried:
                cursor.execute(self._dialect.unhurried)
            for id, why in (refused or {}).items():
                cursor.execute(self._sql.refused, (why.replace("\0", ""), id, batch.number))
            cursor.execute(self._sql.delivered, (first, last, batch.number))
            cursor.execute(self._sql.over, (batch.number,))

    def release(self, batch: Batch, failure: str, pause: float) -> None:
        """Say that a batch could not be sent: anybody may try again after so many seconds."""
        first, last = batch.events[0].id, batch.events[-1].id
        failure = failure.replace("\0", "")
        with self._transaction() as cursor:
            cursor.execute(self._sql.give_back, (pause, failure, batch.number, self._owner))
            if cursor.rowcount:  # else it is somebody else's by now
                cursor.execute(self._sql.await_again, (first, last, batch.number))

    def clean(self, step: int = 1000) -> int:
        """Delete what is delivered, and nothing else, `step` rows at a time; returns how many."""
        deleted = last = 0
        while True:
            with self._transaction() as cursor:
                cursor.execute(self._sql.to_delete, (last, step))
                ids = [row[0] for row in cursor.fetchall()]
                if not ids:
                    return deleted
                cursor.execute(self._sql.delete, (self._among(ids),))
                deleted += cursor.rowcount
            last = ids[-1]

    def ids_delivered(self, after: int, most: int) -> list[int]:
        """The ids of the next delivered events behind an id, for audits."""
        with self._cursor() as cursor:
            cursor.execute(self._sql.are_delivered, (after, most))
            return [row[0] for row in cursor.fetchall()]

    def depth(self) -> Depth:
        """How much is not delivered; waits for nobody."""
        with self._cursor() as cursor:
            (new, age), (again, old), (failed, _) = (
                _row(cursor, statement, ()) or (0, None) for statement in self._sql.depth
            )
        return Depth(new + again, max(age or 0.0, old or 0.0, 0.0), failed)

    @property
    def name(self) -> int:
        """What this outbox is known by: a random number of 63 bits, chosen once."""
        if self._name is None:
            with self._cursor() as cursor:
                found = _row(cursor, self._sql.name, ())
                if not found:
                    cursor.execute(self._sql.name_it, (secrets.randbits(62) + 1,))
                    found = _row(cursor, self._sql.name, ())
                self._name = int(found[0])
        return self._name

    def wait(self, seconds: float) -> bool:
        """Wait for new events, at most so long; returns whether PostgreSQL told of some.

        It is a hint: a lost connection loses it, and SQLite has none. So look again all the same.
        """
        with self._cursor() as cursor:
            if self._dialect is _SQLITE:
                time.sleep(seconds)
                return False
            if not self._listens:
                cursor.execute(f"LISTEN {CHANNEL}")
                self._listens = True
                return True  # what came before is not told
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

    def close(self) -> None:
        """Close the connection; the next call makes one."""
        connection, self._connection, self._listens = self._connection, None, False
        if connection is not None:
            with suppress(*self._failures):  # it may be broken already
                connection.close()

    def _ids(self, events: Sequence[Event]) -> object:
        return self._among([event.id for event in events])

    def _among(self, ids: list[int]) -> object:
        return json.dumps(ids) if self._dialect is _SQLITE else ids

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """A cursor; if anything goes wrong, the connection is given up with its transaction."""
        try:
            if self._connection is None:
                self._begin_anew()
            yield self._connection.cursor()
        except BaseException as error:
            self.close()
            if isinstance(error, (*self._failures, OSError)):
                raise OutboxError(f"The outbox cannot be used now: {str(error).strip()}") from error
            raise

    def _begin_anew(self) -> None:
        try:
            connection = self._connect()
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("psycopg", "sqlite3"):
                raise
            said = str(error).strip()
            raise OutboxError(f"The database of the outbox cannot be reached: {said}") from error
        is_sqlite = type(connection).__module__.partition(".")[0] == "sqlite3"
        dialect = _SQLITE if is_sqlite else _POSTGRESQL
        if dialect is not self._dialect:
            self._dialect, self._sql = dialect, _Statements(dialect)
        module = extra("postgres", "sqlite3" if is_sqlite else "psycopg")
        self._failures = (module.Error,)
        self._connection = connection
        for statement in dialect.session:
            connection.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._cursor() as cursor:
            cursor.execute(self._dialect.begin)
            yield cursor
            cursor.execute("COMMIT")


def _row(cursor: Any, statement: str, values: Sequence[object]) -> Any:
    return cursor.execute(statement, values).fetchone()


def _events(cursor: Any, statement: str, values: Sequence[object]) -> list[Event]:
    events = list(map(Event._make, cursor.execute(statement, values).fetchall()))
    if events and isinstance(events[0].event_date_time, str):  # SQLite has no times
        return [e._replace(event_date_time=from_text(str(e.event_date_time))) for e in events]
    return events
