"""What the running pipeline says of itself."""

from __future__ import annotations

import httpx
import msgspec

from connectors.api_token import token_for
from settings import Settings


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


class HealthClient:
    """Asks one pipeline, again and again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url = f"{settings.api_url}/health"
        # a proxy has no business between two processes of one machine
        self._client = httpx.Client(trust_env=False, timeout=1.0)

    def ask(self) -> Health | None:
        """The answer, or None if there is none (yet)."""
        try:
            token = token_for(self._settings)  # it may be made only now
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = self._client.get(self._url, headers=headers)
            return msgspec.json.decode(answer.content, type=Health)
        except (httpx.HTTPError, msgspec.DecodeError):
            return None
