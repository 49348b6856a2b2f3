"""Answers the API's questions from ClickHouse, embedded or a server: the same SQL for both."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.errors import StoreError
from connectors.letters import Letters
from connectors.logs import Logs
from connectors.sinks.clickhouse.letters import ClickHouseLetters
from connectors.sinks.clickhouse.logs import ClickHouseLogs
from connectors.sinks.clickhouse.tables import FORMER, MICROSECONDS, PROJECTED, REQUEST, Projected
from connectors.sinks.sql_logs import Values
from connectors.store import Figures, Ranking, Statistics, hour

# The rows of a customer are together in the projection of customers, and in tables of earlier
# versions in the table itself: so a customer's range is one short read.
# Bounds are integers and days are Date32, since DateTime64 literals and Date end in 2299 and 2149.
# quantilesExactInclusive interpolates linearly between closest ranks: R-7, numpy's default.
_STATISTICS = """
SELECT
    {period} AS day,
    count(),
    countIf({request}),
    countIf(success AND {request}),
    {measured},
    sumIf(duration, {request}),
    quantiles{way}If(0.5, 0.99)(duration, {request})
FROM {{table:Identifier}}
WHERE {customer}
    timestamp >= fromUnixTimestamp64Micro({{start:Int64}}, 'UTC')
    AND timestamp < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC')
GROUP BY GROUPING SETS ((), (day))
ORDER BY grouping(day) DESC, day
"""
_DAYS = "toDate32(timestamp, 'UTC')"
_HOURS = f"intDiv({MICROSECONDS} - positiveModulo({MICROSECONDS}, 3600000000), 3600000000)"
_EXACT, _ESTIMATED = "ExactInclusive", "TDigest"

# The inner part is that of the projections, which know nothing but days: word by word. Parts that
# lack them, of earlier versions, are read row by row. Tables of earlier versions have other ones,
# which do not count the durations: each request has one there.
ESTIMATES = """
SELECT day, sum(rows), sum(total), sum(successful), sum(measured), sum(seconds),
    quantilesTDigestMerge(0.5, 0.99)(latencies)
FROM (
    SELECT toDate32(timestamp, 'UTC') AS day, count() AS rows, countIf({request}) AS total,
        countIf(success AND {request}) AS successful,
        {measured} AS measured,
        sumIf(duration, {request}) AS seconds,
        quantilesTDigestStateIf(0.5, 0.99)(duration, {request}) AS latencies
    FROM {{table:Identifier}}
    WHERE {customer} toDate32(timestamp, 'UTC') BETWEEN {{first:Date32}} AND {{last:Date32}}
    GROUP BY day)
GROUP BY GROUPING SETS ((), (day)) ORDER BY grouping(day) DESC, day
SETTINGS preferred_optimize_projection_name = '{projection}'
"""
_OF_ONE = "customer_id = {customer:String} AND"

# Of equal ones the first by name. The second way reads the projection of customers.
_ORDERS = {
    "requests": "total",
    "errors": "total - successful",
    "latency": "if(measured > 0, ifNotFinite(seconds / measured, 0), NULL)",  # null comes last
}
_RANKING = """
SELECT {columns}, countIf({request}) AS total, countIf(success AND {request}) AS successful,
    {measured} AS measured,
    sumIf(duration, {request}) AS seconds,
    quantiles{way}If(0.5, 0.99)(duration, {request}) AS latencies
FROM {{table:Identifier}}
WHERE timestamp >= fromUnixTimestamp64Micro({{start:Int64}}, 'UTC')
    AND timestamp < fromUnixTimestamp64Micro({{end:Int64}}, 'UTC')
GROUP BY {columns} HAVING total > 0
ORDER BY {order} DESC, {columns} LIMIT {{limit:UInt32}}
"""
# Percentiles are merged for those only that come first.
RANKING_OF_CUSTOMERS = """
SELECT customer_id, sum(total_) AS total, sum(successful_) AS successful,
    sum(measured_) AS measured, sum(seconds_) AS seconds,
    quantilesTDigestMerge(0.5, 0.99)(latencies_) AS latencies
FROM (
    SELECT customer_id, toDate32(timestamp, 'UTC') AS day, countIf({request}) AS total_,
        countIf(success AND {request}) AS successful_, {measured} AS measured_,
        sumIf(duration, {request}) AS seconds_,
        quantilesTDigestStateIf(0.5, 0.99)(duration, {request}) AS latencies_
    FROM {{table:Identifier}}
    WHERE toDate32(timestamp, 'UTC') BETWEEN {{first:Date32}} AND {{last:Date32}}
        AND customer_id IN (
            SELECT customer_id FROM (
                SELECT customer_id, sum(total_) AS total, sum(successful_) AS successful,
                    sum(measured_) AS measured, sum(seconds_) AS seconds
                FROM (
                    SELECT customer_id, toDate32(timestamp, 'UTC') AS day,
                        countIf({request}) AS total_, countIf(success AND {request}) AS successful_,
                        {measured} AS measured_,
                        sumIf(duration, {request}) AS seconds_
                    FROM {{table:Identifier}}
                    WHERE toDate32(timestamp, 'UTC') BETWEEN {{first:Date32}} AND {{last:Date32}}
                    GROUP BY customer_id, day)
                GROUP BY customer_id HAVING total > 0
                ORDER BY {order} DESC, customer_id LIMIT {{limit:UInt32}}))
    GROUP BY customer_id, day)
GROUP BY customer_id ORDER BY {order} DESC, customer_id
LIMIT {{limit:UInt32}}
SETTINGS preferred_optimize_projection_name = '{projection}'
"""

# The rows that exact figures are made of; those of a range of all are all over the table.
_ROWS_OF_ALL = "SELECT count() FROM {table:Identifier}"
_ROWS_OF_ONE = """
SELECT count() FROM {table:Identifier}
WHERE customer_id = {customer:String}
    AND toDate32(timestamp, 'UTC') BETWEEN {first:Date32} AND {last:Date32}
"""

EXACT_UP_TO = 500_000
"""Rows for which figures are exact in any case; where there are more, percentiles may be estimated.

For one customer that is what the range holds, for all of them what the table holds.
"""

_AT_ONCE = 3  # times `EXACT_UP_TO`: rows that are read without counting them first

_TOO_MANY_ROWS = 158

# Of questions about rows, beside which a pipeline may be at work. The third would have all columns
# of a filter read that in part of them is decided already.
_OF_ROWS = {
    "max_execution_time": 60,
    "max_memory_usage": 1024**3,
    "use_top_k_dynamic_filtering": 0,
}

_HAS_CUSTOMER = "SELECT 1 FROM {table:Identifier} WHERE customer_id = {customer:String} LIMIT 1"

_COUNTS = """
SELECT (SELECT count() FROM {table:Identifier}), (SELECT count() FROM dead_letters)
"""

_CANCEL = "KILL QUERY WHERE Settings['log_comment'] = {mark:String} ASYNC"

_DAY = timedelta(days=1) // timedelta(microseconds=1)  # in microseconds
_FIRST_DAY, _LAST_DAY = date(1900, 1, 1), date(2299, 12, 31)  # that a DateTime64 may have


class ClickHouseReader:
    """The `Reader` of a ClickHouse store; every method raises `StoreError` if the store fails.

    Queries run in threads. Its two clients are made by `connect` at the first question, and stay
    the caller's to close. The embedded client runs one query at a time; a server's must be made
    with `autogenerate_session_id=False`. Values travel as parameters only, never as SQL.
    """

    def __init__(self, connect: Callable[[], Client], table: str) -> None:
        self._client = _Client(connect)
        self._second = _Client(connect)  # for what must not wait behind a long question
        self._table = table
        self._mark = secrets.token_hex(8)
        self._cancelled = False
        self._logs = ClickHouseLogs(self._rows)
        self.logs: Logs | None = self._logs
        soon = partial(self._rows, client=self._second)
        self.letters: Letters = ClickHouseLetters(self._rows, soon)

    async def statistics(
        self, customer_id: str | None, first: date, last: date, *, hourly: bool = False
    ) -> Statistics | None:
        """Figures of one customer (None: of all) over whole UTC days, both included.

        Percentiles are exact, by linear interpolation, or estimated: see `EXACT_UP_TO`. None: no
        row matches. One query makes all figures, hence one consistent view: the days add up to the
        whole, however fast the table grows.
        """
        first, last = max(first, _FIRST_DAY), min(last, _LAST_DAY)
        if first > last:
            return None
        of_all = customer_id is None
        days: dict[str, Any] = {"customer": customer_id, "first": first, "last": last}
        of = await self._projected()
        common = {
            "request": REQUEST,
            "measured": of.measured,
            "customer": "" if of_all else _OF_ONE,
        }
        statement = partial(_STATISTICS.format, period=_HOURS if hourly else _DAYS, **common)
        row_by_row = partial(
            self._query,
            customer=customer_id,
            start=_microseconds(first),
            end=_microseconds(last) + _DAY,
        )
        found, estimated = None, False
        if not of_all:  # most have few rows: to count them takes half as long as to read them
            with suppress(_TooManyRowsError):
                found = await row_by_row(statement(way=_EXACT), most=_AT_ONCE * EXACT_UP_TO)
        if found is None:
            [[rows]] = await self._query(_ROWS_OF_ALL if of_all else _ROWS_OF_ONE, **days)
            estimated = rows > EXACT_UP_TO
            if estimated and not hourly:
                projection = of.by_day if of_all else of.by_customer
                estimates = ESTIMATES.format(projection=projection, **common)
                found = await self._query(estimates, **days)
            else:
                way = _ESTIMATED if estimated else _EXACT
                found = await row_by_row(statement(way=way))
        if not found or not found[0][1]:
            return None
        return _statistics(found, of, estimated=estimated)

    async def has_customer(self, customer_id: str) -> bool:
        """Whether any row, of any date, belongs to this customer."""
        return bool(await self._query(_HAS_CUSTOMER, customer=customer_id))

    async def counts(self) -> tuple[int, int]:
        """Rows in the table of lines, and dead letters."""
        [(rows, dead_letters)] = await self._query(_COUNTS, self._second)
        return rows, dead_letters

    def cancel(self) -> None:
        """Give up the questions under way, and answer no more: the process is about to end."""
        self._cancelled = True
        if self._client.is_connected:
            with suppress(ClickHouseError, StoreError):  # it only saves time
                self._second().command(_CANCEL, {"mark": self._mark})

    async def _rows(
        self, sql: str, values: Values, client: _Client | None = None
    ) -> Sequence[Sequence[Any]]:
        client = client or self._client
        values = {"table": self._table, "name": self._table, **values}
        settings = {"log_comment": self._mark, **_OF_ROWS}
        query = partial(self._run, client, sql, values, settings)
        return await to_thread.run_sync(query, limiter=client.threads)

    async def ranking(
        self, columns: Sequence[str], order: str, limit: int, first: date, last: date
    ) -> Ranking:
        """The values of these columns that have most; percentiles as those of all in `statistics`.

        Estimates for customers are read from the projection, those for others row by row.
        """
        first, last = max(first, _FIRST_DAY), min(last, _LAST_DAY)
        if first > last:
            return Ranking([])
        [[rows]] = await self._query(_ROWS_OF_ALL)
        estimated = rows > EXACT_UP_TO
        by_day = estimated and columns == ("customer_id",)
        of = await self._projected()
        asked = (RANKING_OF_CUSTOMERS if by_day else _RANKING).format(
            columns=", ".join(columns),
            way=_ESTIMATED if estimated else _EXACT,
            order=_ORDERS[order],
            request=REQUEST,
            measured=of.measured,
            projection=of.by_customer,
        )
        found = await self._query(
            asked,
            first=first,
            last=last,
            start=_microseconds(first),
            end=_microseconds(last) + _DAY,
            limit=limit,
        )
        width = len(columns)
        ranked = [
            (tuple(value or "" for value in row[:width]), _figures((None, None, *row[width:]), of))
            for row in found
        ]
        return Ranking(ranked, estimated)

    async def _projected(self) -> Projected:
        return PROJECTED if await self._logs.knows_none() else FORMER

    async def _query(
        self, sql: str, client: _Client | None = None, most: int = 0, **parameters: object
    ) -> Sequence[Sequence[Any]]:
        """Raises `_TooManyRowsError` before it reads more than `most` rows, if that is given."""
        values = {"table": self._table, **parameters}
        settings = {"log_comment": self._mark, **({"max_rows_to_read": most} if most else {})}
        client = client or self._client
        # anyio's threads are daemons: a query that hangs does not keep the process from ending.
        query = partial(self._run, client, sql, values, settings)
        return await to_thread.run_sync(query, limiter=client.threads)

    def _run(
        self, client: _Client, sql: str, values: dict[str, Any], settings: dict[str, Any]
    ) -> Sequence[Sequence[Any]]:
        if self._cancelled:
            raise StoreError("The process is about to end.")
        try:
            known = client().server_settings
            settings = {name: settings[name] for name in settings if name in known}
            if all(known[name].readonly for name in settings):  # and so are those of the statement
                sql, settings = sql.partition("\nSETTINGS ")[0], {}
            return client().query(sql, values, settings=settings).result_rows
        except ClickHouseError as error:
            if "max_rows_to_read" in settings and getattr(error, "code", 0) == _TOO_MANY_ROWS:
                raise _TooManyRowsError from error
            raise StoreError(f"ClickHouse cannot answer: {error}") from error


class _TooManyRowsError(Exception):
    """There are more rows to be read than were allowed."""


class _Client:
    """A client that is connected when it is used first, and tried again until it is."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self.threads = CapacityLimiter(8)  # of its own: long questions leave some for short ones
        self._connect = connect
        self._made: Client | None = None

    @property
    def is_connected(self) -> bool:
        return self._made is not None

    def __call__(self) -> Client:
        # Two threads may make one each; no harm, and nobody waits for a server that hangs.
        self._made = self._made or self._connect()
        return self._made


def _microseconds(day: date) -> int:
    """The beginning of a UTC day, in microseconds since 1970."""
    return (day - date(1970, 1, 1)).days * _DAY


def _statistics(rows: Sequence[Sequence[Any]], of: Projected, *, estimated: bool) -> Statistics:
    overall, *daily = rows
    return Statistics(
        _figures(overall, of),
        [(_when(row[0]), _figures(row, of)) for row in daily if row[2]],
        estimated,
    )


def _when(period: date | int) -> date:
    return period if isinstance(period, date) else hour(period)


def _figures(row: Sequence[Any], of: Projected) -> Figures:
    _, _, total, successful, measured, seconds, (median, p99) = row
    return Figures.of(total, successful, measured, seconds, median, p99, none_is_zero=of is FORMER)
