"""The middleware and the endpoint in a Django project, under WSGI and ASGI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("django")

PACKAGE = Path(__file__).parents[2]
PROJECT = """
import asyncio, os, sys
from pathlib import Path
from django.conf import settings
from middleware_events import SECRET, Events
from logwax_capture.middleware import PageEvents, RequestLog

os.chdir(sys.argv[1])
Path("file").write_bytes(b"four")
events = Events()
settings.configure(
    SECRET_KEY=SECRET,
    USE_TZ=True,
    INSTALLED_APPS=[f"django.contrib.{app}" for app in ("auth", "contenttypes", "sessions")],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.sqlite"}},
    MIDDLEWARE=[
        "logwax_capture.middleware.django.RequestLogMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF="__main__",
    ALLOWED_HOSTS=["testserver"],
    LOGWAX_REQUEST_LOG=RequestLog(events, secret=SECRET, exclude=["/events$"]),
)
import django
django.setup()
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from logwax_capture.middleware.django import page_view

def sign_in(request):
    login(request, User.objects.get())
    return HttpResponse("welcome")

def sign_out(request):
    logout(request)
    return HttpResponse("bye")

def form(request):
    return HttpResponse(request.POST["colour"])

def stream(request):
    return StreamingHttpResponse(b"part" for _ in range(3))

async def later(request, number):
    async def parts():
        for _ in range(number):
            yield b"part"
    return StreamingHttpResponse(parts())

def broken(request):
    raise LookupError

page = PageEvents(settings.LOGWAX_REQUEST_LOG, {"event.seen": {"n": int}}, anonymous=False)
urlpatterns = [
    path("in", sign_in), path("out", sign_out), path("form", form), path("stream", stream),
    path("later/<int:number>", later), path("broken", broken), path("events", page_view(page)),
    path("plain/<slug:a>/<int:n>/", lambda request, a, n, **more: HttpResponse("plain"), {"x": 1}),
    path("unread", lambda request: HttpResponse("unread")),
    path("file", lambda request: FileResponse(open("file", "rb"))),
]
call_command("migrate", verbosity=0)
User.objects.create_user("ada", password="secret")

def last(client, method, *arguments, **options):
    response = getattr(client, method)(*arguments, **options)
    body = b"".join(response) if response.streaming else response.content
    response.close()
    assert settings.LOGWAX_REQUEST_LOG.failed == 0
    return body, dict(events.all[-1])
"""


def run(directory: Path, code: str) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{PACKAGE}:{PACKAGE / 'tests'}"}
    arguments = [sys.executable, "-c", PROJECT + code, str(directory)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_event_has_the_arguments_of_the_view_the_form_and_who_is_signed_in(
    tmp_path: Path,
) -> None:
    """And who signed out is still the same browser, which is no first visit."""
    run(
        tmp_path,
        """
client = Client()
body, event = last(client, "get", "/plain/tea/7/?q=1", HTTP_USER_AGENT="Fox")
visitor = event.pop("visitor")
assert event.pop("datetime") and event.pop("duration_ms") > 0
assert event == {
    "path_info": "/plain/tea/7/", "method": "GET", "event_name": "event.request",
    "visited_by": "anonymous", "ip_address": "127.0.0.1", "user_agent": "Fox",
    "first_time_visit": True, "request_data": {"q": "1"}, "status_code": 200, "bytes_sent": 5,
    "view_args": [], "view_kwargs": {"a": "tea", "n": 7, "x": 1},
}, event
assert last(client, "post", "/in")[1]["visited_by"] == "ada"
_, event = last(client, "get", "/plain/tea/7/")
returning = (event["visited_by"], event["visitor"], event["first_time_visit"])
assert returning == ("ada", visitor, False), returning
form = {"colour": "red", "password2": "x", "csrfmiddlewaretoken": "x"}
body, event = last(client, "post", "/form?page=1", form)
assert body == b"red"
assert event["request_data"] == {
    "page": "1", "colour": "red", "password2": "[redacted]", "csrfmiddlewaretoken": "[redacted]",
}
assert last(client, "post", "/out")[1]["visited_by"] == "anonymous"
_, event = last(client, "get", "/plain/tea/7/")
assert (event["visited_by"], event["visitor"], event["first_time_visit"]) == (
    "anonymous", visitor, False,
)
with CaptureQueriesContext(connection) as queries:
    assert "request_data" not in last(client, "post", "/unread", {"colour": "red"})[1]
assert not queries.captured_queries  # nobody with a session: the database is not asked
""",
    )


def test_streams_files_and_errors_are_logged_with_what_was_sent(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
client = Client(raise_request_exception=False)
assert last(client, "get", "/stream")[1]["bytes_sent"] == 12
assert last(client, "get", "/file")[1]["bytes_sent"] == 4
assert last(client, "get", "/broken")[1]["status_code"] == 500
assert last(client, "get", "/nowhere")[1]["status_code"] == 404
response = client.get("/stream")
count = len(events.all)
assert next(iter(response.streaming_content)) == b"part"
assert len(events.all) == count  # it goes on
""",
    )


def test_under_asgi_events_are_the_same(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
async def go():
    client = AsyncClient()
    await client.post("/in")
    response = await client.get("/later/3")
    assert [part async for part in response.streaming_content] == [b"part"] * 3
    event = events.all[-1]
    assert (event["visited_by"], event["bytes_sent"]) == ("ada", 12)
    assert event["view_kwargs"] == {"number": 3}
    await client.get("/plain/tea/7/")
    event = events.all[-1]
    assert (event["visited_by"], event["bytes_sent"]) == ("ada", 5)
    await AsyncClient().get("/plain/tea/7/")
    assert events.all[-1]["visited_by"] == "anonymous"
    assert settings.LOGWAX_REQUEST_LOG.failed == 0

asyncio.run(go())
""",
    )


def test_the_view_takes_events_of_who_is_signed_in_without_a_csrf_token(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
client = Client(enforce_csrf_checks=True)
def send(n, **more):
    sent = {"HTTP_HOST": "testserver", "HTTP_ORIGIN": "http://testserver", **more}
    return client.post("/events", f'{{"event_name": "event.seen", "n": {n}}}', "text/plain", **sent)
assert send(1).status_code == 401
client.force_login(User.objects.get())
response = send(2)
assert (response.status_code, response.content) == (204, b"")
[event] = events.all
assert (event["n"], event["visited_by"]) == (2, "ada")
assert "logwax_visitor" in response.cookies
assert send(3, HTTP_ORIGIN="http://b.org").status_code == 403
response = send("1" + " " * 20000)
assert response.status_code == 413, response
response = send('"three"')
assert (response.status_code, response.content) == (400, b"n must be int.\\n")
assert (response["Content-Type"], client.get("/events").status_code) == (
    "text/plain; charset=utf-8", 405,
)
assert len(events.all) == 1
""",
    )
