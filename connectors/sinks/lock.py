"""Who has the embedded store open: its directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from connectors.errors import StoreBusyError
from settings import Settings

LOCK = "embedded.lock"


def take(settings: Settings) -> int:
    """Take the store in `DATA_DIR` for this process; close the descriptor to let it go.

    It is free as soon as this process is gone, however it ends. Raises `StoreBusyError` with who
    has it and where its API is.
    """
    path = settings.data_dir / LOCK
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreBusyError(_sentence(settings.data_dir, path.read_text())) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "api": settings.api_url}).encode(), 0)
    except OSError:  # as on a full disk
        os.close(lock)
        raise
    return lock


def holder(data_dir: Path) -> str | None:
    """The sentence that says who has the store in `data_dir` open; None: nobody has."""
    text = _held_by(data_dir)
    return None if text is None else _sentence(data_dir, text)


def holders_api(data_dir: Path) -> str:
    """The address of the API of the process that has the store open; empty if there is none."""
    text = _held_by(data_dir)
    return "" if text is None else str(_entries(text).get("api", ""))


def _held_by(data_dir: Path) -> str | None:
    try:
        with (data_dir / LOCK).open(encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read()
    except OSError:  # no such file yet: nobody can hold it
        pass
    return None


def _entries(text: str) -> dict[str, object]:
    try:
        return dict(json.loads(text))
    except ValueError:  # it has only just taken the lock
        return {}


def _sentence(data_dir: Path, text: str) -> str:
    found = _entries(text)
    where = f", its API is at {found['api']}" if found.get("api") else ""
    return (
        f"DATA_DIR={data_dir} is in use by process {found.get('pid', '(just starting)')}{where}; "
        "stop that one first, or choose another directory."
    )
