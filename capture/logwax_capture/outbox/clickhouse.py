"""A batch of events into ClickHouse over HTTP, each event once: the standard library only.

A batch is one insert with a token made of its number, so a second one does nothing. ClickHouse
remembers the last tokens only. So of a batch that somebody may have sent before, the table is asked
which events it has. If it refuses the batch for what some event says, halves of it are inserted,
and halves of these, until what is refused is single events.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.error import HTTPError
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from logwax_capture.outbox.connections import as_text
from logwax_capture.outbox.table import Batch, Event

EVENT_LOG = """
CREATE TABLE IF NOT EXISTS event_log (
    event_type String,
    event_date_time DateTime64(6, 'UTC'),
    environment String,
    event_context String,
    metadata_version Int32 DEFAULT 1,
    file_id UInt64,
    offset UInt64,
    INDEX place (file_id, offset) TYPE minmax GRANULARITY 1
) ENGINE = MergeTree ORDER BY (event_date_time, event_type)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1,
    fsync_part_directory = 1
"""
"""The table of events. (`file_id`, `offset`) is the identity of an event, as of any line that
Logwax stores: the number of its outbox, and its id there."""

_COLUMNS = (
    "event_type, event_date_time, environment, event_context, metadata_version, file_id, offset"
)
_INSERT = f"INSERT INTO event_log ({_COLUMNS}) FORMAT JSONCompactEachRow"
_HELD = """
SELECT offset FROM event_log
WHERE file_id = {outbox:UInt64} AND offset BETWEEN {first:UInt64} AND {last:UInt64}
    AND event_date_time BETWEEN {oldest:DateTime64(6, 'UTC')} AND {newest:DateTime64(6, 'UTC')}
FORMAT TSV
"""

# Error codes that are about a value: see connectors/sinks/clickhouse/errors.py of Logwax.
_REFUSED = frozenset(
    (6, 26, 27, 38, 41, 69, 70, 72, 117, 130, 131, 321, 349, 376, 395, 407, 467, 469, 675, 676, 691)
)
_TOO_MANY_PARTS = 252
_UNKNOWN_TABLE = 60
_YEARS = range(1900, 2300)
_as_json = json.JSONEncoder(ensure_ascii=False).encode
_WORDS = 1000  # characters of what the store says


class EventStoreError(Exception):
    """The store could not take a batch now; it may be sent again."""


class EventStore(Protocol):
    """Where events go."""

    def insert(self, batch: Batch) -> Mapping[int, str]:
        """Store the batch's events, each once, however often and by whomever the batch is sent.

        Returns the ids of the events that the store will never take, with what it says of them.
        Raises `EventStoreError` if it is not known to have all others.
        """


class _RefusedError(Exception):
    """ClickHouse refuses an insert for what is in it."""


class _MissingTableError(Exception):
    """There is no table of events yet."""


class EventLogClient:
    """The table `event_log` behind `url`: `http://user:password@host:port/database`, or https.

    `timeout`: seconds that an answer is waited for.
    """

    def __init__(self, url: str = "http://127.0.0.1:8123", *, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("CLICKHOUSE_URL must be http://user:password@host:port/database")
        port = parts.port or (8443 if parts.scheme == "https" else 8123)
        self._address = f"{parts.hostname}:{port}"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._url = f"{parts.scheme}://{host}:{port}/"
        self._database = unquote(parts.path.strip("/")) or "default"
        self._headers = {"X-ClickHouse-User": unquote(parts.username or "default")}
        if parts.password:
            self._headers["X-ClickHouse-Key"] = unquote(parts.password)
        self._timeout = timeout
        self._opener = build_opener(_NoRedirect)

    def insert(self, batch: Batch) -> Mapping[int, str]:
        """See `EventStore`; makes the table where it is missing."""
        try:
            return self._insert_batch(batch)
        except _MissingTableError:
            self._ask(EVENT_LOG)
            return self._insert_batch(batch)

    def _insert_batch(self, batch: Batch) -> dict[int, str]:
        # What no column of ClickHouse has it would change without a word.
        beyond = {
            event.id: f"ClickHouse has no time in the year {event.event_date_time.year}"
            for event in batch.events
            if event.event_date_time.year not in _YEARS
        }
        events = [event for event in batch.events if event.id not in beyond]
        held = self._held(batch.outbox, events) if batch.is_repeated and events else frozenset()
        return {**beyond, **self._insert(batch, events, batch.token, held)}

    def _insert(
        self, batch: Batch, events: Sequence[Event], token: str, held: frozenset[int]
    ) -> dict[int, str]:
        there = sum(event.id in held for event in events)
        if there == len(events):
            return {}
        if not there:  # an insert is there whole or not at all
            try:
                self._insert_block(batch.outbox, events, token)
            except _RefusedError as error:
                if len(events) == 1:
                    return {events[0].id: str(error)}
            else:
                return {}
        middle = len(events) // 2
        return {
            id: why
            for half in (events[:middle], events[middle:])
            for id, why in self._insert(
                batch, half, f"{batch.token}:part:{half[0].id}:{half[-1].id}", held
            ).items()
        }

    def _insert_block(self, outbox: int, events: Sequence[Event], token: str) -> None:
        rows = "\n".join(
            _as_json(
                [
                    event.event_type,
                    as_text(event.event_date_time),
                    event.environment,
                    event.event_context,
                    event.metadata_version,
                    outbox,
                    event.id,
                ]
            )
            for event in events
        )
        self._ask(
            _INSERT,
            rows.encode(),
            insert_deduplication_token=token,
            async_insert="0",
            # One insert is one part, or its token would not cover it.
            input_format_parallel_parsing="0",
            max_insert_block_size=str(len(events) + 1),
            min_insert_block_size_rows=str(len(events) + 1),
            min_insert_block_size_bytes="0",
        )

    def _held(self, outbox: int, events: Sequence[Event]) -> frozenset[int]:
        times = [event.event_date_time for event in events]
        answer = self._ask(
            _HELD,
            param_outbox=str(outbox),
            param_first=str(events[0].id),
            param_last=str(events[-1].id),
            param_oldest=as_text(min(times)),
            param_newest=as_text(max(times)),
        )
        return frozenset(map(int, answer.split()))

    def _ask(self, statement: str, rows: bytes = b"", **options: str) -> bytes:
        """The answer. Raises `_RefusedError`, `_MissingTableError` or `EventStoreError`."""
        options = {"database": self._database, **options}
        if rows:
            options["query"] = statement
        request = Request(
            f"{self._url}?{urlencode(options)}", rows or statement.encode(), self._headers
        )
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                text: bytes = answer.read()
                names = [name.lower() for name in answer.headers]
        except HTTPError as error:
            raise self._meaning(error) from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise EventStoreError(f"ClickHouse at {self._address} does not answer: {why}") from None
        if not any(name.startswith("x-clickhouse-") for name in names) or (rows and text.strip()):
            raise EventStoreError(f"What answers at {self._address} is not ClickHouse")
        return text

    def _meaning(self, error: HTTPError) -> Exception:
        said = " ".join(error.read(_WORDS).decode(errors="replace").split())
        found = re.match(r"Code: (\d+)\.", said)
        code = int(found[1]) if found else 0
        if (
            code in _REFUSED
            or (code == _TOO_MANY_PARTS and "partitions for single INSERT" in said)
            or error.code == 413
        ):
            return _RefusedError(said or "too large")
        if code == _UNKNOWN_TABLE:
            return _MissingTableError(said)
        return EventStoreError(f"ClickHouse at {self._address}: {error.code} {said}")


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *arguments: object) -> None:
        """Follow none: what answered elsewhere would be no answer."""
