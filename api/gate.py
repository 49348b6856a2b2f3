"""What looks at every request before the app."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.saying import last_words, say


def gate(app: ASGIApp, own_name: str) -> ASGIApp:
    """`app`, asked by `GET` for `HEAD`; what it fails with is a sentence on stderr.

    `own_name` is set where only this machine is served, under that name among others. A page of
    the web may have a name that leads here, too (DNS rebinding): with such a name, or from such a
    page, there is no answer.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if own_name and (other := _other(Headers(scope=scope), own_name)):
                refusal = JSONResponse({"detail": _not_for(other)}, 403)
                return await refusal(scope, receive, send)
            if scope["method"] == "HEAD":  # the server leaves the body out
                scope = {**scope, "method": "GET", "is_head": True}
        try:
            await app(scope, receive, send)
        except Exception as error:  # the app has answered 500, if it could
            say(f"The API failed at {scope.get('path', '')!r}. {last_words(error)}")

    return guarded


def is_of_this_machine(name: str) -> bool:
    """Whether a name or an address leads to the machine itself, whoever says so."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761, 6.3


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
