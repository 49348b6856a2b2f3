"""The part of the API that tells of dead letters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Annotated

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field

from api.days import NO_STORE, problems
from api.logs import Time, time_called
from connectors.letters import SAMPLE_BYTES, Letter
from connectors.letters import Reason as Found
from connectors.store import Reader

Fitting = Callable[[tuple[str, ...]], str]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SHOWN = 256  # bytes of a sample
_EVER = 2**62  # later than any time


class Sample(BaseModel):
    """A dead letter."""

    source: str = Field(description="The path of its file.")
    offset: int = Field(description="Its first byte in the file.")
    raw: str = Field(description=f"Its first {_SHOWN} bytes; what is no UTF-8 is escaped.")
    time: datetime = Field(
        description="When it was stored; with InfluxDB that of the row before it."
    )


class Reason(BaseModel):
    """Dead letters of one reason."""

    reason: str = Field(
        description="Its word, and with ClickHouse and SQLite what was found, less what varies."
    )
    count: int
    first: datetime
    last: datetime
    samples: list[Sample] = Field(description="The first, one between, and the last.")
    fits: str = Field(
        description="The format that most of the samples are of; empty if it is none, or nobody "
        "knows."
    )


class DeadLetters(BaseModel):
    """The dead letters of a range."""

    total: int
    reasons: list[Reason] = Field(description="The most frequent first.")


def add_dead_letters(app: FastAPI, reader: Reader, fitting: Fitting) -> None:
    """Add `/dead-letters`; `fitting` tells the format that lines are of, empty if it is none."""
    kept = lru_cache(1000)(fitting)  # a page asks again and again

    @app.get(
        "/dead-letters",
        summary="Lines that are no rows",
        tags=["logs"],
        responses=problems({422: "A time is none, or `from` is after `to`.", 503: NO_STORE}),
    )
    async def dead_letters(
        start: Annotated[
            Time | None, time_called("from", "Time from which on they were stored. Default: ever.")
        ] = None,
        end: Annotated[
            Time | None, time_called("to", "Time before which they were stored. Default: ever.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Reasons, at most.")] = 100,
    ) -> DeadLetters:
        """Lines that fit no format, or that the store refused, by reason."""
        start, end = -_EVER if start is None else start, _EVER if end is None else end
        if start > end:
            raise HTTPException(422, "from is after to.")
        total = await reader.letters.count(start, end)
        reasons = await reader.letters.reasons(start, end, limit)
        fits = await to_thread.run_sync(lambda: [kept(_lines(one)) for one in reasons])
        told = [_reason(one, form) for one, form in zip(reasons, fits, strict=True)]
        return DeadLetters(total=total, reasons=told)


def _lines(found: Found) -> tuple[str, ...]:
    """The samples as lines; one that may have been cut would fit nothing."""
    whole = (letter.raw for letter in found.samples if len(letter.raw) < SAMPLE_BYTES)
    return tuple(raw.decode(errors="replace").rstrip("\r\n") for raw in whole)


def _reason(found: Found, fits: str) -> Reason:
    return Reason(
        reason=found.reason,
        count=found.count,
        first=_moment(found.first),
        last=_moment(found.last),
        samples=[_sample(letter) for letter in found.samples],
        fits=fits,
    )


def _moment(time: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time)


def _sample(letter: Letter) -> Sample:
    return Sample(
        source=letter.source,
        offset=letter.offset,
        raw=letter.raw[:_SHOWN].decode(errors="backslashreplace"),
        time=_moment(letter.time),
    )
