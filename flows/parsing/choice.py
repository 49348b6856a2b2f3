"""Which format `LOG_FORMAT` means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from flows.parsing import FORMATS

if TYPE_CHECKING:
    from flows.parsing.parser import Format


class Description(Protocol):
    """A format as a value; `samples` are lines of it, the first of them a usual one."""

    @property
    def samples(self) -> tuple[str, ...]:
        """Lines of this format."""

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> Format:
        """How its lines become rows; times without a zone are in `time_zone`.

        Of durations whose unit nobody names, 10^`duration_shift` are a second.
        """


@dataclass(frozen=True)
class Scanner:
    """A format that is no layout: what reads it, given a zone and a shift."""

    reads: Callable[[ZoneInfo, int], Format]
    samples: tuple[str, ...]

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> Format:
        """See `Description`."""
        return self.reads(time_zone, duration_shift)


def describe(name: str) -> Description:
    """The format of this name."""
    found: Description = import_module(FORMATS[name]).FORMAT
    return found
