"""The part of the API that tells what some rows have more of than others."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

from api.answering import ANSWERS, answer
from api.completeness import Completing
from api.logs import ROUTES, RowsRange, WhatIsAsked, logs_of, selection, shown_range
from connectors.answers import Answers
from connectors.contrast import Share, ranked
from connectors.errors import FilterError
from connectors.filters import parse
from connectors.store import Reader


class Finding(BaseModel):
    """A value that more of the selected rows have."""

    field: str = Field(description="As filters have it.")
    value: str | int | float | bool | None
    selected: int = Field(description="Selected rows that have it; of a sample times its size.")
    baseline: int = Field(description="Other rows that have it, likewise.")
    lift: float = Field(description="How many times as frequent it is among the selected.")
    score: float = Field(description="What it tells of a selected row, in bits, at least.")


class Explanation(RowsRange):
    """What the selected rows have more of than others."""

    selected: int = Field(description="Rows that the filter takes.")
    baseline: int = Field(description="Rows that they are compared with.")
    estimated: bool = Field(
        description="Whether findings are of a sample, those of customers excepted. The numbers of "
        "rows are always exact."
    )
    findings: list[Finding] = Field(description="What tells most comes first.")


def add_explain(
    app: FastAPI, reader: Reader, completing: Completing, answers: Answers | None = None
) -> None:
    """Add `/explain`; answers are kept in `answers`, if that is told of every write."""

    @app.get(
        "/explain",
        summary="What rows have more of",
        tags=["logs"],
        response_model=Explanation,
        responses={**ANSWERS, **ROUTES},
    )
    async def explain(
        request: Request,
        asked: WhatIsAsked,
        baseline: Annotated[
            str,
            Query(
                description="Which rows they are compared with, as a filter. Default: all others "
                "of the range. Selected rows are left out.",
                max_length=10_000,
            ),
        ] = "",
        limit: Annotated[int, Query(ge=1, le=100, description="Findings, at most.")] = 20,
    ) -> Response:
        """The values of all columns and attributes that the rows of a filter have more of.

        Columns that the filters name are left aside, and those that say the same. A value counts
        as far as chance explains it badly; see `score`.
        """
        rows = logs_of(reader)
        chosen = await selection(rows, asked, answers)
        try:
            others = parse(baseline, chosen.columns) if baseline.strip() else None
        except FilterError as error:
            raise HTTPException(422, f"baseline: {error}") from None

        async def make() -> Explanation:
            found = await rows.contrast(chosen, others)
            return Explanation(
                **shown_range(chosen),
                selected=found.selected,
                baseline=found.others,
                estimated=found.is_estimated,
                findings=[
                    _finding(one, found.selected, found.others)
                    for one in ranked(found.shares, limit)
                ],
            )

        return await answer(
            request,
            answers,
            completing,
            None,
            (chosen.start, chosen.end),
            ("explain", chosen, others, limit),
            make,
        )


def _finding(share: Share, selected: int, others: int) -> Finding:
    return Finding(
        field=share.name,
        value=share.value,
        selected=round(share.selected * selected / share.of_selected),
        baseline=round(share.others * others / share.of_others),
        lift=round(share.lift, 3),
        score=round(share.score, 5),
    )
