"""Ranges of whole UTC days, as questions to the API have them, and what `/docs` says of errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query
from pydantic import BeforeValidator

from api.schemas import Problem

EPOCH = date(1970, 1, 1)
_DAY = 86_400 * 10**6  # microseconds

BAD_RANGE = "A date is not YYYY-MM-DD, or `from_date` is after `to_date`."
NO_STORE = "The store cannot answer now."


def _iso_day(text: str) -> date:
    # stricter than pydantic, which reads 20240101 as seconds since 1970
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("must be a day such as 2024-01-31")
    return date.fromisoformat(text)


IsoDay = Annotated[date, BeforeValidator(_iso_day)]


@dataclass(frozen=True)
class Days:
    """Whole UTC days, both included."""

    first: date
    last: date

    @property
    def microseconds(self) -> tuple[int, int]:
        """Their beginning and their end, since 1970."""
        return (self.first - EPOCH).days * _DAY, ((self.last - EPOCH).days + 1) * _DAY


def _days(
    from_date: Annotated[IsoDay, Query(description="First UTC day.")] = EPOCH,
    to_date: Annotated[IsoDay | None, Query(description="Last UTC day. Default: today.")] = None,
) -> Days:
    last = to_date or datetime.now(timezone.utc).date()
    if from_date > last:
        raise HTTPException(422, f"from_date {from_date} is after to_date {last}.")
    return Days(from_date, last)


DaysAsked = Annotated[Days, Depends(_days)]


def problems(descriptions: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """What `/docs` says of a route's errors."""
    return {code: {"model": Problem, "description": why} for code, why in descriptions.items()}
