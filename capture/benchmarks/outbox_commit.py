"""Bar 2: how much longer a commit takes with an event than with a plain second insert.

Run it with `python capture/benchmarks/outbox_commit.py`. Both are the same transaction, in turn
within one run: an insert, and a second one with as many bytes, by SQL or by `log_event`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import psycopg  # noqa: E402
from postgres_server import Postgres  # noqa: E402

from logwax_capture.outbox import LogEvent, Outbox, log_event  # noqa: E402

TURNS = 4000
CONTEXT = {"order": 4711, "customer": "cust_42", "note": "x" * 200}

_TABLES = """
CREATE TABLE orders (id bigserial PRIMARY KEY, note text);
CREATE TABLE plain (
    id bigserial PRIMARY KEY, kind text, at timestamptz, place text, context text, version int
)
"""


def main() -> None:
    """Print the medians and what the second is longer."""
    with closing(Postgres(fsync=True)) as postgres:
        url = postgres.new_database()
        with closing(Outbox.open(url)) as outbox:
            outbox.create()
        connection = psycopg.connect(url)
        connection.execute(_TABLES)
        connection.commit()

        def plain() -> None:
            event = LogEvent("order_paid", CONTEXT)
            connection.execute(
                "INSERT INTO plain (kind, at, place, context, version) VALUES (%s, %s, %s, %s, %s)",
                (
                    event.event_type,
                    event.event_date_time,
                    event.environment,
                    json.dumps(event.event_context),
                    event.metadata_version,
                ),
            )

        def captured() -> None:
            log_event(connection, LogEvent("order_paid", CONTEXT))

        def turn(second: Callable[[], None]) -> float:
            begun = time.perf_counter()
            connection.execute("INSERT INTO orders (note) VALUES (%s)", ("x" * 100,))
            second()
            connection.commit()
            return time.perf_counter() - begun

        times = [(turn(plain), turn(captured)) for _ in range(TURNS)]
        connection.close()
    before, after = (statistics.median(one) * 1e6 for one in zip(*times, strict=True))
    print(
        f"p50 of a commit: {before:.0f} us with a plain second insert, {after:.0f} us with "
        f"capture: {after / before - 1:+.1%}; bar +15 %"
    )


if __name__ == "__main__":
    main()
