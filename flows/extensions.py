"""What distributions from elsewhere add, by entry points (the packaging specification of these)."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

FORMATS = "logwax.formats"
ENRICHERS = "logwax.enrichers"


def extensions(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by their names, in the order of these."""
    return {point.name: point for point in sorted(entry_points(group=group))}


def load(point: EntryPoint) -> Any:
    """What the entry point names. Raises `ValueError`, which says why it cannot be had."""
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"the entry point {point.name!r} of {point.group} names {point.value}, "
            f"which cannot be loaded: {error}"
        ) from error
