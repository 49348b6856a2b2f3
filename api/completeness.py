"""How complete an answer is: what the pipeline beside has not stored yet, and what has no row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import TypeVar

from anyio import to_thread
from pydantic import BaseModel, Field

from connectors.answers import Answers
from connectors.errors import StoreError
from connectors.status import SourceStatus
from connectors.store import Reader

T = TypeVar("T")

_FRESH = 0.25  # seconds for which a look at the source is good: there may be thousands of files


class Completeness(BaseModel):
    """What an answer may lack, as of its moment; never more is claimed than is known.

    Without a pipeline in this process only the dead letters are known.
    """

    complete_to: datetime | None = Field(
        description="Whatever had been seen in the files by this time is in the answer, as far as "
        "it is asked for. Null: not known, as while a block is in doubt, while lines wait that "
        "were there before the start, and of what is no file."
    )
    files_behind: int | None = Field(description="Files in which lines wait to be stored.")
    blocks_in_doubt: int | None = Field(
        description="Writes of which it is not known yet whether they are stored."
    )
    dead_letters: int | None = Field(
        description="Lines that are no rows, by when they were stored, in the range of the answer. "
        "Null: the store does not say."
    )


class Completing:
    """Makes answers, and says how complete they are.

    `source` tells of the pipeline beside, if there is one. Counts are kept in `counts`, if that is
    told of every dead letter.
    """

    def __init__(
        self,
        reader: Reader,
        source: Callable[[], SourceStatus] | None = None,
        counts: Answers | None = None,
    ) -> None:
        self._reader = reader
        self._source = source
        self._counts = counts
        self._seen: SourceStatus | None = None
        self._seen_at = 0.0

    async def beside(self, start: int, end: int, make: Awaitable[T]) -> tuple[T, Completeness]:
        """What `make` makes, and how complete that is; the range is in microseconds since 1970.

        The source is looked at before: what it says is stored by then is in what `make` makes.
        """
        seen = await self.look()
        made, letters = await asyncio.gather(make, self._letters(start, end))
        complete_to = seen.complete_to if seen else None
        return made, Completeness(
            complete_to=None
            if complete_to is None
            else datetime.fromtimestamp(complete_to, timezone.utc),
            files_behind=seen.files_behind if seen else None,
            blocks_in_doubt=seen.blocks_in_doubt if seen else None,
            dead_letters=letters,
        )

    async def look(self) -> SourceStatus | None:
        """What the pipeline beside says of itself, as of a moment ago; None: there is none."""
        if self._source and time.monotonic() - self._seen_at > _FRESH:
            began = time.monotonic()
            self._seen = await to_thread.run_sync(self._source)  # it may wait for a lock
            self._seen_at = began
        return self._seen

    async def _letters(self, start: int, end: int) -> int | None:
        async def count() -> bytes:
            return str(await self._reader.letters.count(start, end)).encode()

        try:
            if self._counts is None:
                return int(await count())
            return int((await self._counts.get(None, (start, end), count)).body)
        except StoreError:  # rights to read rows may be all that a user has
            return None
