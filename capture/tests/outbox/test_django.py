"""The outbox in a Django project: migrated, written within `atomic`, sent with no more settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import logwax_capture

pytest.importorskip("django")

PROJECT = """
import os, sys
from urllib.parse import urlsplit
import django
from django.conf import settings
from django.core.management import call_command

url = sys.argv[1]
if url.startswith("sqlite"):
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
else:
    from psycopg.conninfo import conninfo_to_dict
    parts = conninfo_to_dict(url)
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": parts["dbname"],
                "USER": parts["user"], "HOST": parts["host"]}
settings.configure(
    USE_TZ=True, DATABASES={"default": database}, INSTALLED_APPS=["logwax_capture.outbox"]
)
django.setup()
call_command("migrate", verbosity=0)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)  # exits 1 at any difference

from django.db import connection, transaction
from logwax_capture.outbox import EventLogService, LogEvent, delete_delivered_events, log_event
from logwax_capture.outbox.models import EventsLogOutBox

try:
    with transaction.atomic():
        log_event(connection, LogEvent("undone", {}))
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
with transaction.atomic():
    for number in range(12):
        log_event(connection, LogEvent("tick", {"n": number}))

sent = []

class Store:
    def insert(self, batch):
        sent.extend(batch.events)
        return {}

assert EventLogService(client=Store()).process_log_events() == (1, 0)
assert [event.event_context for event in sent] == ['{"n": %d}' % n for n in range(10)]
assert EventsLogOutBox.objects.filter(send_status="DELIVERED").count() == 10
assert EventsLogOutBox.objects.filter(send_status="AWAITING_DELIVERY").count() == 2
one = EventsLogOutBox.objects.order_by("id")[0]
assert one.updated_at > one.created_at and one.event_date_time.tzinfo
assert delete_delivered_events() == 10
assert EventsLogOutBox.objects.count() == 2
call_command("migrate", "logwax_outbox", "zero", verbosity=0)
"""


def test_an_app_of_django_has_the_tables_and_needs_no_other_connection(
    url: str, tmp_path: Path
) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    subprocess.run(
        [sys.executable, "project.py", url],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            "PYTHONPATH": str(Path(logwax_capture.__path__[0]).parent),
            "LOG_EVENTS_PARTITION_QUANTITY": "10",
        },
        check=True,
    )
