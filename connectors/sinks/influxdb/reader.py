"""Answers the API's questions from InfluxDB: InfluxQL over `/query`, which all versions have."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from connectors.errors import StoreError, UnanswerableError, deepest
from connectors.letters import Letters
from connectors.logs import Logs
from connectors.sinks.influxdb.letters import InfluxLetters
from connectors.sinks.influxdb.server import credentials
from connectors.store import Figures, Ranking, Statistics, hour
from settings import Settings

if TYPE_CHECKING:
    import httpx

# Every point has an `event_time`; `duration` is also a word of InfluxQL, hence the quotes.
# Successes are asked for first, so that there are never more of them than requests.
_STATISTICS = """
SELECT COUNT("event_time") FROM "api_requests"
WHERE {requests} AND {successful} GROUP BY time({period}) fill(none);
SELECT COUNT("event_time"), COUNT("duration"), SUM("duration"),
PERCENTILE("duration", 50), PERCENTILE("duration", 99)
FROM "api_requests" WHERE {requests} GROUP BY time({period}) fill(none);
SELECT PERCENTILE("duration", 50), PERCENTILE("duration", 99) FROM "api_requests" WHERE {requests}
"""
_ANY_ROW = 'SELECT "event_time" FROM "api_requests" WHERE {rows} LIMIT 1'
_RANGE = "time >= $start AND time < $end"

_CHECK = 'SELECT "event_time" FROM "api_requests" WHERE time = 0'  # reads next to nothing

# A tag's value is in the field `<column>_text` where it can be no tag, and empty text is nowhere.
# Comparing a field that is not there gives null: not true, yet equal to false.
_TAG_IS = '("{0}" = ${0} OR "{0}_text" = ${0})'
_TAG_IS_EMPTY = """("{0}" = '' AND ("{0}_text" != '') = false)"""
_FIELD_IS = '"{0}" = ${0}'
_FIELD_IS_EMPTY = """("{0}" != '') = false"""

# What has a status is a request. If the class is a tag, it tells of most without reading a field.
_REQUEST = '"status_code" > 0'
_REQUEST_BY_CLASS = """("status_class" != '' OR "status_code" > 0)"""

_HOUR = 60 * 60 * 1_000_000_000  # in nanoseconds
_DAY = 24 * _HOUR
_EPOCH = date(1970, 1, 1)
_FIRST_DAY = date(1677, 9, 22)  # the first that InfluxDB's times hold as a whole
_LAST_TIME = 2**63 - 2

_ANSWER_SECONDS, _CONNECT_SECONDS = 60, 3


class InfluxReader:
    """The `Reader` of an InfluxDB bucket; every method raises `StoreError` if the server fails.

    Percentiles are InfluxQL's, of the nearest rank: a duration that was measured. Values travel as
    bind parameters only, never as part of a statement.
    """

    def __init__(self, settings: Settings) -> None:
        parts = urlsplit(settings.influxdb_url)
        [ca_cert] = parse_qs(parts.query).get("ca_cert", [None])
        try:
            self._tls = ssl.create_default_context(cafile=ca_cert)
        except OSError as error:
            raise StoreError(f"INFLUXDB_URL: cannot use ca_cert {ca_cert}: {error}.") from error
        self._url = urlunsplit(parts._replace(query="", path=parts.path.rstrip("/") + "/query"))
        self._address = parts.netloc
        self._headers = credentials(settings)
        self._bucket = settings.influxdb_bucket
        self._tags = settings.influxdb_tag_columns
        self._under_way: set[asyncio.Task[httpx.Response]] = set()
        self._cancelled = False
        self.logs: Logs | None = None
        self.letters: Letters = InfluxLetters(self._ask)

    async def statistics(
        self, customer_id: str | None, first: date, last: date, *, hourly: bool = False
    ) -> Statistics | None:
        """Figures of one customer (None: of all) over whole UTC days, both included.

        None: no row matches. The whole is made of the days, its percentiles excepted.
        """
        start = (max(first, _FIRST_DAY) - _EPOCH).days * _DAY
        end = min(((last - _EPOCH).days + 1) * _DAY, _LAST_TIME)
        if start >= end:
            return None
        rows = _RANGE
        if customer_id is not None:
            rows += f" AND {self._is('customer_id', customer_id)}"
        is_request = _REQUEST_BY_CLASS if "status_class" in self._tags else _REQUEST
        requests = f"{rows} AND {is_request}"
        values = {
            "customer_id": customer_id,
            "success": "true" if "success" in self._tags else True,
            "start": start,
            "end": end,
        }
        statements = _STATISTICS.format(
            requests=requests,
            successful=self._is("success", "true"),
            period="1h" if hourly else "1d",
        )
        successes, daily, overall = await self._ask(statements, values)
        if not daily:
            [any_row] = await self._ask(_ANY_ROW.format(rows=rows), values)
            return Statistics(Figures(0, 0, None, None, None), []) if any_row else None
        successful = dict(successes)
        days = [_Found(time, successful.get(time, 0), *rest) for time, *rest in daily]
        whole = _Found(
            start,
            sum(successful.values()),
            sum(day.total for day in days),
            sum(day.measured or 0 for day in days),
            sum(day.seconds or 0.0 for day in days),
            *(overall[0][1:] if overall else (None, None)),
        )
        return Statistics(
            whole.figures(),
            [
                (hour(day.start // _HOUR) if hourly else _date(day.start), day.figures())
                for day in days
            ],
        )

    async def has_customer(self, customer_id: str) -> bool:
        """Whether any row, of any date, belongs to this customer."""
        statement = _ANY_ROW.format(rows=self._is("customer_id", customer_id))
        [rows] = await self._ask(statement, {"customer_id": customer_id})
        return bool(rows)

    async def counts(self) -> tuple[None, None]:
        """Only whether the bucket can be read: InfluxDB counts by reading everything."""
        await self._ask(_CHECK, {})
        return None, None

    def cancel(self) -> None:
        """Give up the questions under way, and answer no more: the process is about to end."""
        self._cancelled = True
        for asking in list(self._under_way):
            with suppress(RuntimeError):  # its event loop has just ended, and so has the question
                asking.get_loop().call_soon_threadsafe(asking.cancel)

    async def ranking(
        self, columns: Sequence[str], order: str, limit: int, first: date, last: date
    ) -> Ranking:
        """InfluxQL groups by tags only, and orders by nothing but the time."""
        raise UnanswerableError("InfluxDB cannot tell which have most: ask for one customer.")

    def _is(self, column: str, text: str) -> str:
        """The condition that a row has this text, as the parameter of the column's name."""
        if column in self._tags:
            return (_TAG_IS if text else _TAG_IS_EMPTY).format(column)
        return (_FIELD_IS if text else _FIELD_IS_EMPTY).format(column)

    async def _ask(self, statements: str, values: Mapping[str, object]) -> list[list[list[Any]]]:
        """The rows of each statement, times first, in nanoseconds."""
        response = await self._post(statements, values)
        try:
            answer = response.json()
            words = answer.get("error") or answer.get("message")
        except (ValueError, AttributeError):
            answer, words = {}, response.text.strip()
        if response.status_code != 200 or "results" not in answer:
            raise self._failed(f"status {response.status_code}: {words}")
        for result in answer["results"]:
            if error := result.get("error"):
                if error == "not executed":  # of several statements, 1.x leaves out the reason
                    await self.counts()
                raise self._failed(error)
        return [
            [row for series in result.get("series", ()) for row in series["values"]]
            for result in answer["results"]
        ]

    async def _post(self, statements: str, values: Mapping[str, object]) -> httpx.Response:
        import httpx  # a run that serves no API shall not pay for it

        if self._cancelled:
            raise StoreError("The process is about to end.")
        fields = {
            "db": self._bucket,
            "epoch": "ns",
            "q": statements,
            "params": json.dumps(values),
        }
        asking = asyncio.create_task(self._request(fields))
        self._under_way.add(asking)
        try:
            return await asking
        except asyncio.CancelledError:
            if self._cancelled:
                raise StoreError("The process is about to end.") from None
            raise
        except httpx.TimeoutException:
            raise self._failed("no answer in time") from None
        except httpx.HTTPError as error:
            raise self._failed(_reason(error)) from error
        finally:
            self._under_way.discard(asking)

    async def _request(self, fields: dict[str, str]) -> httpx.Response:
        import httpx

        # A client is bound to an event loop: one for each question is none for the wrong loop.
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        async with httpx.AsyncClient(verify=self._tls, timeout=timeout, trust_env=False) as client:
            return await client.post(self._url, data=fields, headers=self._headers)

    def _failed(self, words: str) -> StoreError:
        return StoreError(f"InfluxDB at {self._address} cannot answer: {words}")


@dataclass
class _Found:
    """What a bucket says of the requests from `start` on, in nanoseconds.

    `measured` of them have a field `duration`, of which `seconds` is the sum; a column that no row
    of the bucket has gives null.
    """

    start: int
    successful: int
    total: int
    measured: int | None
    seconds: float | None
    median: float | None
    p99: float | None

    def figures(self) -> Figures:
        return Figures.of(
            self.total, self.successful, self.measured, self.seconds, self.median, self.p99
        )


def _reason(error: BaseException) -> str:
    """Of a failed connection the operating system's words, not all layers' words."""
    error = deepest(error)
    error = getattr(error, "exceptions", [error])[0]  # of a name with several addresses
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # in place of asyncio's
    return str(getattr(error, "strerror", None) or error)


def _date(time: int) -> date:
    return _EPOCH + timedelta(days=time // _DAY)
