"""The part of the API that shows one line with those beside it: `/logs/{file_id}/{offset}`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Path, Query
from pydantic import BaseModel, Field

from api.logs import ROUTES, Asked, logs_of, selection, shown_row
from api.schemas import Problem
from connectors.logs import SHOWN, Letter, Row
from connectors.store import Reader

_LARGEST = 2**63 - 1

Around = Callable[[int, int, int], Sequence[tuple[int, str]] | None]
"""Of a file and a place in it, the lines there, with so many characters; None: it is not there."""


class Event(BaseModel):
    """A line, and those beside it in its file, by their order there."""

    row: dict[str, Any] = Field(
        description="As in `/logs`, or of a dead letter `offset`, the beginning of its bytes as "
        "text in `raw`, and the `reason`; so are the others. A line of the file that is not stored "
        "has `offset` and `raw` only."
    )
    before: list[dict[str, Any]]
    after: list[dict[str, Any]]
    from_: Literal["file", "store"] = Field(
        alias="from",
        description="`file`: it is there, and all its lines are told; else those that are stored.",
    )


def add_event(app: FastAPI, reader: Reader, around: Around | None = None) -> None:
    """Add `/logs/{file_id}/{offset}`, which answers from this reader, and from the files."""

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
        """A stored line, and those around it in its file, dead letters among them."""
        rows = logs_of(reader)
        columns = (await selection(rows, Asked("", 0, 0))).columns
        found = await rows.lines(columns, file_id, offset, before, after)
        stored = {one["offset"]: one for one in map(_shown, found)}
        if offset not in stored:
            raise HTTPException(
                404, f"No line of file {file_id} is stored that begins at {offset}."
            )
        of_file = await to_thread.run_sync(around, file_id, offset, SHOWN) if around else None
        every = {place: {"offset": place, "raw": text} for place, text in of_file or ()} | stored
        places = sorted(every)
        shown, at = [every[place] for place in places], places.index(offset)
        return Event(
            row=shown[at],
            before=shown[max(0, at - before) : at],
            after=shown[at + 1 : at + 1 + after],
            **{"from": "store" if of_file is None else "file"},
        )


def _shown(line: Row | Letter) -> dict[str, Any]:
    if isinstance(line, Letter):
        raw = line.raw.decode(errors="replace")
        return {"offset": line.offset, "raw": raw, "reason": line.reason}
    return shown_row(line)
