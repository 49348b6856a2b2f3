"""What the running pipeline says of itself."""

from __future__ import annotations

import httpx
import msgspec

from settings import Settings

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # bound there, asked here


class Health(msgspec.Struct):
    """The part of `GET /health` that is shown."""

    status: str
    lines_in: int
    lines_stored: int
    lag_bytes: int
    lag_seconds: float
    last_error: str

    @property
    def is_ok(self) -> bool:
        """Whether the status code was 200."""
        return self.status == "ok"


def api_url(settings: Settings) -> str:
    """Where the API of a pipeline with these settings is, seen from this machine."""
    host = _EVERY_ADDRESS.get(settings.api_host, settings.api_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


class HealthClient:
    """Asks one pipeline, again and again."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/health"
        # a proxy has no business between two processes of one machine
        self._client = httpx.Client(trust_env=False, timeout=1.0)

    def ask(self) -> Health | None:
        """The answer, or None if there is none (yet)."""
        try:
            return msgspec.json.decode(self._client.get(self._url).content, type=Health)
        except (httpx.HTTPError, msgspec.DecodeError):
            return None
