"""What a page sends: who is heard, what is taken, and that nothing hostile gets further."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from middleware_events import SECRET, Events

from logwax_capture.errors import SettingError
from logwax_capture.jsontext import encode
from logwax_capture.middleware import PageEndpoint, PageEvents, RequestLog

SCHEMAS: dict[str, Any] = {
    "event.progress": {"foss": str, "minute": int, "share": float | None, "done": bool | None},
    "event.notes": {"notes": list | dict | str},
}
SAME = {"host": "a.org", "origin": "https://a.org", "content-type": "application/json"}
GOOD = {"event_name": "event.progress", "foss": "Python", "minute": 3}


def ask(page: PageEvents, body: Any, *, more: dict[str, str] | None = None, **scope: Any) -> Any:
    """Status, headers and text of the answer to a POST."""
    headers = {**SAME, **(more or {})}
    parts = body if isinstance(body, list) else [body]
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
    asked = {
        "type": "http",
        "method": "POST",
        "scheme": "https",
        "client": ("192.0.2.1", 5000),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items() if value],
        **scope,
    }
    answers: list[Any] = []
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": parts[read - 1], "more_body": read < len(parts)}

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(PageEndpoint(page)(asked, receive, send))
    start, end = answers
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], found, end["body"].decode(), read


@pytest.fixture
def log(events: Events) -> RequestLog:
    return RequestLog(events, secret=SECRET, user=lambda scope: scope.get("name"))


@pytest.fixture
def page(log: RequestLog) -> PageEvents:
    return PageEvents(log, SCHEMAS)


@pytest.mark.parametrize("kind", ["application/json", "text/plain;charset=UTF-8"])
def test_an_event_of_fetch_or_send_beacon_is_taken_with_what_the_server_knows(
    page: PageEvents, events: Events, kind: str
) -> None:
    more = {"content-type": kind, "referer": "https://a.org/watch/1/?token=x", "user-agent": "Fox"}
    sent = {**GOOD, "share": 1, "page_title": "Wätch", "referrer": "https://b.org/?token=x"}
    status, headers, text, _ = ask(page, sent, more=more, name="ada")
    assert (status, text) == (204, "")
    assert headers["set-cookie"].startswith("logwax_visitor=")
    [event] = events.all
    event = dict(event)
    assert event.pop("datetime").endswith("+00:00")
    assert len(event.pop("visitor")) == 32
    assert event == {
        "event_name": "event.progress",
        "visited_by": "ada",
        "ip_address": "192.0.2.1",
        "user_agent": "Fox",
        "first_time_visit": True,
        "path_info": "/watch/1/",
        "page_title": "Wätch",
        "referrer": "https://b.org/?token=[redacted]",
        "foss": "Python",
        "minute": 3,
        "share": 1.0,
    }


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"origin": "https://b.org"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://a.org.b.org"}, 403),
        ({"origin": "", "referer": ""}, 403),
        ({"origin": "https://a.org", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://[", "referer": ""}, 403),
        ({"origin": "https://a.org:443"}, 204),
        ({"origin": "", "referer": "https://a.org/page"}, 204),
        ({"host": "inside:8000", "sec-fetch-site": "same-origin"}, 204),
        ({"origin": "https://www.c.org", "sec-fetch-site": "cross-site"}, 204),
    ],
)
def test_only_pages_of_the_same_origin_and_those_that_are_named_are_heard(
    log: RequestLog, events: Events, more: dict[str, str], status: int
) -> None:
    page = PageEvents(log, SCHEMAS, origins=["https://www.C.org/"])
    assert ask(page, GOOD, more=more)[0] == status
    assert len(events.all) == (status == 204)


def test_visitors_who_are_not_signed_in_are_heard_only_if_that_was_chosen(
    log: RequestLog, events: Events
) -> None:
    page = PageEvents(log, SCHEMAS, anonymous=False)
    for name in (None, "", "anonymous"):
        assert ask(page, GOOD, name=name)[0] == 401
    assert ask(page, GOOD, name="ada")[0] == 204
    assert [event["visited_by"] for event in events.all] == ["ada"]


def test_a_get_and_another_type_are_refused_with_what_would_be_right(page: PageEvents) -> None:
    status, headers, text, _ = ask(page, GOOD, method="GET")
    assert (status, headers["allow"], text) == (405, "POST", "Events come by POST.\n")
    status, headers, text, _ = ask(page, GOOD, more={"content-type": "multipart/form-data"})
    assert status == 415
    assert "application/json" in text
    assert headers["x-content-type-options"] == "nosniff"


def test_a_body_that_is_too_large_is_not_read_to_its_end(page: PageEvents, events: Events) -> None:
    large = [b" " * 65536] * 256  # 16 MiB
    assert ask(page, large, more={"content-length": "16777216"})[::3] == (413, 0)
    assert ask(page, GOOD, more={"content-length": "9" * 5000})[::3] == (413, 0)
    assert ask(page, large)[::3] == (413, 1)
    assert events.all == []


class Clock:
    """Says what it is told."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_an_address_that_sends_too_many_events_is_told_to_wait(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logwax_capture.middleware.page.time", clock := Clock())
    page = PageEvents(log, SCHEMAS, per_minute=3)
    statuses = [ask(page, GOOD)[0] for _ in range(5)]
    assert statuses == [204, 204, 204, 429, 429]
    assert ask(page, GOOD)[1]["retry-after"] == "60"
    assert ask(page, GOOD, client=("192.0.2.2", 1))[0] == 204
    clock.now += 60
    assert ask(page, GOOD)[0] == 204


DEEP = b'{"event_name": "event.notes", "notes": ' + b"[" * 200 + b"]" * 200 + b"}"
HOSTILE = {
    "10,000 keys": {**GOOD, **{f"k{number}": 1 for number in range(10_000)}},
    "1,000 short keys": {**GOOD, **{f"{number}": 1 for number in range(1_000)}},
    "an operator": {**GOOD, "$where": "sleep(1)"},
    "a dotted key": {**GOOD, "foss.name": "x"},
    "a key with NUL": {**GOOD, "foss\0": "x"},
    "an operator as a value": {**GOOD, "foss": {"$gt": ""}},
    "an operator as a name": {"event_name": {"$ne": 1}},
    "another's name": {**GOOD, "visited_by": "root"},
    "another's address": {**GOOD, "ip_address": "6.6.6.6"},
    "a number too large": {**GOOD, "minute": 2**63},
    "a number beyond all": b'{"event_name":"event.progress","foss":"","minute":1,"share":1e999}',
    "a number of 5,000 digits": b'{"minute": ' + b"1" * 5000 + b"}",
    "no number": b'{"event_name": "event.progress", "foss": "", "minute": NaN}',
    "a bool for a number": {**GOOD, "minute": True},
    "a text for a number": {**GOOD, "minute": "3"},
    "a field missing": {"event_name": "event.progress", "foss": "x"},
    "an unknown event": {**GOOD, "event_name": "event.other"},
    "a path that is none": {**GOOD, "path_info": "javascript:alert(1)"},
    "a title that is none": {**GOOD, "page_title": ["x"]},
    "depth of 5,000": b"[" * 5000,
    "no JSON": b"{",
    "no UTF-8": b'{"event_name": "\xff"}',
    "no object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_what_does_not_fit_is_refused(page: PageEvents, events: Events, body: Any) -> None:
    status, _, text, _ = ask(page, body)
    assert status in (400, 413)
    assert text.isascii()
    assert len(text) < 200
    assert events.all == []


def test_what_fits_is_stored_as_text_whatever_it_says(page: PageEvents, events: Events) -> None:
    for foss in ("\0", "\ud800", "$where", "a.b", "'; DROP TABLE logs; --", "<script>"):
        assert ask(page, {**GOOD, "foss": foss})[0] == 204
        assert events.all[-1]["foss"] == foss
    assert ask(page, DEEP)[0] == 204
    assert events.all[-1]["notes"] == "[" * 200 + "]" * 200
    notes = {"$where": "1", "a.b": {"\0": "\ud800"}}
    assert ask(page, {"event_name": "event.notes", "notes": notes})[0] == 204
    assert json.loads(events.all[-1]["notes"]) == notes
    assert all(json.loads(encode(event)) for event in events.all)


def test_a_schema_may_be_a_function_that_says_what_is_stored(
    log: RequestLog, events: Events
) -> None:
    def link(fields: dict[str, Any]) -> dict[str, Any]:
        if not fields["url"].startswith("https://"):
            raise ValueError("url must be one of https.")
        return {"exit_link": fields["url"], **fields.get("more", {})}

    page = PageEvents(log, {"event.exit": link})

    def answer(**fields: Any) -> tuple[int, str]:
        status, _, text, _ = ask(page, {"event_name": "event.exit", **fields})
        return status, text

    assert answer(url="https://b.org") == (204, "")
    assert events.all[0]["exit_link"] == "https://b.org"
    assert answer(url="ftp://b.org") == (400, "url must be one of https.\n")
    assert answer(url=7) == (400, "The fields do not fit.\n")
    assert answer(url="https://", more={"visited_by": "root"}) == (
        *(400, "There is no field 'visited_by'.\n"),
    )
    assert answer(url="https://", more={"a.b": 1})[0] == 400
    assert len(events.all) == 1
    assert log.failed == 1  # the one that the function stumbled over


def test_all_that_is_wrong_with_the_settings_is_said_at_once(log: RequestLog) -> None:
    schemas: dict[str, Any] = {"event.x": {"visited_by": str, "a.b": str, "when": object}}
    with pytest.raises(SettingError) as caught:
        PageEvents(log, schemas, max_bytes=0)
    for words in (
        "max_bytes",
        "called 'visited_by'",
        "called 'a.b'",
        "when must be a type of JSON",
    ):
        assert words in str(caught.value)
