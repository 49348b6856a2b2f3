"""The main job: log files -> store. Run it with `python -m bytewax.run flows.main`."""

from __future__ import annotations

import threading
from functools import partial

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from connectors.preflight import unmatched
from connectors.saying import in_words, say
from connectors.sinks.store_sink import StoreSink
from connectors.sources.files import FileSource
from connectors.sources.sense import Chooser
from connectors.sources.source import SourceInput
from connectors.sources.tailed_file import Limits
from connectors.status import Status
from connectors.store import Store
from flows.keeping import recorded
from flows.parsing import AUTO
from flows.process import job
from flows.steps import enrich_step, framing, header_of, parse_step, watched
from settings import Settings


def build(settings: Settings, source: SourceInput, store: Store, status: Status) -> Dataflow:
    """The pipeline, from left to right; nothing is opened here."""
    flow = Dataflow("logs")
    batches = op.input("tail", flow, source)  # collected by size or age
    looks = source.chooser if isinstance(source, FileSource) else None
    parsed = op.map("parse", batches, in_words(watched(parse_step(settings), looks)))
    enriched = op.map("enrich", parsed, in_words(enrich_step(settings, status)))
    op.output("write", enriched, StoreSink(store, status))  # ledger, dead letters, rows
    return flow


def tail(settings: Settings, store: Store, stop: threading.Event) -> SourceInput:
    """The source of this job, the files of the settings; it ends when `stop` is set."""
    for warning in unmatched(settings):
        say(warning)
    return FileSource(
        settings.patterns,
        store,
        Limits(
            settings.stream_max_size,
            settings.batch_bytes,
            settings.stream_max_wait_time_in_seconds,
            settings.log_max_line_bytes,
            framing(settings),
            recorded(settings),
            header_of(settings.log_format),
            chooser(settings),
        ),
        encoding=settings.log_encoding,
        follow=settings.follow,
        from_end=settings.log_start == "end",
        linger=settings.log_linger_seconds,
        claims=settings.data_dir / "claims" if settings.store_kind.is_shared else None,
        archives=settings.archives,
        stop=stop,
    )


def chooser(settings: Settings) -> Chooser | None:
    """Who finds out the formats of files; None: the settings name one for all."""
    if settings.log_format != AUTO:
        return None
    from flows.choosing import Choices  # with all formats, which take 70 ms to load

    return Choices(settings, partial(say, level="info"))


def flow() -> Dataflow:
    """What `bytewax.run` calls."""
    return job(tail, build)
