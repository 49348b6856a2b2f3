"""A stream of Redis -> store. Run it with `python -m bytewax.run flows.redis`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import bytewax.operators as op
import polars as pl
from bytewax.dataflow import Dataflow

from connectors.batch import Parsed, Taken
from connectors.errors import SettingsError
from connectors.preflight import problems
from connectors.saying import in_words
from connectors.sinks.store_sink import StoreSink
from connectors.sources.redis import LEASE, RedisSource, entry_of
from connectors.sources.redis_group import Group, url_problem
from connectors.sources.source import SourceInput
from connectors.status import Status
from connectors.store import Store
from flows.process import job
from flows.steps import enrich_step, parse_step
from settings import Settings

INSTANCE = "redis"
"""In the ledger, whatever host it is: all consumers of a group are one."""


def build(settings: Settings, source: SourceInput, store: Store, status: Status) -> Dataflow:
    """The pipeline, from left to right; nothing is opened here."""
    flow = Dataflow("redis")
    batches = op.input("read", flow, source)  # collected by size or age
    parsed = op.map("parse", batches, in_words(parse_entries(settings)))
    enriched = op.map("enrich", parsed, in_words(enrich_step(settings, status)))
    op.output("write", enriched, StoreSink(store, status))
    return flow


def parse_entries(settings: Settings) -> Callable[[Taken], Parsed]:
    """The parse step of events; a dead letter says which entry it was."""
    parse = parse_step(settings)

    def named(letters: pl.DataFrame) -> pl.DataFrame:
        entries = letters["offset"].map_elements(entry_of, pl.String)
        return letters.with_columns(detail=pl.format("{} (entry {})", "detail", entries))

    def parse_named(batch: Taken) -> Parsed:
        parsed = parse(batch)
        rejected, reject = named(parsed.rejected), parsed.reject
        return replace(parsed, rejected=rejected, reject=lambda rows: named(reject(rows)))

    return parse_named


def read(settings: Settings, store: Store, stop: threading.Event) -> SourceInput:
    """The source of this job, the stream of the settings; it ends when `stop` is set."""
    most = settings.stream_max_size
    group = Group(
        _url(settings),
        settings.redis_stream,
        settings.redis_group,
        queue=settings.redis_list,
        most=most,
        most_bytes=settings.batch_bytes,
        lease=LEASE,
    )
    source = RedisSource(
        group,
        store.offsets,
        most=most,
        max_age=settings.stream_max_wait_time_in_seconds,
        longest=settings.log_max_line_bytes,
        follow=settings.follow,
    )
    return SourceInput(source, follow=settings.follow, stop=stop)


def ready(settings: Settings) -> Settings:
    """The settings with which events are read. Raises `SettingsError` with all problems."""
    settings = settings.model_copy(update={"log_format": "json", "instance": INSTANCE})
    found = [*problems(settings), *url_problem(_url(settings))]
    if found:
        raise SettingsError(found)
    return settings


def _url(settings: Settings) -> str:
    return settings.redis_url.get_secret_value() or "redis://127.0.0.1:6379/0"


def flow() -> Dataflow:
    """What `bytewax.run` calls."""
    return job(read, build, ready)
