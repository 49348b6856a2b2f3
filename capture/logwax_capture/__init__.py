"""What applications embed to hand their events and logs to Logwax.

Nothing here needs more than the standard library. What speaks to a library (psycopg, SQLAlchemy,
Django, Redis, Celery) imports it where it is used, by `extra`.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class MissingExtraError(ImportError):
    """A part was used whose library is not installed; says which extra brings it."""


def extra(name: str, module: str) -> ModuleType:
    """The module, which the extra of this name brings. Raises `MissingExtraError`."""
    try:
        return import_module(module)
    except ImportError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # it is there, and lacks something itself
        raise MissingExtraError(
            f"{module} is not installed. Run: pip install 'logwax-capture[{name}]'"
        ) from error
