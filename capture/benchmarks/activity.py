"""The activity log while its database is stopped: what callers wait, and what arrives.

Run it with `python capture/benchmarks/activity.py`. 32 threads log for 50 seconds; PostgreSQL is
stopped for 30 of them. Bar: the 99th percentile of a call is under 1 ms, and nothing is lost.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from contextlib import closing
from itertools import chain
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import psycopg  # noqa: E402
from postgres_server import Postgres  # noqa: E402

from logwax_capture.activity import ActivityThreadService, create_table  # noqa: E402

THREADS, PAUSE = 32, 0.01
BEFORE, AWAY, AFTER = 10, 30, 10
PERSON = ("7", "ada@example.com", "ada", "192.0.2.1")


def main() -> None:
    """Print the percentiles of a call, in us, and the counts."""
    with closing(Postgres()) as postgres, tempfile.TemporaryDirectory() as spill:
        url = postgres.new_database()
        with psycopg.connect(url) as connection:
            create_table(connection)
        service = ActivityThreadService(
            lambda: psycopg.connect(url), DRF_LOGGER_INTERVAL=1, LOGS_SPILL_DIR=spill
        )
        ends = threading.Event()
        waited: list[list[float]] = [[] for _ in range(THREADS)]

        def log(number: int) -> None:
            while not ends.is_set():
                begin = time.perf_counter()
                service.put_log_data(
                    "7", "a@b.c", "ada", "192.0.2.1", "paid", "pay", False, {"n": 1}
                )
                waited[number].append(time.perf_counter() - begin)
                time.sleep(PAUSE)

        threads = [threading.Thread(target=log, args=[number]) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        time.sleep(BEFORE)
        postgres.stop()
        time.sleep(AWAY)
        postgres.start()
        time.sleep(AFTER)
        ends.set()
        for thread in threads:
            thread.join()
        calls = sorted(chain.from_iterable(waited))
        end = time.monotonic() + 120
        while (count := _count(url)) < len(calls) and time.monotonic() < end:
            time.sleep(0.5)
        p50, p99 = (calls[int(len(calls) * share)] * 1e6 for share in (0.5, 0.99))
        print(f"{len(calls):,} calls: p50 {p50:.0f} us, p99 {p99:.0f} us (bar: 1,000)")
        print(f"{count:,} rows (bar: {len(calls):,}); {service.get_status()}")


def _count(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT entry_id) FROM activity_log")
        rows, distinct = found.fetchone() or (0, 0)
    assert rows == distinct, "an entry is there twice"
    return int(rows)


if __name__ == "__main__":
    main()
