"""`logwax up`: the pipeline and the log generator, started, watched and stopped together."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType

from cli.children import Child, ChildFailed
from cli.health import HealthClient
from cli.loading import Loading
from cli.places import demo, remember
from cli.port import take_a_free_port
from cli.progress import Progress
from cli.wipe import wipe
from connectors import preflight
from connectors.errors import LogwaxError, SettingsError
from connectors.saying import last_words, say
from flows.settings import load
from settings import Settings

HEALTHY_WITHIN_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.1


class StopRequest:
    """Made by the first SIGTERM or SIGINT; later ones change nothing, so that draining goes on."""

    def __init__(self) -> None:
        self.made = False
        signal.signal(signal.SIGTERM, self._make)
        signal.signal(signal.SIGINT, self._make)

    def _make(self, _signal: int, _frame: FrameType | None) -> None:
        self.made = True


def run(*, fresh: bool) -> int:
    """Run until SIGTERM or SIGINT; return the exit code: 0 if all ended well."""
    stop = StopRequest()
    return ending(lambda: _run(fresh, stop))


def _run(fresh: bool, stop: StopRequest) -> None:
    told = demo(load())
    os.environ.update(told)
    take_a_free_port(load())
    settings = load()
    if problems := preflight.problems(settings):
        raise LogwaxError("\n".join(problems))
    if fresh:
        wipe(settings.data_dir)
    if told:
        remember(settings.data_dir, told)
    _supervise(settings, stop)


def ending(work: Callable[[], None]) -> int:
    """Do the work; print what went wrong, and return the exit code: 0 if all ended well."""
    try:
        work()
    except SettingsError as error:
        say(str(error))
        return 2
    except ChildFailed as error:
        say(str(error))
        return error.exit_code
    except (LogwaxError, OSError) as error:
        say(last_words(error))
        return 1
    return 0


def _supervise(settings: Settings, stop: StopRequest) -> None:
    with ExitStack() as children:  # it stops the generator first, then the pipeline drains
        say("Starting the pipeline ...", on_stdout=True)
        pipeline = children.enter_context(running("pipeline", "bytewax.run", "flows.main"))
        health = None
        if settings.api_url:
            health = HealthClient(settings)
            wait_until_healthy(health, pipeline, stop)
        if stop.made:
            return
        generator = children.enter_context(running("log generator", "log_generator"))
        greeting = _greeting(settings.api_url) if health else "Started. Ctrl-C stops it."
        say(greeting, on_stdout=True)
        watch(pipeline, health, stop, [generator])
    say("Stopped.", on_stdout=True)


@contextmanager
def running(name: str, *arguments: str, loading: Loading | None = None) -> Iterator[Child]:
    """A child that is stopped in the end."""
    child = Child(name, *arguments, loading=loading)
    try:
        yield child
    finally:
        child.stop()


def wait_until_healthy(health: HealthClient, pipeline: Child, stop: StopRequest) -> None:
    """Return when `/health` is green, or a stop is asked for; raises `LogwaxError` in the end."""
    deadline = time.monotonic() + HEALTHY_WITHIN_SECONDS
    answer = None
    while not stop.made and not (answer and answer.is_ok):
        if pipeline.has_finished() or time.monotonic() > deadline:
            reason = f" ({answer.last_error})" if answer and answer.last_error else ""
            raise LogwaxError(f"The pipeline did not become healthy{reason}.")
        time.sleep(LOOK_EVERY_SECONDS)
        answer = health.ask()


def watch(
    pipeline: Child, health: HealthClient | None, stop: StopRequest, beside: Sequence[Child] = ()
) -> None:
    """Return when a stop is asked for or the pipeline has read all; raise if a child fails."""
    with Progress() as progress:
        due = time.monotonic()
        while not stop.made and not pipeline.has_finished():
            for child in beside:
                child.has_finished()  # which is fine: the generator may have written all it should
            if health and time.monotonic() >= due:
                progress.show(health.ask())
                due = time.monotonic() + progress.seconds
            time.sleep(LOOK_EVERY_SECONDS)


def _greeting(url: str) -> str:
    return f"""
Logwax is up. Ctrl-C stops it.
  API     {url}
  docs    {url}/docs
  health  {url}/health
Try:
  curl '{url}/customers/cust_1/stats?from_date=1970-01-01'
"""
