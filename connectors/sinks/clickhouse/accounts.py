"""What commands ask of a ClickHouse store line by line, and change in it: its `Accounts`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.accounts import BUCKET, FRAGMENTS, Answer, Places
from connectors.batch import PLACE, BlockId, Span
from connectors.errors import StoreError
from connectors.sinks.clickhouse.errors import is_too_much, may_be_lines
from connectors.sinks.clickhouse.insert import insert_lines, insert_what_fits
from connectors.sinks.clickhouse.ledger import insert_ledger
from connectors.sinks.clickhouse.query import select
from connectors.sinks.clickhouse.sql import with_short_lists
from connectors.sinks.sql import DEAD_LETTERS, LEDGER
from connectors.sinks.writers import hash_of

_LINES = f"""
    SELECT file_id, offset, false AS dead FROM {{table:Identifier}} WHERE {{where}}
    UNION ALL SELECT file_id, offset, true AS dead FROM {DEAD_LETTERS}
    WHERE {{where}}
"""

# Sums wrap around at 2^64, which numpy does as well.
_SUMS = f"""
SELECT file_id, intDiv(offset, {BUCKET}) AS bucket, count() AS lines, countIf(dead) AS dead_lines,
    sum(offset) AS total, sum(offset * offset) AS squares
FROM ({_LINES.replace("{where}", "1")}) GROUP BY file_id, bucket ORDER BY file_id, bucket
"""

_PLACES = _LINES.replace(
    "{where}", "file_id = {file:UInt64} AND offset >= {first:UInt64} AND offset < {last:UInt64}"
)

_BEGINS = f"""
SELECT file_id, max(end) FROM {LEDGER}
WHERE instance = {{instance:String}} AND kind = 'position' AND file_id != 0 GROUP BY file_id
"""

_BLOCKS = f"""
SELECT DISTINCT start, end, proof FROM {LEDGER}
WHERE instance = {{instance:String}} AND file_id = {{file:UInt64}} AND kind = 'block'
ORDER BY start, end
"""

_CONTINUED = f"""
SELECT offset FROM {DEAD_LETTERS} WHERE file_id = {{file:UInt64}} AND reason = 'continued'
"""

_LETTERS = f"""
FROM {DEAD_LETTERS}
WHERE (file_id, offset) > ({{file:UInt64}}, {{offset:UInt64}})
    AND NOT has({{fragments:Array(String)}}, reason)
    AND ({{reason:String}} = '' OR reason = {{reason:String}})
    AND (empty({{sources:Array(String)}}) OR has({{sources:Array(String)}}, source))
"""
_SIZES = f"""
SELECT file_id, offset, length(raw) AS bytes {_LETTERS}
ORDER BY file_id, offset LIMIT {{page:UInt64}}
"""
_PAGE = f"""
SELECT file_id, offset, source, raw, reason, detail {_LETTERS}
    AND (file_id, offset) <= ({{last_file:UInt64}}, {{last_offset:UInt64}})
ORDER BY file_id, offset LIMIT 1 BY file_id, offset
"""

_REASONS = f"""
SELECT reason, count() AS letters FROM {DEAD_LETTERS}
GROUP BY reason ORDER BY letters DESC, reason
"""
_SAMPLES = f"""
SELECT source, offset, reason, detail, substring(raw, 1, 1024) AS raw FROM {DEAD_LETTERS}
WHERE reason = {{reason:String}} ORDER BY seen_at DESC, file_id, offset LIMIT {{most:UInt32}}
"""

_HELD = """
SELECT DISTINCT file_id, offset FROM {table:Identifier}
WHERE (file_id, offset) IN {places:Array(Tuple(UInt64, UInt64))}
"""

_CHOSEN = """
WHERE (file_id, offset) IN {places:Array(Tuple(UInt64, UInt64))}
    AND NOT has({fragments:Array(String)}, reason)
"""
_DELETE = f"ALTER TABLE {DEAD_LETTERS} DELETE {_CHOSEN}"

_NAME = "concat(toString(file_id), ' ', toString(offset))"
_UPDATE = f"""
ALTER TABLE {DEAD_LETTERS} UPDATE
    reason = transform({_NAME}, {{names:Array(String)}}, {{reasons:Array(String)}}, reason),
    detail = transform({_NAME}, {{names:Array(String)}}, {{details:Array(String)}}, detail)
{_CHOSEN}"""

_CANCEL = "KILL QUERY WHERE Settings['log_comment'] = {mark:String} ASYNC"

_FRUGAL = {
    "max_threads": 2,
    "max_block_size": 65_536,
    "max_bytes_before_external_group_by": 128 * 1024 * 1024,
    "use_uncompressed_cache": 0,
}
"""A pipeline may be at work beside."""


class ClickHouseAccounts:
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
        self._cancelled = False

    def sums(self) -> pl.DataFrame:
        """See `Accounts`; summed up by the engine."""
        return self._ask(_SUMS)

    def places(self, file_id: int, first: int, last: int) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The offsets that are stored in [first, last), and whether each is a dead letter."""
        found = self._ask(_PLACES, file=file_id, first=first, last=last)
        return found["offset"].to_numpy(), found["dead"].cast(pl.Boolean).to_numpy()

    def begins(self) -> dict[int, int]:
        """Where reading began in the files in which it did not begin at 0."""
        return dict(self._ask(_BEGINS).rows())

    def blocks(self, file_id: int) -> pl.DataFrame:
        """`start`, `end` and `proof` of the blocks that the ledger has of a file."""
        return self._ask(_BLOCKS, file=file_id)

    def cuts(self, file_id: int) -> npt.NDArray[np.int64]:
        """Where lines of a file begin though no newline is before: blocks, rests of lines."""
        starts = self.blocks(file_id)["start"].to_numpy()
        rests = self._ask(_CONTINUED, file=file_id)["offset"].to_numpy()
        return np.union1d(starts, rests).astype(np.int64)

    def letters(
        self, after: tuple[int, int], reason: str, sources: Sequence[str], lines: int, size: int
    ) -> pl.DataFrame:
        """The next dead letters behind the place `after`."""
        chosen = {
            "file": after[0],
            "offset": after[1],
            "reason": reason,
            "sources": list(sources),
        }
        sizes = self._ask(_SIZES, page=lines, **chosen)
        if sizes.is_empty():
            return sizes
        within = int((sizes["bytes"].cum_sum() <= size).sum())
        last_file, last_offset, _ = sizes.row(max(within, 1) - 1)
        found = self._ask(_PAGE, last_file=last_file, last_offset=last_offset, **chosen)
        return found.with_columns(pl.col("source", "reason", "detail").cast(pl.String))

    def sources(self) -> list[str]:
        """Every path that dead letters came from."""
        found = self._ask(f"SELECT DISTINCT source FROM {DEAD_LETTERS}")
        return found["source"].cast(pl.String).to_list()

    def select(self, sql: str, most: int) -> Answer:
        """The answer to a question of a person's own, which can change nothing: `most` rows."""
        if self._cancelled:
            raise StoreError(_ENDING)
        return select(self._connect, sql, most, self._mark)

    def reasons(self) -> dict[str, int]:
        """How many dead letters there are of each reason, the most frequent first."""
        return dict(self._ask(_REASONS).with_columns(pl.col("reason").cast(pl.String)).rows())

    def samples(self, reason: str, most: int) -> pl.DataFrame:
        """The newest dead letters of a reason: `source`, `offset`, `reason`, `detail`, `raw`."""
        found = self._ask(_SAMPLES, reason=reason, most=most)
        return found.with_columns(pl.col("source", "reason", "detail").cast(pl.String))

    def held(self, places: pl.DataFrame) -> pl.DataFrame:
        """Which of these places the table of lines holds: `file_id`, `offset`."""
        return self._ask(_HELD, places=_tuples(places))

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

    def _ask(self, query: str, **parameters: object) -> pl.DataFrame:
        try:
            query, values = with_short_lists(query, self._with_names(parameters))
            found = pl.from_arrow(
                self._client.query_arrow(query, parameters=values, settings=self._limits())
            )
        except ClickHouseError as error:
            raise StoreError(f"ClickHouse cannot answer: {error}") from error
        assert isinstance(found, pl.DataFrame)
        return found

    def _change(self, statement: str, places: pl.DataFrame, **parameters: object) -> None:
        if places.is_empty():
            return
        try:
            statement, values = with_short_lists(
                statement, self._with_names({"places": _tuples(places), **parameters})
            )
            # Which puts long parameters into the body, unlike `command`.
            self._client.raw_query(
                statement, values, settings=self._limits() | {"mutations_sync": 1}
            )
        except ClickHouseError as error:
            raise StoreError(f"ClickHouse refused a change: {error}") from error

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

    def _with_names(self, parameters: Mapping[str, object]) -> dict[str, object]:
        common = {"table": self._table, "instance": self._instance, "fragments": list(FRAGMENTS)}
        return {**common, **parameters}

    def _limits(self) -> dict[str, object]:
        if self._cancelled:
            raise StoreError(_ENDING)
        return {**_FRUGAL, "log_comment": self._mark, "output_format_arrow_string_as_string": 0}


_ENDING = "The process is about to end."


def _tuples(places: pl.DataFrame) -> list[tuple[int, ...]]:
    return places.select(PLACE).rows()
