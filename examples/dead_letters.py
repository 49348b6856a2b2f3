"""Prints why lines could not be parsed, and the newest of them. The pipeline must not be running.

python examples/dead_letters.py data/clickhouse
"""

from __future__ import annotations

import os
import sys

import clickhouse_connect

from connectors.saying import shown

os.environ["TZ"] = "UTC"  # the engine knows no zones of POSIX, such as CET-1CEST
client = clickhouse_connect.get_client(interface="chdb", path=sys.argv[1])
reasons = "SELECT reason, count() FROM dead_letters GROUP BY reason ORDER BY count() DESC"
for reason, count in client.query(reasons).result_rows:
    print(f"{count:>8}  {shown(reason)}")
newest = "SELECT source, offset, detail, raw FROM dead_letters ORDER BY seen_at DESC LIMIT 10"
for source, offset, detail, raw in client.query(
    newest, column_formats={"raw": "bytes"}
).result_rows:
    print(f"{shown(source)}, byte {offset}: {shown(detail)}\n    {raw!r}")
client.close()
