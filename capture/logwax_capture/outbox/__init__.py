"""The transactional outbox: events that are committed with the change that they tell of.

The application writes them by `UseCase` or `log_event`; `EventLogService`, the Celery tasks of
`logwax_capture.outbox.tasks`, or Logwax itself (`flows.outbox`) send them to the store.
"""

from logwax_capture.outbox.clickhouse import EventLogClient, EventStore, EventStoreError
from logwax_capture.outbox.events import LogEvent, UseCase, UseCaseResponse, log_event
from logwax_capture.outbox.schema import EventLogStatus, ddl, sqlalchemy_tables
from logwax_capture.outbox.service import EventLogService, Sent, delete_delivered_events
from logwax_capture.outbox.table import Batch, Depth, Event, Outbox, OutboxError

__all__ = [
    "Batch",
    "Depth",
    "Event",
    "EventLogClient",
    "EventLogService",
    "EventLogStatus",
    "EventStore",
    "EventStoreError",
    "LogEvent",
    "Outbox",
    "OutboxError",
    "Sent",
    "UseCase",
    "UseCaseResponse",
    "ddl",
    "delete_delivered_events",
    "log_event",
    "sqlalchemy_tables",
]
