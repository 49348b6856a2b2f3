"""Celery tasks that send and clean up. They only trigger: the truth is in the outbox.

A task that is lost, doubled or late changes nothing but when events arrive.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from logwax_capture import extra
from logwax_capture.outbox.service import EventLogService, Variables, delete_delivered_events

_celery = extra("celery", "celery")


def _process_events() -> tuple[int, int]:
    service = EventLogService(ttl=Variables.load().log_sending_frequency_in_minutes)
    try:
        return tuple(service.process_log_events())  # type: ignore[return-value]
    finally:
        service.close()


process_events = _celery.shared_task(name="process_events", ignore_result=True)(_process_events)
"""Sends what is in the outbox, for LOG_SENDING_FREQUENCY_IN_MINUTES at most."""

clean_events_outbox = _celery.shared_task(name="clean_events_outbox", ignore_result=True)(
    delete_delivered_events
)
"""Deletes what is delivered."""


def beat_schedule() -> dict[str, dict[str, Any]]:
    """What `app.conf.beat_schedule` needs for both.

    Intervals, not minutes of a crontab, which has no minute 1440. A task that waited for a worker
    until the next one was due does nothing.
    """
    variables = Variables.load()
    every = {
        "process_events": timedelta(minutes=variables.log_sending_frequency_in_minutes),
        "clean_events_outbox": timedelta(minutes=variables.outbox_clean_in_minutes),
    }
    return {
        task: {
            "task": task,
            "schedule": interval,
            "options": {"expires": interval.total_seconds()},
        }
        for task, interval in every.items()
    }
