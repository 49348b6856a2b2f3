"""Answers without an end, or too long for memory: sent piece by piece, while they are taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from anyio import move_on_after
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

STALLED_SECONDS = 30.0
"""For how long a client may take nothing at all, before it is let go."""


class Streamed(StreamingResponse):
    """Sends pieces, until the client goes away, or takes nothing for too long.

    What waits for it is one piece, and what the buffers of its connection hold. `HEAD` gets none.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(pieces, headers=headers, media_type=media_type)
        self._pieces = pieces
        self._is_head = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by Starlette."""
        self._is_head = scope.get("is_head", False)
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Called by Starlette."""

        async def is_taken(message: Message) -> bool:
            with move_on_after(STALLED_SECONDS) as patience:
                await send(message)
            return not patience.cancelled_caught

        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        body = {"type": "http.response.body"}
        try:
            if not await is_taken(start):
                return
            if not self._is_head:
                async for piece in self._pieces:
                    if not await is_taken({**body, "body": piece, "more_body": True}):
                        return  # without an end, so the server closes the connection
            await is_taken({**body, "body": b""})
        finally:
            await self._pieces.aclose()
