"""The part of the API that tells what messages are about: their patterns."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field

from api.completeness import Completing
from api.logs import (
    ROUTES,
    RowsRange,
    WhatIsAsked,
    demand,
    logs_of,
    selection,
    shown_range,
    shown_time,
)
from connectors import filters
from connectors.patterns import MANY, MOST, Group, Seen, grouped
from connectors.store import Reader

_EVER = 2**62  # microseconds: later than any time
_SHOWN = 1000  # characters of an example


class Pattern(BaseModel):
    """What some messages have in common."""

    pattern: str = Field(
        description="`<*>` stands for what varies. Patterns that differ in one word only are shown "
        f"as one where {MANY} and more words stand."
    )
    pattern_ids: list[str] = Field(
        description="Those of its rows, the most frequent first, as many as a filter may name."
    )
    patterns: int = Field(description="How many stored patterns are shown as this one.")
    count: int
    share: float = Field(description="Of all rows that have a pattern.")
    first: str = Field(description="Time of its first row of the range.")
    last: str
    example: str = Field(description="The beginning of one of its messages.")


class Patterns(RowsRange):
    """What the messages of some rows are about."""

    total: int = Field(description="Rows that have a pattern.")
    found: int = Field(description="Patterns, as they are shown.")
    unseen: int = Field(
        description=f"Rows whose patterns were not looked at: those beyond the {MOST:,} most "
        "frequent ones."
    )
    patterns: list[Pattern]


def add_patterns(app: FastAPI, reader: Reader, completing: Completing) -> None:
    """Add `/patterns`."""

    @app.get("/patterns", summary="What messages are about", tags=["logs"], responses=ROUTES)
    async def patterns(
        asked: WhatIsAsked,
        new: Annotated[
            bool,
            Query(description="Only those that no row before `from` has; these are read, too."),
        ] = False,
        order: Annotated[
            Literal["frequent", "rare"], Query(description="Which patterns come first.")
        ] = "frequent",
        limit: Annotated[int, Query(ge=1, le=200, description="Patterns, at most.")] = 50,
    ) -> Patterns:
        """The messages of rows, less what varies in them, with exact counts."""
        rows = logs_of(reader)
        chosen = await selection(rows, asked)
        demand("pattern_id", chosen.columns)

        async def ask() -> tuple[int, list[Seen], list[Seen]]:
            total, seen = await rows.patterns(chosen, MOST)
            before = replace(chosen, start=-_EVER, end=chosen.start)
            there = (await rows.patterns(before, MOST))[1] if new else []
            return total, [*seen], [*there]

        (total, seen, there), completeness = await completing.beside(
            chosen.start, chosen.end, ask()
        )
        groups = sorted(
            grouped(seen, there),
            key=lambda one: (one.count if order == "rare" else -one.count, one.pattern),
        )
        shown = groups[:limit]
        examples = await rows.examples(chosen, [one.members[0] for one in shown])
        return Patterns(
            **shown_range(chosen),
            completeness=completeness,
            total=total,
            found=len(groups),
            unseen=total - sum(one.count for one in seen),
            patterns=[_shown(one, total, examples.get(one.members[0].id, "")) for one in shown],
        )


def _shown(group: Group, total: int, example: str) -> Pattern:
    return Pattern(
        pattern=group.pattern,
        pattern_ids=[one.id for one in group.members[: filters.MOST]],
        patterns=len(group.members),
        count=group.count,
        share=round(group.count / total, 6),
        first=shown_time(group.first),
        last=shown_time(group.last),
        example=example[:_SHOWN],
    )
