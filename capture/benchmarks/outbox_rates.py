"""Bar 2: events a second that one sender brings from PostgreSQL into a store that discards.

Run it with `python capture/benchmarks/outbox_rates.py`. The sender and its PostgreSQL backend take
turns, so beside the rate by the clock stands the one by the CPU seconds of both: what a machine
with nothing else to do would give, less its waiting for the disk.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import psycopg  # noqa: E402
from postgres_server import Postgres  # noqa: E402

from logwax_capture.outbox import Batch, EventLogService, Outbox  # noqa: E402

EVENTS = 200_000
ROUNDS = 3

_FILL = """
INSERT INTO events_log_outbox (event_type, event_date_time, environment, event_context)
SELECT 'order_paid', now(), 'Local', json_build_object('order', n, 'note', repeat('x', 200))
FROM generate_series(1, %s) AS n
"""


class Discarding:
    """A store that takes everything and keeps nothing."""

    def insert(self, batch: Batch) -> Mapping[int, str]:
        """Nothing is refused."""
        return {}


def cpu_of(pid: int) -> float:
    """CPU seconds of a process: proc(5), stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rate(postgres: Postgres, quantity: int, *, held: bool) -> tuple[float, float]:
    """Events a second by the clock, and by CPU."""
    url = postgres.new_database()
    with closing(Outbox.open(url)) as outbox, psycopg.connect(url) as other:
        outbox.create()
        with psycopg.connect(url) as connection:
            connection.execute(_FILL, (EVENTS,))
        if held:
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT count(*) FROM events_log_outbox")
        service = EventLogService(outbox=outbox, client=Discarding())
        service.variables = service.variables._replace(log_events_partition_quantity=quantity)
        outbox.depth()
        backend = outbox._connection.info.backend_pid
        cpu, begun = time.process_time() + cpu_of(backend), time.perf_counter()
        service.process_log_events()
        seconds = time.perf_counter() - begun
        cpu = time.process_time() + cpu_of(backend) - cpu
        assert outbox.depth().waiting == 0
    return EVENTS / seconds, EVENTS / cpu


def main() -> None:
    """Print the best of some rounds for each way."""
    with closing(Postgres(fsync=True)) as postgres:
        for held, bar in ((False, 40_000), (True, 20_000)):
            for quantity in (1000, 5000):
                found = [rate(postgres, quantity, held=held) for _ in range(ROUNDS)]
                clock, cpu = (max(one) for one in zip(*found, strict=True))
                print(
                    f"{quantity} a batch{', a snapshot held open' if held else ''}: {clock:,.0f} "
                    f"events/s by the clock, {cpu:,.0f} by CPU; bar {bar:,}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
