"""Retrying what a store does not take now: until it can, or until somebody has put it right."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

from connectors.errors import StoreError
from connectors.saying import say
from connectors.status import Status

# Seconds: the first pause, and any pause, at most.
_SOON = 0.1, 5.0
_CALM = 1.0, 15.0  # for what waits for a person
_GRACE = 2.5  # seconds that a request under way has left once the process shall stop
_MOST_ASKED = 300.0  # seconds that a server is left alone for, at most, if it asks for it

PROXY_REFUSALS = 4
"""How often something in between must stop a line, and nothing else, until the line is given up."""

T = TypeVar("T")


@dataclass(frozen=True)
class Trouble:
    """A failure after which the same request is repeated: see docs/delivery-guarantees.md.

    `reason` is what the store said, `pause` the seconds it asked to be left alone for.
    `needs_help`: it does not pass by itself, such as a wrong password or a full disk.
    """

    reason: str
    pause: float = 0.0
    needs_help: bool = False

    @property
    def sentence(self) -> str:
        """What operators read."""
        asked = f" in {self.pause:.0f} s, as it asks" if self.pause >= 1 else ""
        if self.needs_help:
            return (
                "The store refuses. Nothing is lost: reading waits, and goes on by itself once "
                f"this is put right{asked and ', trying again' + asked}: {self.reason}"
            )
        return f"The store cannot be used now, trying again{asked}: {self.reason}"


def seconds_asked(retry_after: str | None) -> float:
    """What a `Retry-After` header asks for, from 0 to 300 seconds; 0 if it is no time.

    RFC 9110, 10.2.3: a number of seconds, or a date.
    """
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        try:
            when = parsedate_to_datetime(retry_after or "")
            seconds = (when.astimezone(timezone.utc) - datetime.now(timezone.utc)).total_seconds()
        except (ValueError, OverflowError):
            return 0.0
    return min(seconds, _MOST_ASKED) if seconds > 0 else 0.0  # nan is not greater


class Retry:
    """Calls something until it succeeds, or fails for good; one object serves all threads.

    While it retries, `status` has the reason, so that `/health` is red. Once `stop` is set, it
    gives up instead of waiting.
    """

    def __init__(self, stop: threading.Event | None = None, status: Status | None = None) -> None:
        self._stop = stop or threading.Event()
        self.status = status or Status()
        self._deadline: float | None = None

    def __call__(
        self, attempt: Callable[[], T], trouble: Callable[[Exception], Trouble | None]
    ) -> T:
        """What `attempt` returns. It may be repeated even where it did succeed, unnoticed.

        `trouble` says of an exception why to repeat it, or None: then it is raised. Raises
        `StoreError` if it failed and `stop` is set.
        """
        key, before = object(), None
        longest = cap = 0.0
        while True:
            try:
                result = attempt()
            except Exception as error:
                found = trouble(error)
                if not found:
                    raise
                if found.needs_help is not before:
                    before = found.needs_help
                    longest, cap = _CALM if found.needs_help else _SOON
                    say(found.sentence)
                self.status.report(found.sentence, key)
                # Full jitter: clients that failed together do not come back together.
                if self._stop.wait(found.pause + random.uniform(0, longest)):
                    raise StoreError(
                        f"Stopped while the store could not be used ({found.reason}); "
                        "the next start settles the batch in hand."
                    ) from error
                longest = min(cap, longest * 2)
            else:
                self.status.overcome(key)
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

    def refuse_when_over(self) -> None:
        """Raise `StoreError` if a stop has been waiting for 2.5 seconds: between many requests."""
        if self._is_over():
            raise StoreError("Stopped in the midst of a batch; the next start settles it.")

    def _is_over(self) -> bool:
        if self._stop.is_set() and self._deadline is None:
            self._deadline = time.monotonic() + _GRACE
        return self._deadline is not None and time.monotonic() >= self._deadline
