"""What commands ask of a MongoDB store line by line, and change in it: its `Accounts`.

Lines beyond a file's recorded position do not count: whoever goes on with it writes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pymongo import UpdateOne

from connectors.accounts import BUCKET, FRAGMENTS, Answer, Places
from connectors.batch import PLACE, REJECTED, Span
from connectors.errors import StoreError
from connectors.sinks.mongodb.documents import Document, between, id_of, ids
from connectors.sinks.mongodb.server import DEAD_LETTERS, LEDGER, LOGS, POSITIONS, Server

if TYPE_CHECKING:
    from connectors.sinks.mongodb.store import MongoStore

T = TypeVar("T")

_SUMS = ("lines", "dead_lines", "total", "squares")
_EVERY_LINE = {"_id": {"$gte": bytes(16), "$lte": b"\xff" * 16}}


class MongoAccounts:
    """The `Accounts` of a MongoDB store; raises `StoreError`."""

    def __init__(self, server: Server, store: MongoStore) -> None:
        self._server = server
        self._store = store
        self._cancelled = False

    def sums(self) -> pl.DataFrame:
        """See `Accounts`; every place is read, from the index."""
        ends = self._ends()
        place = pl.col("offset")
        found = pl.DataFrame(schema=dict.fromkeys(("file_id", "bucket", *_SUMS), pl.UInt64))
        for name in (LOGS, DEAD_LETTERS):
            places = self._server.batches_of_places(name, _EVERY_LINE)
            dead = int(name == DEAD_LETTERS)
            while (some := self._ask(partial(next, places, None))) is not None:
                mine = some.join(ends, on="file_id").filter(place < pl.col("end"))
                summed = mine.group_by("file_id", bucket=place // BUCKET).agg(
                    lines=pl.len().cast(pl.UInt64),
                    dead_lines=pl.len().cast(pl.UInt64) * dead,
                    total=place.sum(),
                    squares=(place * place).sum(),
                )
                found = pl.concat([found, summed]).group_by("file_id", "bucket").sum()
        return found.sort("file_id", "bucket")

    def places(self, file_id: int, first: int, last: int) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The offsets that are stored in [first, last), and whether each is a dead letter."""
        ends = dict(self._ends(file_id=file_id).iter_rows())
        chosen = between(file_id, first, max(first, min(last, ends.get(file_id, 0))))
        rows, dead = (self._places(n, chosen)["offset"].to_numpy() for n in (LOGS, DEAD_LETTERS))
        return np.concatenate([rows, dead]), np.arange(len(rows) + len(dead)) >= len(rows)

    def begins(self) -> dict[int, int]:
        """Where reading began in the files in which it did not begin at 0."""
        found = self._store.entries(POSITIONS, begins={"$gt": 0})
        return {one["file_id"]: one["begins"] for one in found}

    def blocks(self, file_id: int) -> pl.DataFrame:
        """`start`, `end` and `proof` of the blocks that the ledger has of a file."""
        found = self._store.entries(LEDGER, file_id=file_id, kind="block")
        schema = {"start": pl.UInt64, "end": pl.UInt64, "proof": pl.String}
        return pl.DataFrame([{name: one[name] for name in schema} for one in found], schema).sort(
            "start", "end"
        )

    def cuts(self, file_id: int) -> npt.NDArray[np.int64]:
        """Where lines of a file begin though no newline is before: blocks, rests of lines."""
        rests = self._places(DEAD_LETTERS, {**between(file_id, 0, 2**63), "reason": "continued"})
        starts = self.blocks(file_id)["start"].to_numpy()
        return np.union1d(starts, rests["offset"].to_numpy()).astype(np.int64)

    def reasons(self) -> dict[str, int]:
        """How many dead letters there are of each reason, the most frequent first."""
        counted: Document = {"$group": {"_id": "$reason", "letters": {"$sum": 1}}}
        letters = self._server[DEAD_LETTERS]
        found = self._ask(lambda: list(letters.aggregate([counted])))
        pairs = ((one["_id"], one["letters"]) for one in found)
        return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def samples(self, reason: str, most: int) -> pl.DataFrame:
        """The newest dead letters of a reason: `source`, `offset`, `reason`, `detail`, `raw`."""
        cursor = self._server[DEAD_LETTERS].find({"reason": reason})
        newest = cursor.sort([("seen_at", -1), ("_id", 1)]).limit(most)
        names = ["source", "offset", "reason", "detail", "raw"]
        found = _frame(self._ask(lambda: list(newest)), names)
        return found.with_columns(pl.col("raw").bin.slice(0, 1024))

    def select(self, sql: str, most: int) -> Answer:
        """Raises `StoreError`."""
        raise StoreError("STORE=mongodb takes no SQL: ask MongoDB itself.")

    def letters(
        self, after: tuple[int, int], reason: str, sources: Sequence[str], lines: int, size: int
    ) -> pl.DataFrame:
        """The next dead letters behind the place `after`."""
        chosen: Document = {"_id": {"$gt": id_of(*after)}, "reason": {"$nin": list(FRAGMENTS)}}
        chosen["reason"] |= {"$eq": reason} if reason else {}
        chosen |= {"source": {"$in": list(sources)}} if sources else {}

        def read() -> list[Document]:
            found: list[Document] = []
            left = size
            for letter in self._server[DEAD_LETTERS].find(chosen).sort("_id", 1).limit(lines):
                left -= len(letter["raw"])
                if found and left < 0:
                    break
                found.append({**letter, "line": 0})  # which nobody asks for
            return found

        return _frame(self._ask(read), list(REJECTED))

    def held(self, places: pl.DataFrame) -> pl.DataFrame:
        """Which of these places hold a row: `file_id`, `offset`."""
        return self._places(LOGS, {"_id": {"$in": ids(places)}})

    def sources(self) -> list[str]:
        """Every path that dead letters came from."""
        return self._ask(lambda: self._server[DEAD_LETTERS].distinct("source"))

    def insert(
        self, rows: pl.DataFrame, held: Callable[[], pl.DataFrame]
    ) -> tuple[int, pl.DataFrame]:
        """Insert those rows whose places `held` does not name, each once."""
        return self._server.insert_rows(_rest(rows, held), self._ask)

    def insert_dead(self, letters: pl.DataFrame, held: Callable[[], pl.DataFrame]) -> int:
        """Insert dead letters, likewise."""
        return self._server.insert_letters(_rest(letters, held), self._ask)

    def delete_dead(self, places: pl.DataFrame) -> None:
        """Delete the dead letters of these places; return when they are gone."""
        chosen = {"_id": {"$in": ids(places)}}
        self._ask(lambda: self._server[DEAD_LETTERS].delete_many(chosen))

    def update_dead(self, letters: pl.DataFrame) -> None:
        """Give dead letters the `reason` and the `detail` of these; return when they have them."""
        changes = [
            UpdateOne({"_id": place}, {"$set": change})
            for place, change in zip(
                ids(letters), letters.select("reason", "detail").to_dicts(), strict=True
            )
        ]
        if changes:
            self._ask(lambda: self._server[DEAD_LETTERS].bulk_write(changes, ordered=False))

    def choose_position(self, span: Span) -> None:
        """Record that nothing before the span's end is the tail's to read."""
        self._store.record("position", [span])

    def cancel(self) -> None:
        """Ask nothing more: the process is about to end."""
        self._cancelled = True

    def _ends(self, **chosen: object) -> pl.DataFrame:
        found = self._store.entries(POSITIONS, **chosen)
        pairs = [(one["file_id"], one["end"]) for one in found]
        schema = {"file_id": pl.UInt64, "end": pl.UInt64}
        return pl.DataFrame(pairs, schema, orient="row")

    def _places(self, name: str, chosen: Document) -> pl.DataFrame:
        return self._ask(partial(self._server.places, name, chosen))

    def _ask(self, question: Callable[[], T]) -> T:
        if self._cancelled:
            raise StoreError("The process is about to end.")
        return self._server.once(question)


def _rest(lines: pl.DataFrame, held: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    return lines.join(held(), on=PLACE, how="anti") if len(lines) else lines


def _frame(letters: Sequence[Document], names: Sequence[str]) -> pl.DataFrame:
    schema = {name: REJECTED[name] for name in names}
    rows: list[list[Any]] = [[one[name] for name in names] for one in letters]
    return pl.DataFrame(rows, schema, orient="row")
