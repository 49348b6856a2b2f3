"""What the API answers with. Latencies are in seconds, rates in percent, both to 5 places."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from api.completeness import Completeness
from connectors.store import Figures

DECIMAL_PLACES = 5


class RequestFigures(BaseModel):
    """Figures of the requests of some UTC days: of the rows that have a status."""

    total_requests: int
    successful_requests: int = Field(description="Requests with a 2xx or 3xx status.")
    failed_requests: int
    uptime: float | None = Field(
        description="Successful requests, in percent of all; null without requests."
    )
    average_latency: float | None = Field(
        description="Mean duration of the requests that have one, in seconds; null, as the "
        "percentiles are, if none has."
    )
    median_latency: float | None = Field(description="50th percentile, in seconds.")
    p99_latency: float | None = Field(description="99th percentile, in seconds.")


class Day(BaseModel):
    """One UTC day."""

    date: dt.date


class Hour(BaseModel):
    """One hour."""

    hour: dt.datetime = Field(description="Its beginning, in UTC.")


class Range(BaseModel):
    """Whole UTC days, both included."""

    from_date: dt.date
    to_date: dt.date
    completeness: Completeness | SkipJsonSchema[None] = None  # which `answer` adds


class Customer(BaseModel):
    """One customer."""

    customer_id: str


# Fields come in the order of the bases read from the right, so the figures follow what they are of.
class DailyFigures(RequestFigures, Day):
    """Figures of one UTC day."""


class HourlyFigures(RequestFigures, Hour):
    """Figures of one hour."""


class RangeFigures(RequestFigures, Range):
    """Figures of a range."""

    estimated: bool = Field(
        description="Whether percentiles are estimated, within about 1 %, as they may be if there "
        "are more than 500,000 requests: of the customer in the range, or of all customers in the "
        "store. Counts and means are always exact."
    )


class Stats(RangeFigures):
    """Figures of a range, and of every day in it that has requests."""

    daily: list[DailyFigures]


class CustomerStats(Stats, Customer):
    """Figures of one customer."""


class HourlyCustomerStats(RangeFigures, Customer):
    """Figures of one customer in a range, and of every hour in it that has requests."""

    hourly: list[HourlyFigures]


class RankedFigures(RequestFigures):
    """Figures of one of several, in a range."""

    error_rate: float = Field(description="Failed requests, in percent of all.")


class TopCustomer(RankedFigures, Customer):
    """Figures of one customer, in a range."""


class Endpoint(BaseModel):
    """What is asked of a server: a method, and a path less what varies in it."""

    method: str
    endpoint: str


class TopEndpoint(RankedFigures, Endpoint):
    """Figures of one endpoint, in a range."""


class Ranking(Range):
    """Which have most."""

    estimated: bool = Field(
        description="Whether percentiles are estimated, within about 1 %, as they may be if the "
        "store has more than 500,000 rows. Counts and means are always exact."
    )


class TopCustomers(Ranking):
    """The customers that have most."""

    customers: list[TopCustomer]


class TopEndpoints(Ranking):
    """The endpoints that have most."""

    endpoints: list[TopEndpoint]


class StoreHealth(BaseModel):
    """How the store is, as far as `python -m api` can tell."""

    status: Literal["ok", "unhealthy"]
    store: str = Field(description='"ok", or why the store cannot be reached.')
    rows_stored: int | None = Field(
        description="Rows in the store; null if it cannot be reached, or does not count them."
    )
    dead_letters: int | None = Field(
        description="Lines in the store that could not be parsed; null likewise."
    )


class Health(StoreHealth):
    """How the pipeline and its store are."""

    files: int = Field(description="Files followed.")
    lag_bytes: int = Field(description="Bytes in these files that are not stored yet.")
    lag_records: int = Field(description="Events of an outbox or of Redis that are not stored yet.")
    lag_seconds: float = Field(description="Age of the oldest of these.")
    lines_in: int = Field(description="Lines read since this process started.")
    lines_stored: int = Field(description="Of these, lines stored as rows.")
    misfits: dict[str, int] = Field(
        description="By column: values that do not fit it, hence are in `attributes`."
    )
    dropped: dict[str, int] = Field(
        description="By setting: rows that `KEEP`, `DROP` and `SAMPLE` do not store."
    )
    filler_bytes: int = Field(description="NUL bytes before lines that were skipped meanwhile.")
    geoip_files: dict[str, str] = Field(
        description="Files of `GEOIP_DB` that are in use, and the day on which each was built."
    )
    last_error: str = Field(description="The error that is not overcome yet; empty if none.")
    problems: list[str] = Field(description="Files that cannot be read, and the like.")


class Ready(BaseModel):
    """The store answers, and the pipeline reads."""

    status: Literal["ready"]


class Problem(BaseModel):
    """Every answer that is not 200, `/health` excepted."""

    detail: str = Field(description="What is wrong, as a sentence.")


def rounded(figures: Figures) -> RequestFigures:
    """A store's figures as the API shows them."""
    total, successful = figures.total, figures.successful
    return RequestFigures(
        total_requests=total,
        successful_requests=successful,
        failed_requests=total - successful,
        uptime=figure(100 * successful / total) if total else None,
        average_latency=figure(figures.average),
        median_latency=figure(figures.median),
        p99_latency=figure(figures.p99),
    )


def ranked(figures: Figures) -> dict[str, Any]:
    """The fields of `RankedFigures`."""
    rate = figure(100 - 100 * figures.successful / figures.total)
    return {**rounded(figures).model_dump(), "error_rate": rate}


def figure(value: float | None) -> float | None:
    """A figure as the API shows it; null where it is none, or no number."""
    return None if value is None or not math.isfinite(value) else round(value, DECIMAL_PLACES)
