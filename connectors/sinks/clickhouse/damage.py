"""What is damaged in the embedded store: parts of tables that the engine set aside, or cannot read.

A bad sector, or half of a backup: the engine starts without a part that it cannot load, and keeps
it under another name (ClickHouse, system.detached_parts).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from clickhouse_connect.driver.client import Client

from connectors.errors import StoreError
from connectors.sinks.sql import LEDGER

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
    """One sentence for each kind of damage, as far as anybody has noticed by now.

    Raises `StoreError` if what is missing of the ledger would let lines be stored twice.
    """
    lost: dict[str, list[str]] = {}
    spare: dict[str, list[str]] = {}
    for table, path, first, last in client.query(_SET_ASIDE).result_rows:
        there = client.query(_THERE, {"table": table}).result_rows
        (spare if _cover(there, first, last) else lost).setdefault(table, []).append(path)
    if paths := lost.get(LEDGER):
        raise StoreError(
            f"{_set_aside(LEDGER, paths)}. What they knew of positions is missing: lines would be "
            "stored twice. Restore a backup of DATA_DIR; or delete them, to store these again."
        )
    found = [
        f"{_set_aside(table, paths)}, with their rows. {_REMEDY}; then delete them."
        for table, paths in lost.items()
    ]
    found += [
        f"{_set_aside(table, paths)}. All of it is in other parts, too: delete them."
        for table, paths in spare.items()
    ]
    for (message,) in client.query(_MET).result_rows:
        found.append(f"Data of the embedded store is damaged: {message}. {_REMEDY}.")
    return found


def _set_aside(table: str, paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 1:,} more" if paths[1:] else ""
    return f"Damaged parts of the table {table} were set aside: {paths[0]}{more}"


def _cover(ranges: Iterable[Sequence[int]], first: int, last: int) -> bool:
    """Whether these ranges of numbers of blocks hold all of this one."""
    for low, high in sorted((low, high) for low, high in ranges):
        if low <= first <= high:
            first = high + 1
    return first > last
