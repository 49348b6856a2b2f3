"""Which format `LOG_FORMAT` means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from flows.parsing import FORMATS, OUTER

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


@dataclass(frozen=True)
class _Inner:
    """The format `inner` in the messages of `outer`, which adds some attributes."""

    outer: Description
    inner: Description
    adds: tuple[str, ...]

    samples: tuple[str, ...] = ()

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> Format:
        """See `Description`."""
        from flows.parsing.nested import Nested

        inner = self.inner.make(time_zone, duration_shift)
        return Nested(self.outer.make(time_zone, duration_shift), inner, self.adds)


def describe(text: str) -> Description:
    """The format that `LOG_FORMAT` means. Raises `ValueError`, which says why it means none."""
    outer, colon, inner = text.partition(":")
    if colon and outer in OUTER:
        return _Inner(describe(outer), describe(inner), OUTER[outer])
    if text not in FORMATS:
        raise ValueError(f"{text!r} is unknown; known are {', '.join(sorted(FORMATS))}")
    found: Description = import_module(FORMATS[text]).FORMAT
    return found
