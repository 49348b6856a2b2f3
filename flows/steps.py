"""The parse and the enrich step of the settings, for the pipeline and for commands."""

from __future__ import annotations

from collections.abc import Callable

from connectors.batch import Parsed, Taken
from connectors.sources.framing import CONTAINERS, Framing
from connectors.sources.sense import Chooser
from connectors.status import Status
from flows.enrichment import chosen
from flows.enrichment.enricher import enricher
from flows.keeping import keeper
from flows.labels import labelled
from flows.parsing import AUTO, EVENTS
from flows.parsing.choice import headed
from flows.parsing.parser import parser
from flows.pii import Rules
from settings import Settings


def framing(settings: Settings) -> Framing | None:
    """Which lines are one record, by these settings; None: each is one."""
    return framing_of(settings.log_format, settings.log_multiline)


def framing_of(form: str, text: str) -> Framing | None:
    """What `LOG_MULTILINE` means where the format is `form`; of one with headers, each is one."""
    if header_of(form) is not None:
        return None
    text = text or EVENTS.get(form, "")
    outer = form.partition(":")[0]
    return Framing.of(f"{outer}:{text}" if text and outer in CONTAINERS else text)


def header_of(form: str) -> str | None:
    """How lines begin that name columns, where the format is `form`; None: none does."""
    found = None if form == AUTO else headed(form)
    return found.header if found else None


def parse_step(settings: Settings) -> Callable[[Taken], Parsed]:
    """The parse step of these settings, less what `PII` hides."""
    rules = settings.rules
    zone, unit = settings.log_timezone, settings.log_duration_unit
    is_told = "log_timezone" in settings.model_fields_set

    def zone_of(name: str) -> str:
        rule = None if is_told else rules.of(name)
        return rule.time_zone if rule else ""

    parse = labelled(parser(settings.log_format, zone, unit, zone_of), rules)
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


def watched(parse: Callable[[Taken], Parsed], chooser: Chooser | None) -> Callable[[Taken], Parsed]:
    """The parse step, of which whoever chooses formats learns what came of it."""
    if not chooser:
        return parse
    look = chooser.look

    def parse_and_look(batch: Taken) -> Parsed:
        parsed = parse(batch)
        look(batch, parsed)
        return parsed

    return parse_and_look


def enrich_step(settings: Settings, status: Status) -> Callable[[Parsed], Parsed]:
    """The enrich step of these settings, and which rows are stored.

    What goes wrong on the way is said to `status`.
    """
    enrich, keep = enricher(chosen.make(settings, status)), keeper(settings)
    return lambda batch: keep(enrich(batch))


def parse_and_enrich(settings: Settings) -> Callable[[Taken], Parsed]:
    """The parse and the enrich step of these settings, in one."""
    parse, enrich = parse_step(settings), enrich_step(settings, Status())
    return lambda batch: enrich(parse(batch))
