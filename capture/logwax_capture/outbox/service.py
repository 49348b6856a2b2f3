"""Sending what is in the outbox, for a bounded time, and cleaning it up."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from logwax_capture.outbox.clickhouse import EventLogClient, EventStore, EventStoreError
from logwax_capture.outbox.table import Batch, Outbox, OutboxError

logger = logging.getLogger("logwax.outbox")

_LONGEST_WAIT = 30.0  # seconds that a run waits for a store or a database, at a time


class OutboxSettingsError(ValueError):
    """A variable of the outbox is wrong; says all that are."""


class Variables(NamedTuple):
    """The variables of the outbox, as the environment has them."""

    log_events_partition_quantity: int = 1000
    """Events in a batch."""
    log_sending_frequency_in_minutes: int = 10
    """How often `process_events` runs; fewer events are sent once the oldest is so old."""
    outbox_clean_in_minutes: int = 1440
    """How often `clean_events_outbox` runs."""
    failed_log_sending_retries: int = 5
    """Attempts that may fail in one run of the service."""

    @classmethod
    def load(cls) -> Variables:
        """Raises `OutboxSettingsError`."""
        values, problems = {}, []
        for name in cls._fields:
            text = os.environ.get(name.upper(), "").strip()
            if text.isascii() and text.isdigit() and int(text):
                values[name] = int(text)
            elif text:
                problems.append(f"{name.upper()}={text}: must be a whole number of at least 1")
        if problems:
            raise OutboxSettingsError("\n".join(problems))
        return cls(**values)


class Sent(NamedTuple):
    """How many batches a run has sent, and how many attempts failed."""

    successful: int
    failed: int


class EventLogService:
    """Sends batches from the outbox to the store until there is no full or old one any more.

    `ttl`: minutes after which a run ends all the same. `retries_number`: attempts that may fail in
    one run, FAILED_LOG_SENDING_RETRIES by default. `outbox` and `client`: by default those of the
    variables DATABASE_URL (in Django: of its default database) and CLICKHOUSE_URL. For one thread;
    any number of services may be at work, in any number of processes.
    """

    def __init__(
        self,
        ttl: float | None = None,
        retries_number: int | None = None,
        *,
        outbox: Outbox | None = None,
        client: EventStore | None = None,
    ) -> None:
        self.variables = Variables.load()
        self._retries = (
            self.variables.failed_log_sending_retries if retries_number is None else retries_number
        )
        self._ttl = ttl
        self._outbox = outbox or open_outbox()
        self._client = client or EventLogClient(
            os.environ.get("CLICKHOUSE_URL") or "http://127.0.0.1:8123"
        )
        self.event_partition_collector: Batch | None = None
        self.service_expiration_time: float | None = None
        self.retries_number_left = self._retries
        self.success_partitions_send_counter = 0
        self.failed_partitions_send_counter = 0

    def process_log_events(self) -> Sent:
        """Send, and return what this run has done; what fails is logged, and tried again."""
        before = self.success_partitions_send_counter, self.failed_partitions_send_counter
        self.retries_number_left = self._retries
        if self._ttl is not None:
            self.service_expiration_time = time.monotonic() + self._ttl * 60
        while self.retries_number_left > 0 and self._time_left() > 0:
            try:
                if not self._send_one():
                    break
            except (OutboxError, EventStoreError) as error:
                self._has_failed(error)
        sent = Sent(
            self.success_partitions_send_counter - before[0],
            self.failed_partitions_send_counter - before[1],
        )
        logger.info("%d batches were sent, %d attempts failed", sent.successful, sent.failed)
        return sent

    def close(self) -> None:
        """Close the connection to the outbox."""
        self._outbox.close()

    def _send_one(self) -> bool:
        """Send the next batch; returns whether there was one."""
        quantity = self.variables.log_events_partition_quantity
        age = self.variables.log_sending_frequency_in_minutes * 60.0
        self.event_partition_collector = None  # of a claim that fails
        self.event_partition_collector = batch = self._outbox.claim(quantity, age)
        if not batch:
            return False
        refused = self._client.insert(batch)
        self._outbox.delivered(batch, refused)
        _tell_of(refused)
        self.success_partitions_send_counter += 1
        return True

    def _has_failed(self, error: Exception) -> None:
        self.failed_partitions_send_counter += 1
        self.retries_number_left -= 1
        logger.warning(
            "Events could not be sent, %d attempts left: %s", self.retries_number_left, error
        )
        batch = self.event_partition_collector
        pause = batch.pause if batch else 1.0
        if batch and isinstance(error, EventStoreError):
            try:
                self._outbox.release(batch, str(error), pause)
            except OutboxError as lost:  # its lease ends by itself
                logger.warning("%s", lost)
        if self.retries_number_left > 0:
            time.sleep(max(0.0, min(pause, _LONGEST_WAIT, self._time_left())))

    def _time_left(self) -> float:
        if self.service_expiration_time is None:
            return float("inf")
        return self.service_expiration_time - time.monotonic()


def delete_delivered_events(outbox: Outbox | None = None) -> int:
    """Delete all delivered events, and no others; returns how many."""
    return (outbox or open_outbox()).clean()


def open_outbox() -> Outbox:
    """The outbox of DATABASE_URL; without one, of Django's default database."""
    if url := os.environ.get("DATABASE_URL"):
        return Outbox.open(url)
    from logwax_capture.outbox.connections import django_connection

    return Outbox(django_connection)


def _tell_of(refused: Mapping[int, str]) -> None:
    for id, why in refused.items():
        logger.error("The store refuses the event %d: %s", id, why)
