"""Writing an event beside the change that it tells of: in the caller's own transaction."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

from logwax_capture.outbox.connections import as_text, atomic, dialect_of
from logwax_capture.outbox.schema import CHANNEL, NOW, TABLE

_QUIET = 1.0  # seconds: a process tells of new events no more often, for each NOTIFY costs a lock
_told = float("-inf")

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


@dataclass(frozen=True)
class LogEvent:
    """An event as the outbox has it.

    `event_context`: what is known of it; a text is taken for JSON already. `environment`: by
    default what the variable ENVIRONMENT says, else `Local`.
    """

    event_type: str
    event_context: Mapping[str, Any] | str
    event_date_time: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    environment: str = field(default_factory=lambda: os.environ.get("ENVIRONMENT") or "Local")
    metadata_version: int = 1


def log_event(connection: Any, event: object) -> None:
    """Write an event into the outbox by the caller's connection, within its transaction.

    `connection`: a connection of psycopg 3, sqlite3 or Django, or a session or connection of
    SQLAlchemy. `event`: a `LogEvent`, a dataclass or a model of pydantic. It is there when the
    caller's transaction is committed, and not otherwise. Raises what the database raises, and
    `TypeError` if the event or the connection is none.
    """
    global _told
    found = as_log_event(event)
    vendor, mark, execute = dialect_of(connection)
    context = found.event_context
    moment = found.event_date_time
    values = (
        found.event_type.replace("\0", "\ufffd"),
        as_text(moment) if vendor == "sqlite" else moment,
        found.environment.replace("\0", "\ufffd"),
        context if isinstance(context, str) else _as_json(context),
        found.metadata_version,
    )
    now = time.monotonic()
    if vendor == "postgresql" and now - _told > _QUIET:
        _told = now
        execute(_TELLING, values)
    else:
        execute(_INSERTS[vendor, mark], values)


def as_log_event(event: object) -> LogEvent:
    """The event as the outbox has it; that of a `UserCreated` is of the type `user_created`."""
    if isinstance(event, LogEvent):
        return event
    context: Mapping[str, Any] | str
    if is_dataclass(event) and not isinstance(event, type):
        context = asdict(event)
    elif hasattr(event, "model_dump_json"):
        context = str(event.model_dump_json())
    else:
        raise TypeError(
            f"{type(event).__name__} is no event: give a LogEvent, a dataclass or a pydantic model"
        )
    return LogEvent(snake_case(type(event).__name__), context)


def snake_case(name: str) -> str:
    """The words of a class's name: `HTTPRequestDone` is `http_request_done`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _as_json(context: Mapping[str, Any]) -> str:
    try:
        text = _encode(context)
        text.encode()
    except UnicodeEncodeError:  # half a character: its escape is JSON
        return json.dumps(context, allow_nan=False, default=str)
    except ValueError:  # NaN and infinity are no JSON
        return _as_json(json.loads(json.dumps(context, default=str), parse_constant=lambda _: None))
    return text


class UseCase(Protocol):
    """A step of the application that is done whole or not at all, and the event that tells of it.

    A subclass has `connection`, whose transaction it is, `_execute`, and `_get_log_event` where its
    steps shall be told of.
    """

    connection: Any

    def execute(self, request: Any = None) -> Any:
        """What `_execute` returns; its changes and the event are committed together."""
        with _bound(self._get_context_vars(request)), self._atomic():
            response = self._execute(request)
            event = self._get_log_event(response)
            if event is not None:
                self._log_event(event)
        return response

    def _execute(self, request: Any) -> Any:
        """Do it; what is raised undoes all of it."""

    def _get_log_event(self, response: Any) -> object | None:
        """The event that tells of this response (see `log_event`); None: there is none."""
        return None

    def _get_context_vars(self, request: Any) -> Mapping[str, Any]:
        """What each line that structlog writes meanwhile says, if the program has loaded that."""
        return {"use_case": type(self).__name__}

    def _log_event(self, event: object) -> None:
        """Write the event in the transaction of the use case."""
        log_event(self.connection, event)

    def _atomic(self) -> AbstractContextManager[object]:
        return atomic(self.connection)


@dataclass(frozen=True)
class UseCaseResponse:
    """What a use case may return: a result, or why there is none."""

    result: Any = None
    error: str = ""


def _bound(variables: Mapping[str, Any]) -> AbstractContextManager[object]:
    structlog: Any = sys.modules.get("structlog")
    return structlog.contextvars.bound_contextvars(**variables) if structlog else nullcontext()


def _insert(vendor: str, mark: str) -> str:
    marks = ", ".join([mark] * 5)
    return (
        f"INSERT INTO {TABLE} (event_type, event_date_time, environment, event_context, "
        "metadata_version, send_status, created_at, updated_at) "
        f"VALUES ({marks}, 'AWAITING_DELIVERY', {NOW[vendor]}, {NOW[vendor]})"
    )


_INSERTS = {
    ("postgresql", "%s"): _insert("postgresql", "%s"),
    ("sqlite", "?"): _insert("sqlite", "?"),
    ("sqlite", "%s"): _insert("sqlite", "%s").replace("%", "%%").replace("%%s", "%s"),
}
_TELLING = _insert("postgresql", "%s") + f" RETURNING pg_notify('{CHANNEL}', '')"
