"""How many files and connections this process may have open, and who may have how many of them."""

from __future__ import annotations

import resource
from contextlib import suppress


def share(part: float, at_most: int) -> int:
    """How many descriptors are a `part` of all that this process may have: 1 to `at_most`."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return at_most
    return max(1, min(at_most, int(limit * part)))


def raise_limit() -> None:
    """Take what the system allows: the soft limit is often made for `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower one of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
