"""What looks at every request before the app."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import COOKIE, LOGIN, Tokens, not_without_token
from api.limits import Limits
from api.names import is_of_this_machine
from connectors.saying import about, last_words, say

_PROBES = ("/health", "/ready")
"""Whoever shows no token learns from these whether all is well, and no more."""


_ENDLESS = ("/logs/tail",)
"""Answered for as long as somebody listens; has a limit of its own."""

PAGES = ("/", "/docs")
"""What a page of another site may lead to."""

_NAME = r"(?P<name>\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d*)?"
_HOST = re.compile(_NAME)
_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://" + _NAME)


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


def gate(
    app: ASGIApp, own_name: str, tokens: Tokens | None = None, pages: Collection[str] = PAGES
) -> ASGIApp:
    """`app`, for who may ask, and not too much; what it fails with is a sentence on stderr.

    `own_name` is set where only this machine is served, under that name among others. A page of
    the web may have a name that leads here, too (DNS rebinding): with such a name, or from such a
    page, there is no answer; nor is there if a browser says that another site has made it ask,
    unless somebody has followed a link to one of `pages`. `tokens`: one of them has to be shown
    if that is needed. `HEAD` is asked by `GET`. Where the app itself finds a wrong key, it calls
    `request.state.wrong_token`.
    """
    limits = Limits()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        asked = tokens if tokens and tokens.needed else None
        client = request.client.host if request.client else ""
        if own_name and (other := _other(request.headers, own_name)):
            return await JSONResponse({"detail": _not_for(other)}, 403)(scope, receive, send)
        if own_name and _is_of_another_site(request, pages):
            return await JSONResponse({"detail": _NOT_FOR_SITES}, 403)(scope, receive, send)
        if request.url.path in _PROBES:  # of who looks after this process: never too many
            if asked and not asked.let_in(request):
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
            if asked and request.url.path == LOGIN and request.method == "POST":
                if opened := await asked.open(request):
                    return await opened(scope, receive, send)
                limits.wrong_token(client)
                return await not_without_token(request)(scope, receive, send)
            if asked and (request.url.path == LOGIN or not asked.let_in(request)):
                if "authorization" in request.headers:
                    limits.wrong_token(client)
                elif cookie := request.cookies.get(COOKIE):
                    limits.wrong_token(client, cookie)
                return await not_without_token(request)(scope, receive, send)
            request.state.wrong_token = partial(limits.wrong_token, client)
            await app(scope, receive, send)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's own: it starts, or stops
            return await app(scope, receive, send)
        request_id = _request_id(Headers(scope=scope))
        send = _with_headers(send, {**_HEADERS, "X-Request-ID": request_id})
        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET", "is_head": True}
        with about(request_id):
            try:
                await answer(scope, receive, send)
            except Exception as error:  # the app has answered 500, if it could
                what = f"The API failed at {scope.get('path', '')!r}. {last_words(error)}"
                say(what, level="error")

    return guarded


def _request_id(headers: Headers) -> str:
    """That of who asks, such as a proxy, if it is a plain one; else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _with_headers(send: Send, missing: Mapping[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in missing.items():
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
    """The foreign name in these headers; empty if there is none. RFC 9110, 7.2; RFC 6454, 7."""
    for written, form in (("host", _HOST), ("origin", _ORIGIN)):
        for address in filter(None, headers.getlist(written)):
            found = form.fullmatch(address)
            name = found["name"].strip("[]").rstrip(".").lower() if found else ""
            if not (is_of_this_machine(name) or name == own_name.lower()):
                return address
    return ""


def _is_of_another_site(request: Request, pages: Collection[str]) -> bool:
    """Whether a page of another site makes a browser ask. W3C, Fetch Metadata Request Headers."""
    is_link = request.headers.get("sec-fetch-mode") == "navigate" and request.url.path in pages
    return not is_link and request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


_NOT_FOR_SITES = (
    "A page of another site has made the browser ask this: that may only lead to the page at /. "
    "Open this address by hand."
)


def _not_for(other: str) -> str:
    return (
        f"{other!r} is none of this machine's own names, and API_HOST serves this machine only: "
        "ask for localhost, let a proxy do so, or set API_HOST to an address of the network."
    )
