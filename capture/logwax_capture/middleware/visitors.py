"""Who visits: a browser, known by a signed cookie; without one, by a keyed hash."""

from __future__ import annotations

import hmac
import re
import time
from functools import lru_cache
from typing import NamedTuple

SIX_MONTHS = 180 * 24 * 3600
"""Seconds for which a visitor is known."""

_RENEW = 3600  # seconds after which the cookie says a newer time: so exact is the last visit
_DAY = 24 * 3600
_SHORTEST = 16  # bytes of a secret


def problems(secret: str | bytes, cookie: str | None) -> list[str]:
    """What `Visitors` cannot work with."""
    found = []
    if len(secret) < _SHORTEST:
        found.append(f"secret must have at least {_SHORTEST} bytes, and be kept secret")
    if cookie is not None and not re.fullmatch(r"[A-Za-z0-9_-]+", cookie):
        found.append("cookie must be a name of letters, digits, _ and -")
    return found


class Visitor(NamedTuple):
    """A visitor, and the header that tells the browser."""

    id: str
    is_first: bool | None
    """Whether this browser was not here within six months; None: it is not asked to say so."""
    set_cookie: str | None


class Visitors:
    """Tells visitors apart.

    The cookie has an id, the second of the last visit, and a signature (HMAC-SHA256, 128 bits).
    A cookie that is forged, damaged or older than six months is none.

    Without a cookie, the id is a keyed hash of address, user agent, language and day (UTC), and
    that is the id of the cookie that the browser gets. So two tabs that are opened at once are one
    visitor, as are two people with the same browser behind one address who come for the first time
    on the same day. Nothing can be computed from the id without the secret.
    """

    def __init__(self, secret: str | bytes, cookie: str | None) -> None:
        key = secret.encode() if isinstance(secret, str) else secret
        self._sign_key = hmac.digest(key, b"logwax cookie", "sha256")
        self._hash_key = hmac.digest(key, b"logwax visitor", "sha256")
        self._cookie = cookie
        value = r"([0-9a-f]{32})\.([0-9]{1,12})\.([0-9a-f]{32})"
        self._is_ours = lru_cache(4096)(self._is_signed)  # a visitor comes again soon
        self._find = re.compile(rf"(?:^|[;,]\s*){cookie}={value}(?=$|[;,])").search

    def visitor(
        self, cookies: str, client: str, agent: str, language: str, is_secure: bool
    ) -> Visitor:
        """Who this is, by the header `Cookie`, or by the other ones."""
        now = int(time.time())
        known = self._known(cookies, now) if cookies and self._cookie else None
        if known is not None:
            who, seen = known
            renewed = self._set(who, now, is_secure) if now - seen > _RENEW else None
            return Visitor(who, False, renewed)
        what = f"{now // _DAY}\0{client}\0{agent}\0{language}".encode(errors="replace")
        who = hmac.digest(self._hash_key, what, "sha256")[:16].hex()
        if self._cookie is None:
            return Visitor(who, None, None)
        return Visitor(who, True, self._set(who, now, is_secure))

    def is_known(self, cookies: str) -> bool:
        """Whether `visitor` sets no cookie for this header."""
        if self._cookie is None:
            return True
        now = int(time.time())
        known = self._known(cookies, now) if cookies else None
        return known is not None and now - known[1] <= _RENEW

    def _known(self, cookies: str, now: int) -> tuple[str, int] | None:
        found = self._find(cookies)
        if found is None:
            return None
        who, seen, signature = found.groups()
        if not self._is_ours(who, seen, signature):
            return None
        return (who, int(seen)) if now - int(seen) <= SIX_MONTHS else None

    def _set(self, who: str, now: int, is_secure: bool) -> str:
        value = f"{who}.{now}.{self._sign(who, str(now))}"
        rights = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if is_secure else "")
        return f"{self._cookie}={value}; Max-Age={SIX_MONTHS}{rights}"

    def _is_signed(self, who: str, seen: str, signature: str) -> bool:
        return hmac.compare_digest(signature, self._sign(who, seen))

    def _sign(self, who: str, seen: str) -> str:
        return hmac.digest(self._sign_key, f"{who}.{seen}".encode(), "sha256")[:16].hex()
