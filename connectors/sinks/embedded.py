"""Store `embedded`: ClickHouse inside this process (chdb), in `DATA_DIR/clickhouse`."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.errors import StoreBusyError, StoreError
from connectors.sinks.clickhouse import ClickHouseStore
from settings import Settings


def open_store(settings: Settings) -> ClickHouseStore:
    """Open the embedded store; its directory belongs to one process at a time.

    Raises `StoreBusyError` with who has it and where its API is, `StoreError` if it cannot be
    opened.
    """
    directory = settings.data_dir / "clickhouse"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        lock = _lock(settings)
    except OSError as error:
        raise StoreError(f"Cannot use DATA_DIR {settings.data_dir}: {error.strerror}") from error

    def connect() -> Client:
        try:
            return clickhouse_connect.get_client(interface="chdb", path=str(directory))
        except ClickHouseError as error:
            raise StoreError(f"Cannot open the embedded store in {directory}: {error}") from error

    return ClickHouseStore(connect, settings, release=lambda: os.close(lock))


def _lock(settings: Settings) -> int:
    """Take the store for this process, or say who has it; free as soon as its process is gone."""
    path = settings.data_dir / "embedded.lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreBusyError(_who_has(path)) from None
    api = (
        f"http://{settings.api_host}:{settings.api_port}"
        if settings.follow and settings.api_port
        else ""
    )
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": os.getpid(), "api": api}).encode(), 0)
    return lock


def _who_has(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
    except (OSError, ValueError):
        holder = {}
    where = f"its API is at {holder['api']}" if holder.get("api") else "it serves no API"
    return (
        f"The embedded store in {path.parent} is open in process {holder.get('pid', '(unknown)')}; "
        f"{where}. Stop it first, or give this process its own DATA_DIR."
    )
