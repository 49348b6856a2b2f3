"""The thread that activities are left to."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from logwax_capture.activity.table import Connect, Insert
from logwax_capture.background import MOST_AT_EXIT, Background
from logwax_capture.errors import SettingError
from logwax_capture.ids import next_id
from logwax_capture.spill import Entry, Spill, state_directory

THREAD = "insert_log_into_database"

SETTINGS: dict[str, Any] = {
    "DRF_LOGGER_INTERVAL": 60,
    "LOGS_QUEUE_MAX_SIZE": 50,
    "LOGS_QUEUE_BOUND": 10_000,
    "LOGS_WHEN_FULL": "spill",
    "LOGS_SPILL_DIR": "",
    "LOGS_SPILL_MAX_BYTES": 1024 * 1024 * 1024,
    "LOGS_DATABASE": "default",
    "LOGS_INTO_OUTBOX": False,
}
"""What a Django project may set, and what holds else; see `docs/capture.md`."""


class ActivityThreadService(threading.Thread):
    """Inserts activities in batches, in a thread of its own.

    It does so as soon as `LOGS_QUEUE_MAX_SIZE` entries wait, and every `DRF_LOGGER_INTERVAL`
    seconds.

    Without `connect`, into the table of the Django app; else over a connection of Python's DB-API
    that `connect` opens, into the table that `create_table` makes. With `LOGS_INTO_OUTBOX` each is
    also an event `activity` in the outbox of the same database, and so arrives in the store.
    Settings are those of the Django project, if there is one, or given by name:
    `ActivityThreadService(DRF_LOGGER_INTERVAL=5)`.

    Guarantee: what `put_log_data` took is inserted once, or spilled and inserted later, also over
    the end of the process, a fork and a database that is away. SIGKILL loses what is in memory.
    What is dropped, because that was chosen or nothing else was possible, is counted in
    `get_status()`. Raises `SettingError`.
    """

    def __init__(self, connect: Connect | None = None, **settings: Any) -> None:
        super().__init__(name=THREAD, daemon=True)
        chosen = {**SETTINGS, **_django_settings(), **settings}
        _check(chosen)
        self.DRF_LOGGER_INTERVAL = chosen["DRF_LOGGER_INTERVAL"]
        self.LOGS_QUEUE_MAX_SIZE = chosen["LOGS_QUEUE_MAX_SIZE"]
        directory = Path(chosen["LOGS_SPILL_DIR"] or state_directory("activity"))
        is_spilled = chosen["LOGS_WHEN_FULL"] == "spill"
        into_outbox: bool = chosen["LOGS_INTO_OUTBOX"]
        self._insert = Insert(connect, into_outbox=into_outbox) if connect else None
        self._options: dict[str, Any] = {"into_outbox": True} if into_outbox else {}
        if "LOGS_DATABASE" in settings:
            self._options["using"] = settings["LOGS_DATABASE"]
        self._queue = Background(
            THREAD,
            self._send,
            size=self.LOGS_QUEUE_MAX_SIZE,
            interval=self.DRF_LOGGER_INTERVAL,
            bound=chosen["LOGS_QUEUE_BOUND"],
            spill=Spill(directory, chosen["LOGS_SPILL_MAX_BYTES"]) if is_spilled else None,
        )

    def start(self) -> None:
        """Start the thread, which the first entry does, too; again after a fork."""
        self._queue.start()

    def is_alive(self) -> bool:
        """Whether the thread runs in this process."""
        return self._queue.is_alive()

    def run(self) -> None:
        """Insert what comes in, until the service is closed."""
        self.start_queue_process()

    def start_queue_process(self) -> None:
        """What the thread does; returns when the service is closed."""
        self._queue.run()

    def put_log_data(
        self,
        user: Any,
        email: Any,
        username: Any,
        ip: Any,
        message: Any,
        action: Any,
        vpn: Any,
        extras: Any,
    ) -> None:
        """Take an activity; returns at once, and never raises for what the database does.

        `user` may be an object with a `pk`. `extras` becomes JSON. All else is stored as text.
        """
        self._queue.put(
            {
                "entry_id": next_id(),
                "created_at": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
                "user": _text(getattr(user, "pk", user)),
                "email": _text(email),
                "username": _text(username),
                "ip": _text(ip),
                "message": _text(message),
                "action": _text(action),
                "vpn": _text(vpn),
                "extras": "" if extras is None else json.dumps(extras, default=str),
            }
        )

    def flush(self, seconds: float = 60.0) -> bool:
        """Wait until all that was taken is inserted; False: it was not in time."""
        return self._queue.flush(seconds)

    def close(self, seconds: float = MOST_AT_EXIT) -> None:
        """Flush; what is not inserted in time is spilled. Happens at exit by itself."""
        self._queue.close(seconds)

    def get_status(self) -> dict[str, int]:
        """How many entries wait, and what became of the others, since this process began."""
        queue = self._queue
        return {
            "queue_backlog": queue.qsize(),
            "batch_size": self.LOGS_QUEUE_MAX_SIZE,
            "interval": self.DRF_LOGGER_INTERVAL,
            "inserted_count": queue.sent,
            "failed_insert_count": queue.failed,
            "spilled_count": queue.spilled,
            "dropped_count": queue.dropped,
            "refused_count": queue.refused,
        }

    def _start_bulk_insertion(self) -> None:
        """Insert what is in the queue now, in this thread."""
        self._queue.send_all()

    @staticmethod
    def _insert_into_data_base(bulk_item: Sequence[Entry], **options: Any) -> None:
        """Insert the entries that are not there yet into the table of the Django app."""
        from logwax_capture.activity.models import insert

        insert(bulk_item, **options)

    def _send(self, batch: Sequence[Entry], is_again: bool) -> None:
        if self._insert is not None:
            self._insert(batch, is_again)
        else:
            self._insert_into_data_base(batch, **self._options)


def _django_settings() -> dict[str, Any]:
    if "django.conf" not in sys.modules:
        return {}
    settings = sys.modules["django.conf"].settings
    if not settings.configured:
        return {}
    return {name: getattr(settings, name) for name in SETTINGS if hasattr(settings, name)}


def _check(settings: dict[str, Any]) -> None:
    problems = [f"{name} is no setting" for name in settings if name not in SETTINGS]
    for name, usual in SETTINGS.items():
        value = settings[name]
        if type(usual) is int and not (isinstance(value, (int, float)) and value > 0):
            problems.append(f"Value of {name} must be greater than 0")
    if not isinstance(settings["LOGS_INTO_OUTBOX"], bool):
        problems.append("Value of LOGS_INTO_OUTBOX must be True or False")
    if settings["LOGS_WHEN_FULL"] not in ("spill", "drop"):
        problems.append("Value of LOGS_WHEN_FULL must be spill or drop")
    if problems:
        raise SettingError("; ".join(problems) + ".")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
