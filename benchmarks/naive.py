"""The naive flow: a line is an item, parsed by `json` or `re`, collected by 1000, one insert each.

What a tutorial would write, and the reason why in Logwax a batch of columns travels instead. It
stores the columns that Logwax makes of the same lines, without identity, dead letters and fsync.

`python -m bytewax.run "benchmarks.naive:flow('json', 'FILE', 'DIRECTORY')"` prints `rows=N`.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import bytewax.operators as op
import clickhouse_connect
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

Row = tuple[object, ...]

_COLUMNS = {
    "timestamp": "DateTime64(6, 'UTC')",
    "customer_id": "String",
    "method": "LowCardinality(String)",
    "request_path": "String",
    "endpoint": "String",
    "status_code": "UInt16",
    "status_class": "LowCardinality(String)",
    "success": "Bool",
    "duration": "Float64",
    "client_ip": "String",
    "user_agent": "String",
    "referer": "String",
    "bytes_sent": "UInt64",
    "attributes": "String",
}
_COMBINED = re.compile(
    r'(\S+) \S+ (\S+) \[([^\]]*)\] "(\S+) (\S+) ([^"]*)" (\d+) (\S+)'
    r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"'
)
_ID = re.compile(r"/(?:[0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?=/|$)")


def parse_json(line: str) -> Row:
    """One generated JSON line."""
    found = json.loads(line)
    return (
        datetime.fromisoformat(found["ts"]),
        found["customer_id"],
        found["method"],
        *_outcome(found["path"], found["status"]),
        found["duration_ms"] / 1000,
        found["ip"],
        found["user_agent"],
        "",
        0,
        json.dumps({"request_id": found["request_id"]}),
    )


def parse_combined(line: str) -> Row:
    """One generated line of an access log. Raises `ValueError`."""
    found = _COMBINED.match(line)
    if not found:
        raise ValueError(f"not a combined line: {line}")
    ip, customer, time, method, path, protocol, status, size, referer, agent = found.groups()
    return (
        datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z"),
        "" if customer == "-" else customer,
        method,
        *_outcome(path, int(status)),
        0.0,
        ip,
        agent.replace('\\"', '"'),
        "" if referer == "-" else referer,
        0 if size == "-" else int(size),
        json.dumps({"protocol": protocol}),
    )


def _outcome(path: str, status: int) -> Row:
    """`request_path`, `endpoint`, `status_code`, `status_class`, `success`."""
    endpoint = _ID.sub("/:id", path.partition("?")[0])
    return path, endpoint, status, f"{status // 100}xx", 200 <= status < 400


class _Insert(StatelessSinkPartition[tuple[str, list[Row]]]):
    def __init__(self, directory: str) -> None:
        self._client = clickhouse_connect.get_client(interface="chdb", path=directory)
        columns = ", ".join(f"{name} {dtype}" for name, dtype in _COLUMNS.items())
        self._client.command(
            f"CREATE TABLE naive ({columns}) ENGINE = MergeTree ORDER BY (customer_id, timestamp)"
        )

    def write_batch(self, items: list[tuple[str, list[Row]]]) -> None:
        for _, rows in items:
            self._client.insert("naive", rows, column_names=list(_COLUMNS))

    def close(self) -> None:
        rows = self._client.query("SELECT count() FROM naive").result_rows[0][0]
        self._client.close()
        print(f"rows={rows}", flush=True)


class ClickHouseSink(DynamicSink[tuple[str, list[Row]]]):
    """Inserts every collected list of rows."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Insert:
        """One client a worker; called by Bytewax."""
        return _Insert(self._directory)


def flow(form: str, file: str, directory: str) -> Dataflow:
    """What `bytewax.run` calls: the lines of `file` into embedded ClickHouse in `directory`."""
    parse = {"json": parse_json, "combined": parse_combined}[form]
    flow = Dataflow("naive")
    lines = op.input("read", flow, FileSource(file))
    parsed = op.map("parse", lines, parse)
    keyed = op.key_on("key", parsed, lambda _: "all")  # `collect` wants a key
    collected = op.collect("collect", keyed, timeout=timedelta(seconds=1), max_size=1000)
    op.output("insert", collected, ClickHouseSink(directory))
    return flow
