"""What one client may ask for: so many requests at a time, so many wrong tokens."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

AT_ONCE = 32
"""Requests of a client that are answered at a time; a browser has six."""

WRONG_TOKENS = 10
"""Of a client in `SECONDS`; then it waits for their end, whatever it shows."""

SECONDS = 60.0

_MOST_CLIENTS = 10_000  # that are remembered for their wrong tokens


class Limits:
    """Counts the requests of each client, for a server in one thread."""

    def __init__(self) -> None:
        self._at_work: Counter[str] = Counter()
        self._wrong: dict[str, tuple[int, float]] = {}  # how many, and when the first came
        self._last_cookie: dict[str, str] = {}

    @contextmanager
    def request(self, address: str, *, is_long: bool = False) -> Iterator[int]:
        """A request that begins, and ends: in how many seconds it may come again, 0: now.

        `is_long`: it is no question, and does not count as one; others limit these.
        """
        client = _client(address)
        if wait := self._wait(client, is_long):
            yield wait
            return
        if is_long:
            yield 0
            return
        self._at_work[client] += 1
        try:
            yield 0
        finally:
            self._at_work[client] -= 1
            if not self._at_work[client]:
                del self._at_work[client]

    def wrong_token(self, address: str, cookie: str = "") -> None:
        """Take note that a client has shown a wrong one, or a `cookie` that is of none.

        A page that is still open shows the same old cookie again and again: that is one.
        """
        now = time.monotonic()
        if len(self._wrong) >= _MOST_CLIENTS:
            self._wrong = {
                client: (count, first)
                for client, (count, first) in self._wrong.items()
                if first > now - SECONDS
            }
            self._last_cookie.clear()
        if cookie and self._last_cookie.get(_client(address)) == cookie:
            return
        if cookie:
            self._last_cookie[_client(address)] = cookie
        count, first = self._wrong.get(_client(address), (0, now))
        if first <= now - SECONDS:
            count, first = 0, now
        self._wrong[_client(address)] = count + 1, first

    def _wait(self, client: str, is_long: bool) -> int:
        count, first = self._wrong.get(client, (0, 0.0))
        left = first + SECONDS - time.monotonic()
        if count >= WRONG_TOKENS and left > 0:
            return math.ceil(left)
        return int(not is_long and self._at_work[client] >= AT_ONCE)


def _client(address: str) -> str:
    """Whom an address belongs to: of IPv6, one has 64 bits of them."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Address(int(found) >> 64 << 64)) if found.version == 6 else address
