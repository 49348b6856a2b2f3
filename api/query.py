"""The part of the API that answers questions in SQL, which can change nothing."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, Field

from api.days import problems
from api.questions import Questions
from connectors.accounts import Formatted, FormattedAccounts, Question, RefusedError

_FORMAT = "JSONCompact"
_WRITTEN = {"output_format_json_quote_64bit_integers": "1"}
_UNABLE = (
    "Only a pipeline into the embedded ClickHouse is asked in SQL here: ask this store by its own "
    "client, or look for rows by a filter."
)


class Column(BaseModel):
    """A column of an answer."""

    name: str
    type: str = Field(description="As ClickHouse calls it.")


class Table(BaseModel):
    """What a statement answers."""

    columns: list[Column]
    rows: list[list[Any]] = Field(
        description="A whole number of 64 bits is a text, as it has more digits than a browser's "
        "numbers."
    )
    is_whole: bool = Field(description="Whether there are no more rows.")
    read_rows: int = Field(description="Rows that were read for it.")


def add_query(app: FastAPI, accounts: FormattedAccounts | None) -> None:
    """Add `/query`; None: the store takes no SQL here."""
    questions = Questions(accounts) if accounts else None

    @app.get(
        "/query",
        summary="A question in SQL",
        tags=["logs"],
        responses=problems(
            {
                422: "It is not one statement that only asks, or the store refuses it.",
                501: "This store is not asked in SQL here.",
                503: "The store cannot answer now.",
            }
        ),
    )
    async def query(
        request: Request,
        sql: Annotated[
            str,
            Query(
                description="One SELECT, SHOW, DESCRIBE, EXPLAIN or EXISTS, in ClickHouse's SQL.",
                min_length=1,
                max_length=20_000,
                examples=["SELECT level, count() FROM logs GROUP BY level"],
            ),
        ],
        limit: Annotated[int, Query(ge=1, le=10_000, description="Rows, at most.")] = 1000,
    ) -> Table:
        """What the store answers, within the limits of `QUERY_PORT`; nothing can be changed."""
        if questions is None:
            raise HTTPException(501, _UNABLE)
        try:
            asked = Question(sql, _FORMAT, settings=_WRITTEN, most=limit)
            found = await questions.ask(request, asked, lambda answer: _table(answer, limit))
        except RefusedError as error:
            raise HTTPException(422, str(error)) from None
        return found or _NOTHING  # which nobody reads


_NOTHING = Table(columns=[], rows=[], is_whole=False, read_rows=0)


def _table(answer: Formatted, limit: int) -> Table:
    """An answer of up to so many rows. Raises `RefusedError` where it has a format of its own."""
    if answer.format != _FORMAT:
        raise RefusedError(73, f"The answer is a table here: leave out FORMAT {answer.format}.")
    found = json.loads(answer.data)
    return Table(
        columns=[Column(**column) for column in found["meta"]],
        rows=found["data"][:limit],
        is_whole=len(found["data"]) <= limit,
        read_rows=answer.read_rows,
    )
