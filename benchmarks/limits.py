"""The limits: the libraries beneath, doing no more than they must, each in a process of its own.

`python -m benchmarks.limits polars|clickhouse FORMAT FILE` prints `rows=N cpu=SECONDS`: the CPU
seconds of all threads during the one call that reads the file, without starting and importing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple


class _Import(NamedTuple):
    """An import in SQL: what is selected for which column, of which fields of the file.

    `pattern` has a group for each field; empty: the file is JSON.
    """

    columns: str
    selected: str
    structure: str
    pattern: str = ""


_ENDPOINT = (
    "replaceRegexpAll(cutQueryString(path), '/([0-9]+|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-"
    "[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,})(/|$)', '/:id\\\\2')"
)
_PATH_COLUMNS = "request_path, endpoint, status_code, status_class, success"
_PATH = (
    f"path, {_ENDPOINT}, status, concat(toString(intDiv(status, 100)), 'xx'), "
    "status BETWEEN 200 AND 399"
)

_JSON = _Import(
    f"timestamp, customer_id, method, {_PATH_COLUMNS}, duration, client_ip, user_agent, source, "
    "attributes",
    f"parseDateTime64BestEffort(ts, 6, 'UTC'), customer_id, method, {_PATH}, duration_ms / 1000, "
    "ip, user_agent, _path, toJSONString(map('request_id', request_id))",
    "ts String, customer_id String, method String, path String, status UInt16, "
    "duration_ms Float64, ip String, user_agent String, request_id String",
)

IMPORTS = {
    "api_requests": _Import(
        f"timestamp, customer_id, {_PATH_COLUMNS}, duration, source",
        f"parseDateTime64BestEffort(ts, 6, 'UTC'), customer_id, {_PATH}, duration, _path",
        "ts String, customer_id String, path String, status UInt16, duration Float64",
        r"^(\S+ \S+) (\S+) (\S+) (\d+) (\S+)$",
    ),
    "json": _JSON,
    "combined": _Import(
        f"timestamp, customer_id, method, {_PATH_COLUMNS}, client_ip, user_agent, referer, "
        "bytes_sent, source, attributes",
        "parseDateTimeBestEffort(replaceOne(time, ':', ' '), 'UTC'), if(user = '-', '', user), "
        f"method, {_PATH}, ip, agent, if(referer = '-', '', referer), toUInt64OrZero(size), _path, "
        "toJSONString(map('protocol', protocol))",
        "ip String, ident String, user String, time String, method String, path String, "
        "protocol String, status UInt16, size String, referer String, agent String",
        r'^(\S+) (\S+) (\S+) \[([^\]]*)\] "(\S+) (\S+) (\S+)" (\d+) (\S+)'
        r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$',
    ),
    "logfmt": _JSON._replace(
        pattern=r'^ts=(\S+) customer_id=(\S+) method=(\S+) path="?([^" ]*)"? status=(\d+) '
        r'duration_ms=(\S+) ip=(\S+) user_agent="?((?:[^"\\]|\\.)*)"? request_id=(\S+)$'
    ),
}
"""Of each format, what SQL makes easily; escapes stay, and no line has an identity."""


def polars(form: str, file: Path) -> tuple[int, float]:
    """JSON into columns."""
    import polars as pl

    began = time.process_time()
    rows = len(pl.read_ndjson(file))
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
    query = IMPORTS[form]
    began = time.process_time()
    client.command(
        f"INSERT INTO {table} ({query.columns}) SELECT {query.selected} "
        "FROM file({file:String}, {reader:String}, {structure:String})",
        parameters={
            "file": str(file),
            "reader": "Regexp" if query.pattern else "JSONEachRow",
            "structure": query.structure,
        },
        settings={"format_regexp": query.pattern, "format_regexp_escaping_rule": "Raw"},
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
