"""The middleware and the endpoint for ASGI (version 3 of the specification)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import Any, TypeAlias

from logwax_capture.middleware import redaction
from logwax_capture.middleware.page import PageEvents, RefusalError
from logwax_capture.middleware.request_log import ANONYMOUS, HEADERS, Logged, RequestLog

Message: TypeAlias = "MutableMapping[str, Any]"
Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
Application: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

_WANTED = {name.encode(): name for name in HEADERS}
_EARLY = {name.encode(): name for name in ("cookie", "content-type", "content-length")}


class ASGIMiddleware:
    """Logs each HTTP request of an application.

    Messages pass one by one, as they come, and the application runs in the task and context that
    it runs in without it. When the server's lifespan ends, the queue is closed.
    """

    def __init__(self, app: Application, log: RequestLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        exchange = self._begin(scope, receive, send) if scope["type"] == "http" else None
        if exchange is None:
            await self._app(scope, receive, send)
            return
        try:
            is_read = exchange.is_body_read
            await self._app(scope, exchange.receive if is_read else receive, exchange.send)
        except Exception:
            exchange.status = exchange.status or 500  # which the server answers then
            raise
        finally:
            exchange.end()

    def _begin(self, scope: Scope, receive: Receive, send: Send) -> _Exchange | None:
        try:
            early = _headers(scope, _EARLY)
            logged = self._log.begin(
                scope["method"],
                scope["path"],
                early.get("cookie", ""),
                partial(_headers, scope),
                _peer(scope),
                _is_secure(scope),
            )
            if logged is None:
                return None
            return _Exchange(self._log, logged, scope, early, receive, send)
        except Exception as error:
            self._log.fail(error)
            return None

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the queue when the application has shut down, also one that knows no lifespan."""
        has_said = False

        async def sending(message: Message) -> None:
            nonlocal has_said
            has_said = True
            if message["type"].startswith("lifespan.shutdown."):
                self._log.events.close()
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            if has_said:
                raise
            await send({"type": "lifespan.startup.complete"})
            while (await receive())["type"] != "lifespan.shutdown":
                pass
            await sending({"type": "lifespan.shutdown.complete"})


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        log: RequestLog,
        logged: Logged,
        scope: Scope,
        headers: dict[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        self.status: int | None = None
        self._log, self._logged, self._scope = log, logged, scope
        self._receive, self._send = receive, send
        self._type = headers.get("content-type", "")
        self.is_body_read = redaction.is_read(self._type, headers.get("content-length", ""))
        self._body = b""
        self._sent = 0

    async def receive(self) -> Message:
        message = await self._receive()
        body = message.get("body")
        if body and len(self._body) <= redaction.MOST_BYTES:  # one byte more says: too long
            self._body += body[: redaction.MOST_BYTES + 1]
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            self._sent += len(message.get("body", b""))
        elif kind == "http.response.start":
            self.status = message["status"]
            cookie = self._logged.set_cookie
            if cookie is not None:
                headers = [*message.get("headers", ()), (b"set-cookie", cookie.encode())]
                message = {**message, "headers": headers}
        await self._send(message)

    def end(self) -> None:
        log, scope = self._log, self._scope
        try:
            query = scope.get("query_string", b"").decode("latin-1")
            log.end(
                self._logged,
                status=self.status,
                bytes_sent=0 if scope["method"] == "HEAD" else self._sent,
                user=log.user(scope) if log.user else _user(scope),
                view_kwargs=scope.get("path_params"),
                request_data=log.redaction.request_data(query, self._body, self._type),
            )
        except Exception as error:
            log.fail(error)


class PageEndpoint:
    """Takes what a page sends: `Route("/events", PageEndpoint(page))` in Starlette or FastAPI."""

    def __init__(self, page: PageEvents) -> None:
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 204, or with what is wrong."""
        page = self._page
        try:
            found = _headers(scope)
            event, cookie = page.open(scope["method"], found, _peer(scope), _is_secure(scope))
            user = page.log.user(scope) if page.log.user else _user(scope)
            page.take(event, await self._body(receive), user)
            status, text, more = 204, b"", {"set-cookie": cookie} if cookie else {}
        except RefusalError as refusal:
            status, text, more = refusal.status, refusal.text.encode(), refusal.headers
            more |= {"content-type": "text/plain; charset=utf-8", "content-length": str(len(text))}
        headers = [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    async def _body(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusalError(400, "The body is not whole.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._page.check_size(size)
            more = message.get("more_body", False)
        return b"".join(parts)


def _headers(scope: Scope, wanted: Mapping[bytes, str] = _WANTED) -> dict[str, str]:
    """Those that are wanted. One that is there several times is joined, as RFC 9110 has it."""
    found: dict[str, str] = {}
    for key, value in scope["headers"]:
        if key in wanted:
            name = wanted[key]
            text = value.decode("latin-1")
            found[name] = f"{found[name]},{text}" if name in found else text
    return found


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client and client[0] else ""


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") == "https"


def _user(scope: Scope) -> str | None:
    """The user of Starlette's `AuthenticationMiddleware`, where there is one."""
    user = scope.get("user")
    if user is None:
        return None
    if not getattr(user, "is_authenticated", True):
        return ANONYMOUS
    return str(getattr(user, "username", None) or getattr(user, "display_name", user))
