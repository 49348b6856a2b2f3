"""Who may ask: whoever has a token, in a header, or as a cookie that a form has set.

A browser's request by the cookie counts only if it comes from a page of this API. RFC 6750 has the
header, RFC 6265 the cookie.
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from api.names import is_of_this_machine
from connectors.api_token import KEPT, keep_token
from connectors.saying import say
from settings import Settings

LOGIN = "/login"
COOKIE = "logwax"

_MOST_BYTES = 4096  # of what the form sends

_FORM = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Logwax</title>
<h1>Logwax</h1>
<form method="post" action="{LOGIN}">
<label>Token <input type="password" name="token" required autofocus></label>
<button>Open</button>
</form>
<p>It is what API_TOKEN holds, or the file {KEPT} in DATA_DIR.</p>
"""


class Tokens:
    """Tokens of which one has to be shown if that is `needed`; they may change while it serves."""

    def __init__(self, *tokens: str, needed: bool = True) -> None:
        self.change(*tokens, needed=needed)

    def change(self, *tokens: str, needed: bool = True) -> None:
        """From now on these, and no others."""
        self._tokens = [token for token in tokens if token]
        self.needed = needed

    def know(self, given: str) -> bool:
        """Whether it is one of them; takes the same time for every wrong one of its length."""
        return sum(_same(given, token) for token in self._tokens) > 0  # each is compared

    def let_in(self, request: Request) -> bool:
        """Whether a request shows a token, or comes from a page that somebody has opened by one."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.know(given.strip())
        cookie = request.cookies.get(COOKIE, "")
        known = any(_same(cookie, _cookie(token)) for token in self._tokens)
        return known and _is_own(request)

    async def open(self, request: Request) -> Response | None:
        """The answer to the form: the cookie, and where to go on; None: the token is wrong."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MOST_BYTES:
                return None
        given = parse_qs(body.decode(errors="replace")).get("token", [""])[0]
        if not (self.know(given) and _is_own(request)):
            return None
        opened = RedirectResponse("/", 303)
        is_secure = request.url.scheme == "https"
        opened.set_cookie(
            COOKIE, _cookie(given), httponly=True, samesite="strict", secure=is_secure
        )
        return opened


def change_tokens(tokens: Tokens, settings: Settings, own: str = "") -> None:
    """Let the API ask for a token: on this machine where `API_TOKEN` is set, beyond it always.

    `own` is the token of this process, which is one of them. Raises `LogwaxError`.
    """
    chosen = settings.api_token.get_secret_value()
    is_beyond = not is_of_this_machine(settings.api_host)
    if is_beyond and not chosen:
        chosen = keep_token(settings.data_dir)
        say(
            f"API_HOST={settings.api_host} is beyond this machine, so the API asks for a token: "
            f"that in {settings.data_dir / KEPT}, or set API_TOKEN."
        )
    tokens.change(chosen, own, needed=bool(chosen))


def change_keys(keys: Tokens, settings: Settings, own: str) -> None:
    """As `change_tokens`, of what `QUERY_PORT` asks for: a key that is given must be right."""
    chosen = settings.api_token.get_secret_value()
    needed = bool(chosen) or not is_of_this_machine(settings.api_host)
    keys.change(chosen or keep_token(settings.data_dir), own, needed=needed)


def not_without_token(request: Request) -> Response:
    """The answer to a request that shows none: for a browser a form, for others a sentence."""
    headers = {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
    if request.url.path == LOGIN or "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_FORM, 401, headers)
    detail = f"Not without the token: send it as `Authorization: Bearer ...`, or open {LOGIN}."
    return JSONResponse({"detail": detail}, 401, headers)


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())


def _cookie(token: str) -> str:
    """What the browser keeps: nobody learns the token from it."""
    return hmac.new(token.encode(), b"a page of Logwax", "sha256").hexdigest()


def _is_own(request: Request) -> bool:
    """Whether a page of this API has sent it, or a person: not another page, by the browser."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    return request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")
