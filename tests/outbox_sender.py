"""A sender that kills itself at a step: `python -m tests.outbox_sender STEP URL CLICKHOUSE SIZE`.

A step is what is before or after any statement, and any request.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import psycopg

from logwax_capture.outbox import EventLogClient, EventLogService, Outbox
from logwax_capture.outbox.connections import postgres_connection
from tests.dying import dying

LEASE = 1.5  # seconds


def send(die_at: int, url: str, clickhouse: str, quantity: int) -> None:
    """Send until the step number `die_at` (0: for ever)."""
    around = dying(die_at)

    class Cursor(psycopg.Cursor[Any]):
        execute = around(psycopg.Cursor.execute)

    def connect() -> Any:
        connection = postgres_connection(url)
        connection.cursor_factory = Cursor
        return connection

    client = EventLogClient(clickhouse, timeout=3)
    client._ask = around(client._ask)  # type: ignore[method-assign]
    service = EventLogService(outbox=Outbox(connect, lease=LEASE), client=client)
    service.variables = service.variables._replace(
        log_events_partition_quantity=quantity, log_sending_frequency_in_minutes=0
    )
    while True:
        service.process_log_events()
        time.sleep(0.05)


if __name__ == "__main__":
    send(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
