"""Events through Celery: a worker adds them to the stream of Redis.

    queue = EventQueue(CeleryRoute(app))

For an application that reaches a broker and no Redis of its own. The thread of the queue sends the
tasks, so no request waits for the broker. A task that is delivered twice adds nothing twice; what
the broker loses is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from logwax_capture import extra
from logwax_capture.event_queue import RedisStream
from logwax_capture.spill import Entry

_celery = extra("celery", "celery")
_stream = lru_cache(1)(RedisStream)  # opened by the first task, as REDIS_URL says there


def _store_events(entries: Sequence[Entry]) -> None:
    _stream()(entries)


store_events = _celery.shared_task(
    name="store_events",
    ignore_result=True,
    acks_late=True,
    reject_on_worker_lost=True,
    autoretry_for=(OSError, extra("redis", "redis").RedisError),
    max_retries=None,
    retry_backoff=True,
)(_store_events)
"""Adds entries of an `EventQueue`; while Redis is away it is tried again, at most 10 min apart."""


class CeleryRoute:
    """Leaves entries to the workers of a Celery application, a batch in a task.

    Which application it is has to be said: in another thread `current_app` is not the same.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, entries: Sequence[Entry], is_again: bool = False) -> None:
        """Send the task. Raises what Celery raises without its broker."""
        self._app.send_task("store_events", (list(entries),), retry=False, ignore_result=True)
