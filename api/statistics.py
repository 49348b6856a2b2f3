"""Statistics of customers and endpoints."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from starlette.convertors import StringConvertor, register_url_convertor

from api.answering import ANSWERS, answer
from api.completeness import Completing
from api.days import BAD_RANGE, NO_STORE, Days, DaysAsked, problems
from api.schemas import (
    CustomerStats,
    DailyFigures,
    HourlyCustomerStats,
    HourlyFigures,
    Stats,
    TopCustomer,
    TopCustomers,
    TopEndpoint,
    TopEndpoints,
    ranked,
    rounded,
)
from connectors.answers import Answers
from connectors.store import ENDPOINT, Figures, Reader, Statistics

NOTHING = Statistics(Figures(0, 0, None, None, None), [])

CustomerId = Annotated[str, Path(description="As it stands in the logs, percent-encoded.")]
Interval = Annotated[
    Literal["hour", "day"], Query(description="What the figures of the range are split into.")
]
Order = Annotated[
    Literal["requests", "errors", "latency"],
    Query(description="What the first has most of: requests, failed requests, mean latency."),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many to tell, at most.")]

_NO_DATA = "The customer is not in the logs at all, or has nothing in the range."
_NOT_RANKED = "The store cannot rank."


class _Anything(StringConvertor):
    """Part of a path: slashes and line ends, too, which Starlette's `path` does not take."""

    regex = r"(?s:.*)"


register_url_convertor("anything", _Anything())


def add_statistics(
    app: FastAPI, reader: Reader, completing: Completing, answers: Answers | None = None
) -> None:
    """Add what counts requests: of one customer, of all, and which have most.

    Answers are kept in `answers`, if that is told of every write.
    """
    give = partial(answer, answers=answers, completing=completing)

    @app.get(
        "/customers/{customer_id:anything}/stats",
        summary="Statistics of one customer",
        tags=["statistics"],
        response_model=CustomerStats | HourlyCustomerStats,
        responses={**ANSWERS, **problems({404: _NO_DATA, 422: BAD_RANGE, 503: NO_STORE})},
    )
    async def customer_stats(
        request: Request, customer_id: CustomerId, days: DaysAsked, interval: Interval = "day"
    ) -> Response:
        """Requests, uptime and latencies of one customer: of the range, and by day or hour."""
        hourly = interval == "hour"

        async def make() -> CustomerStats | HourlyCustomerStats:
            statistics = await reader.statistics(customer_id, days.first, days.last, hourly=hourly)
            if statistics is None:
                if await reader.has_customer(customer_id):
                    reason = f"has no requests from {days.first} to {days.last}."
                else:
                    reason = "is not in the logs."
                raise HTTPException(404, f"Customer {customer_id!r} {reason}")
            if hourly:
                return HourlyCustomerStats(customer_id=customer_id, **_hourly(statistics, days))
            return CustomerStats(customer_id=customer_id, **_stats(statistics, days))

        return await give(
            request,
            customer=customer_id,
            span=days.microseconds,
            question=(days, interval),
            make=make,
        )

    @app.get(
        "/stats",
        summary="Statistics of all customers",
        tags=["statistics"],
        response_model=Stats,
        responses={**ANSWERS, **problems({422: BAD_RANGE, 503: NO_STORE})},
    )
    async def stats(request: Request, days: DaysAsked) -> Response:
        """Requests, uptime and latencies of everybody; 0 and null if there are no requests."""

        async def make() -> Stats:
            statistics = await reader.statistics(None, days.first, days.last)
            return Stats(**_stats(statistics or NOTHING, days))

        return await give(request, customer=None, span=days.microseconds, question=days, make=make)

    @app.get(
        "/customers",
        summary="The customers with most requests, errors or latency",
        tags=["statistics"],
        response_model=TopCustomers,
        responses={
            **ANSWERS,
            **problems({422: BAD_RANGE, 501: _NOT_RANKED, 503: NO_STORE}),
        },
    )
    async def customers(
        request: Request, days: DaysAsked, order: Order = "requests", limit: Limit = 10
    ) -> Response:
        """Customers that have requests; of equal ones the first by name."""

        async def make() -> TopCustomers:
            ranking = await reader.ranking(("customer_id",), order, limit, days.first, days.last)
            found = [
                TopCustomer(customer_id=customer, **ranked(figures))
                for (customer,), figures in ranking.ranked
            ]
            return TopCustomers(**_range(days), estimated=ranking.estimated, customers=found)

        return await give(
            request,
            customer=None,
            span=days.microseconds,
            question=("customers", days, order, limit),
            make=make,
        )

    @app.get(
        "/endpoints",
        summary="The endpoints with most requests, errors or latency",
        tags=["statistics"],
        response_model=TopEndpoints,
        responses={
            **ANSWERS,
            **problems({422: BAD_RANGE, 501: _NOT_RANKED, 503: NO_STORE}),
        },
    )
    async def endpoints(
        request: Request, days: DaysAsked, order: Order = "requests", limit: Limit = 10
    ) -> Response:
        """Methods with endpoints that have requests; of equal ones the first by name."""

        async def make() -> TopEndpoints:
            ranking = await reader.ranking(ENDPOINT, order, limit, days.first, days.last)
            found = [
                TopEndpoint(method=method, endpoint=endpoint, **ranked(figures))
                for (method, endpoint), figures in ranking.ranked
            ]
            return TopEndpoints(**_range(days), estimated=ranking.estimated, endpoints=found)

        return await give(
            request,
            customer=None,
            span=days.microseconds,
            question=("endpoints", days, order, limit),
            make=make,
        )


def _range(days: Days) -> dict[str, Any]:
    return {"from_date": days.first, "to_date": days.last}


def _whole(statistics: Statistics, days: Days) -> dict[str, Any]:
    whole = rounded(statistics.overall).model_dump()
    return {**_range(days), **whole, "estimated": statistics.estimated}


def _hourly(statistics: Statistics, days: Days) -> dict[str, Any]:
    return {
        **_whole(statistics, days),
        "hourly": [
            HourlyFigures(hour=hour, **rounded(figures).model_dump())
            for hour, figures in statistics.daily
        ],
    }


def _stats(statistics: Statistics, days: Days) -> dict[str, Any]:
    return {
        **_whole(statistics, days),
        "daily": [
            DailyFigures(date=day, **rounded(figures).model_dump())
            for day, figures in statistics.daily
        ],
    }
