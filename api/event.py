"""The part of the API that shows one line with those beside it: `/logs/{file_id}/{offset}`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, Field

from api.logs import ROUTES, Asked, logs_of, selection, shown_row
from api.schemas import Problem
from connectors.logs import Letter, Row
from connectors.store import Reader

_LARGEST = 2**63 - 1


class Event(BaseModel):
    """A line, and those beside it in its file, by their order there."""

    row: dict[str, Any] = Field(
        description="As in `/logs`, or of a dead letter `offset`, the beginning of its bytes as "
        "text in `raw`, and the `reason`; so are the others."
    )
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]
    from_: Literal["store"] = Field("store", alias="from", description="Who was asked.")


def add_event(app: FastAPI, reader: Reader) -> None:
    """Add `/logs/{file_id}/{offset}`, which answers from this reader."""

    @app.get(
        "/logs/{file_id}/{offset}",
        summary="A line with those beside it",
        tags=["logs"],
        responses={**ROUTES, 404: {"model": Problem, "description": "No such line is stored."}},
    )
    async def event(
        file_id: Annotated[int, Path(ge=0, le=_LARGEST, description="Which file.")],
        offset: Annotated[int, Path(ge=0, le=_LARGEST, description="Where the line begins.")],
        before: Annotated[int, Query(ge=0, le=100, description="Lines before it.")] = 10,
        after: Annotated[int, Query(ge=0, le=100, description="Lines after it.")] = 10,
    ) -> Event:
        """A stored line, and the stored lines around it in its file, dead letters among them."""
        rows = logs_of(reader)
        columns = (await selection(rows, Asked("", 0, 0))).columns
        found = await rows.lines(columns, file_id, offset, before, after)
        places = [one.offset if isinstance(one, Letter) else one["offset"] for one in found]
        if offset not in places:
            raise HTTPException(
                404, f"No line of file {file_id} is stored that begins at {offset}."
            )
        shown = [_shown(one) for one in found]
        at = places.index(offset)
        return Event(row=shown[at], before=shown[:at], after=shown[at + 1 :])


def _shown(line: Row | Letter) -> dict[str, Any]:
    if isinstance(line, Letter):
        raw = line.raw.decode(errors="replace")
        return {"offset": line.offset, "raw": raw, "reason": line.reason}
    return shown_row(line)
