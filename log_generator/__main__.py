"""`python -m log_generator`: appends lines to LOG_FILE_PATH as the settings say.

Exits 0 at MAX_LOGS_TO_GENERATE lines or when SIGTERM or SIGINT asks, after the append in hand; 1 if
the file cannot be written, 2 if a setting is wrong.
"""

from __future__ import annotations

import queue
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from connectors.errors import SettingsError
from log_generator.formats import FORMATS, render
from log_generator.values import BLOCK, Traffic
from settings import Settings, load

_STEP_MS = 1
"""Between two lines, on average, of a given number of lines written at full speed."""


def main() -> int:
    """Run until done or asked to stop; the exit code."""
    wait_for_stop = _on_signals()
    try:
        settings = load()
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 2
    try:
        generate(settings, wait_for_stop)
    except OSError as error:
        path = settings.log_file_path
        print(f"LOG_FILE_PATH={path}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def generate(settings: Settings, wait_for_stop: Callable[[float], bool]) -> None:
    """Append lines until there are enough or `wait_for_stop(seconds)` is true.

    The times of an append lie between the append before and now. A known number of lines at full
    speed covers a past of its own instead: `_STEP_MS` a line, ending now.
    Raises `OSError` if the file cannot be written.
    """
    wanted, interval = settings.max_logs_to_generate, settings.log_interval_seconds
    batch = min(settings.log_batch_size, BLOCK) if interval else BLOCK
    interval *= batch / settings.log_batch_size  # a larger batch comes in parts, at the same rate
    until = _now_ms() - (interval * 1000 if interval else wanted * _STEP_MS)
    traffic = Traffic(settings.log_generator_seed, settings.log_generator_bad_ratio)
    style = FORMATS[settings.log_generator_format]
    written, due = 0, time.monotonic()
    while not wait_for_stop(max(0.0, due - time.monotonic())):
        requests = traffic.take(min(batch, wanted - written) if wanted else batch)
        written += requests.height
        to_come = 0 if interval else max(0, wanted - written)
        since, until = until, max(until, _now_ms() - to_come * _STEP_MS)
        requests = requests.with_columns(time=_times(since, until, settings.log_timezone))
        _append(settings.log_file_path, render(requests, style))
        if written == wanted:
            return
        due = max(due + interval, time.monotonic())


def _times(since: float, until: float, zone: str) -> pl.Expr:
    """Times after `since` up to `until` (ms since 1970), as far apart as the requests' gaps say."""
    passed = pl.col("gap").cum_sum()
    milliseconds = since + (until - since) * passed / passed.last()
    return milliseconds.cast(pl.Int64).cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone(zone)


def _now_ms() -> float:
    return time.time() * 1000


def _append(path: Path, lines: bytes) -> None:
    """One write to the end of the file, made anew with its directory if it was moved or removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        left = memoryview(lines)
        while left:  # only a disk that is nearly full takes a part
            left = left[file.write(left) :]


def _on_signals() -> Callable[[float], bool]:
    """Handle SIGTERM and SIGINT; gives a wait of some seconds that says whether one has come."""
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put may be called in a handler
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.put(None))

    def wait(seconds: float) -> bool:
        try:
            # A tiny timeout can make CPython wait for ever.
            asked.get(block=seconds > 0.001, timeout=seconds)
        except queue.Empty:
            return False
        return True

    return wait


if __name__ == "__main__":
    sys.exit(main())
