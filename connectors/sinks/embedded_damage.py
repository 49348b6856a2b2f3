"""What is damaged in the embedded store: parts of tables that the engine set aside, or cannot read.

A bad sector, or half of a backup: the engine starts without a part that it cannot load, and keeps
it under another name (ClickHouse, system.detached_parts).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clickhouse_connect.driver.client import Client

from connectors.errors import StoreError
from connectors.sinks.clickhouse_tables import LEDGER

_SET_ASIDE = """
SELECT table, path, min_block_number, max_block_number FROM system.detached_parts
WHERE database = currentDatabase() AND startsWith(reason, 'broken') ORDER BY ALL
"""

_THERE = """
SELECT min_block_number, max_block_number FROM system.parts
WHERE database = currentDatabase() AND table = {table:String} AND active
"""

# CHECKSUM_DOESNT_MATCH, CORRUPTED_DATA, CANNOT_DECOMPRESS; since this process started
_MET = "SELECT last_error_message FROM system.errors WHERE code IN (40, 246, 271) AND value > 0"

_REMEDY = (
    "Stop, and restore a backup of DATA_DIR; or let `logwax audit` name the lines that are "
    "missing, and `logwax backfill` store them from files that are still there"
)


def damage(client: Client) -> Sequence[str]:
    """One sentence for everything that is damaged, as far as anybody has noticed by now.

    Raises `StoreError` if what is missing of the ledger would let lines be stored twice.
    """
    found: list[str] = []
    for table, path, first, last in client.query(_SET_ASIDE).result_rows:
        there = client.query(_THERE, {"table": table}).result_rows
        what = f"A part of the table {table} is damaged, and was set aside in {path}"
        if _cover(there, first, last):
            found.append(f"{what}: all of it is in other parts, too. Delete that directory.")
        elif table == LEDGER:
            raise StoreError(
                f"{what}. What it knew of positions is missing: lines would be stored twice. "
                "Restore a backup of DATA_DIR; or delete that directory, to store them again."
            )
        else:
            found.append(f"{what}, with its rows. {_REMEDY}; then delete that directory.")
    for (message,) in client.query(_MET).result_rows:
        found.append(f"Data of the embedded store is damaged: {message}. {_REMEDY}.")
    return found


def _cover(ranges: Iterable[Sequence[int]], first: int, last: int) -> bool:
    """Whether these ranges of numbers of blocks hold all of this one."""
    for low, high in sorted((low, high) for low, high in ranges):
        if low <= first <= high:
            first = high + 1
    return first > last
