"""A process that kills itself between two steps of its work."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def dying(die_at: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A wrapper that counts a step before and behind each call, and ends at one (0: never)."""
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

    return around
