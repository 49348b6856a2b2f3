"""The activity log as a Django app: settings, table, and the page in the admin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("django", exc_type=ImportError)

PACKAGE = Path(__file__).parent.parent
PROJECT = """
import sys
import django
from django.conf import settings
from django.core.management import call_command

HERE, USE_TZ = sys.argv[1], sys.argv[2] == "zoned"
APPS = ["admin", "auth", "contenttypes", "sessions", "messages"]
settings.configure(
    USE_TZ=USE_TZ,
    SECRET_KEY="only for this test",
    INSTALLED_APPS=[*(f"django.contrib.{app}" for app in APPS), "logwax_capture.activity"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{HERE}/app.sqlite"}},
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }],
    ROOT_URLCONF="urls",
    ALLOWED_HOSTS=["testserver"],
    DRF_LOGGER_INTERVAL=1,
    LOGS_QUEUE_MAX_SIZE=3,
    LOGS_SPILL_DIR=f"{HERE}/spill",
)
django.setup()
import types
from django.contrib import admin
from django.urls import path
sys.modules["urls"] = types.ModuleType("urls")
sys.modules["urls"].urlpatterns = [path("admin/", admin.site.urls)]
call_command("migrate", verbosity=0)
call_command("makemigrations", "logwax_activity", check=True, dry_run=True, verbosity=0)

from logwax_capture.activity import ActivityThreadService
from logwax_capture.activity.models import ActivityLog
from django.contrib.auth.models import User
service = ActivityThreadService()
user = User.objects.create_superuser("ada", "ada@example.com", "secret")
"""


def run(directory: Path, code: str, zone: str = "zoned") -> str:
    """What a project with the app prints."""
    done = subprocess.run(
        [sys.executable, "-c", PROJECT + code, str(directory), zone],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("zone", ["zoned", "naive"])
def test_an_entry_is_in_the_table_of_the_app(tmp_path: Path, zone: str) -> None:
    code = """
service.put_log_data(user, user.email, user.username, "192.0.2.1", "signed in", "login", True, {})
assert service.flush()
entry = ActivityLog.objects.get()
print(entry.user, entry.email, entry.username, entry.ip, entry.message, entry.action, entry.vpn)
from django.utils.timezone import now
print(abs((now() - entry.created_at).total_seconds()) < 60 if USE_TZ else entry.created_at.tzinfo)
"""
    expected = "1 ada@example.com ada 192.0.2.1 signed in login true"
    assert run(tmp_path, code, zone).splitlines() == [
        expected,
        "True" if zone == "zoned" else "None",
    ]


def test_settings_of_the_project_hold(tmp_path: Path) -> None:
    code = "print(service.DRF_LOGGER_INTERVAL, service.LOGS_QUEUE_MAX_SIZE)"
    assert run(tmp_path, code) == "1 3\n"


def test_a_database_given_by_name_holds(tmp_path: Path) -> None:
    code = """
from django.core.management import call_command
from django.db import connections
name = f"{sys.argv[1]}/other.sqlite"
connections.settings["other"] = {**connections.settings["default"], "NAME": name}
call_command("migrate", database="other", verbosity=0)
service = ActivityThreadService(LOGS_DATABASE="other")
service.put_log_data(user, "", "", "", "signed in", "login", None, None)
assert service.flush()
print(ActivityLog.objects.count(), ActivityLog.objects.using("other").count())
"""
    assert run(tmp_path, code) == "0 1\n"


def test_a_batch_that_came_in_already_is_there_once(tmp_path: Path) -> None:
    code = """
from logwax_capture.activity import service as module
kept = []
insert = ActivityThreadService._insert_into_data_base
def lost(bulk_item):
    insert(bulk_item)
    if not kept:
        kept.extend(bulk_item)
        raise ConnectionError("the answer was lost")
service._insert_into_data_base = lost
for number in range(3):
    service.put_log_data(user, "", "", "", str(number), "", None, None)
assert service.flush()
print(len(kept), ActivityLog.objects.count())
"""
    assert run(tmp_path, code) == "3 3\n"


def test_the_admin_shows_searches_and_filters_and_changes_nothing(tmp_path: Path) -> None:
    code = """
from django.test import Client
for name in ("ada", "bob"):
    service.put_log_data("", "", name, "", f"<b>{name}</b> signed in", f"log-{name}", None, None)
assert service.flush()
client = Client()
client.force_login(user)
page = "/admin/logwax_activity/activitylog/"
for query in ("", "?q=bob", "?action=log-ada"):
    shown = client.get(page + query).content.decode()
    names = [name for name in ("ada", "bob") if f"&lt;b&gt;{name}&lt;/b&gt;" in shown]
    print(names, "<b>" in shown)
print(client.get(f"{page}add/").status_code)
print(client.post(f"{page}1/change/", {"message": "other"}).status_code)
"""
    assert run(tmp_path, code).splitlines() == [
        *("['ada', 'bob'] False", "['bob'] False", "['ada'] False", "403", "403")
    ]
