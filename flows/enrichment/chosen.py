"""The enrichers that `ENRICHERS` turns on: each is a module of its name, imported when it is on."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from connectors.batch import ENRICHED
from connectors.status import Status
from flows.enrichment import Enrich
from settings import Settings


def enricher_module(name: str) -> ModuleType:
    """The module of an enricher. Raises `ValueError`, which says why there is none."""
    if name not in ENRICHED:
        raise ValueError(f"{name!r} is unknown; known are {', '.join(sorted(ENRICHED))}")
    try:
        return import_module(f"{__package__}.{name}")
    except ImportError as error:
        raise ValueError(
            f'{error}; install Logwax with its libraries: pip install ".[enrich]"'
        ) from None


def make(settings: Settings, status: Status) -> dict[str, Enrich]:
    """Those that are on; each module's `make` gets these, and says to `status` what goes wrong."""
    return {name: enricher_module(name).make(settings, status) for name in settings.enricher_names}
