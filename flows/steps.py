"""The parse and the enrich step of the settings, for the pipeline and for commands."""

from __future__ import annotations

from collections.abc import Callable

from connectors.batch import Parsed, Taken
from connectors.sources.framing import CONTAINERS, Framing
from connectors.status import Status
from flows.choosing import chooser
from flows.enrichment import chosen
from flows.enrichment.enricher import enricher
from flows.parsing.parser import parser
from flows.pii import Rules
from settings import Settings


def framing(settings: Settings) -> Framing | None:
    """Which lines are one record, by these settings; None: each is one."""
    text, outer = settings.log_multiline, settings.log_format.partition(":")[0]
    return Framing.of(f"{outer}:{text}" if text and outer in CONTAINERS else text)


def parse_step(settings: Settings) -> Callable[[Taken], Parsed]:
    """The parse step of these settings, and what `PII` hides."""
    parse = parser(settings.log_format, settings.log_timezone, settings.log_duration_unit)
    return hiding(settings, parse)


def hiding(settings: Settings, parse: Callable[[Taken], Parsed]) -> Callable[[Taken], Parsed]:
    """A parse step from which nothing comes that `PII` hides."""
    if not settings.pii:
        return parse
    rules = rules_of(settings)
    return lambda batch: rules.hide(parse(batch), batch.encoding)


def rules_of(settings: Settings) -> Rules:
    """The rules of `PII`."""
    return Rules.of(settings.pii, settings.pii_key.get_secret_value())


def enrich_step(settings: Settings, status: Status) -> Callable[[Parsed], Parsed]:
    """The enrich step of these settings, and which rows are stored.

    What goes wrong on the way is said to `status`.
    """
    enrich, choose = enricher(chosen.make(settings, status)), chooser(settings)
    return lambda batch: choose(enrich(batch))


def parse_and_enrich(settings: Settings) -> Callable[[Taken], Parsed]:
    """The parse and the enrich step of these settings, in one."""
    parse, enrich = parse_step(settings), enrich_step(settings, Status())
    return lambda batch: enrich(parse(batch))
