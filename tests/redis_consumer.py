"""`flows.redis` with a short lease: `python -m tests.redis_consumer STEP` kills itself at a step.

A step is what is before or after any question to Redis, and any insert. 0: it lives on.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

from connectors.sinks.writers import TokenWriter
from connectors.sources import redis as source
from connectors.sources.redis_group import Group

LEASE = 1.5  # seconds


def consume(die_at: int) -> None:
    """Run the flow until the step number `die_at`."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(work: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            step()
            done = work(*arguments, **options)
            step()
            return done

        return stepping

    for owner, name in (
        (Group, "claim"),
        (Group, "take_over"),
        (Group, "done"),
        (Group, "_read"),
        (TokenWriter, "_insert_all"),
        (TokenWriter, "write"),
    ):
        setattr(owner, name, around(getattr(owner, name)))
    source.LEASE = LEASE
    sys.argv = ["bytewax.run", "flows.redis"]
    runpy.run_module("bytewax.run", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    consume(int(sys.argv[1]))
