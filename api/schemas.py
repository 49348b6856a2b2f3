"""What the API answers with. Latencies are in seconds, rates in percent, both to 5 places."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, Field

from connectors.store import Figures

DECIMAL_PLACES = 5


class RequestFigures(BaseModel):
    """Figures of the requests of some UTC days."""

    total_requests: int
    successful_requests: int = Field(description="Requests with a 2xx or 3xx status.")
    failed_requests: int
    uptime: float = Field(description="Successful requests, in percent of all; 0 without requests.")
    average_latency: float = Field(description="Mean duration, in seconds.")
    median_latency: float = Field(description="50th percentile, in seconds.")
    p99_latency: float = Field(description="99th percentile, in seconds.")


class Day(BaseModel):
    """One UTC day."""

    date: dt.date


class Range(BaseModel):
    """Whole UTC days, both included."""

    from_date: dt.date
    to_date: dt.date


class Customer(BaseModel):
    """One customer."""

    customer_id: str


# Fields come in the order of the bases read from the right, so the figures follow what they are of.
class DailyFigures(RequestFigures, Day):
    """Figures of one UTC day."""


class Stats(RequestFigures, Range):
    """Figures of a range, and of every day in it that has requests."""

    estimated: bool = Field(
        description="Whether percentiles are estimated, within about 1 %, as they may be if there "
        "are more than 500,000 requests: of the customer in the range, or of all customers in the "
        "store. Counts and means are always exact."
    )
    daily: list[DailyFigures]


class CustomerStats(Stats, Customer):
    """Figures of one customer."""


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
    lag_seconds: float = Field(description="Age of the oldest of these bytes.")
    lines_in: int = Field(description="Lines read since this process started.")
    lines_stored: int = Field(description="Of these, lines stored as rows.")
    filler_bytes: int = Field(description="NUL bytes before lines that were skipped meanwhile.")
    last_error: str = Field(description="The error that is not overcome yet; empty if none.")
    problems: list[str] = Field(description="Files that cannot be read, and the like.")


class Problem(BaseModel):
    """Every answer that is not 200, `/health` excepted."""

    detail: str = Field(description="What is wrong, as a sentence.")


def rounded(figures: Figures) -> RequestFigures:
    """A store's figures as the API shows them."""
    return RequestFigures(
        total_requests=figures.total,
        successful_requests=figures.successful,
        failed_requests=figures.total - figures.successful,
        uptime=round(100 * figures.successful / max(figures.total, 1), DECIMAL_PLACES),
        average_latency=round(figures.average, DECIMAL_PLACES),
        median_latency=round(figures.median, DECIMAL_PLACES),
        p99_latency=round(figures.p99, DECIMAL_PLACES),
    )
