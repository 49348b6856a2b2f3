"""Answers the API's questions from SQLite."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from connectors.errors import StoreError
from connectors.letters import Letters, pattern_of
from connectors.logs import Logs
from connectors.sinks.sql_logs import Values
from connectors.sinks.sqlite.database import connect
from connectors.sinks.sqlite.letters import SqliteLetters
from connectors.sinks.sqlite.logs import SqliteLogs, as_number
from connectors.store import Figures, Ranking, Statistics, hour

T = TypeVar("T")

_SECONDS = 60  # what an answer about rows may take

_EPOCH = date(1970, 1, 1)
_UNKNOWN = (None, None)
_HOUR, _DAY = 3_600 * 10**6, 86_400 * 10**6  # microseconds

# `/` cuts towards 0, periods before 1970 are cut towards the past.
_FOUND = """
WITH found AS (
    SELECT (timestamp - (timestamp % :period + :period) % :period) / :period AS day,
        status_code > 0 AS is_request, success, duration
    FROM logs WHERE {customer} timestamp >= :start AND timestamp < :end)
"""
_DAYS = f"""{_FOUND}
SELECT day, sum(is_request), sum(is_request AND success),
    count(duration) FILTER (WHERE is_request), total(duration) FILTER (WHERE is_request)
FROM found GROUP BY day ORDER BY day
"""
# Between the closest ranks, linearly: each weighs what it is nearer to the place than the other.
_PERCENTILES = f"""{_FOUND}, ranked AS (
    SELECT {{day}} AS day, duration,
        row_number() OVER (PARTITION BY {{day}} ORDER BY duration) - 1 AS rank,
        (count(*) OVER (PARTITION BY {{day}}) - 1) * 0.5 AS median,
        (count(*) OVER (PARTITION BY {{day}}) - 1) * 0.99 AS p99
    FROM found WHERE is_request AND duration IS NOT NULL)
SELECT day, sum(duration * max(0, 1 - abs(rank - median))),
    sum(duration * max(0, 1 - abs(rank - p99)))
FROM ranked WHERE abs(rank - median) < 1 OR abs(rank - p99) < 1 GROUP BY day
"""

_ORDERS = {"requests": "total", "errors": "total - successful", "latency": "seconds / measured"}
_RANKING = """
WITH found AS (
    SELECT {names}, success, duration
    FROM logs WHERE timestamp >= :start AND timestamp < :end AND status_code > 0),
top AS (
    SELECT {columns}, count(*) AS total, sum(coalesce(success, 0)) AS successful,
        count(duration) AS measured, sum(duration) AS seconds
    FROM found GROUP BY {columns} ORDER BY {order} DESC, {columns} LIMIT :limit),
ranked AS (
    SELECT {columns}, total, successful, measured, seconds, duration,
        row_number() OVER (PARTITION BY {columns} ORDER BY duration NULLS LAST) - 1 AS rank,
        (measured - 1) * 0.5 AS median, (measured - 1) * 0.99 AS p99
    FROM found JOIN top USING ({columns}))
SELECT {columns}, total, successful, measured, seconds,
    sum(duration * max(0, 1 - abs(rank - median))), sum(duration * max(0, 1 - abs(rank - p99)))
FROM ranked GROUP BY {columns} ORDER BY {order} DESC, {columns}
"""


class SqliteReader:
    """The `Reader` of an SQLite store; figures are exact. Every method raises `StoreError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: set[sqlite3.Connection] = set()
        self._cancelled = False
        self._logs = SqliteLogs(self._rows)
        self.logs: Logs | None = self._logs
        self.letters: Letters = SqliteLetters(self._rows)

    async def statistics(
        self, customer_id: str | None, first: date, last: date, *, hourly: bool = False
    ) -> Statistics | None:
        """Figures of one customer (None: of all) over whole UTC days, both included."""
        values = {
            "customer": customer_id,
            **_between(first, last),
            "period": _HOUR if hourly else _DAY,
        }
        customer = "" if customer_id is None else "customer_id = :customer AND"
        figures = partial(Figures.of, none_is_zero=not await self._logs.knows_none())

        def ask(db: sqlite3.Connection) -> Statistics | None:
            db.execute("BEGIN")  # one view for all figures
            days = db.execute(_DAYS.format(customer=customer), values).fetchall()
            percentiles: dict[int | None, Sequence[float | None]] = {}
            for day in ("day", "NULL"):
                asked = _PERCENTILES.format(customer=customer, day=day)
                percentiles |= {key: rest for key, *rest in db.execute(asked, values)}
            if not days:
                return None
            sums = [sum(column) for column in list(zip(*days, strict=True))[1:]]
            whole = figures(*sums, *percentiles.get(None, _UNKNOWN))
            daily = [
                (
                    hour(day) if hourly else _EPOCH + timedelta(days=day),
                    figures(total, *rest, *percentiles.get(day, _UNKNOWN)),
                )
                for day, total, *rest in days
                if total
            ]
            return Statistics(whole, daily)

        return await self._ask(ask)

    async def has_customer(self, customer_id: str) -> bool:
        """Whether any row, of any date, belongs to this customer."""
        query = "SELECT 1 FROM logs WHERE customer_id = ? LIMIT 1"
        return await self._ask(lambda db: bool(db.execute(query, [customer_id]).fetchall()))

    async def counts(self) -> tuple[int, int]:
        """Stored rows, as they are numbered, and dead letters."""
        query = "SELECT coalesce(max(rowid), 0), (SELECT count(*) FROM dead_letters) FROM logs"
        rows, dead = await self._ask(lambda db: db.execute(query).fetchone())
        return rows, dead

    def cancel(self) -> None:
        """Give up the questions under way, and answer no more; from any thread."""
        self._cancelled = True
        for db in list(self._open):
            db.interrupt()

    async def _rows(self, sql: str, values: Values) -> Sequence[Sequence[Any]]:
        def ask(db: sqlite3.Connection) -> Sequence[Sequence[Any]]:
            db.create_function("as_number", 1, as_number, deterministic=True)
            db.create_function("pattern_of", 1, pattern_of, deterministic=True)
            # a text of JSON may have half of a surrogate pair, which is no UTF-8
            db.text_factory = lambda text: text.decode(errors="replace")
            end = time.monotonic() + _SECONDS
            db.set_progress_handler(lambda: time.monotonic() > end, 100_000)
            return db.execute(sql, values).fetchall()

        return await self._ask(ask)

    async def ranking(
        self, columns: Sequence[str], order: str, limit: int, first: date, last: date
    ) -> Ranking:
        """The values of these columns that have most in whole UTC days, both included."""
        asked = _RANKING.format(
            names=", ".join(f"coalesce({name}, '') AS {name}" for name in columns),
            columns=", ".join(columns),
            order=_ORDERS[order],
        )
        values = {**_between(first, last), "limit": limit}
        rows = await self._ask(lambda db: db.execute(asked, values).fetchall())
        width = len(columns)
        figures = partial(Figures.of, none_is_zero=not await self._logs.knows_none())
        return Ranking([(tuple(row[:width]), figures(*row[width:])) for row in rows])

    async def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.to_thread(self._run, question)

    def _run(self, question: Callable[[Any], T]) -> T:
        try:
            with closing(connect(self._path)) as db:
                self._open.add(db)
                if self._cancelled:
                    raise StoreError("The process is about to end.")
                try:
                    return question(db)
                finally:
                    self._open.discard(db)
        except sqlite3.Error as error:
            raise StoreError(f"SQLite cannot answer: {error}.") from error


def _between(first: date, last: date) -> dict[str, int]:
    return {"start": (first - _EPOCH).days * _DAY, "end": ((last - _EPOCH).days + 1) * _DAY}
