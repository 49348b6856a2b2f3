"""What surrounds a dataflow in its process: settings, signals, the API, an orderly exit."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from bytewax.dataflow import Dataflow

from connectors.accounts import FormattedAccounts
from connectors.api_token import make_token, remove_token
from connectors.descriptors import raise_limit
from connectors.errors import LogwaxError
from connectors.preflight import refuse_problems, unmatched
from connectors.saying import last_words, prepare, say, speak
from connectors.sinks.retry import Retry
from connectors.sources.files import FileSource
from connectors.sources.source import SourceInput
from connectors.status import Status
from connectors.store import Store, open_store
from flows.reload import Reloaded, reload_at_hangup
from flows.settings import load
from settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from api.commands import Command, Event

OpenSource = Callable[[Settings, Store, threading.Event], SourceInput]
Build = Callable[[Settings, SourceInput, Store, Status], Dataflow]

_NEVER = timedelta(days=100 * 365)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def ready(settings: Settings) -> Settings:
    """These settings; prints the warnings. Raises `SettingsError` with all problems."""
    refuse_problems(settings)
    return settings


def job(
    open_source: OpenSource, build: Build, ready: Callable[[Settings], Settings] = ready
) -> Dataflow:
    """A job: settings first, all their errors at once, then everything opens, then it is built.

    `open_source` makes the source, which ends when the event is set, and unless `FOLLOW` is set at
    its end. `ready` makes the settings of this job of those of every job, and raises
    `SettingsError`. Returns what `bytewax.run` runs; what is wrong is said, and ends the process.
    """
    prepare()
    os.umask(0o077)  # what is stored is for the eyes of its owner
    try:
        found = load()
        speak(found.own_logs)
        settings = ready(found)
        tune()
        status, stop = Status(), threading.Event()
        store = open_store(settings, Retry(stop, status))
        source = open_source(settings, store, stop)
        run_beside(settings, source, store, status, stop)
    except LogwaxError as error:
        say(str(error), level="error")
        sys.exit(1)
    return build(settings, source, store, status)


def tune() -> None:
    """Fit this process to batches.

    By default glibc gives memory back and faults it in again for every batch: a fifth of all CPU
    seconds. So it does where each worker has an arena of its own, whatever it is told.
    """
    raise_limit()
    gc.freeze()  # the collector skips what has been imported by now
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_TRIM_THRESHOLD, 512 * 1024 * 1024)
        mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        mallopt(_M_ARENA_MAX, 1)
    _keep_workers_apart()


def _keep_workers_apart() -> None:
    """Let Bytewax end no epoch. It ends one every 10 seconds for its recovery, which is not used.

    A worker that enters the next epoch spins until all workers do. So one that writes for some
    seconds stops the others, and later each waits at each epoch (measured: a worker was asked for a
    batch every 10 seconds only). `-s` and `BYTEWAX_SNAPSHOT_INTERVAL` set the interval, but
    `bytewax.run` reads both before it imports the dataflow: only who starts it could give them, and
    `python -m bytewax.run flows.main` shall be enough. Its own arguments are the place left.
    """
    told = getattr(sys.modules["__main__"], "kwargs", {})
    if told.get("recovery_config") is None and "epoch_interval" in told:
        told["epoch_interval"] = _NEVER


def run_beside(
    settings: Settings, source: SourceInput, store: Store, status: Status, stop: threading.Event
) -> None:
    """Serve the API beside the flow, and end everything in order when the process ends.

    SIGTERM and SIGINT set `stop`: Bytewax would die of the one and panic at the other. So does
    SIGHUP from a terminal; otherwise it reloads which files are read, and the token. Raises
    `LogwaxError` if the API cannot be served.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    reloaded = Reloaded()
    reloaded.add(lambda new: speak(new.own_logs), "own_logs")
    if settings.follow and isinstance(source, FileSource):
        if os.isatty(0):  # it is closed: nobody is there any more
            signal.signal(signal.SIGHUP, on_signal)
        else:
            _reload_paths(reloaded, source)
            reload_at_hangup(settings, reloaded)
    try:
        closers = [source.close, *_serve(settings, source, store, status, reloaded), store.close]
    except BaseException:
        store.close()  # else it would be closed in the midst of the process's end
        raise

    def close() -> None:
        # A second signal, such as one forwarded to the group, must not interrupt this.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for closer in closers:
            try:
                closer()
            except (LogwaxError, OSError) as error:
                say(last_words(error))
        # whoever has followed the lines on stdout has seen them
        shows_lines = settings.store_kind.shows_lines
        if not (shows_lines and settings.follow):
            say(status.summary(), on_stdout=not shows_lines)

    atexit.register(close)


def _reload_paths(reloaded: Reloaded, source: FileSource) -> None:
    def read(new: Settings) -> None:
        for warning in unmatched(new):
            say(warning)
        source.read(new.patterns)

    reloaded.add(read, "log_paths", "log_file_path")


def _serve(
    settings: Settings, source: SourceInput, store: Store, status: Status, reloaded: Reloaded
) -> list[Callable[[], None]]:
    """Serve what shall be served; returns what has to be called at the end."""
    token = ""
    closers: list[Callable[[], None]] = []
    serves_queries = settings.follow and settings.query_port
    if settings.store_kind.is_exclusive:  # others can be opened beside this process
        remove_token(settings.data_dir)  # of a process that was killed
        if settings.api_url or serves_queries:
            token = make_token(settings.data_dir)
            closers.append(lambda: remove_token(settings.data_dir))
    accounts: FormattedAccounts | None = None
    if settings.store_kind.has_protocol and (settings.api_url or serves_queries):
        found = store.accounts()
        assert isinstance(found, FormattedAccounts)  # as its kind has said
        accounts = found
        closers.append(accounts.cancel)
    if settings.api_url and store.reader:
        closers += _serve_api(settings, source, store, status, token, reloaded, accounts)
    if accounts and serves_queries:
        closers += _serve_queries(settings, accounts, token, reloaded)
    return closers


def _serve_api(
    settings: Settings,
    source: SourceInput,
    store: Store,
    status: Status,
    token: str,
    reloaded: Reloaded,
    accounts: FormattedAccounts | None,
) -> list[Callable[[], None]]:
    # Imported here: a run that serves no API shall not pay for one.
    from api.access import Tokens, change_tokens
    from api.alert_book import AlertBook
    from api.app import Pipeline, create_app
    from api.server import ApiServer
    from flows.parsing.suggest import best_fit

    assert store.reader
    server = ApiServer(settings.api_host, settings.api_port)
    beside = Pipeline(
        status,
        source.status,
        sees_writes=settings.store_kind.is_exclusive,
        files=source.files if isinstance(source, FileSource) else list,
        log_format=settings.log_format,
        accounts=accounts,
        fitting=partial(best_fit, other_than=settings.log_format, time_zone=settings.log_timezone),
        # the file has what PII hides
        around=source.around if isinstance(source, FileSource) and not settings.pii else None,
    )
    app = create_app(
        store.reader, beside, AlertBook(settings.data_dir), settings.webhook_host_names
    )
    closers: list[Callable[[], None]] = []
    if token and isinstance(source, FileSource):
        closers += _serve_commands(app, settings, source, store, status, token)
    tokens = Tokens()
    change_tokens(tokens, settings, token)
    reloaded.add(lambda new: change_tokens(tokens, new, token), "api_token")
    server.start(app, tokens)
    return [*closers, store.reader.cancel, status.tail.close, server.stop]


def _serve_queries(
    settings: Settings, accounts: FormattedAccounts, token: str, reloaded: Reloaded
) -> list[Callable[[], None]]:
    from api.access import Tokens, change_keys
    from api.clickhouse_protocol import create_query_app
    from api.server import ApiServer

    server = ApiServer(settings.api_host, settings.query_port, "QUERY_PORT")
    keys = Tokens()
    change_keys(keys, settings, token)
    reloaded.add(lambda new: change_keys(keys, new, token), "api_token")
    server.start(create_query_app(accounts, keys), pages=())
    return [server.stop]


def _serve_commands(
    app: FastAPI,
    settings: Settings,
    source: FileSource,
    store: Store,
    status: Status,
    token: str,
) -> list[Callable[[], None]]:
    """Let the API run commands; returns what has to be called before it stops."""
    from api.commands import add_commands
    from connectors.accounts import accounts_of
    from flows.commands import Commands, Running

    accounts = accounts_of(store, settings)
    running = Running(source, frozenset(store.ledger().in_doubt))
    commands = Commands(settings, store, accounts, running).by_name()
    commands = {name: _bypassing(status, command) for name, command in commands.items()}
    add_commands(app, token, commands)
    return [accounts.cancel]


def _bypassing(status: Status, command: Command) -> Command:
    """A command, during which the API keeps no answers: it may write rows."""

    def events(begun: Iterator[Event]) -> Iterator[Event]:
        with status.answers.bypassed(), status.letter_counts.bypassed():
            yield from begun

    return lambda **arguments: events(command(**arguments))
