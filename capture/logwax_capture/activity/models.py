"""The table of activities as a Django model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import ClassVar

from django.conf import settings
from django.db import connections, models
from django.utils.timezone import make_naive

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


def insert(batch: Sequence[Entry]) -> None:
    """Insert the entries that are not there yet, in one transaction.

    Raises `RefusedError` if one is at fault, and what Django raises if the database is away. The
    connection is closed then: this thread has no request whose end would do that.
    """
    alias = getattr(settings, "LOGS_DATABASE", SETTINGS["LOGS_DATABASE"])
    rows = [ActivityLog(**{**entry, "created_at": _moment(entry)}) for entry in batch]
    try:
        ActivityLog.objects.using(alias).bulk_create(rows, ignore_conflicts=True)
    except Exception as error:
        if is_at_fault(error):
            raise RefusedError(str(error)) from error
        raise
    finally:
        connections[alias].close_if_unusable_or_obsolete()


def _moment(entry: Entry) -> datetime:
    moment = datetime.fromisoformat(entry["created_at"])
    return moment if settings.USE_TZ else make_naive(moment, timezone.utc)
