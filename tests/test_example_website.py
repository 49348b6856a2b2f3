"""The example of a site: its events, and what the queries beside it make of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import clickhouse_connect.driver.client
import httpx
import pytest

from tests.conftest import ROOT, Pipeline

Client = clickhouse_connect.driver.client.Client
FOLDER = ROOT / "examples" / "website"
BEGIN = datetime(2026, 11, 26, 10, tzinfo=timezone.utc)
FIRST, SECOND, THIRD = (f"/watch/Python/{name}/English/" for name in ("Lists", "Loops", "Sets"))

Step = tuple[float, str | None, str, dict[str, Any] | None]
STEPS: list[Step] = [  # minute, who, page, what the page sends; None: the page is opened
    (0, "ada", FIRST, None),
    (1, "ada", FIRST, {"event_name": "event.tutorial.progress", "second": 30, "length": 50}),
    (2, "ada", FIRST, {"event_name": "event.tutorial.progress", "second": 40, "length": 50}),
    (3, "ada", SECOND, None),
    (4, "ada", SECOND, {"event_name": "event.tutorial.progress", "second": 500, "length": 600}),
    (5, "ada", SECOND, {"event_name": "event.tutorial.completion", "completed": False}),
    (6, "ada", SECOND, {"event_name": "event.tutorial.progress", "second": 590, "length": 600}),
    (7, "ada", SECOND, {"event_name": "event.exit", "exit_link": "https://b.org/"}),
    (33, "ada", SECOND, None),  # exactly half an hour after the page before
    (64, "ada", SECOND, None),
    (65, "ada", SECOND, {"event_name": "event.tutorial.progress", "second": 61, "length": 600}),
    (66, None, THIRD, None),
    (67, "bob", THIRD, {"event_name": "event.tutorial.completion", "completed": False}),
    (68, "bob", THIRD, {"event_name": "event.tutorial.completion", "completed": True}),
    (69, "bob", FIRST, {"event_name": "event.exit", "exit_link": "https://b.org/"}),
]


class Events:
    """Keeps the events, which come from Redis else."""

    def __init__(self) -> None:
        self.all: list[Mapping[str, Any]] = []

    def put(self, event: Mapping[str, Any]) -> None:
        self.all.append(event)

    def close(self) -> None:
        """There is nothing left."""


async def visit(steps: list[Step]) -> None:
    """Open the pages and send what they send, each visitor with a browser of his own."""
    from examples.website.app import app

    browsers: dict[str | None, httpx.AsyncClient] = {}
    for _, who, page, event in steps:
        if who not in browsers:
            headers = {"User-Agent": f"of {who}", **({"X-User": who} if who else {})}
            browsers[who] = httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://site.org",
                headers=headers,
                trust_env=False,
            )
        if event is None:
            answer = await browsers[who].get(page)
        else:
            sent = {"Origin": "http://site.org", "Referer": f"http://site.org{page}"}
            answer = await browsers[who].post("/events", json=event, headers=sent)
        assert answer.is_success, answer.text


def test_progress_visits_and_exit_links_are_queries_over_the_store(
    pipeline: Pipeline,
    open_client: Callable[[], Client],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    from examples.website import app

    events = Events()
    monkeypatch.setattr(app.log, "events", events)
    asyncio.run(visit(STEPS))
    assert app.log.failed == 0
    lines = []
    for (minute, *_), event in zip(STEPS, events.all, strict=True):
        moment = BEGIN + timedelta(minutes=minute)
        lines.append(json.dumps({**event, "datetime": moment.isoformat(timespec="microseconds")}))
    path = pipeline.directory / "data" / "logs" / "api_requests.log"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    done = pipeline.run(LOG_FORMAT="json")
    assert done.returncode == 0, done.stderr
    client = open_client()

    def answer(name: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in client.query((FOLDER / name).read_text()).result_rows]

    assert answer("progress.sql") == [
        # complete from 80 %, also a video of less than a minute
        ("ada", FIRST, 1, 1, 40, True, 33),
        # it was marked as incomplete, so 590 of 600 seconds do not change that
        ("ada", SECOND, 3, 3, 61, False, 33),
        ("bob", FIRST, 0, 0, 0, False, 33),
        # the last mark holds
        ("bob", THIRD, 0, 0, 0, True, 33),
    ]
    # ada: a visit of 0, 3 and 33, and one of 64; somebody: one of 66
    assert answer("visits.sql") == [(BEGIN.date(), 5, 3, 2, 2)]
    assert answer("exit_links.sql") == [("https://b.org/", FIRST, 1), ("https://b.org/", SECOND, 1)]
