"""What other installed packages add, by entry points: `logwax.stores`, `.formats`, `.enrichers`.

Entry points: packaging.python.org, "Entry points specification".
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

T = TypeVar("T")


def plugins(group: str, kind: type[T]) -> tuple[dict[str, T], list[str]]:
    """The objects of this kind in a group of entry points, and a sentence for each other one.

    They have the names of their entry points, in the order of these.
    """
    found: dict[str, T] = {}
    problems = []
    for entry in sorted(entry_points(group=group)):
        try:
            loaded = entry.load()
        except Exception as error:  # whatever somebody else's module may raise
            problems.append(f"{group}: {entry.value} cannot be imported: {error}.")
            continue
        if isinstance(loaded, kind):
            found[entry.name] = loaded
        else:
            problems.append(f"{group}: {entry.value} is no {kind.__name__}.")
    return found, problems
