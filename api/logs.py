"""The part of the API that answers about single rows: a list, a histogram, facets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel, BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from api.answering import ANSWERS, answer
from api.completeness import Completeness, Completing
from api.schemas import Problem, figure
from connectors.answers import Answers
from connectors.errors import FilterError
from connectors.filters import TYPES, Filter, microseconds, parse
from connectors.filters import Field as FilterField
from connectors.logs import SHOWN, Logs, Place, Selection
from connectors.store import Reader

_SECOND = 10**6  # microseconds
_HOUR = 3600 * _SECOND
_MOST_BUCKETS = 100
_WIDTHS = (  # in seconds; up to a thousand years in all
    *(0.001, 0.01, 0.1, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600),
    *(7200, 10800, 21600, 43200),
    *(days * 86400 for days in (1, 2, 7, 14, 30, 90, 365, 3650)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST = microseconds("0001-01-01")
_LAST = microseconds("9999-12-31T23:59:59.999999")
_COLUMNS = re.compile(r'(?:attr\."(?:[^"\\]|\\.)*"|[^,])+')
_CURSOR = re.compile(r"([no])" + r"_(-?[0-9]{1,18})" * 3 + r"_([0-9]{1,20})_([0-9]{1,20})")

ROUTES: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "What is asked for is wrong; the answer says where."},
    501: {"model": Problem, "description": "This store answers no questions about rows."},
    503: {"model": Problem, "description": "The store cannot answer now."},
}


class RowsRange(BaseModel):
    """The rows that an answer is about."""

    from_: str = Field(alias="from", description="Time of the first row that may be in it.")
    to: str = Field(description="Time before which the last one is.")
    completeness: Completeness | SkipJsonSchema[None] = None  # which `answer` adds


class LogList(RowsRange):
    """Some rows."""

    rows: list[dict[str, Any]] = Field(
        description="By column. `file_id` is a text, as it has more digits than a browser's "
        f"numbers, and so is `attributes`. A text has its first {SHOWN} characters; `cut` names "
        "those that have more."
    )
    cursor: str | None = Field(description="What the next page is asked for by; null: it is none.")


class Bucket(BaseModel):
    """The rows of one time."""

    start: str
    counts: dict[str, int] = Field(description="Rows by the value of the column.")


class Histogram(RowsRange):
    """Rows by time."""

    width: float = Field(description="Seconds that a bucket has.")
    total: int
    buckets: list[Bucket] = Field(description="Those that have rows, in the order of time.")


class Requests(BaseModel):
    """The requests of one time."""

    start: str
    total_requests: int
    failed_requests: int
    median_latency: float | None = Field(description="In seconds; null where none has a duration.")
    p95_latency: float | None
    p99_latency: float | None


class RequestsByTime(RowsRange):
    """Requests by time."""

    width: float = Field(description="Seconds that a bucket has.")
    estimated: bool = Field(description="Whether percentiles are, within about 1 %.")
    buckets: list[Requests] = Field(description="Those that have requests, in the order of time.")


class Count(BaseModel):
    """A value, and how many rows have it."""

    value: str | int | float | bool | None
    count: int


class Facet(BaseModel):
    """The most frequent values of a field."""

    values: list[Count]
    others: int = Field(description="Rows that have other values.")


class Facets(RowsRange):
    """The most frequent values of some fields."""

    total: int
    facets: dict[str, Facet]


Time = Annotated[int, BeforeValidator(microseconds)]


FilterText = Annotated[
    str,
    Query(
        alias="filter",
        description="Which rows, as in `docs/filters.md`. Default: all.",
        max_length=10_000,
        examples=['status_code >= 500 and not endpoint ~ "/health"'],
    ),
]


def time_called(alias: str, description: str) -> Any:
    """The parameter of a time, in ISO 8601, UTC where it says nothing else."""
    return Query(alias=alias, description=description, json_schema_extra={"type": "string"})


@dataclass(frozen=True)
class Asked:
    """What all three questions have."""

    filter: str
    start: int | None
    end: int | None


def _asked(
    filter_: FilterText = "",
    start: Annotated[
        Time | None,
        time_called(
            "from",
            "Time of the first row, in ISO 8601, UTC where it says nothing else. "
            "Default: an hour before `to`.",
        ),
    ] = None,
    end: Annotated[
        Time | None,
        time_called(
            "to",
            "Time before which the last row is. Default: just after the newest row, "
            "rows of the future left aside.",
        ),
    ] = None,
) -> Asked:
    if start is not None and end is not None and start > end:
        raise HTTPException(422, f"from {shown_time(start)} is after to {shown_time(end)}.")
    return Asked(filter_, start, end)


WhatIsAsked = Annotated[Asked, Depends(_asked)]


def add_logs(
    app: FastAPI, reader: Reader, completing: Completing, answers: Answers | None = None
) -> None:
    """Add the routes below `/logs`, which answer from this reader.

    Answers are kept in `answers`, if that is told of every write.
    """
    give = partial(answer, answers=answers, completing=completing, customer=None)

    @app.get(
        "/logs",
        summary="Rows",
        tags=["logs"],
        response_model=LogList,
        responses={**ANSWERS, **ROUTES},
    )
    async def logs(
        request: Request,
        asked: WhatIsAsked,
        limit: Annotated[int, Query(ge=1, le=1000, description="Rows of a page.")] = 100,
        order: Annotated[
            Literal["newest", "oldest"], Query(description="Which rows come first.")
        ] = "newest",
        cursor: Annotated[
            str | None,
            Query(
                description="`cursor` of the page before. It knows range and order, so that rows "
                "which arrive meanwhile change nothing; the filter must be the same."
            ),
        ] = None,
    ) -> Response:
        """Rows that a filter takes, page by page: each once, while others arrive."""
        rows = logs_of(reader)
        is_newest_first, after = order == "newest", None
        if cursor is not None:
            is_newest_first, asked, after = _from_cursor(cursor, asked)
        chosen = await selection(rows, asked, answers)

        async def make() -> LogList:
            found = await rows.rows(chosen, limit + 1, is_newest_first=is_newest_first, after=after)
            more = None
            if len(found) > limit:
                last = found[limit - 1]
                place = (last["timestamp"], last["file_id"], last["offset"])
                which = "n" if is_newest_first else "o"
                more = "_".join(map(str, (which, chosen.start, chosen.end, *place)))
            return LogList(
                **shown_range(chosen), rows=[shown_row(row) for row in found[:limit]], cursor=more
            )

        return await give(
            request,
            span=(chosen.start, chosen.end),
            question=("logs", chosen, limit, is_newest_first, after),
            make=make,
        )

    @app.get(
        "/logs/histogram",
        summary="Rows by time",
        tags=["logs"],
        response_model=Histogram,
        responses={**ANSWERS, **ROUTES},
    )
    async def histogram(
        request: Request,
        asked: WhatIsAsked,
        by: Annotated[
            Literal["level", "status_class"], Query(description="What is counted apart.")
        ] = "level",
    ) -> Response:
        """How many rows a filter takes, in up to 101 buckets of a round width."""
        rows = logs_of(reader)
        chosen = await selection(rows, asked, answers)
        demand(by, chosen.columns)

        async def make() -> Histogram:
            width = _width(chosen)
            buckets: dict[int, dict[str, int]] = {}
            for start, value, count in await rows.histogram(chosen, width, by):
                buckets.setdefault(start, {})[value] = count
            return Histogram(
                **shown_range(chosen),
                width=width / _SECOND,
                total=sum(sum(counts.values()) for counts in buckets.values()),
                buckets=[
                    Bucket(start=shown_time(start), counts=counts)
                    for start, counts in buckets.items()
                ],
            )

        return await give(
            request,
            span=(chosen.start, chosen.end),
            question=("histogram", chosen, by),
            make=make,
        )

    @app.get(
        "/logs/requests",
        summary="Requests by time",
        tags=["logs"],
        response_model=RequestsByTime,
        responses={**ANSWERS, **ROUTES},
    )
    async def requests(request: Request, asked: WhatIsAsked) -> Response:
        """Count, failures and latencies of the rows that a filter takes and that have a status."""
        rows = logs_of(reader)
        chosen = await selection(rows, asked, answers)
        for name in ("status_code", "success", "duration"):
            demand(name, chosen.columns)

        async def make() -> RequestsByTime:
            width = _width(chosen)
            estimated, found = await rows.requests(chosen, width)
            return RequestsByTime(
                **shown_range(chosen),
                width=width / _SECOND,
                estimated=estimated,
                buckets=[
                    Requests(
                        start=shown_time(one.start),
                        total_requests=one.total,
                        failed_requests=one.failed,
                        median_latency=figure(one.median),
                        p95_latency=figure(one.p95),
                        p99_latency=figure(one.p99),
                    )
                    for one in found
                ],
            )

        return await give(
            request,
            span=(chosen.start, chosen.end),
            question=("requests", chosen),
            make=make,
        )

    @app.get(
        "/logs/facets",
        summary="Values of rows",
        tags=["logs"],
        response_model=Facets,
        responses={**ANSWERS, **ROUTES},
    )
    async def facets(
        request: Request,
        asked: WhatIsAsked,
        columns: Annotated[
            str,
            Query(
                description="Columns and keys of `attributes`, with commas between them; up to 20.",
                examples=["level,host,attr.user"],
            ),
        ] = "level,status_class,method,endpoint,host,source",
        limit: Annotated[int, Query(ge=1, le=100, description="Values of each.")] = 10,
    ) -> Response:
        """The most frequent values of some fields among the rows that a filter takes, exactly."""
        rows = logs_of(reader)
        chosen = await selection(rows, asked, answers)
        names = list(dict.fromkeys(name.strip() for name in _COLUMNS.findall(columns)))
        if len(names) > 20:
            raise HTTPException(422, f"columns has {len(names)} names: up to 20 can be asked for.")
        try:
            fields = [FilterField.named(name, chosen.columns) for name in names]
        except FilterError as error:
            raise HTTPException(422, f"columns: {error.reason}.") from None

        async def make() -> Facets:
            total, counted = await rows.facets(chosen, fields, limit)
            return Facets(
                **shown_range(chosen),
                total=total,
                facets={
                    name: Facet(
                        values=[
                            Count(value=_shown(field, value), count=count)
                            for value, count in values
                        ],
                        others=total - sum(count for _, count in values),
                    )
                    for name, field, values in zip(names, fields, counted, strict=True)
                },
            )

        return await give(
            request,
            span=(chosen.start, chosen.end),
            question=("facets", chosen, *names, limit),
            make=make,
        )


def logs_of(reader: Reader) -> Logs:
    """The rows of a store. Raises a 501 if it answers nothing about them."""
    if reader.logs is None:
        raise HTTPException(501, "This store tells statistics only, no rows: ask it by itself.")
    return reader.logs


async def selection(rows: Logs, asked: Asked, answers: Answers | None = None) -> Selection:
    """What is asked for, with the default of the range; what that takes is kept in `answers`."""

    async def columns_of_rows() -> bytes:
        return ",".join(await rows.columns()).encode()

    found = await _kept(answers, "columns", columns_of_rows)
    columns = tuple(found.split(",")) if found else ()
    if not columns:
        raise HTTPException(501, "The table is there for something else than lines, or not yet.")
    try:
        filter_: Filter = parse(asked.filter, columns)
    except FilterError as error:
        raise HTTPException(422, str(error)) from None
    start, end = asked.start, asked.end
    if end is None:
        # The end of this second, so that all who ask in it may have the same answer.
        now = ((datetime.now(timezone.utc) - _EPOCH) // timedelta(seconds=1) + 1) * _SECOND - 1

        async def newest_row() -> bytes:
            newest = await rows.newest(now)
            return str(now if newest is None else newest).encode()

        end = int(await _kept(answers, ("newest", now), newest_row)) + 1
        end = end if start is None else max(start, end)
    start = end - _HOUR if start is None else start
    return Selection(columns, filter_, start, end)


async def _kept(
    answers: Answers | None, question: Hashable, make: Callable[[], Awaitable[bytes]]
) -> str:
    made = (await answers.get(None, question, make)).body if answers else await make()
    return made.decode()


def demand(column: str, columns: Sequence[str]) -> None:
    """Raises a 501 if rows have no such column."""
    if column not in columns:
        raise HTTPException(501, f"The table has no column {column}.")


def _from_cursor(cursor: str, asked: Asked) -> tuple[bool, Asked, Place]:
    found = _CURSOR.fullmatch(cursor)
    if not found:
        raise HTTPException(422, "cursor is none that an answer of /logs has.")
    start, end, time, file_id, offset = map(int, found.groups()[1:])
    if max(file_id, offset) >= 2**64:
        raise HTTPException(422, "cursor is none that an answer of /logs has.")
    return found[1] == "n", Asked(asked.filter, start, end), Place(time, file_id, offset)


def _width(chosen: Selection) -> int:
    """The least round width of which a hundred are enough; buckets begin at its multiples."""
    widths = [round(seconds * _SECOND) for seconds in _WIDTHS]
    least = (chosen.end - chosen.start) / _MOST_BUCKETS
    return next((width for width in widths if width >= least), widths[-1])


def shown_range(chosen: Selection) -> dict[str, Any]:
    """The fields of `RowsRange`, but its completeness."""
    return {"from": shown_time(chosen.start), "to": shown_time(chosen.end)}


def shown_row(row: Any) -> dict[str, Any]:
    """A row as JSON and a browser can have it."""
    shown = {name: _shown(FilterField(name), value) for name, value in row.items()}
    cut = [name for name, value in row.items() if isinstance(value, str) and len(value) > SHOWN]
    return {**shown, "cut": cut}


def _shown(field: FilterField, value: Any) -> Any:
    """A value as JSON and a browser can have it."""
    dtype = pl.String() if field.key is not None else TYPES[field.column]
    if value is None:
        return None
    if isinstance(dtype, pl.Datetime):
        return shown_time(value)
    if dtype == pl.String():
        return str(value)[:SHOWN]
    if dtype == pl.Boolean():
        return bool(value)
    if dtype == pl.Float64():
        return value if abs(value) < float("inf") else None  # nor is NaN
    return str(value) if field.column == "file_id" else value


def shown_time(time: int) -> str:
    """A time in microseconds since 1970, in ISO 8601."""
    shown = _EPOCH + timedelta(microseconds=min(max(time, _FIRST), _LAST))
    return shown.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)
