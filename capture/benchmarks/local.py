"""The local logger: the seed's own run without its sleeps.

python capture/benchmarks/local.py [seconds]

Eight threads, each turn one log with three extra fields and one metric, into a file. Bar: 150,000
records/s, all of them there. The time runs until the last record is committed. Where the machine
is shared, the records for each second of CPU say what it would do alone with one core.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from logwax_capture.local import MultiThreadedLogger

THREADS = 8
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MODULES = ("database", "api", "auth", "cache", "worker")


def work(logger: MultiThreadedLogger, worker: int, until: float, turns: list[int]) -> None:
    """One thread of the run."""
    operation = 0
    while time.monotonic() < until:
        took = random.uniform(0.01, 0.1)
        module = random.choice(MODULES)
        logger.log(
            random.choice(LEVELS),
            module,
            f"Worker-{worker} performed operation {operation + 1}",
            {"worker_id": worker, "operation_id": operation, "duration_ms": took * 1000},
        )
        logger.log_metric(f"operation_duration_{module}", took * 1000, "ms")
        operation += 1
    turns[worker] = operation


def main() -> None:
    """Print the figure and the bar."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with tempfile.TemporaryDirectory(dir=".") as directory:
        path = f"{directory}/system_logs.db"
        logger = MultiThreadedLogger(path)
        turns = [0] * THREADS
        begin, cpu = time.monotonic(), time.process_time()
        until = begin + seconds
        threads = [
            threading.Thread(target=work, args=(logger, number, until, turns))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logger.close()
        took, cpu = time.monotonic() - begin, time.process_time() - cpu
        records = 2 * sum(turns)
        with sqlite3.connect(path) as database:
            there = sum(
                database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("logs", "metrics")
            )
    print(f"{records:,} records in {took:.2f} s, {cpu:.2f} s of CPU: {records / cpu:,.0f} for each")
    print(f"{records / took:,.0f} records/s (150,000); {there - records} differ (0)")


if __name__ == "__main__":
    main()
