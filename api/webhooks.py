"""Webhooks: addresses that a change of an alert is posted to."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio import fail_after

if TYPE_CHECKING:
    import httpx

SECONDS = 10.0
"""What a receiver may take for its answer."""


class Webhooks:
    """Posts to webhooks of these hosts, in lower case; of none: of any."""

    def __init__(self, hosts: Collection[str] = ()) -> None:
        self._hosts = frozenset(hosts)
        self._client: httpx.AsyncClient | None = None

    def wrong(self, url: str) -> str:
        """What is wrong with an address, as a sentence; empty if nothing is."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            host, port = "", None
        is_one = re.fullmatch("https?://[!-~]+", url) and host and port != 0
        if not is_one:
            return "A webhook is an address such as https://hooks.example/alerts."
        if self._hosts and host not in self._hosts:
            return f"WEBHOOK_HOSTS does not have {host!r}, the host of the webhook."
        return ""

    async def post(self, url: str, body: str) -> str:
        """Post JSON; returns why the receiver has not taken it, empty if it has.

        An answer of 2xx means that it has. No redirect is followed, and what it says is not read.
        """
        if wrong := self.wrong(url):
            return wrong
        import httpx  # here, for it takes a tenth of a second, and few have a webhook

        self._client = self._client or httpx.AsyncClient(timeout=SECONDS)
        headers = {"Content-Type": "application/json", "User-Agent": "logwax"}
        asking = self._client.stream("POST", url, content=body.encode(), headers=headers)
        try:
            with fail_after(SECONDS):
                async with asking as answer:
                    return "" if answer.is_success else f"It answered {answer.status_code}."
        except (TimeoutError, httpx.TimeoutException):
            return f"It did not answer within {SECONDS:.0f} s."
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"It cannot be reached: {error or type(error).__name__}."

    async def close(self) -> None:
        """Close the connections."""
        if self._client:
            await self._client.aclose()
            self._client = None


def shown(url: str) -> str:
    """An address without what may be secret in it: its user, its path; empty if there is none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…" if url else ""
