"""The cardinality guard: every value of a tag makes series in InfluxDB, and series cost memory."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

import polars as pl

from connectors.distinct import Distinct
from connectors.saying import say
from connectors.sinks.influxdb.line_protocol import MEASUREMENT
from connectors.sinks.influxdb.positions import InfluxLedger
from connectors.sinks.influxdb.server import InfluxServer
from connectors.status import Status

_VALUES = f'SHOW TAG VALUES FROM "{MEASUREMENT}" WITH KEY = "{{column}}" LIMIT {{limit:d}}'


class TagGuard:
    """Says which tag columns are fields by now; one object serves all workers of a process.

    A column is, from the batch on with which it would have more than `most` values. That is
    recorded before it is acted upon, and holds for ever, in every process that starts later;
    processes that run beside each other count for themselves.
    """

    def __init__(
        self,
        server: InfluxServer,
        ledger: InfluxLedger,
        columns: Collection[str],
        most: int,
        status: Status,
    ) -> None:
        self._ledger = ledger
        self._most = most
        self._status = status
        self._lock = threading.Lock()
        self._demoted = frozenset(columns) & ledger.demoted()
        self._status.demoted_tags = self._demoted
        self._seen: dict[str, set[str]] = {}
        for column in frozenset(columns) - self._demoted:  # names of settings.py, not of anybody
            found = server.ask(_VALUES.format(column=column, limit=most + 1))
            self._seen[column] = {row["value"] for row in found}

    def demoted(self, tags: Mapping[str, Distinct]) -> frozenset[str]:
        """The columns that are to be written as fields in rows with these values."""
        with self._lock:
            for column in self._seen.keys() & tags.keys():
                seen = self._seen[column]
                seen.update(tags[column].values.cast(pl.String).to_list())
                seen.discard("")
                if len(seen) > self._most:
                    self._demote(column)
            return self._demoted

    def _demote(self, column: str) -> None:
        self._ledger.demote(column)
        del self._seen[column]
        self._demoted |= {column}
        self._status.demoted_tags = self._demoted
        say(
            f"Warning: the tag {column} has more than INFLUXDB_MAX_TAG_VALUES={self._most} values: "
            f"from now on they are written to the field {column}_text.",
        )
