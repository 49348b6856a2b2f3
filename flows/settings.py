"""The settings of what parses lines: those of every process, and what they name is looked up."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationInfo, field_validator

import settings
from connectors.errors import FilterError
from connectors.sources.rules import RULES_FILE, FileRule
from flows.parsing import AUTO, FORMATS
from flows.parsing.choice import describe
from settings import Settings, parts, time_zone


class ParsingSettings(Settings):
    """Settings whose names, filters and rules were looked up."""

    @field_validator("log_format")
    @classmethod
    def _means_a_format(cls, text: str) -> str:
        if text not in (AUTO, *FORMATS):
            describe(text)
        return text

    @field_validator("log_multiline")
    @classmethod
    def _means_events(cls, text: str) -> str:
        if text:
            from connectors.sources.framing import Framing  # it takes its time

            Framing.of(text)
        return text

    @classmethod
    def wrong_with(cls, rules: Sequence[FileRule]) -> list[str]:
        """A sentence for each format, zone and `multiline` that means nothing."""
        problems = []
        for number, rule in enumerate(rules, 1):
            for name, value, check in (
                ("format", rule.format, cls._means_a_format),
                ("multiline", rule.multiline, cls._means_events),
                ("time_zone", rule.time_zone, time_zone),
            ):
                try:
                    if value:
                        check(value)
                except ValueError as error:
                    problems.append(f"{RULES_FILE}, [[files]] {number}: {name}: {error}.")
        return problems

    @field_validator("geoip_db")
    @classmethod
    def _can_be_read(cls, text: str) -> str:
        if text:  # what reads such files is not part of every installation
            from flows.enrichment.chosen import enricher_module  # it takes its time

            enricher_module("geoip").check(parts(text))
        return text

    @field_validator("pii")
    @classmethod
    def _means_rules(cls, text: str, others: ValidationInfo) -> str:
        if text:
            from flows.pii import Rules  # it takes its time

            key = others.data.get("pii_key")
            Rules.of(text, key.get_secret_value() if key else "")
        return text

    @field_validator("enrichers")
    @classmethod
    def _means_enrichers(cls, text: str, others: ValidationInfo) -> str:
        from flows.enrichment.chosen import enricher_module

        for name in parts(text) if text != "none" else ():
            enricher_module(name)
        if "geoip" in parts(text) and others.data.get("geoip_db") == "":
            raise ValueError("geoip needs GEOIP_DB, which says in which files to look")
        return text

    @field_validator("keep", "drop", "sample")
    @classmethod
    def _means_rows(cls, text: str, field: ValidationInfo) -> str:
        if text:
            from connectors.filters import parse  # it takes its time
            from flows.keeping import columns_of, shares_of

            enrichers = field.data.get("enrichers", "none")
            columns = columns_of(() if enrichers == "none" else parts(enrichers))
            try:
                (shares_of if field.field_name == "sample" else parse)(text, columns)
            except FilterError as error:
                raise ValueError(str(error)) from None
        return text


def load() -> Settings:
    """Read and validate all settings, as `settings.load` does, and what they name with them.

    Raises `SettingsError` with one sentence for everything that is wrong, all at once.
    """
    return settings.load(ParsingSettings)
