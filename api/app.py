"""The API: statistics of requests, and the health of the pipeline that stores them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import choose_encoder
from pydantic import BeforeValidator
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException as AnyHTTPException

from api import metrics
from api.logs import add_logs
from api.schemas import CustomerStats, DailyFigures, Health, Problem, Stats, StoreHealth, rounded
from connectors.errors import StoreError
from connectors.saying import last_words
from connectors.status import SourceStatus, Status
from connectors.store import Figures, Reader, Statistics

DESCRIPTION = """
Statistics of the requests in the logs, which are the rows that have a status. Dates are whole UTC
days, both included; latencies are in seconds; their percentiles are exact with ClickHouse and
SQLite, interpolated linearly, unless the answer says `estimated`, and of the nearest rank with
InfluxDB.
Every error is `{"detail": "a sentence"}`.
"""
EPOCH = date(1970, 1, 1)
NOTHING = Statistics(Figures(0, 0, None, None, None), [])


def _iso_day(text: str) -> date:
    # stricter than pydantic, which reads 20240101 as seconds since 1970
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("must be a day such as 2024-01-31")
    return date.fromisoformat(text)


IsoDay = Annotated[date, BeforeValidator(_iso_day)]
CustomerId = Annotated[str, Path(description="As it stands in the logs, percent-encoded.")]


# `choose_encoder` would stumble over this in an `Accept`.
_NO_VERSION = re.compile(r"version=(?![0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\s*([;,]|$))[^;,]*")


class _Anything(StringConvertor):
    """Part of a path: slashes and line ends, too, which Starlette's `path` does not take."""

    regex = r"(?s:.*)"


register_url_convertor("anything", _Anything())


@dataclass(frozen=True)
class Days:
    """Whole UTC days, both included."""

    first: date
    last: date


def _days(
    from_date: Annotated[IsoDay, Query(description="First UTC day.")] = EPOCH,
    to_date: Annotated[IsoDay | None, Query(description="Last UTC day. Default: today.")] = None,
) -> Days:
    last = to_date or datetime.now(timezone.utc).date()
    if from_date > last:
        raise HTTPException(422, f"from_date {from_date} is after to_date {last}.")
    return Days(from_date, last)


DaysAsked = Annotated[Days, Depends(_days)]


def _problems(descriptions: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """What `/docs` says of a route's errors."""
    return {code: {"model": Problem, "description": why} for code, why in descriptions.items()}


_NO_DATA = "The customer is not in the logs at all, or has nothing in the range."
_BAD_RANGE = "A date is not YYYY-MM-DD, or `from_date` is after `to_date`."
_NO_STORE = "The store cannot answer now."


@dataclass(frozen=True)
class Pipeline:
    """What the API looks at in the process that it is part of."""

    status: Status
    source: Callable[[], SourceStatus]


def create_app(reader: Reader, pipeline: Pipeline | None = None) -> FastAPI:
    """The API over one store, beside the pipeline that fills it, or alone."""
    app = FastAPI(title="Logwax", description=DESCRIPTION)
    app.add_exception_handler(StoreError, _store_failed)
    app.add_exception_handler(405, _wrong_method)
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(RequestValidationError, _bad_request)

    @app.get(
        "/customers/{customer_id:anything}/stats",
        summary="Statistics of one customer",
        tags=["statistics"],
        responses=_problems({404: _NO_DATA, 422: _BAD_RANGE, 503: _NO_STORE}),
    )
    async def customer_stats(customer_id: CustomerId, days: DaysAsked) -> CustomerStats:
        """Requests, uptime and latencies of one customer: of the whole range, and day by day."""
        statistics = await reader.statistics(customer_id, days.first, days.last)
        if statistics is None:
            if await reader.has_customer(customer_id):
                reason = f"has no requests from {days.first} to {days.last}."
            else:
                reason = "is not in the logs."
            raise HTTPException(404, f"Customer {customer_id!r} {reason}")
        return CustomerStats(customer_id=customer_id, **_stats(statistics, days))

    @app.get(
        "/stats",
        summary="Statistics of all customers",
        tags=["statistics"],
        responses=_problems({422: _BAD_RANGE, 503: _NO_STORE}),
    )
    async def stats(days: DaysAsked) -> Stats:
        """Requests, uptime and latencies of everybody; 0 and null if there are no requests."""
        statistics = await reader.statistics(None, days.first, days.last)
        return Stats(**_stats(statistics or NOTHING, days))

    @app.get(
        "/health",
        summary="Health of the pipeline and its store",
        tags=["health"],
        responses={
            503: {"model": Health | StoreHealth, "description": "Not healthy; the answer says why."}
        },
    )
    async def get_health(response: Response) -> Health | StoreHealth:
        """200 if the store can be reached and the last write succeeded, else 503."""
        now = await _store_health(reader)
        if pipeline:
            now = await _health(now, pipeline)
        response.status_code = 200 if now.status == "ok" else 503
        return now

    @app.get(
        "/metrics",
        summary="Metrics for Prometheus",
        tags=["health"],
        response_class=PlainTextResponse,
    )
    async def get_metrics(request: Request) -> Response:
        """In Prometheus's text format, or in OpenMetrics if that is asked for."""
        if pipeline:
            found = metrics.of_pipeline(pipeline.status, await _reading(pipeline))
        else:
            found = metrics.of_store((await _store_health(reader)).status == "ok")
        accepted = request.headers.get("accept", "").replace('"', "")
        encode, content_type = choose_encoder(_NO_VERSION.sub("", accepted))
        return Response(encode(found), media_type=content_type)

    add_logs(app, reader)
    return app


async def _store_health(reader: Reader) -> StoreHealth:
    try:
        rows, dead_letters = await reader.counts()
    except StoreError as error:
        return StoreHealth(
            status="unhealthy", store=str(error), rows_stored=None, dead_letters=None
        )
    return StoreHealth(status="ok", store="ok", rows_stored=rows, dead_letters=dead_letters)


async def _reading(pipeline: Pipeline) -> SourceStatus:
    reading = await to_thread.run_sync(pipeline.source)  # it may wait for the source's lock
    refused = await to_thread.run_sync(lambda: pipeline.status.refusals.problems)
    return replace(reading, problems=(*reading.problems, *refused))


async def _health(store: StoreHealth, pipeline: Pipeline) -> Health:
    reading = await _reading(pipeline)
    status = pipeline.status
    return Health(
        status="unhealthy" if status.last_error else store.status,
        store=store.store,
        rows_stored=store.rows_stored,
        dead_letters=store.dead_letters,
        files=reading.files,
        lag_bytes=reading.lag_bytes,
        lag_records=reading.lag_records,
        lag_seconds=reading.lag_seconds,
        lines_in=status.lines,
        lines_stored=status.stored,
        misfits=status.misfits,
        filler_bytes=status.filler,
        geoip_files=dict(status.geoip_files),
        last_error=status.last_error,
        problems=[*status.problems, *reading.problems],
    )


def _stats(statistics: Statistics, days: Days) -> dict[str, Any]:
    return {
        "from_date": days.first,
        "to_date": days.last,
        **rounded(statistics.overall).model_dump(),
        "estimated": statistics.estimated,
        "daily": [
            DailyFigures(date=day, **rounded(figures).model_dump())
            for day, figures in statistics.daily
        ],
    }


def _store_failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)


def _wrong_method(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)  # what it is registered for
    allowed = (error.headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
    headers = {"Allow": f"{allowed}, OPTIONS"}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    return JSONResponse({"detail": f"{request.method} is not for this path."}, 405, headers)


def _failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": last_words(error)}, 500)


def _bad_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # what it is registered for
    reasons = [
        f"{problem['loc'][-1]} {problem['input']!r}: "
        f"{problem['msg'].removeprefix('Value error, ')}."
        for problem in error.errors()
    ]
    return JSONResponse({"detail": " ".join(reasons)}, 422)
