"""What commands ask of an InfluxDB store line by line: its `Accounts`, as far as points tell.

Lines beyond a file's recorded position do not count: whoever goes on with it writes them again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.accounts import BUCKET, Answer, Places
from connectors.errors import StoreError
from connectors.sinks.influxdb.line_protocol import DEAD_LETTERS, MEASUREMENT
from connectors.sinks.influxdb.positions import InfluxLedger
from connectors.sinks.influxdb.server import InfluxServer

_FILES = f"""SHOW TAG VALUES FROM "{MEASUREMENT}", "{DEAD_LETTERS}" WITH KEY = "file_id" """
_OFFSETS = """
SELECT "offset" FROM "{0}" WHERE "file_id" = $file AND "offset" >= $first AND "offset" < $last
"""
_CONTINUED = f"""
SELECT "offset" FROM "{DEAD_LETTERS}" WHERE "file_id" = $file AND "reason" = 'continued'
"""
_REASONS = f"""SELECT COUNT("offset") AS "letters" FROM "{DEAD_LETTERS}" GROUP BY "reason" """
_SAMPLES = f"""
SELECT "source", "offset", "reason", "detail", "raw" FROM "{DEAD_LETTERS}"
WHERE "reason" = $reason ORDER BY time DESC LIMIT {{most}}
"""


class InfluxAccounts:
    """The `Accounts` of an InfluxDB bucket; points cannot be moved, so nothing is changed."""

    def __init__(self, server: InfluxServer, ledger: InfluxLedger) -> None:
        self._server = server
        self._ledger = ledger
        self._ends = {span.stream.id: span.end for span in ledger.ledger().files}
        self._cancelled = False

    def sums(self) -> pl.DataFrame:
        """See `Accounts`; every line is read, file by file."""
        files = {int(row["value"]) for row in self._ask(_FILES)}  # of each measurement
        found = [self._sums_of(file_id) for file_id in sorted(files)]
        schema = ("file_id", "bucket", "lines", "dead_lines", "total", "squares")
        return pl.concat([pl.DataFrame(schema=dict.fromkeys(schema, pl.UInt64)), *found])

    def places(self, file_id: int, first: int, last: int) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The offsets that are stored in [first, last), and whether each is a dead letter."""
        last = min(last, self._ends.get(file_id, 0))
        rows, dead = (
            self._offsets(_OFFSETS.format(measurement), file=str(file_id), first=first, last=last)
            for measurement in (MEASUREMENT, DEAD_LETTERS)
        )
        return np.concatenate([rows, dead]), np.arange(len(rows) + len(dead)) >= len(rows)

    def begins(self) -> dict[int, int]:
        """Where reading began in the files in which it did not begin at 0."""
        return self._ledger.begins()

    def blocks(self, file_id: int) -> pl.DataFrame:
        """`start`, `end` and `proof` of the last block of a file: no other is kept."""
        spans = self._ledger.ledger([file_id]).files
        kept = [(span.start, span.end, span.proof) for span in spans]
        schema = {"start": pl.UInt64, "end": pl.UInt64, "proof": pl.String}
        return pl.DataFrame(kept, schema=schema, orient="row")

    def cuts(self, file_id: int) -> npt.NDArray[np.int64]:
        """Where lines of a file begin though no newline is before, as far as it is kept."""
        rests = self._offsets(_CONTINUED, file=str(file_id))
        return np.union1d(self.blocks(file_id)["start"].to_numpy(), rests).astype(np.int64)

    def reasons(self) -> dict[str, int]:
        """How many dead letters there are of each reason, the most frequent first."""
        found = {row["reason"]: row["letters"] for row in self._ask(_REASONS)}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def samples(self, reason: str, most: int) -> pl.DataFrame:
        """The newest dead letters of a reason: `source`, `offset`, `reason`, `detail`, `raw`."""
        names = ["source", "offset", "reason", "detail", "raw"]
        found = self._ask(_SAMPLES.format(most=int(most)), reason=reason)
        schema = dict.fromkeys(names, pl.String()) | {"offset": pl.UInt64()}
        letters = pl.DataFrame(
            [[row[name] for name in names] for row in found], schema, orient="row"
        )
        return letters.with_columns(pl.col("raw").cast(pl.Binary))

    def select(self, sql: str, most: int) -> Answer:
        """Raises `StoreError`."""
        raise StoreError("STORE=influxdb takes no SQL: ask InfluxDB itself.")

    def cancel(self) -> None:
        """Ask nothing more: the process is about to end."""
        self._cancelled = True

    def _sums_of(self, file_id: int) -> pl.DataFrame:
        offsets, dead = self.places(file_id, 0, 2**63 - 1)
        place = pl.col("offset")
        lines = pl.DataFrame({"offset": offsets, "dead": dead})
        return (
            lines.group_by(bucket=place // BUCKET)
            .agg(
                lines=pl.len().cast(pl.UInt64),
                dead_lines=pl.col("dead").sum().cast(pl.UInt64),
                total=place.sum(),
                squares=(place * place).sum(),
            )
            .select(pl.lit(file_id, pl.UInt64).alias("file_id"), pl.all())
            .sort("bucket")
        )

    def _offsets(self, statement: str, **values: object) -> Places:
        return np.array([row["offset"] for row in self._ask(statement, **values)], np.uint64)

    def _ask(self, statement: str, **values: object) -> list[dict[str, Any]]:
        if self._cancelled:
            raise StoreError("The process is about to end.")
        return self._server.ask(statement, **values)
