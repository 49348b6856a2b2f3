"""The outbox of an application -> store. Run it with `python -m bytewax.run flows.outbox`.

Where `DATABASE_URL` is the file of a local logger, its logs and metrics go the way of lines.
"""

from __future__ import annotations

import os
import sys
import threading

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from connectors.errors import LogwaxError, SettingsError
from connectors.preflight import problems
from connectors.saying import in_words, prepare, say, speak
from connectors.sinks.retry import Retry
from connectors.sinks.store_sink import StoreSink
from connectors.sources.local import LocalSource, logger_file
from connectors.sources.outbox import LEASE, OutboxSource
from connectors.sources.source import Source, SourceInput
from connectors.status import Status
from connectors.store import Store, open_store
from flows import main
from flows.events import parse_events
from flows.process import run_beside, tune
from flows.settings import load
from flows.steps import hiding
from logwax_capture.outbox.table import Outbox, OutboxError
from settings import Settings

_MOST = 10_000  # events in a batch: larger claims are no faster

INSTANCE = "outbox"
"""In the ledger, whatever host it is: all senders of an outbox are one."""


def build(settings: Settings, source: SourceInput, store: Store, status: Status) -> Dataflow:
    """The pipeline, from left to right; nothing is opened here."""
    flow = Dataflow("outbox")
    batches = op.input("claim", flow, source)  # collected by size or age
    parse = hiding(settings, parse_events(as_lines=not settings.store_kind.for_events))
    parsed = op.map("parse", batches, in_words(parse))
    op.output("write", parsed, StoreSink(store, status))
    return flow


def flow() -> Dataflow:
    """What `bytewax.run` calls: settings first, all their errors at once, then everything opens."""
    prepare()
    os.umask(0o077)  # what is stored is for the eyes of its owner
    try:
        settings = load()
        speak(settings.own_logs)
        local = logger_file(settings.database_url.get_secret_value())
        if local:
            settings = settings.model_copy(update={"log_format": "json", "instance": INSTANCE})
            if found := problems(settings):
                raise SettingsError(found)
        else:
            outbox = open_outbox(settings)
        tune()
        status, stop = Status(), threading.Event()
        store = open_store(settings if local else for_events(settings), Retry(stop, status))
        most = min(settings.stream_max_size, _MOST)
        age, follow = settings.stream_max_wait_time_in_seconds, settings.follow
        source: Source
        if local:
            source = LocalSource(local, store.ledger(), most=most, max_age=age, follow=follow)
        else:
            source = OutboxSource(outbox, store.offsets, most=most, max_age=age, follow=follow)
        reading = SourceInput(source, follow=settings.follow, stop=stop)
        run_beside(settings, reading, store, status, stop)  # signals, API, summary, orderly exit
    except LogwaxError as error:
        say(str(error), level="error")
        sys.exit(1)
    return (main.build if local else build)(settings, reading, store, status)


def for_events(settings: Settings) -> Settings:
    """The settings with which a store is opened for events."""
    common = settings.model_copy(update={"instance": INSTANCE})
    change = settings.store_kind.for_events
    return change(common) if change else common


def open_outbox(settings: Settings) -> Outbox:
    """The outbox, which is there and can be used. Raises `SettingsError` with all problems."""
    found = problems(for_events(settings))
    url = settings.database_url.get_secret_value()
    try:
        if not url:
            raise OutboxError("DATABASE_URL is not set: it says in which database the outbox is.")
        outbox = Outbox.open(url, lease=LEASE)
        outbox.depth()
    except (OutboxError, ImportError) as error:
        found.append(str(error))
    if found:
        raise SettingsError(found)
    return outbox
