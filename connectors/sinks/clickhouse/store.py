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
from functools import partial
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from connectors.batch import PLACE, BlockId, Parsed, Span
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
    check_insert,
    insert_lines,
    insert_what_fits,
)
from connectors.sinks.clickhouse.ledger import record
from connectors.sinks.clickhouse.reader import ClickHouseReader
from connectors.sinks.clickhouse.sql import in_own_words, with_short_lists
from connectors.sinks.clickhouse.tables import prepare_tables
from connectors.sinks.retry import PROXY_REFUSALS, Retry, Trouble
from connectors.sinks.sql import DEAD_LETTERS, ENTRY, LEDGER, SPAN, SqlStore, span_of
from connectors.sinks.writers import TokenWriter
from connectors.store import Reader
from settings import Settings

# What tells the TTL of RETENTION_DAYS from somebody else's.
_OURS_TTL = " + toIntervalDay(0)"
_EARLIER_TTL = r"\(?timestamp \+ toIntervalDay\(\d+\)\)?"  # before it was told

# In the order of the table, backwards: nothing is sorted.
_NEWEST = f"""
SELECT {ENTRY} FROM {LEDGER} WHERE instance = :instance AND {{these}} AND end <= :end
ORDER BY file_id DESC, end DESC, recorded_at DESC, kind DESC LIMIT 1 BY file_id
"""

_WHOLE_LEDGER = f"SELECT count() FROM {LEDGER} WHERE instance = :instance AND NOT ignore(*)"

# The last thing that a writer recorded is a block, or that its last block is stored.
_LAST = f"""
SELECT writer, max(sequence) FROM {LEDGER}
WHERE instance = :instance AND kind IN ('block', 'stored') GROUP BY writer
"""
_CLOSED = f"SELECT writer, sequence FROM {LEDGER} WHERE instance = :instance AND kind = 'stored'"

_IN_DOUBT = f"""
WITH doubtful AS (
    SELECT DISTINCT writer, sequence FROM {LEDGER}
    WHERE instance = :instance AND (empty(:files) OR file_id IN :files) AND kind = 'block'
        AND (writer, sequence) IN ({_LAST}) AND (writer, sequence) NOT IN ({_CLOSED}))
SELECT DISTINCT {SPAN}, writer, sequence FROM {LEDGER}
WHERE instance = :instance AND kind = 'block' AND (writer, sequence) IN (SELECT * FROM doubtful)
ORDER BY sequence DESC, writer, file_id
"""

_HELD = """
SELECT file_id, offset FROM {table:Identifier}
WHERE file_id IN {files:Array(UInt64)} AND offset >= {first:UInt64} AND offset < {last:UInt64}
"""


class ClickHouseStore(SqlStore):
    """A store behind `connect`, which makes one more client of the same database each time."""

    _NEWEST_ENTRIES = _NEWEST
    _FOLLOWED = f"""(file_id, end) NOT IN (
        SELECT file_id, max(end) FROM {LEDGER} WHERE instance = :instance GROUP BY file_id)"""
    _SETTLED = f"""(kind != 'block' OR (writer, sequence) NOT IN ({_LAST})
        OR (writer, sequence) IN ({_CLOSED}))"""

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
        self._lacking = prepare_tables(
            self._client,
            settings.clickhouse_table,
            is_shared=is_shared,
            enrichers=settings.enricher_names,
            unasked=settings.unasked_enrichers,
        )
        self._look_for_damage()
        self._refuse_an_unreadable_ledger()
        self._set_retention()
        self.reader: Reader | None = ClickHouseReader(self._new_client, settings.clickhouse_table)

    @property
    def version(self) -> str:
        """The engine's version."""
        return str(self._client.server_version)

    def _append(self, kind: str, spans: Sequence[Span], block: BlockId | None = None) -> None:
        block = block or BlockId(secrets.randbits(63), 0)
        record(self._retry, self._client, self._settings.instance, block, kind, spans)

    def _in_doubt(self, file_ids: Collection[int] | None) -> dict[BlockId, list[Span]]:
        found: dict[BlockId, list[Span]] = {}
        if file_ids is None or file_ids:
            for *row, writer, sequence in self._ask(_IN_DOUBT, files=list(file_ids or ())):
                found.setdefault(BlockId(writer, sequence), []).append(span_of(row))
        return found

    def keep(self, found: Collection[int], gone: Collection[int]) -> Collection[int]:
        """See `Store`; looks for damage, too."""
        with suppress(StoreError):  # it is looked for again in an hour
            self._look_for_damage()
        return super().keep(found, gone)

    def _ask(self, statement: str, **values: object) -> Sequence[Sequence[Any]]:
        query, values = self._own(statement, values)
        return self._retry(
            lambda: self._client.query(query, parameters=values), trouble
        ).result_rows

    def _change(self, statement: str, **values: object) -> None:
        command, values = self._own(statement, values)
        # Which puts long parameters into the body, unlike `command`.
        self._retry(lambda: self._client.raw_query(command, parameters=values), trouble)

    def writer(self) -> ClickHouseWriter:
        """A writer with a client of its own, so that workers do not wait for one another."""
        # The store was open before: by now, what fails is waited for.
        client = self._retry(
            self._new_client,
            lambda error: Trouble(str(error)) if isinstance(error, StoreError) else None,
        )
        return ClickHouseWriter(client, self._settings, self._retry, self._lacking)

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

    def _own(self, statement: str, values: dict[str, object]) -> tuple[str, dict[str, object]]:
        common = {
            "instance": self._settings.instance,
            "table": self._settings.clickhouse_table,
            "days": self._settings.ledger_keep_days,
        }
        return with_short_lists(in_own_words(statement), common | values)

    def _new_client(self) -> Client:
        client = self._connect()
        self._clients.append(client)
        return client

    def _refuse_an_unreadable_ledger(self) -> None:
        # Later, whoever asks it waits until it can be read: a start would seem to hang.
        try:
            self._client.query(*self._own(_WHOLE_LEDGER, {}))
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


class ClickHouseWriter(TokenWriter):
    """Stores one batch after another, each exactly once; see the module's docstring.

    The columns `lacking` are those that the table need not have, and has not.
    """

    def __init__(
        self, client: Client, settings: Settings, retry: Retry, lacking: Collection[str] = ()
    ) -> None:
        super().__init__(settings.instance)
        self._client = client
        self._retry = retry
        self._table = settings.clickhouse_table
        self._lacking = lacking

    def _record(self, block: BlockId, kind: str, spans: Sequence[Span]) -> None:
        record(self._retry, self._client, self._instance, block, kind, spans)

    def _insert_once(
        self, batch: Parsed, lines: pl.DataFrame, token: str, first: int, *, dead: bool
    ) -> pl.DataFrame:
        table = DEAD_LETTERS if dead else self._table
        lines = lines.drop(self._lacking, strict=False)
        return insert_what_fits(lines, token, partial(self._insert, batch, table), first)

    def _held(self, spans: Sequence[Span]) -> pl.DataFrame:
        return pl.concat(self._held_in(table, spans) for table in (DEAD_LETTERS, self._table))

    def _held_in(self, table: str, spans: Sequence[Span]) -> pl.DataFrame:
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
                lines.join(self._held_in(table, batch.spans), on=PLACE, how="anti")
            ):
                if of_a_view:
                    say(f"A view of {table} lacks rows: {reason(error)}")
                return True
            if is_too_much(error) or 1 < len(lines) < len(batch.rows):
                raise
            # Nobody knows whether it is about lines: not while the table takes none at all.
            for _ in range(1 if error.code else PROXY_REFUSALS):
                self._retry(lambda: check_insert(self._client, table, lines.columns), trouble)
                try:
                    return insert()
                except Error as again:
                    error = again
            raise error from None
