"""The limits: the libraries beneath, doing no more than they must, each in a process of its own.

`python -m benchmarks.limits polars|clickhouse json|combined FILE` prints `rows=N cpu=SECONDS`: the
CPU seconds of all threads during the one call that reads the file, without starting and importing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple


class _Import(NamedTuple):
    """An import in SQL: what is selected for which column, and how the file is read."""

    columns: str
    selected: str
    reader: str
    structure: str


_COMBINED = (
    r'^(\S+) (\S+) (\S+) \[([^\]]*)\] "(\S+) (\S+) (\S+)" (\d+) (\S+)'
    r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$'
)

_ENDPOINT = (
    "replaceRegexpAll(cutQueryString(path), '/([0-9]+|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-"
    "[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,})(/|$)', '/:id\\\\2')"
)
_OUTCOME = "status, concat(toString(intDiv(status, 100)), 'xx'), status BETWEEN 200 AND 399"

_IMPORTS = {
    "json": _Import(
        "timestamp, customer_id, method, request_path, endpoint, status_code, status_class, "
        "success, duration, client_ip, user_agent, source, attributes",
        "parseDateTime64BestEffort(ts, 6, 'UTC'), customer_id, method, path, "
        f"{_ENDPOINT}, {_OUTCOME}, duration_ms / 1000, ip, user_agent, _path, "
        "toJSONString(map('request_id', request_id))",
        "JSONEachRow",
        "ts String, customer_id String, method String, path String, status UInt16, "
        "duration_ms Float64, ip String, user_agent String, request_id String",
    ),
    "combined": _Import(
        "timestamp, customer_id, method, request_path, endpoint, status_code, status_class, "
        "success, client_ip, user_agent, referer, bytes_sent, source, attributes",
        "parseDateTimeBestEffort(replaceOne(time, ':', ' '), 'UTC'), if(user = '-', '', user), "
        f"method, path, {_ENDPOINT}, {_OUTCOME}, ip, agent, if(referer = '-', '', referer), "
        "toUInt64OrZero(size), _path, toJSONString(map('protocol', protocol))",
        "Regexp",
        "ip String, ident String, user String, time String, method String, path String, "
        "protocol String, status UInt16, size String, referer String, agent String",
    ),
}
"""Of each format, what SQL makes easily; escapes stay, and no line has an identity."""


def polars(form: str, file: Path) -> tuple[int, float]:
    """JSON into columns; or lines, and their fields by one regular expression."""
    import polars as pl

    began = time.process_time()
    if form == "json":
        rows = len(pl.read_ndjson(file))
    else:
        rows = len(pl.read_lines(file).select(pl.col("line").str.extract_groups(_COMBINED)))
    return rows, time.process_time() - began


def clickhouse(form: str, file: Path) -> tuple[int, float]:
    """`INSERT ... SELECT ... FROM file(...)` into the table that Logwax makes in `DATA_DIR`."""
    import clickhouse_connect

    from connectors.store import open_store
    from settings import load

    settings = load()
    store = open_store(settings)
    path = settings.data_dir.absolute() / "clickhouse"
    client = clickhouse_connect.get_client(interface="chdb", path=str(path))
    table = settings.clickhouse_table
    query = _IMPORTS[form]
    began = time.process_time()
    client.command(
        f"INSERT INTO {table} ({query.columns}) SELECT {query.selected} "
        "FROM file({file:String}, {reader:String}, {structure:String})",
        parameters={"file": str(file), "reader": query.reader, "structure": query.structure},
        settings={"format_regexp": _COMBINED, "format_regexp_escaping_rule": "Raw"},
    )
    spent = time.process_time() - began
    rows = client.query(f"SELECT count() FROM {table}").result_rows[0][0]
    client.close()
    store.close()
    return rows, spent


if __name__ == "__main__":
    limit, form, file = sys.argv[1:]
    rows, spent = {"polars": polars, "clickhouse": clickhouse}[limit](form, Path(file))
    print(f"rows={rows} cpu={spent}")
