"""Store: ClickHouse, wherever its engine runs. The tables, the ledger, and writing exactly once.

How a batch is stored (docs/architecture.md, "Exactly once"): its block is recorded in
`ingest_blocks`, then its dead letters and its rows are inserted, each in one insert that carries a
deduplication token of the block's identity. The next block of a writer, or a clean stop, says that
the one before is stored. A block of which nobody said so is settled at the next start: the same
bytes are read again, the tables are asked which of their lines they hold, and the rest is inserted.
Rows that the table refuses become dead letters.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from connectors.batch import PLACE, BlockId, Parsed, Span, Stored, Stream
from connectors.errors import StoreError
from connectors.saying import say
from connectors.sinks.clickhouse.accounts import ClickHouseAccounts
from connectors.sinks.clickhouse.errors import (
    LINES_AT_FAULT,
    is_of_a_view,
    is_too_much,
    reason,
    trouble,
    trouble_with_lines,
    trouble_with_many,
)
from connectors.sinks.clickhouse.insert import (
    Insert,
    check_insert,
    hash_of,
    insert_lines,
    insert_what_fits,
)
from connectors.sinks.clickhouse.ledger import record
from connectors.sinks.clickhouse.lists import with_short_lists
from connectors.sinks.clickhouse.reader import ClickHouseReader
from connectors.sinks.clickhouse.tables import DEAD_LETTERS, LEDGER, prepare_tables
from connectors.sinks.retry import STRANGERS_WORDS, Retry, Trouble
from connectors.store import Ledger, Reader
from settings import Settings

_SPAN = "stream, file_id, path, start, end, first_line, lines, proof"

# What tells the TTL of RETENTION_DAYS from somebody else's.
_OURS_TTL = " + toIntervalDay(0)"
_EARLIER_TTL = r"\(?timestamp \+ toIntervalDay\(\d+\)\)?"  # before it was told

_OURS = "instance = {instance:String}"
_THESE = "(empty({files:Array(UInt64)}) OR file_id IN {files:Array(UInt64)})"

# In the order of the table, backwards: nothing is sorted.
_POSITIONS = f"""
SELECT {_SPAN} FROM {LEDGER} WHERE {_OURS} AND {_THESE} AND file_id != 0
ORDER BY file_id DESC, end DESC, recorded_at DESC LIMIT 1 BY file_id
"""

_WHOLE_LEDGER = f"SELECT count() FROM {LEDGER} WHERE {_OURS} AND NOT ignore(*)"

_BEFORE = f"""
SELECT {_SPAN} FROM {LEDGER}
WHERE {_OURS} AND file_id = {{file:UInt64}} AND end <= {{end:UInt64}}
ORDER BY end DESC LIMIT 1
"""

# The last thing that a writer recorded is a block, or that its last block is stored.
_LAST = f"""
SELECT writer, max(sequence) FROM {LEDGER}
WHERE {_OURS} AND kind IN ('block', 'stored') GROUP BY writer
"""
_CLOSED = f"SELECT writer, sequence FROM {LEDGER} WHERE {_OURS} AND kind = 'stored'"

_IN_DOUBT = f"""
WITH doubtful AS (
    SELECT DISTINCT writer, sequence FROM {LEDGER}
    WHERE {_OURS} AND {_THESE} AND kind = 'block'
        AND (writer, sequence) IN ({_LAST}) AND (writer, sequence) NOT IN ({_CLOSED}))
SELECT DISTINCT writer, sequence, {_SPAN} FROM {LEDGER}
WHERE {_OURS} AND kind = 'block' AND (writer, sequence) IN (SELECT * FROM doubtful)
ORDER BY writer, file_id
"""

_MARKED_GONE = f"""
SELECT file_id, min(marked) FROM (
    SELECT file_id, kind, recorded_at AS marked FROM {LEDGER}
    WHERE {_OURS} AND file_id != 0 ORDER BY recorded_at DESC, kind DESC LIMIT 1 BY file_id)
WHERE kind = 'gone' GROUP BY file_id
"""

_IS_OLD = "recorded_at < now64(6, 'UTC') - toIntervalDay({days:UInt32})"

# A writer's last entry says that those before are stored, a file's last one where it continues.
_FORGET_GONE = f"""
DELETE FROM {LEDGER} WHERE {_OURS} AND file_id IN {{files:Array(UInt64)}}
    AND (kind != 'block' OR (writer, sequence) NOT IN ({_LAST})
        OR (writer, sequence) IN ({_CLOSED}))
"""
_FORGET_OLD = f"""
DELETE FROM {LEDGER} WHERE {_OURS} AND {_IS_OLD} AND kind IN ('block', 'gone')
    AND (writer, sequence) NOT IN ({_LAST})
    AND (file_id, end) NOT IN (
        SELECT file_id, max(end) FROM {LEDGER} WHERE {_OURS} GROUP BY file_id)
"""
_COUNT_OLD = _FORGET_OLD.replace("DELETE FROM", "SELECT count() FROM", 1)

_HELD = """
SELECT file_id, offset FROM {table:Identifier}
WHERE file_id IN {files:Array(UInt64)} AND offset >= {first:UInt64} AND offset < {last:UInt64}
"""


class ClickHouseStore:
    """A store behind `connect`, which makes one more client of the same database each time."""

    def __init__(
        self,
        connect: Callable[[], Client],
        settings: Settings,
        retry: Retry,
        *,
        is_shared: bool = True,
        find_damage: Callable[[Client], Sequence[str]] = lambda client: (),
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._retry = retry
        self._find_damage = find_damage
        self._release = release
        self._clients: list[Client] = []
        self._client = self._new_client()
        prepare_tables(self._client, settings.clickhouse_table, is_shared=is_shared)
        self._look_for_damage()
        self._refuse_an_unreadable_ledger()
        self._set_retention()
        self.reader: Reader | None = ClickHouseReader(self._new_client, settings.clickhouse_table)

    @property
    def version(self) -> str:
        """The engine's version."""
        return str(self._client.server_version)

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        """What is known of these files of this instance (None: of all)."""
        files = {"files": list(file_ids or ())}
        found = [_span(row) for row in self._ask(_POSITIONS, **files)]
        in_doubt: dict[BlockId, list[Span]] = {}
        for writer, sequence, *row in self._ask(_IN_DOUBT, **files):
            in_doubt.setdefault(BlockId(writer, sequence), []).append(_span(row))
        entries = self._ask(f"SELECT count() FROM {LEDGER} WHERE {_OURS}")
        return Ledger(found, in_doubt, is_new=entries[0][0] == 0)

    def before(self, file_id: int, end: int) -> Span | None:
        """The last recorded span of a file that ends at or before `end`."""
        rows = self._ask(_BEFORE, file=file_id, end=end)
        return _span(rows[0]) if rows else None

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""
        found: set[int] = set()
        for table in (DEAD_LETTERS, self._settings.clickhouse_table):
            held = self._ask(_HELD, table=table, files=[file_id], first=first, last=last)
            found.update(row[1] for row in held)
        return found

    def start_at(self, files: Sequence[Span]) -> None:
        """Record chosen positions, and by an entry without a file that there was a first start."""
        nobody = BlockId(secrets.randbits(63), 0)
        self._record(nobody, "position", files)
        self._record(BlockId(0, 0), "stored", [_NO_STREAM])

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        """Note which known files are there and which are gone, and clear the ledger.

        Forgets what is older than `LEDGER_KEEP_DAYS` and not needed any more, and files that have
        been gone for so long; returns the ids of these. Never what is in doubt.
        """
        marked: dict[int, datetime] = {row[0]: row[1] for row in self._ask(_MARKED_GONE)}
        for kind, ids in (
            ("gone", set(gone) - marked.keys()),
            ("position", marked.keys() & set(found)),
        ):
            known = self.ledger(ids).files if ids else ()
            nobody = BlockId(secrets.randbits(63), 0)
            self._record(nobody, kind, known)
        with suppress(StoreError):  # it is looked for again in an hour
            self._look_for_damage()
        days = self._settings.ledger_keep_days
        now = self._ask("SELECT now64(6, 'UTC')")[0][0]
        old = {id for id in set(gone) & marked.keys() if now - marked[id] > timedelta(days=days)}
        if old:
            doubtful = self.ledger(old).in_doubt.values()
            old -= {span.stream.id for spans in doubtful for span in spans}
            self._command(_FORGET_GONE, files=list(old))
        if self._ask(_COUNT_OLD, days=days)[0][0]:
            self._command(_FORGET_OLD, days=days)
        return old

    def writer(self) -> ClickHouseWriter:
        """A writer with a client of its own, so that workers do not wait for one another."""
        # The store was open before: by now, what fails is waited for.
        client = self._retry(
            self._new_client,
            lambda error: Trouble(str(error)) if isinstance(error, StoreError) else None,
        )
        return ClickHouseWriter(client, self._settings, self._retry)

    def accounts(self) -> ClickHouseAccounts:
        """What commands ask and change, by clients of its own."""
        clients = self._connect, self._new_client(), self._new_client()
        return ClickHouseAccounts(
            *clients, self._settings.clickhouse_table, self._settings.instance
        )

    def close(self) -> None:
        """Close every client, and let another process have the store."""
        for client in self._clients:
            client.close()
        self._release()

    def _ask(self, query: str, **parameters: object) -> Sequence[Sequence[Any]]:
        query, values = with_short_lists(query, {"instance": self._settings.instance, **parameters})
        return self._retry(
            lambda: self._client.query(query, parameters=values), trouble
        ).result_rows

    def _command(self, command: str, **parameters: object) -> None:
        command, values = with_short_lists(
            command, {"instance": self._settings.instance, **parameters}
        )
        # Which puts long parameters into the body, unlike `command`.
        self._retry(lambda: self._client.raw_query(command, parameters=values), trouble)

    def _record(self, block: BlockId, kind: str, spans: Sequence[Span]) -> None:
        record(self._retry, self._client, self._settings.instance, block, kind, spans)

    def _new_client(self) -> Client:
        client = self._connect()
        self._clients.append(client)
        return client

    def _refuse_an_unreadable_ledger(self) -> None:
        # Later, whoever asks it waits until it can be read: a start would seem to hang.
        try:
            self._client.query(_WHOLE_LEDGER, {"instance": self._settings.instance})
        except ClickHouseError as error:
            raise StoreError(
                f"The ledger cannot be read: {reason(error)}. Put that right; if it is damaged, "
                "restore a backup."
            ) from error

    def _look_for_damage(self) -> None:
        status = self._retry.status
        try:
            found = self._find_damage(self._client)
        except ClickHouseError as error:
            raise StoreError(f"ClickHouse cannot say what is damaged: {reason(error)}") from error
        for problem in found:
            if problem not in status.store_problems:
                say(problem)
        status.store_problems = tuple(found)

    def _set_retention(self) -> None:
        table, days = self._settings.clickhouse_table, self._settings.retention_days
        try:
            ((engine,),) = self._client.query(
                "SELECT engine_full FROM system.tables "
                "WHERE database = currentDatabase() AND name = {table:String}",
                {"table": table},
            ).result_rows
            found = re.search(r" TTL (.*?)(?: SETTINGS |$)", engine, re.DOTALL)
            present = found[1] if found else ""
            wanted = f"(timestamp + toIntervalDay({days})){_OURS_TTL}"
            if not days and not present.endswith(_OURS_TTL):
                return  # nobody has asked for a TTL, nor for the end of this one
            if days and present in (wanted, f"timestamp + toIntervalDay({days})"):
                return
            if present and not re.fullmatch(_EARLIER_TTL, present.removesuffix(_OURS_TTL)):
                raise StoreError(
                    f"The table {table} has a TTL of its own, which RETENTION_DAYS would replace: "
                    f"{present}. Set RETENTION_DAYS=0, or: ALTER TABLE {table} REMOVE TTL"
                )
            change = f"MODIFY TTL {wanted}" if days else "REMOVE TTL"
            self._client.command(f"ALTER TABLE {{table:Identifier}} {change}", {"table": table})
        except ClickHouseError as error:
            raise StoreError(f"ClickHouse cannot keep RETENTION_DAYS: {reason(error)}") from error


class ClickHouseWriter:
    """Stores one batch after another, each exactly once; see the module's docstring."""

    def __init__(self, client: Client, settings: Settings, retry: Retry) -> None:
        self._client = client
        self._retry = retry
        self._table = settings.clickhouse_table
        self._instance = settings.instance
        self._block = BlockId(secrets.randbits(63), 0)
        self._stored = True  # whether `_block` is: Bytewax closes a sink that has failed, too

    def write(self, batch: Parsed) -> Stored:
        """Store the batch; when this returns it is on disk. Raises `StoreError` when stopped."""
        if batch.in_doubt:
            return self._settle(batch, batch.in_doubt)
        if not self._stored:
            raise StoreError("The batch before this one is in doubt: restart to settle it.")
        self._block = BlockId(self._block.writer, self._block.sequence + 1)
        self._stored = False
        token = self._token(self._block)
        self._record(self._block, "block", batch.spans)
        self._insert_dead_letters(batch, batch.rejected, token)
        insert = partial(self._insert, batch, self._table)
        refused = insert_what_fits(batch.rows, token, insert)
        self._reject(batch, refused, token)
        self._stored = True
        return Stored.of(batch, len(refused))

    def close(self) -> None:
        """Say that the last block is stored, if it is: a clean stop."""
        if self._block.sequence and self._stored:
            with suppress(StoreError):  # unsaid, the next start finds it out
                self._record(self._block, "stored", [_NO_STREAM])

    def _settle(self, batch: Parsed, block: BlockId) -> Stored:
        # Both are asked about every line: the format may have been changed in between.
        held = pl.concat(self._held(batch.spans, table) for table in (DEAD_LETTERS, self._table))
        token = self._token(block)
        self._insert_dead_letters(batch, batch.rejected, token, held)
        insert = partial(self._insert, batch, self._table)
        refused = self._insert_rest(batch, batch.rows, token, held, insert)
        self._reject(batch, refused, token)
        if batch.is_whole:
            self._record(block, "stored", [_NO_STREAM])
        return Stored.of(batch, len(refused))

    @staticmethod
    def _insert_rest(
        batch: Parsed, lines: pl.DataFrame, token: str, held: pl.DataFrame, insert: Insert
    ) -> pl.DataFrame:
        """Insert what is not held, of a block in doubt; returns what is `REFUSED`."""
        # Of the lines before the last one held, none is under way any more.
        numbers = lines.with_row_index().join(held, on=PLACE, how="semi")["index"].to_list()
        first = max(numbers, default=-1) + 1
        passed = lines[:first].join(held, on=PLACE, how="anti", maintain_order="left")
        whole = token if batch.is_whole else f"{token}:rest:{hash_of(lines)}"
        return pl.concat(
            [
                insert_what_fits(passed, f"{token}:rest:{hash_of(passed)}", insert),
                insert_what_fits(lines, whole, insert, first),
            ]
        )

    def _reject(self, batch: Parsed, refused: pl.DataFrame, token: str) -> None:
        if len(refused):
            letters = batch.reject(refused)
            token = f"{token}:refused:{hash_of(letters)}"
            self._insert_dead_letters(batch, letters, token)

    def _insert_dead_letters(
        self, batch: Parsed, letters: pl.DataFrame, token: str, held: pl.DataFrame | None = None
    ) -> None:
        insert = partial(self._insert, batch, DEAD_LETTERS)
        if held is None:
            refused = insert_what_fits(letters, token, insert)
        else:
            refused = self._insert_rest(batch, letters, token, held, insert)
        # Nothing is refused but what is too large even alone: its beginning is stored.
        if len(refused):
            short = letters.join(refused, on=PLACE, how="semi").with_columns(
                pl.col("raw").bin.slice(0, _SHORT)
            )
            insert_what_fits(short, f"{token}:short:{hash_of(short)}", insert)

    def _record(self, block: BlockId, kind: str, spans: Sequence[Span]) -> None:
        record(self._retry, self._client, self._instance, block, kind, spans)

    def _held(self, spans: Sequence[Span], table: str) -> pl.DataFrame:
        """Which lines of these spans a table holds: `file_id`, `offset`."""
        query, wanted = with_short_lists(
            _HELD,
            {
                "table": table,
                "files": [span.stream.id for span in spans],
                "first": min(span.start for span in spans),
                "last": max(span.end for span in spans),
            },
        )
        found = pl.from_arrow(
            self._retry(lambda: self._client.query_arrow(query, parameters=wanted), trouble)
        )
        assert isinstance(found, pl.DataFrame)
        return found

    def _insert(
        self, batch: Parsed, table: str, lines: pl.DataFrame, token: str, *, rehearse: bool = False
    ) -> bool:
        """See `Insert`. Raises what is about lines, or their number; waits for all else to pass."""
        if len(lines) < len(batch.rows):  # one of very many inserts, perhaps
            self._retry.refuse_when_over()
        means = trouble_with_lines if table == self._table else trouble_with_many

        def insert() -> bool:
            return self._retry(
                lambda: insert_lines(self._client, table, lines, token, rehearse=rehearse), means
            )

        try:
            return insert()
        except Error as error:
            of_a_view = is_of_a_view(error)
            if error.code in LINES_AT_FAULT and not of_a_view:
                raise
            # It may have come through before, and its answer have been lost.
            if not rehearse and not len(
                lines.join(self._held(batch.spans, table), on=PLACE, how="anti")
            ):
                if of_a_view:
                    say(f"A view of {table} lacks rows: {reason(error)}")
                return True
            if is_too_much(error) or 1 < len(lines) < len(batch.rows):
                raise
            # Nobody knows whether it is about lines: not while the table takes none at all.
            for _ in range(1 if error.code else STRANGERS_WORDS):
                self._retry(lambda: check_insert(self._client, table, lines.columns), trouble)
                try:
                    return insert()
                except Error as again:
                    error = again
            raise error from None

    def _token(self, block: BlockId) -> str:
        return f"{self._instance}:{block.writer}:{block.sequence}"


_SHORT = 1024  # bytes of a dead letter that is too large for the way to the store
_NO_STREAM = Span(Stream(0, ""), 0, 0, 0, 0)


def _span(row: Sequence[Any]) -> Span:
    kind, id, name, start, end, first, records, proof = row
    return Span(Stream(id, name, kind), start, end, first, records, proof)
