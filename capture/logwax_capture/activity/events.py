"""Activities as events of the outbox, by which they arrive in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from logwax_capture.errors import CaptureError
from logwax_capture.outbox.connections import atomic, dialect_of
from logwax_capture.outbox.events import LogEvent, log_event
from logwax_capture.spill import Entry


def log_activities(connection: Any, batch: Sequence[Entry]) -> None:
    """Write an event of the type `activity` for each entry, in the caller's transaction."""
    for entry in batch:
        context = {**entry, "extras": json.loads(entry["extras"] or "null")}
        moment = datetime.fromisoformat(context.pop("created_at"))
        log_event(connection, LogEvent("activity", context, moment))


def transaction(connection: Any) -> AbstractContextManager[object]:
    """One for an activity and its event. Raises `CaptureError` if there can be none."""
    try:
        dialect_of(connection)
        return atomic(connection)
    except TypeError as error:  # which would be taken for a fault of the entries
        raise CaptureError(f"Activities cannot go into the outbox: {error}") from error
