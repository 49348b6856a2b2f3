"""The settings of what parses lines: those of every process, and what they name is looked up."""

from __future__ import annotations

from pydantic import field_validator

import settings
from flows.parsing import FORMATS
from flows.parsing.choice import describe
from settings import Settings, parts


class ParsingSettings(Settings):
    """Settings whose `LOG_FORMAT` and `ENRICHERS` were looked up."""

    @field_validator("log_format")
    @classmethod
    def _means_a_format(cls, text: str) -> str:
        if text not in FORMATS:
            describe(text)
        return text

    @field_validator("enrichers")
    @classmethod
    def _means_enrichers(cls, text: str) -> str:
        from flows.enrichment import chosen  # it takes its time

        for name in parts(text):
            chosen.check(name)
        return text


def load() -> Settings:
    """Read and validate all settings, as `settings.load` does, and what they name with them.

    Raises `SettingsError` with one sentence for everything that is wrong, all at once.
    """
    return settings.load(ParsingSettings)
