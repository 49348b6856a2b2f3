"""A MongoDB server: its collections, how documents get into them, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import polars as pl
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, MongoClient, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern

from connectors.batch import PLACE, REFUSED
from connectors.errors import StoreError
from connectors.saying import say
from connectors.sinks.mongodb.documents import (
    NO_PLACES,
    SCHEMA,
    Document,
    of_letters,
    of_rows,
    places_of,
    words_of,
)
from connectors.sinks.retry import Retry, Trouble
from settings import Settings

T = TypeVar("T")
Run = Callable[[Callable[[], T]], T]
Inserted = tuple[int, list[tuple[int, str]]]

LOGS, DEAD_LETTERS, LEDGER, POSITIONS = "logs", "dead_letters", "ingest_blocks", "positions"

_INDEXES: dict[str, list[tuple[str, ...]]] = {
    LOGS: [
        ("customer_id", "day", "status_code", "success", "duration"),
        ("day", "status_code", "success", "duration"),
    ],
    DEAD_LETTERS: [("reason",), ("seen_at", "reason")],
    LEDGER: [("instance", "file_id", "end")],
    POSITIONS: [("instance", "file_id")],
}

_WAITS = {"serverSelectionTimeoutMS": 5_000, "connectTimeoutMS": 3_000, "socketTimeoutMS": 60_000}
_WORDS = 1000  # characters

# github.com/mongodb/mongo, src/mongo/base/error_codes.yml
_IS_THERE = 11000
_OF_DOCUMENTS = {2, 15, 22, 52, 56, 57, 121, 10334}
_PASSING = {6, 7, 8, 24, 46, 50, 64, 89, 91, 112, 189, 262, 317, 9001, 10107, 11000}
_PASSING |= {11600, 11602, 13388, 13435, 13436}
_NO_VALIDATORS = {72, 115, 238}


def client_options(url: str, waits: Mapping[str, int]) -> dict[str, Any]:
    """How long a client waits for what (ms), unless the URL says so itself."""
    given = url.partition("?")[2].lower()
    waits = {name: value for name, value in waits.items() if f"{name.lower()}=" not in given}
    return {**waits, "appname": "logwax"}


class Server:
    """The database of these settings; safe in any thread.

    What is written is on the disks of most servers of a replica set when a request returns, and
    what is read is so, too. No request is waited for much longer than a stop (`Retry.bounded`).
    """

    def __init__(self, settings: Settings, retry: Retry) -> None:
        self._retry = retry
        self.address = str(settings.mongodb_url)
        url = settings.mongodb_url.get_secret_value()
        try:
            self._client: MongoClient[Document] = MongoClient(url, **client_options(url, _WAITS))
        except (ConfigurationError, InvalidURI, ValueError) as error:
            raise StoreError(f"MONGODB_URL cannot be used: {words(error)}") from None
        self._database = self._client.get_database(
            settings.mongodb_database,
            write_concern=WriteConcern("majority", 30_000, j=True),
            read_concern=ReadConcern("majority"),
        )

    def __getitem__(self, name: str) -> Collection[Document]:
        return self._database[name]

    def open(self) -> None:
        """Make what is missing. Raises `StoreError` at once if that cannot be done."""
        self.once(self._make)

    def insist(self, request: Callable[[], T]) -> T:
        """What a request returns; it is repeated until the server answers."""
        return self._retry(lambda: self._retry.bounded(request), trouble)

    def once(self, request: Callable[[], T]) -> T:
        """What a request returns. Raises `StoreError` if it fails."""
        try:
            return self._retry.bounded(request)
        except PyMongoError as error:
            raise StoreError(f"MongoDB at {self.address}: {words(error)}") from error

    def insert(self, name: str, documents: Iterable[RawBSONDocument]) -> Inserted:
        """Insert those documents that are not there; returns how many, and the refused ones.

        These are their numbers, with what the server says of them. Again does no harm.
        """
        given: Sequence[Any] = list(documents)
        if not given:
            return 0, []
        try:
            self[name].insert_many(given, ordered=False)
            return len(given), []
        except BulkWriteError as error:
            said: Document = dict(error.details)
        for failed in said["writeConcernErrors"]:
            raise WTimeoutError(failed["errmsg"], failed.get("code"))
        for failed in said["writeErrors"]:
            if failed["code"] not in {_IS_THERE, *_OF_DOCUMENTS}:
                raise OperationFailure(failed["errmsg"], failed["code"])
        refused = [one for one in said["writeErrors"] if one["code"] != _IS_THERE]
        return said["nInserted"], [(one["index"], _of_refused(one)) for one in refused]

    def insert_rows(self, rows: pl.DataFrame, run: Run[Inserted]) -> tuple[int, pl.DataFrame]:
        """Insert rows by `insist` or `once`; returns how many, and those that are `REFUSED`."""
        made = dict(enumerate(of_rows(rows)))
        said = {number: one for number, one in made.items() if isinstance(one, str)}
        good = {number: one for number, one in made.items() if not isinstance(one, str)}
        count, refused = run(lambda: self.insert(LOGS, good.values()))
        if refused:
            numbers = list(good)
            said |= {numbers[at]: why for at, why in refused}
        if not said:
            return count, pl.DataFrame(schema=REFUSED)
        found = rows[sorted(said)].select(*PLACE, "line")
        return count, found.with_columns(detail=pl.Series([said[n] for n in sorted(said)]))

    def insert_letters(self, letters: pl.DataFrame, run: Run[Inserted]) -> int:
        """Insert dead letters, likewise; returns how many. The server refuses none."""
        made = list(of_letters(letters))
        count, refused = run(lambda: self.insert(DEAD_LETTERS, made))
        if refused:
            raise StoreError(f"MongoDB at {self.address} refuses dead letters: {refused[0][1]}")
        return count

    def places(self, name: str, chosen: Document) -> pl.DataFrame:
        """The places of these lines."""
        return pl.concat([NO_PLACES, *self.batches_of_places(name, chosen)])

    def batches_of_places(self, name: str, chosen: Document) -> Iterator[pl.DataFrame]:
        """The same batch after batch, as they come from the index of `_id`."""
        batches: Any = self[name].find_raw_batches(chosen, {"_id": 1})  # bytes, for all it says
        return map(places_of, batches)

    def close(self) -> None:
        """Close every connection; of a server that hangs no farewell is waited for."""
        with suppress(StoreError):
            self._retry.bounded(self._client.close)

    def _make(self) -> None:
        there = self._database.list_collection_names()
        for name, indexes in _INDEXES.items():
            if name not in there:
                self._create(name)
            for columns in indexes:
                self[name].create_index([(column, ASCENDING) for column in columns])

    def _create(self, name: str) -> None:
        try:
            validator: Document = {"validator": {"$jsonSchema": SCHEMA}} if name == LOGS else {}
            self._database.create_collection(name, check_exists=False, **validator)
        except OperationFailure as error:
            if error.code in _NO_VALIDATORS and name == LOGS:
                say(f"The server at {self.address} knows no validators; Logwax checks by itself.")
            elif error.code != 48:  # another process has just made it
                raise


def trouble(error: Exception) -> Trouble | None:
    """Why a request is repeated: all of them may be, for a document that is there stays."""
    if not isinstance(error, PyMongoError) or isinstance(error, InvalidOperation):
        return None
    passes = isinstance(error, ConnectionFailure | ExecutionTimeout | WTimeoutError) or (
        isinstance(error, OperationFailure) and error.code in _PASSING
    )
    return Trouble(f"MongoDB: {words(error)}", needs_help=not passes)


def words(error: Exception) -> str:
    """What an error says, less what the driver adds to it."""
    details = (error.details or {}) if isinstance(error, OperationFailure) else {}
    several = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    said = next((one["errmsg"] for one in several), details.get("errmsg"))
    text = str(said or error)
    return re.split(r" \(configured timeouts:|, full error:|, Timeout:", text)[0][:_WORDS]


def _of_refused(failed: Document) -> str:
    parts = words_of(failed.get("errInfo", {}).get("details", {}))
    return "; ".join([failed["errmsg"], *parts])[:_WORDS]
