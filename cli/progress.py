"""Shows how far the pipeline is: one line rewritten on a terminal, else a line now and then."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live

from cli.health import Health
from connectors.saying import say, shown

_FEW = 1_000_000  # bytes, which are stored before anybody has read how far that is


class Progress:
    """Use it as a context; `seconds` is how often `show` is worth calling."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self.seconds = 1.0 if self._console.is_terminal else 10.0
        self._before: tuple[float, int] | None = None
        self._past = 0  # bytes that waited before anything was stored; 0 once they are

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, health: Health | None) -> None:
        """Show one answer of `/health`."""
        line = shown(self._line(health)) if health else "no answer from /health"
        if self._console.is_terminal:
            self._live.update(line, refresh=True)
        else:
            say(line, on_stdout=True)

    def _line(self, health: Health) -> str:
        now, stored = time.monotonic(), health.lines_stored
        if not (self._before and stored):
            self._past = max(self._past, health.lag_bytes)
        if health.lag_bytes < _FEW:  # of a file that grows, some always wait
            self._past = 0
        before, stored_before = self._before or (now - self.seconds, stored)
        self._before = now, stored
        done = 1 - health.lag_bytes / self._past if self._past else 1
        rate = (stored - stored_before) / (now - before)
        return (
            f"lines in {health.lines_in:,} | lines stored {stored:,} | {rate:,.0f} lines/s"
            f" | lag {health.lag_bytes:,} bytes, {health.lag_seconds:.1f} s"
            + (f" | {max(done, 0):.0%} of what was there" if done < 1 else "")
            + (f" | {health.last_error}" if health.last_error else "")
        )
