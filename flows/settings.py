"""The settings of what parses lines: those of every process, and `LOG_FORMAT` means a format."""

from __future__ import annotations

from pydantic import field_validator

import settings
from flows.parsing import FORMATS
from flows.parsing.choice import describe
from settings import Settings


class ParsingSettings(Settings):
    """Settings whose `LOG_FORMAT` was looked up."""

    @field_validator("log_format")
    @classmethod
    def _means_a_format(cls, text: str) -> str:
        if text not in FORMATS:
            describe(text)
        return text


def load() -> Settings:
    """Read and validate all settings, as `settings.load` does, and `LOG_FORMAT` with them.

    Raises `SettingsError` with one sentence for everything that is wrong, all at once.
    """
    return settings.load(ParsingSettings)
