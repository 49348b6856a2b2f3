"""What commands ask of a ClickHouse store line by line, and change in it: its `Accounts`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.accounts import BUCKET, FRAGMENTS, Answer, Formatted, Question, RefusedError
from connectors.batch import PLACE, BlockId, Span
from connectors.errors import StoreError
from connectors.sinks.clickhouse.errors import is_too_much, may_be_lines
from connectors.sinks.clickhouse.insert import insert_lines, insert_what_fits
from connectors.sinks.clickhouse.ledger import insert_ledger
from connectors.sinks.clickhouse.query import Questions, select
from connectors.sinks.clickhouse.sql import in_own_words, with_short_lists
from connectors.sinks.sql import DEAD_LETTERS, LINES, SqlAccounts
from connectors.sinks.writers import hash_of

# Sums wrap around at 2^64, which numpy does as well.
_SUMS = f"""
SELECT file_id, intDiv(offset, {BUCKET}) AS bucket, count() AS lines, countIf(dead) AS dead_lines,
    sum(offset) AS total, sum(offset * offset) AS squares
FROM ({LINES}) GROUP BY file_id, bucket ORDER BY file_id, bucket
"""
_CHOSEN = f"WHERE (file_id, offset) IN :places AND reason NOT IN {FRAGMENTS}"
_DELETE = f"ALTER TABLE {DEAD_LETTERS} DELETE {_CHOSEN}"

_NAME = "concat(toString(file_id), ' ', toString(offset))"
_UPDATE = f"""
ALTER TABLE {DEAD_LETTERS} UPDATE
    reason = transform({_NAME}, :names, :reasons, reason),
    detail = transform({_NAME}, :names, :details, detail)
{_CHOSEN}"""

_CANCEL = "KILL QUERY WHERE startsWith(Settings['log_comment'], {mark:String}) ASYNC"
_GIVE_UP = "KILL QUERY WHERE Settings['log_comment'] = {mark:String} ASYNC"

_FRUGAL = {
    "max_threads": 2,
    "max_block_size": 65_536,
    "max_bytes_before_external_group_by": 128 * 1024 * 1024,
    "use_uncompressed_cache": 0,
}
"""A pipeline may be at work beside."""


class ClickHouseAccounts(SqlAccounts):
    """The `Accounts` of a ClickHouse store.

    `cancel` needs `second`, a client of its own; `connect` makes one for a question of a person's
    own.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        client: Client,
        second: Client,
        table: str,
        instance: str,
    ) -> None:
        self._connect = connect
        self._client = client
        self._second = second
        self._table = table
        self._instance = instance
        self._mark = secrets.token_hex(8)
        self._questions = Questions(connect, self._mark)
        self._cancelled = False

    def sums(self) -> pl.DataFrame:
        """See `Accounts`; summed up by the engine."""
        return self._ask(_SUMS)

    def select(self, sql: str, most: int) -> Answer:
        """The answer to a question of a person's own, which can change nothing: `most` rows."""
        if self._cancelled:
            raise StoreError(_ENDING)
        return select(self._connect, sql, most, self._mark)

    def formatted(self, question: Question) -> Formatted:
        """The answer to a question of a client of ClickHouse's protocol."""
        if self._cancelled:
            raise RefusedError(_CANCELLED, _ENDING)
        return self._questions.ask(question)

    def give_up(self, question: Question) -> None:
        """Stop a question that nobody waits for any more, if it is under way."""

        def kill(mark: str) -> None:
            with suppress(ClickHouseError):  # it only saves time
                self._second.command(_GIVE_UP, {"mark": mark})

        self._questions.give_up(question, kill)

    def insert(
        self, rows: pl.DataFrame, held: Callable[[], pl.DataFrame]
    ) -> tuple[int, pl.DataFrame]:
        """Insert those rows whose places `held` does not name, each once."""
        insert = partial(self._insert, self._table)
        return self._insert_once(
            rows, held, lambda rest, token: insert_what_fits(rest, token, insert)
        )

    def insert_dead(self, letters: pl.DataFrame, held: Callable[[], pl.DataFrame]) -> int:
        """Insert dead letters, likewise."""
        insert = partial(self._insert, DEAD_LETTERS)
        stored, refused = self._insert_once(
            letters, held, lambda rest, token: insert_what_fits(rest, token, insert)
        )
        if len(refused):
            raise StoreError(f"ClickHouse refused a dead letter: {refused['detail'][0]}")
        return stored

    def delete_dead(self, places: pl.DataFrame) -> None:
        """Delete the dead letters of these places; return when they are gone."""
        self._change(_DELETE, places)

    def update_dead(self, letters: pl.DataFrame) -> None:
        """Give dead letters the `reason` and the `detail` of these; return when they have them."""
        reasons, details = letters["reason"].to_list(), letters["detail"].to_list()
        names = [f"{file_id} {offset}" for file_id, offset in _tuples(letters)]
        self._change(_UPDATE, letters, names=names, reasons=reasons, details=details)

    def choose_position(self, span: Span) -> None:
        """Record that nothing before the span's end is the tail's to read."""
        try:
            # The file's own number as a writer's, and the position as that of a block: the entry's
            # token is then no other file's, and no earlier position's.
            block = BlockId(span.stream.id, span.end)
            insert_ledger(self._client, self._instance, block, "position", [span])
        except ClickHouseError as error:
            raise StoreError(f"ClickHouse refused a position: {error}") from error

    def cancel(self) -> None:
        """Give up the question under way, and do nothing more: the process is about to end."""
        self._cancelled = True
        with suppress(ClickHouseError):  # it only saves time
            self._second.command(_CANCEL, {"mark": self._mark})
        self._questions.close()

    def _ask(self, statement: str, **values: object) -> pl.DataFrame:
        try:
            query, bound = self._own(statement, values)
            found = pl.from_arrow(
                self._client.query_arrow(query, parameters=bound, settings=self._limits())
            )
        except ClickHouseError as error:
            raise StoreError(f"ClickHouse cannot answer: {error}") from error
        assert isinstance(found, pl.DataFrame)
        return found.with_columns(
            pl.col(name).cast(pl.String)
            for name, dtype in found.schema.items()
            if name != "raw" and not dtype.is_numeric()
        )

    def _change(self, statement: str, places: pl.DataFrame, **values: object) -> None:
        if places.is_empty():
            return
        try:
            statement, bound = self._own(statement, {"places": _tuples(places), **values})
            # Which puts long parameters into the body, unlike `command`.
            self._client.raw_query(
                statement, bound, settings=self._limits() | {"mutations_sync": 1}
            )
        except ClickHouseError as error:
            raise StoreError(f"ClickHouse refused a change: {error}") from error

    def _own(self, statement: str, values: Mapping[str, object]) -> tuple[str, dict[str, object]]:
        common = {"table": self._table, "instance": self._instance}
        return with_short_lists(in_own_words(statement), {**common, **values})

    def _insert_once(
        self,
        lines: pl.DataFrame,
        held: Callable[[], pl.DataFrame],
        insert: Callable[[pl.DataFrame, str], pl.DataFrame],
    ) -> tuple[int, pl.DataFrame]:
        rest = lines.join(held(), on=PLACE, how="anti") if len(lines) else lines
        refused = insert(rest, f"{self._instance}:{hash_of(rest)}")
        rest = rest.join(refused, on=PLACE, how="anti")
        # Were the same lines inserted before, and deleted since, the token drops them: see, and
        # insert them under another.
        if len(rest) and len(dropped := rest.join(held(), on=PLACE, how="anti")):
            insert(dropped, f"{self._instance}:{secrets.token_hex(32)}")
        return len(rest), refused

    def _insert(
        self, table: str, lines: pl.DataFrame, token: str, *, rehearse: bool = False
    ) -> bool:
        if self._cancelled and len(lines):
            raise StoreError(_ENDING)
        try:
            return insert_lines(self._client, table, lines, token, rehearse=rehearse)
        except ClickHouseError as error:
            if is_too_much(error) or (table == self._table and may_be_lines(error)):
                raise
            raise StoreError(f"ClickHouse refused lines: {error}") from error

    def _limits(self) -> dict[str, object]:
        if self._cancelled:
            raise StoreError(_ENDING)
        return {**_FRUGAL, "log_comment": self._mark, "output_format_arrow_string_as_string": 0}


_CANCELLED = 394  # QUERY_WAS_CANCELLED
_ENDING = "The process is about to end."


def _tuples(places: pl.DataFrame) -> list[tuple[int, ...]]:
    return places.select(PLACE).rows()
