"""The table of activities as a Django model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import ClassVar

from django.conf import settings
from django.db import connections, models, transaction
from django.utils.timezone import make_naive

from logwax_capture.activity import events
from logwax_capture.activity.service import SETTINGS
from logwax_capture.activity.table import NAME, is_at_fault
from logwax_capture.background import RefusedError
from logwax_capture.spill import Entry


def _text() -> models.TextField[str, str]:
    return models.TextField(blank=True)


class ActivityLog(models.Model):
    """Who did what."""

    entry_id: models.CharField[str, str] = models.CharField(
        max_length=32, unique=True, editable=False
    )
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(db_index=True)
    user = _text()
    email = _text()
    username = _text()
    ip = _text()
    message = _text()
    action = _text()
    vpn = _text()
    extras = _text()

    class Meta:
        """Newest first."""

        db_table = NAME
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = "activity"
        verbose_name_plural = "activities"

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.username} {self.action}"


def insert(batch: Sequence[Entry], *, using: str | None = None, into_outbox: bool = False) -> None:
    """Insert the entries that are not there yet, in one transaction; into the outbox, too.

    `using`: the database, by default that of the setting LOGS_DATABASE. Raises `RefusedError` if
    one is at fault, and what Django raises if the database is away. The connection is closed then:
    this thread has no request whose end would do that.
    """
    alias = using or getattr(settings, "LOGS_DATABASE", SETTINGS["LOGS_DATABASE"])
    table = ActivityLog.objects.using(alias)
    try:
        if into_outbox:  # to know which are new; SQLite would not let a reader begin to write
            ids = [entry["entry_id"] for entry in batch]
            there = set(table.filter(entry_id__in=ids).values_list("entry_id", flat=True))
            batch = [entry for entry in batch if entry["entry_id"] not in there]
        whole = events.transaction(connections[alias]) if into_outbox else transaction.atomic(alias)
        with whole:
            if into_outbox:
                events.log_activities(connections[alias], batch)
            rows = [ActivityLog(**{**entry, "created_at": _moment(entry)}) for entry in batch]
            table.bulk_create(rows, ignore_conflicts=not into_outbox)
    except Exception as error:
        if is_at_fault(error):
            raise RefusedError(str(error)) from error
        raise
    finally:
        connections[alias].close_if_unusable_or_obsolete()


def _moment(entry: Entry) -> datetime:
    moment = datetime.fromisoformat(entry["created_at"])
    return moment if settings.USE_TZ else make_naive(moment, timezone.utc)
