"""Retrying what fails for a while: a store that is overloaded, restarting or unreachable."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from connectors.errors import StoreError
from connectors.status import Status

_BASE, _CAP = 0.1, 5.0  # seconds: the first pause, and any pause, at most

T = TypeVar("T")


@dataclass(frozen=True)
class Trouble:
    """A failure that may pass: why, and the seconds that the store asked to be left alone for."""

    reason: str
    pause: float = 0.0


class Retry:
    """Calls something until it succeeds, or fails for good; one object serves all threads.

    While it retries, `status` has the reason, so that `/health` is red. Once `stop` is set, it
    gives up instead of waiting.
    """

    def __init__(self, stop: threading.Event | None = None, status: Status | None = None) -> None:
        self._stop = stop or threading.Event()
        self._status = status or Status()

    def __call__(
        self, attempt: Callable[[], T], trouble: Callable[[Exception], Trouble | None]
    ) -> T:
        """What `attempt` returns. It may be repeated even where it did succeed, unnoticed.

        `trouble` says of an exception why it may pass, or None: then it is raised. Raises
        `StoreError` if it failed and `stop` is set.
        """
        key, longest = object(), _BASE
        while True:
            try:
                result = attempt()
            except Exception as error:
                found = trouble(error)
                if not found:
                    raise
                sentence = f"The store cannot be used now, trying again: {found.reason}"
                if longest == _BASE:
                    print(sentence, file=sys.stderr, flush=True)
                self._status.report(sentence, key)
                # Full jitter: clients that failed together do not come back together.
                if self._stop.wait(found.pause + random.uniform(0, longest)):
                    raise StoreError(
                        f"Stopped while the store could not be used ({found.reason}); "
                        "the next start settles the batch in hand."
                    ) from error
                longest = min(_CAP, longest * 2)
            else:
                self._status.overcome(key)
                return result
