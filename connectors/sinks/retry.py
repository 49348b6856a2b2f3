"""Retrying what fails for a while: a store that is overloaded, restarting or unreachable."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from typing import TypeVar

from connectors.errors import StoreError
from connectors.status import Status

_BASE, _CAP = 0.1, 5.0  # seconds: the first pause, and any pause, at most
_GRACE = 2.5  # seconds that a request under way has left once the process shall stop

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
        self._deadline: float | None = None

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

    def bounded(self, request: Callable[[], T]) -> T:
        """What `request` returns; once `stop` is set, it is waited for 2.5 seconds more, at most.

        Raises what `request` raises, `StoreError` if it was left behind. It runs in a thread of its
        own, since nothing else gets out of a call to a server that hangs.
        """
        done: futures.Future[T] = futures.Future()

        def run() -> None:
            try:
                done.set_result(request())
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        while not futures.wait([done], timeout=0.1).done:
            if self._is_over():
                raise StoreError(
                    "Stopped while the store did not answer; "
                    "the next start settles the batch in hand."
                )
        return done.result()

    def _is_over(self) -> bool:
        if self._stop.is_set() and self._deadline is None:
            self._deadline = time.monotonic() + _GRACE
        return self._deadline is not None and time.monotonic() >= self._deadline
