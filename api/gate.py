"""What looks at every request before the app."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import LOGIN, Tokens, not_without_token
from api.limits import Limits
from api.names import is_of_this_machine
from connectors.saying import last_words, say

_PROBES = ("/health", "/ready")
"""Whoever shows no token learns from these whether all is well, and no more."""


_ENDLESS = ("/logs/tail",)
"""Answered for as long as somebody listens; has a limit of its own."""


def content_policy(hashes: Sequence[str] = ()) -> str:
    """What a browser may load and run: files from here, and inline scripts of these hashes."""
    scripts = " ".join(["'self'", *(f"'sha256-{each}'" for each in hashes)])
    return (
        f"default-src 'self'; script-src {scripts}; img-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


_HEADERS = {
    "Content-Security-Policy": content_policy(),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer that does not say something else: what is in a log is never run by a browser."""


def gate(app: ASGIApp, own_name: str, tokens: Tokens | None = None) -> ASGIApp:
    """`app`, for who may ask, and not too much; what it fails with is a sentence on stderr.

    `own_name` is set where only this machine is served, under that name among others. A page of
    the web may have a name that leads here, too (DNS rebinding): with such a name, or from such a
    page, there is no answer. `tokens`: one of them has to be shown. `HEAD` is asked by `GET`.
    """
    limits = Limits()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        client = request.client.host if request.client else ""
        if own_name and (other := _other(request.headers, own_name)):
            return await JSONResponse({"detail": _not_for(other)}, 403)(scope, receive, send)
        if request.url.path in _PROBES:  # of who looks after this process: never too many
            if tokens and not tokens.let_in(request):
                send = _status_only(send)
            return await app(scope, receive, send)
        with limits.request(client, is_long=request.url.path in _ENDLESS) as wait:
            if wait:
                too_many = JSONResponse(
                    {"detail": f"Too many requests of one client: try again in {wait} s."},
                    429,
                    {"Retry-After": str(wait)},
                )
                return await too_many(scope, receive, send)
            if tokens and request.url.path == LOGIN and request.method == "POST":
                if opened := await tokens.open(request):
                    return await opened(scope, receive, send)
                limits.wrong_token(client)
                return await not_without_token(request)(scope, receive, send)
            if tokens and (request.url.path == LOGIN or not tokens.let_in(request)):
                if "authorization" in request.headers:
                    limits.wrong_token(client)
                return await not_without_token(request)(scope, receive, send)
            await app(scope, receive, send)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's own: it starts, or stops
            return await app(scope, receive, send)
        send = _with_headers(send)
        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET", "is_head": True}
        try:
            await answer(scope, receive, send)
        except Exception as error:  # the app has answered 500, if it could
            say(f"The API failed at {scope.get('path', '')!r}. {last_words(error)}")

    return guarded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _status_only(send: Send) -> Send:
    """Instead of the answer, whether it is a good one."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            is_ok = message["status"] == 200
            short = JSONResponse({"status": "ok" if is_ok else "unhealthy"}, message["status"])
            await send({**message, "headers": short.raw_headers})
            await send({"type": "http.response.body", "body": short.body})

    return sending


def _other(headers: Headers, own_name: str) -> str:
    """The foreign name in these headers; empty if there is none."""
    for address in (f"//{headers.get('host', '')}", headers.get("origin", "")):
        if address.strip("/"):
            try:
                name = (urlsplit(address).hostname or "").rstrip(".")
            except ValueError:
                name = ""
            if not (is_of_this_machine(name) or name == own_name.lower()):
                return address.strip("/")
    return ""


def _not_for(other: str) -> str:
    return (
        f"{other!r} is none of this machine's own names, and API_HOST serves this machine only: "
        "ask for localhost, let a proxy do so, or set API_HOST to an address of the network."
    )
