"""Store `mongodb`: a MongoDB server or a replica set.

A document's `_id` is the place of its line, and one that is there already is left alone. So after a
crash reading goes on at the recorded position, and what was written beyond it is written again,
which changes nothing: no block is ever in doubt (docs/mongodb.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import polars as pl
from pymongo import DESCENDING, ReplaceOne, UpdateOne
from pymongo.errors import OperationFailure

from connectors.batch import BlockId, Parsed, Span
from connectors.sinks.ledger import LAST, Entry, LedgerStore
from connectors.sinks.mongodb.accounts import MongoAccounts
from connectors.sinks.mongodb.documents import Document, between, span_of
from connectors.sinks.mongodb.reader import MongoReader
from connectors.sinks.mongodb.server import DEAD_LETTERS, LEDGER, LOGS, POSITIONS, Server
from connectors.sinks.retry import Retry
from connectors.sinks.writers import Lines, OverwritingWriter
from connectors.store import Reader
from settings import Settings

_KEPT = ("block", "position")  # of the others only the last counts


def open_store(settings: Settings, retry: Retry) -> MongoStore:
    """Open the store, making what is missing of the database. Raises `StoreError`."""
    return MongoStore(settings, retry)


def open_reader(settings: Settings, retry: Retry) -> MongoReader:
    """A reader of the server's database, which may be away or be made later."""
    return MongoReader(settings)


class MongoStore(LedgerStore):
    """See the module's docstring.

    The ledger is two collections: all spans, and of each stream its position, which is recorded
    after them. Only the position says where reading goes on.
    """

    def __init__(self, settings: Settings, retry: Retry) -> None:
        self._server = Server(settings, retry)
        self._instance = settings.instance
        self._keep = timedelta(days=settings.ledger_keep_days)
        self.reader: Reader | None = MongoReader(settings)
        self._server.open()

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""
        chosen = between(file_id, first, last)
        found: set[int] = set()
        for name in (LOGS, DEAD_LETTERS):
            places = self._server.insist(partial(self._server.places, name, chosen))
            found.update(places["offset"].to_list())
        return found

    def writer(self) -> MongoWriter:
        """A writer; workers share the connections."""
        return MongoWriter(self._server, self)

    def accounts(self) -> MongoAccounts:
        """What commands ask and change."""
        return MongoAccounts(self._server, self)

    def close(self) -> None:
        """Close every connection."""
        self._server.close()

    def record(self, kind: str, spans: Sequence[Span]) -> None:
        """Record an entry for each span, and that its stream has come so far; repeats until so."""
        now = datetime.now(timezone.utc)
        entries, positions = [], []
        for span in spans:
            mine = {"instance": self._instance, "file_id": span.stream.id}
            entry = {**mine, **span.entry, "kind": kind, "recorded_at": now}
            chosen = {"begins": span.end} if kind == "position" else {}
            place = f"{self._instance}:{span.stream.id}"
            update = {"$set": {**entry, **chosen}}
            positions.append(UpdateOne({"_id": place}, update, upsert=True))
            if kind in _KEPT:
                named = {"_id": f"{place}:{span.end}:{kind}"}
                entries.append(ReplaceOne(named, {**named, **entry}, upsert=True))
        for name, requests in ((LEDGER, entries), (POSITIONS, positions)):
            if requests:
                self._write(name, requests)

    def entries(self, name: str, **chosen: object) -> list[Document]:
        """What a collection of the ledger has of this instance."""
        asked = {"instance": self._instance, **chosen}
        return self._server.insist(lambda: list(self._server[name].find(asked)))

    def _append(self, kind: str, spans: Sequence[Span], block: BlockId | None = None) -> None:
        self.record(kind, spans)

    def _newest(self, file_ids: Collection[int] | None = None, end: int = LAST) -> Iterable[Entry]:
        these: Document = {"$ne": 0} if file_ids is None else {"$in": list(file_ids)}
        if end == LAST:
            found = self.entries(POSITIONS, file_id=these)
        else:
            found = self._last_until(these, end)
        before = datetime.now(timezone.utc).replace(tzinfo=None) - self._keep
        return [Entry(span_of(one), one["kind"], one["recorded_at"] < before) for one in found]

    def _last_until(self, these: Document, end: int) -> list[Document]:
        asked = {"instance": self._instance, "file_id": these, "end": {"$lte": end}}
        order = [("end", DESCENDING), ("recorded_at", DESCENDING)]
        return self._server.insist(
            lambda: list(self._server[LEDGER].find(asked).sort(order).limit(1))
        )

    def _is_empty(self) -> bool:
        asked = {"instance": self._instance}
        return self._server.insist(lambda: self._server[POSITIONS].find_one(asked)) is None

    def _forget(self, file_ids: Collection[int]) -> Collection[int]:
        these = {"instance": self._instance, "file_id": {"$in": list(file_ids)}}
        before = datetime.now(timezone.utc) - self._keep
        old = {"instance": self._instance, "recorded_at": {"$lt": before}}
        if file_ids:
            self._server.insist(lambda: self._server[POSITIONS].delete_many(these))
            self._server.insist(lambda: self._server[LEDGER].delete_many(these))
        self._server.insist(lambda: self._server[LEDGER].delete_many(old))
        return file_ids

    def _write(self, name: str, requests: Sequence[Any]) -> None:
        def write() -> None:
            try:
                self._server[name].bulk_write(requests, ordered=False)
            except KeyError as error:  # FerretDB, seen once: of the driver, which needs all fields
                raise OperationFailure(f"An answer to a bulk write lacks {error}.") from error

        self._server.insist(write)


class MongoWriter(OverwritingWriter, Lines):
    """Stores one batch after another; see the module's docstring."""

    def __init__(self, server: Server, store: MongoStore) -> None:
        self._server = server
        self._store = store

    def insert(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Store rows; returns those that are refused, by us or by the server's validator."""
        return self._server.insert_rows(rows, self._server.insist)[1]

    def insert_dead(self, letters: pl.DataFrame) -> None:
        """Store dead letters."""
        self._server.insert_letters(letters, self._server.insist)

    def _begin(self, batch: Parsed, in_order: Callable[[], object]) -> MongoWriter:
        return self

    def _finish(self, batch: Parsed) -> None:
        self._store.record("block", batch.spans)
