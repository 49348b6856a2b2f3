"""Store `embedded`: ClickHouse inside this process (chdb), in `DATA_DIR/clickhouse`."""

from __future__ import annotations

import os

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.errors import StoreError
from connectors.sinks.clickhouse import ClickHouseStore
from connectors.sinks.embedded_lock import take
from connectors.sinks.retry import Retry
from settings import Settings


def open_store(settings: Settings, retry: Retry) -> ClickHouseStore:
    """Open the embedded store; its directory belongs to one process at a time.

    Raises `StoreBusyError` with who has it and where its API is, `StoreError` if it cannot be
    opened.
    """
    directory = settings.data_dir / "clickhouse"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = take(settings)
    except OSError as error:
        raise StoreError(f"Cannot use DATA_DIR {settings.data_dir}: {error.strerror}") from error

    def connect() -> Client:
        try:
            return clickhouse_connect.get_client(interface="chdb", path=str(directory))
        except ClickHouseError as error:
            raise StoreError(f"Cannot open the embedded store in {directory}: {error}") from error

    return ClickHouseStore(
        connect, settings, retry, is_shared=False, release=lambda: os.close(lock)
    )
