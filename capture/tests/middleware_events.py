"""What the tests of the middleware share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECRET = "of the tests, and nobody else's"


class Events:
    """A queue that keeps what is put into it: what a real one does with it is tested with that."""

    def __init__(self) -> None:
        self.all: list[Mapping[str, Any]] = []
        self.is_closed = False

    def put(self, event: Mapping[str, Any]) -> None:
        self.all.append(event)

    def close(self) -> None:
        self.is_closed = True
