"""`flows.redis` with a short lease: `python -m tests.redis_consumer STEP` kills itself at a step.

A step is what is before or after any question to Redis, and any insert. 0: it lives on.
"""

from __future__ import annotations

import runpy
import sys

from connectors.sinks.writers import TokenWriter
from connectors.sources import redis as source
from connectors.sources.redis_group import Group
from tests.dying import dying

LEASE = 1.5  # seconds


def consume(die_at: int) -> None:
    """Run the flow until the step number `die_at`."""
    around = dying(die_at)

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
