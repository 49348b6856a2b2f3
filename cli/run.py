"""`logwax run`: the pipeline on one's own files, in a directory of its own."""

from __future__ import annotations

import glob
import os
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack

from cli.health import HealthClient
from cli.loading import Loading
from cli.places import given, of_files, pattern_of, recall, remember
from cli.port import take_a_free_port
from cli.samples import (
    LOOKED_AT,
    chosen,
    how_they_fit,
    newest_files,
    newest_lines,
    settings_of,
)
from cli.up import StopRequest, ending, running, wait_until_healthy, watch
from connectors import preflight
from connectors.encodings import Encoding
from connectors.errors import LogwaxError
from connectors.saying import say, shown
from flows.parsing import AUTO
from flows.settings import load
from settings import Settings

_SHOWN = 10  # files that are named
_WAIT = "0.2"  # seconds


def run(
    paths: Sequence[str], loading: Loading, *, form: str, store: str, once: bool, browse: bool
) -> int:
    """Run until SIGTERM or SIGINT, or until all is read; return the exit code.

    `loading` becomes the pipeline. `browse`: show the page in the browser, once it is there.
    """
    stop = StopRequest()
    return ending(lambda: _run(paths, loading, form, store, once, browse, stop))


def _run(
    paths: Sequence[str],
    loading: Loading,
    form: str,
    store: str,
    once: bool,
    browse: bool,
    stop: StopRequest,
) -> None:
    patterns = [pattern_of(path) for path in paths] or _patterns_of_settings()
    files = newest_files(patterns)
    told = {"LOG_PATHS": ",".join(patterns), "LOG_FORMAT": form, "STORE": store}
    told["FOLLOW"] = "false" if once else ""
    told = {name: value for name, value in told.items() if value}
    os.environ.update(told)
    settings = load()
    if not given(settings, "data_dir"):
        os.environ["DATA_DIR"] = str(of_files(patterns))
    samples = _samples(files, Encoding(settings.log_encoding))
    if not given(settings, "log_format"):
        before = recall(load().data_dir).get("LOG_FORMAT", AUTO)
        told["LOG_FORMAT"] = os.environ["LOG_FORMAT"] = before
    if not given(settings, "stream_max_wait_time_in_seconds"):
        os.environ["STREAM_MAX_WAIT_TIME_IN_SECONDS"] = _WAIT  # somebody is watching
    take_a_free_port(load())
    settings = load()
    if problems := preflight.problems(settings):
        raise LogwaxError("\n".join(problems))
    is_new = not settings.data_dir.exists()  # else the file was there before
    missing = [path for path in paths if not os.path.lexists(path) and not glob.has_magic(path)]
    if not files and (once or (missing and is_new)):
        raise LogwaxError(f"There is no such file: {', '.join(map(shown, paths or patterns))}.")
    if browse and not settings.api_url:
        raise LogwaxError("There is no page to open with --once, API_PORT=0, or this store.")
    told.pop("FOLLOW", "")
    remember(settings.data_dir, told | {"DATA_DIR": str(settings.data_dir.absolute())})
    with ExitStack() as children:
        pipeline = children.enter_context(
            running("pipeline", "bytewax.run", "flows.main", loading=loading)
        )
        print(_said(settings, files, samples), flush=True)  # it starts while formats are tried
        health = None
        if settings.api_url:
            health = HealthClient(settings)
            wait_until_healthy(health, pipeline, stop)
        if browse and not stop.made:  # some browsers end only when they are closed
            threading.Thread(target=_open, args=[settings.api_url], daemon=True).start()
        watch(pipeline, health, stop)
    print("Stopped. The same command goes on where this one has stopped.", flush=True)


def _patterns_of_settings() -> list[str]:
    """The files that `logwax.toml` or the settings name. Raises `LogwaxError` if none do."""
    settings = load()
    if not given(settings, "log_paths"):
        raise LogwaxError("Name files or directories: logwax run PATH, or write logwax.toml.")
    return list(settings.patterns)


def _open(url: str) -> None:
    if not webbrowser.open(url):
        say(f"There is no browser here: open {url} in yours.")


def _samples(files: Sequence[str], encoding: Encoding) -> dict[str, list[str]]:
    """The newest lines of the first of these files. Raises `LogwaxError`."""
    samples, refused = {}, []
    for path in files[:LOOKED_AT]:
        try:
            samples[path] = newest_lines(path, encoding)
        except OSError as error:
            refused.append(f"Cannot read {shown(path)}: {error.strerror}.")
    if refused and not samples:
        refused.append("Run it as a user, or in a group, that may read them: `ls -l` shows which.")
        raise LogwaxError("\n".join(refused))
    for sentence in refused:
        say(sentence)
    return samples


def _fits(settings: Settings, samples: dict[str, list[str]]) -> list[str]:
    """How the lines fit the format of the settings, or those that are found out for the files."""
    samples = {path: lines for path, lines in samples.items() if lines}
    names = set()
    for path, lines in samples.items():
        of_file = settings_of(path, settings)
        found = chosen(lines, of_file)
        names.add(found.best.name if found else of_file.log_format)
    if len(names) > 1:
        return [
            f"{how_they_fit(lines, settings_of(path, settings))}: {shown(path)}"
            for path, lines in list(samples.items())[:_SHOWN]
        ]
    lines = [line for sample in samples.values() for line in sample]
    if not lines:
        return [settings.log_format]
    return [how_they_fit(lines, settings_of(next(iter(samples)), settings))]


def _said(settings: Settings, files: Sequence[str], samples: dict[str, list[str]]) -> str:
    store = settings.store_kind
    said = [
        *(f"File    {shown(path)}, {os.path.getsize(path):,} bytes" for path in files[:_SHOWN]),
        *([f"        and {len(files) - _SHOWN:,} more"] if len(files) > _SHOWN else []),
        *([] if files else [f"File    none yet: {shown(settings.log_paths)}"]),
        *(f"Format  {fit}" for fit in _fits(settings, samples)),
        f"Store   {store.place(settings)}",
    ]
    if not store.kept_in:
        said.append(f"Data    {settings.data_dir}")
    if settings.api_url:
        said.append(f"API     {settings.api_url}")
    if store.example:
        said += [f"Ask it  logwax query '{store.example}'", "        logwax dead"]
    if settings.follow:
        said.append("Ctrl-C stops it.")
    return "\n".join(said)
