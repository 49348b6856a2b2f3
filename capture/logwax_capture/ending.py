"""What is called at the end of a process, whatever kind of process it is."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable

_calls: list[Callable[[], object]] = []
_watched: set[str] = set()


def at_end(call: Callable[[], object]) -> None:
    """Have this called at the end, of forked processes too: see `watch`."""
    _calls.append(call)


def watch() -> None:
    """Have the calls made at the end of this process also if it ends without `atexit`.

    So do the processes that `multiprocessing`, its copy `billiard` and Celery's pool fork. They
    forget what was there before the fork, so a forked process has to call this, too.
    """
    for library in ("multiprocessing", "billiard"):
        utilities = sys.modules.get(f"{library}.util")
        if utilities is not None and library not in _watched:
            _watched.add(library)
            utilities.Finalize(None, _end, exitpriority=0)
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(_end, weak=False, dispatch_uid=__name__)


def _end(*_: object, **__: object) -> None:
    for call in _calls:
        call()


atexit.register(_end)
os.register_at_fork(after_in_child=_watched.clear)
