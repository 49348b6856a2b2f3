"""What is logged of a request, the same under ASGI and WSGI."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from middleware_events import SECRET, Events

from logwax_capture.errors import SettingError
from logwax_capture.middleware import ASGIMiddleware, RequestLog, WSGIMiddleware

httpx = pytest.importorskip("httpx")

BODY = b"hello, visitor"


async def asgi_application(scope: Any, receive: Any, send: Any) -> None:
    """Reads all, and answers with 201 in two parts."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-a", b"b")]})
    await send({"type": "http.response.body", "body": BODY[:5], "more_body": True})
    await send({"type": "http.response.body", "body": BODY[5:]})


def wsgi_application(environ: Any, start_response: Any) -> Iterator[bytes]:
    """The same."""
    environ["wsgi.input"].read()
    start_response("201 Created", [("X-A", "b")])
    yield BODY[:5]
    yield BODY[5:]


Ask = Callable[..., Any]


@pytest.fixture(params=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Makes one request of an application with the middleware; returns the answer."""

    def over_asgi(log: RequestLog, method: str, path: str, peer: str, **options: Any) -> Any:
        async def go() -> Any:
            app = ASGIMiddleware(asgi_application, log)
            transport = httpx.ASGITransport(app, client=(peer, 5000))
            async with httpx.AsyncClient(
                transport=transport, base_url="http://a.org", trust_env=False
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(go())

    def over_wsgi(log: RequestLog, method: str, path: str, peer: str, **options: Any) -> Any:
        app = WSGIMiddleware(wsgi_application, log)

        def served(environ: Any, start_response: Any) -> Any:  # as PEP 3333 has it: bytes as text
            environ["PATH_INFO"] = environ["PATH_INFO"].encode().decode("latin-1")
            return app(environ, start_response)

        transport = httpx.WSGITransport(served, remote_addr=peer)
        with httpx.Client(transport=transport, base_url="http://a.org", trust_env=False) as client:
            return client.request(method, path, **options)

    over = over_asgi if request.param == "asgi" else over_wsgi

    def ask(
        log: RequestLog, method: str, path: str, peer: str = "192.0.2.1", **options: Any
    ) -> Any:
        answer = over(log, method, path, peer, **options)
        assert (answer.status_code, answer.headers["x-a"]) == (201, "b")
        assert answer.content == BODY or method == "HEAD"
        return answer

    return ask


def test_an_event_has_all_that_is_known_of_a_request_and_its_answer(
    ask: Ask, events: Events
) -> None:
    log = RequestLog(events, secret=SECRET, user=lambda it: "ada")
    headers = {"User-Agent": "Firefox", "Referer": "http://b.org/?q=1&token=x#end"}
    begun = datetime.now(timezone.utc)
    ask(log, "GET", "/wätch/a b/?page=2", headers=headers)
    [event] = events.all
    event = dict(event)
    assert begun <= datetime.fromisoformat(event.pop("datetime")) < begun + timedelta(minutes=1)
    assert 0 < event.pop("duration_ms") < 60_000
    assert len(event.pop("visitor")) == 32
    event.pop("view_kwargs", None)
    assert event == {
        "path_info": "/wätch/a b/",
        "method": "GET",
        "event_name": "event.request",
        "visited_by": "ada",
        "ip_address": "192.0.2.1",
        "user_agent": "Firefox",
        "referrer": "http://b.org/?q=1&token=[redacted]#end",
        "first_time_visit": True,
        "request_data": {"page": "2"},
        "status_code": 201,
        "bytes_sent": len(BODY),
    }


def test_times_have_microseconds_and_a_zone_also_at_whole_seconds(
    ask: Ask, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`str` leaves `.000000` out, and who reads it lost a whole batch."""

    moment = datetime(2026, 11, 26, 15, 40, tzinfo=timezone.utc).timestamp()
    monkeypatch.setattr("time.time", lambda: moment)
    ask(RequestLog(events, secret=SECRET), "GET", "/")
    assert events.all[0]["datetime"] == "2026-11-26T15:40:00.000000+00:00"


def test_the_first_pattern_that_matches_names_the_event_and_others_are_not_logged(
    ask: Ask, events: Events
) -> None:
    names = {
        r"^/$": "event.home.view",
        r"^/watch/([0-9a-zA-Z-+%\(\)., ]+)/([a-zA-Z-]+)/$": "event.video.watch",
        r"^/news/": "event.news",
        r"^/news/old/": "event.old.news",
    }
    log = RequestLog(events, secret=SECRET, names=names)
    for path in ("/", "/watch/Python 3/English/", "/news/old/1", "/%0A", "/watch/", "/other"):
        ask(log, "GET", path)
    assert [event["event_name"] for event in events.all] == [
        *("event.home.view", "event.video.watch", "event.news")
    ]


def test_paths_and_methods_can_be_left_out(ask: Ask, events: Events) -> None:
    log = RequestLog(
        events,
        secret=SECRET,
        include=["/shop/", "/about$"],
        exclude=["/shop/static/"],
        methods=["get", "HEAD"],
    )
    for path in ("/shop/1", "/shop/static/1", "/about", "/about/", "/"):
        ask(log, "GET", path)
    ask(log, "POST", "/shop/2")
    ask(log, "HEAD", "/shop/3")
    assert [(event["path_info"], event["bytes_sent"]) for event in events.all] == [
        *(("/shop/1", len(BODY)), ("/about", len(BODY)), ("/shop/3", 0))
    ]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),  # nobody named it a proxy
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),  # the first one is a lie
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:DB8::7]:443", "2001:db8::7"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("", "203.0.113.9", "203.0.113.9"),  # over a Unix socket
    ],
)
def test_the_address_is_the_last_one_that_is_no_named_proxy(
    ask: Ask, events: Events, peer: str, forwarded: str, client: str
) -> None:
    log = RequestLog(events, secret=SECRET, proxies=["10.0.0.0/8", "unix"])
    headers = {"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"}
    answer = ask(log, "GET", "/", peer=peer, headers=headers)
    assert events.all[0]["ip_address"] == client
    assert ("; Secure" in answer.headers["set-cookie"]) == (peer != "192.0.2.1")


def test_fields_of_a_form_stand_below_request_data_without_secrets(
    ask: Ask, events: Events
) -> None:
    """In the top level a form could say who it is, or where it comes from."""
    form = {
        "visited_by": "somebody else",
        "ip_address": "6.6.6.6",
        "password1": "p",
        "Old-Password": "p",
        "csrfmiddlewaretoken": "t",
        "apiKey": "k",
        "colour": ["red", "blü"],
        "empty": "",
    }
    ask(RequestLog(events, secret=SECRET), "POST", "/?to%6ben=t&page=1", data=form)
    [event] = events.all
    assert event["ip_address"] == "192.0.2.1"
    assert "visited_by" not in event
    assert event["request_data"] == {
        "visited_by": "somebody else",
        "ip_address": "6.6.6.6",
        **dict.fromkeys(("password1", "Old-Password", "csrfmiddlewaretoken"), "[redacted]"),
        **dict.fromkeys(("apiKey", "token"), "[redacted]"),
        "page": "1",
        "colour": ["red", "blü"],
        "empty": "",
    }


def test_a_json_object_is_request_data_and_secrets_are_found_at_any_depth(
    ask: Ask, events: Events
) -> None:
    body = {"order": [{"item": 7, "card_number": "4111"}], "Authorization": {"a": 1}, "$where": "1"}
    ask(RequestLog(events, secret=SECRET), "PUT", "/", json=body)
    assert events.all[0]["request_data"] == {
        "order": [{"item": 7, "card_number": "[redacted]"}],
        "Authorization": "[redacted]",
        "$where": "1",
    }


def test_the_application_chooses_the_words_that_are_redacted(ask: Ask, events: Events) -> None:
    log = RequestLog(events, secret=SECRET, redact=["iban"])
    ask(log, "GET", "/?IBAN=1&password=2")
    assert events.all[0]["request_data"] == {"IBAN": "[redacted]", "password": "2"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"[" * 3000),
        ("application/json", b"{" + b" " * 4096 + b"}"),
        ("application/json", b"[1]"),
        ("application/json", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b"a=1&" * 51),
        ("application/x-www-form-urlencoded", b"a=" + b"1" * 5000),
        ("text/plain", b"a=1"),
    ],
)
def test_a_body_that_is_long_or_broken_is_left_out_and_the_application_gets_it(
    ask: Ask, events: Events, kind: str, body: bytes
) -> None:
    def parts() -> Iterator[bytes]:  # so no header says how long it is
        yield body

    log = RequestLog(events, secret=SECRET)
    ask(log, "POST", "/", content=body, headers={"Content-Type": kind})
    assert "request_data" not in events.all[0]


def test_an_error_in_logging_never_reaches_the_request(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def put(self, event: Any) -> None:
            raise RuntimeError("no queue")

        def close(self) -> None:
            """There is nothing."""

    def user(it: Any) -> str:
        raise LookupError("no user")

    def failures(log: RequestLog) -> int:
        for _ in range(3):
            ask(log, "GET", "/")
        return log.failed

    assert failures(RequestLog(Broken(), secret=SECRET)) == 3
    assert failures(RequestLog(Events(), secret=SECRET, user=user)) == 3
    log = RequestLog(Events(), secret=SECRET)
    log._visitors = None  # type: ignore[assignment]
    assert failures(log) == 3
    assert caplog.text.count("A request is not logged") == 3
    assert "no queue" in caplog.text
    assert "no user" in caplog.text


def test_all_that_is_wrong_with_the_settings_is_said_at_once() -> None:
    with pytest.raises(SettingError) as caught:
        RequestLog(Events(), secret="short", cookie="a b", names={"(": "x"}, proxies=["proxy"])
    said = str(caught.value)
    for words in ("16 bytes", "cookie must", "'(' is no pattern", "'proxy' is no address"):
        assert words in said


def asgi_scope(path: str = "/") -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}


async def nothing() -> dict[str, Any]:
    return {"type": "http.request"}


def test_a_stream_stays_one_and_context_variables_survive(events: Events) -> None:
    """Each part is on its way before the application makes the next one."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="lost")
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert variable.get() == "from outside"
        variable.set("from inside")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            seen.append(number)
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        seen.append(message.get("body"))

    async def go() -> None:
        variable.set("from outside")
        await ASGIMiddleware(app, RequestLog(events, secret=SECRET))(asgi_scope(), nothing, send)
        assert variable.get() == "from inside"

    asyncio.run(go())
    assert seen == [None, 0, b"x", 1, b"x", 2, b"x", None]
    assert events.all[0]["bytes_sent"] == 3


def test_an_application_that_fails_is_logged_as_500_and_one_that_was_given_up_without_status(
    events: Events,
) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def go() -> None:
        log = RequestLog(events, secret=SECRET)
        with pytest.raises(ZeroDivisionError):
            await ASGIMiddleware(fails, log)(asgi_scope("/fails"), nothing, nothing)  # type: ignore[arg-type]
        with pytest.raises(asyncio.TimeoutError):
            one = ASGIMiddleware(waits, log)(asgi_scope("/waits"), nothing, nothing)  # type: ignore[arg-type]
            await asyncio.wait_for(one, 0.01)

    asyncio.run(go())

    def broken(environ: Any, start_response: Any) -> Any:
        raise ZeroDivisionError

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/broken"}
    with pytest.raises(ZeroDivisionError):
        WSGIMiddleware(broken, RequestLog(events, secret=SECRET))(environ, lambda *_: None)
    assert [(event["path_info"], event.get("status_code")) for event in events.all] == [
        *(("/fails", 500), ("/waits", None), ("/broken", 500))
    ]


def test_starlettes_user_and_path_parameters_are_in_the_event(events: Events) -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
    from starlette.middleware import Middleware
    from starlette.middleware.authentication import AuthenticationMiddleware
    from starlette.responses import Response
    from starlette.routing import Route

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: Any) -> Any:
            name = conn.headers.get("x-user")
            return (AuthCredentials(), SimpleUser(name)) if name else None

    async def watch(request: Any) -> Response:
        return Response()

    app = Starlette(
        routes=[Route("/watch/{number:int}", watch)],
        middleware=[
            Middleware(ASGIMiddleware, log=RequestLog(events, secret=SECRET)),
            Middleware(AuthenticationMiddleware, backend=Backend()),
        ],
    )

    async def go() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://a.org", trust_env=False
        ) as client:
            await client.get("/watch/7", headers={"X-User": "ada"})
            await client.get("/watch/8")

    asyncio.run(go())
    assert [(event["visited_by"], event["view_kwargs"]) for event in events.all] == [
        *(("ada", {"number": 7}), ("anonymous", {"number": 8}))
    ]


@pytest.mark.parametrize("knows_lifespan", [True, False])
def test_the_end_of_the_servers_lifespan_closes_the_queue(
    events: Events, knows_lifespan: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not knows_lifespan:
            raise ValueError("only HTTP")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        assert not events.is_closed
        await send({"type": "lifespan.shutdown.complete"})

    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(asked)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    log = RequestLog(events, secret=SECRET)
    asyncio.run(ASGIMiddleware(app, log)({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert events.is_closed


def test_a_file_goes_to_the_server_of_wsgi_as_it_is_and_a_list_has_its_length(
    events: Events, tmp_path: Any
) -> None:
    """A server sends a file by itself (`sendfile`), and sets the length of a list of one part."""
    (tmp_path / "file").write_bytes(b"four")
    file = FileWrapper((tmp_path / "file").open("rb"))
    answers: list[Any] = [[b"one", b"two"], file]

    def app(environ: Any, start_response: Any) -> Any:
        answer = answers[environ["number"]]
        start_response("200 OK", [("Content-Length", "4")])(b"written")
        return answer

    middleware = WSGIMiddleware(app, RequestLog(events, secret=SECRET))

    def answer(number: int) -> Any:
        environ = {"REQUEST_METHOD": "GET", "wsgi.file_wrapper": FileWrapper, "number": number}
        return middleware(environ, lambda *_: lambda part: None)

    parts = answer(0)
    assert (len(parts), list(parts)) == (2, answers[0])
    parts.close()
    assert answer(1) is file
    assert [event["bytes_sent"] for event in events.all] == [
        len("writtenonetwo"),
        len("written") + 4,
    ]
    file.close()
