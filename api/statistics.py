"""Statistics of customers and endpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Path, Query
from starlette.convertors import StringConvertor, register_url_convertor

from api.days import BAD_RANGE, NO_STORE, Days, DaysAsked, problems
from api.schemas import (
    CustomerStats,
    DailyFigures,
    Stats,
    TopCustomer,
    TopCustomers,
    TopEndpoint,
    TopEndpoints,
    ranked,
    rounded,
)
from connectors.store import ENDPOINT, Figures, Reader, Statistics

NOTHING = Statistics(Figures(0, 0, None, None, None), [])

CustomerId = Annotated[str, Path(description="As it stands in the logs, percent-encoded.")]
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


def add_statistics(app: FastAPI, reader: Reader) -> None:
    """Add what counts requests: of one customer, of all, and which have most."""

    @app.get(
        "/customers/{customer_id:anything}/stats",
        summary="Statistics of one customer",
        tags=["statistics"],
        responses=problems({404: _NO_DATA, 422: BAD_RANGE, 503: NO_STORE}),
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
        responses=problems({422: BAD_RANGE, 503: NO_STORE}),
    )
    async def stats(days: DaysAsked) -> Stats:
        """Requests, uptime and latencies of everybody; 0 and null if there are no requests."""
        statistics = await reader.statistics(None, days.first, days.last)
        return Stats(**_stats(statistics or NOTHING, days))

    @app.get(
        "/customers",
        summary="The customers with most requests, errors or latency",
        tags=["statistics"],
        responses=problems({422: BAD_RANGE, 501: _NOT_RANKED, 503: NO_STORE}),
    )
    async def customers(
        days: DaysAsked, order: Order = "requests", limit: Limit = 10
    ) -> TopCustomers:
        """Customers that have requests; of equal ones the first by name."""
        ranking = await reader.ranking(("customer_id",), order, limit, days.first, days.last)
        found = [
            TopCustomer(customer_id=customer, **ranked(figures))
            for (customer,), figures in ranking.ranked
        ]
        return TopCustomers(**_range(days), estimated=ranking.estimated, customers=found)

    @app.get(
        "/endpoints",
        summary="The endpoints with most requests, errors or latency",
        tags=["statistics"],
        responses=problems({422: BAD_RANGE, 501: _NOT_RANKED, 503: NO_STORE}),
    )
    async def endpoints(
        days: DaysAsked, order: Order = "requests", limit: Limit = 10
    ) -> TopEndpoints:
        """Methods with endpoints that have requests; of equal ones the first by name."""
        ranking = await reader.ranking(ENDPOINT, order, limit, days.first, days.last)
        found = [
            TopEndpoint(method=method, endpoint=endpoint, **ranked(figures))
            for (method, endpoint), figures in ranking.ranked
        ]
        return TopEndpoints(**_range(days), estimated=ranking.estimated, endpoints=found)


def _range(days: Days) -> dict[str, Any]:
    return {"from_date": days.first, "to_date": days.last}


def _stats(statistics: Statistics, days: Days) -> dict[str, Any]:
    return {
        **_range(days),
        **rounded(statistics.overall).model_dump(),
        "estimated": statistics.estimated,
        "daily": [
            DailyFigures(date=day, **rounded(figures).model_dump())
            for day, figures in statistics.daily
        ],
    }
