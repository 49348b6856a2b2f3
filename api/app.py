"""The API: statistics of requests, and the health of the pipeline that stores them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import choose_encoder
from starlette.routing import Match, Route

from api import metrics
from api.alert_book import AlertBook
from api.alerting import Alerting
from api.alerts import add_alerts
from api.completeness import Completing
from api.days import problems
from api.dead_letters import Fitting, add_dead_letters
from api.event import Around, add_event
from api.explain import add_explain
from api.export import add_export
from api.logs import add_logs
from api.pages import add_pages
from api.patterns import add_patterns
from api.pipeline import add_pipeline
from api.query import add_query
from api.schemas import Health, Ready, StoreHealth
from api.statistics import add_statistics
from api.tail import add_tail
from api.webhooks import Webhooks
from connectors.accounts import FormattedAccounts
from connectors.errors import StoreError, UnanswerableError
from connectors.status import FileStatus, SourceStatus, Status
from connectors.store import Reader

DESCRIPTION = """
Statistics of the requests in the logs, which are the rows that have a status. Dates are whole UTC
days, both included; latencies are in seconds; their percentiles are exact with ClickHouse and
SQLite, interpolated linearly, unless the answer says `estimated`, and of the nearest rank with
InfluxDB.
Every error is `{"detail": "a sentence"}`. Where a token is asked for, whoever shows none gets 401.
A client that asks too much at a time gets 429, and in `Retry-After` when to come again. Every
answer has an `X-Request-ID`, which what Logwax says of it on stderr has, too.
"""
# `choose_encoder` would stumble over this in an `Accept`.
_NO_VERSION = re.compile(r"version=(?![0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\s*([;,]|$))[^;,]*")


@dataclass(frozen=True)
class Pipeline:
    """What the API looks at in the process that it is part of.

    `sees_writes`: whether nobody else writes into the store, so that answers may be kept. `files`
    are those that it reads, in `log_format`. `accounts` takes questions in SQL.
    `fitting` tells the format that lines are of.
    `around` tells the lines in the files that it reads.
    """

    status: Status
    source: Callable[[], SourceStatus]
    sees_writes: bool = False
    files: Callable[[], Sequence[FileStatus]] = list
    log_format: str = ""
    accounts: FormattedAccounts | None = None
    fitting: Fitting = lambda lines: ""
    around: Around | None = None


def create_app(
    reader: Reader,
    pipeline: Pipeline | None = None,
    book: AlertBook | None = None,
    webhook_hosts: Collection[str] = (),
) -> FastAPI:
    """The API over one store, beside the pipeline that fills it, or alone.

    It looks after the alerts in `book`, whose webhooks may be on these hosts; none: on any.
    """
    kept = pipeline.status if pipeline and pipeline.sees_writes else None
    completing = Completing(
        reader, pipeline.source if pipeline else None, kept.letter_counts if kept else None
    )
    webhooks = Webhooks(webhook_hosts)
    alerting = Alerting(book, reader.logs, completing, webhooks) if book else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            if alerting:
                await running.enter_async_context(alerting.running())
            yield

    app = FastAPI(
        title="Logwax",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_exception_handler(StoreError, _store_failed)
    app.add_exception_handler(UnanswerableError, _unanswerable)
    app.add_exception_handler(405, _wrong_method)
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(RequestValidationError, _bad_request)

    add_pages(app)
    answers = kept.answers if kept else None
    add_statistics(app, reader, completing, answers)

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
        "/ready",
        summary="Whether there is an answer to expect",
        tags=["health"],
        responses=problems({503: "Not ready; the answer says why."}),
    )
    async def get_ready() -> Ready:
        """200 once the store answers and the pipeline reads, else 503."""
        store = await _store_health(reader)
        reason = "" if store.status == "ok" else store.store
        if pipeline and not reason:
            reason = pipeline.status.last_error
            if not pipeline.status.workers:
                reason = "The pipeline does not read yet, or has ended."
        if reason:
            raise HTTPException(503, reason)
        return Ready(status="ready")

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

    add_logs(app, reader, completing, answers)
    add_dead_letters(app, reader, pipeline.fitting if pipeline else lambda lines: "")
    add_explain(app, reader, completing, answers)
    add_patterns(app, reader, completing)
    add_event(app, reader, pipeline.around if pipeline else None)
    add_export(app, reader)
    add_tail(app, reader, pipeline.status.tail if pipeline else None)
    add_query(app, pipeline.accounts if pipeline else None)
    if book and alerting:
        add_alerts(app, reader, book, alerting, webhooks)
    if pipeline:
        add_pipeline(app, pipeline.status, pipeline.source, pipeline.files, pipeline.log_format)
    else:
        add_pipeline(app, None, None, list, "")
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
        dropped=status.dropped,
        filler_bytes=status.filler,
        geoip_files=dict(status.geoip_files),
        last_error=status.last_error,
        problems=[*status.problems, *reading.problems],
    )


def _store_failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)


def _unanswerable(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 501)


def _wrong_method(request: Request, _: Exception) -> Response:
    methods = {
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    } or {"GET"}  # of a file
    allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    headers = {"Allow": ", ".join(sorted(allowed))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    return JSONResponse({"detail": f"{request.method} is not for this path."}, 405, headers)


def _failed(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse(
        {"detail": "This should not have happened: Logwax says why on stderr."}, 500
    )


def _bad_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # what it is registered for
    reasons = [
        f"{problem['loc'][-1]} {problem['input']!r}: "
        f"{problem['msg'].removeprefix('Value error, ')}."
        for problem in error.errors()
    ]
    return JSONResponse({"detail": " ".join(reasons)}, 422)
