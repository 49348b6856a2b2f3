"""Which format `LOG_FORMAT` means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

from connectors.plugins import plugins
from flows.parsing import FORMATS, OUTER

if TYPE_CHECKING:
    from flows.parsing.parser import Format


@runtime_checkable
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
class Wrapped:
    """A description whose format another one completes: `wrap` makes that of it."""

    plain: Description
    wrap: Callable[[Format], Format]

    @property
    def samples(self) -> tuple[str, ...]:
        """See `Description`."""
        return self.plain.samples

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> Format:
        """See `Description`."""
        return self.wrap(self.plain.make(time_zone, duration_shift))


@dataclass(frozen=True)
class Scanner:
    """A format that is no layout: what reads it, given a zone and a shift."""

    reads: Callable[[ZoneInfo, int], Format]
    samples: tuple[str, ...]

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> Format:
        """See `Description`."""
        return self.reads(time_zone, duration_shift)


@runtime_checkable
class Headed(Description, Protocol):
    """A format whose columns a line of the file names; itself, it is that of lines without one.

    `header`: how such a line begins; empty: it is the first of the file.
    """

    @property
    def header(self) -> str:
        """See `Sense`."""

    def headed(self, header: str) -> Description:
        """The format of the lines behind this one."""

    def names_time(self, header: str) -> bool:
        """Whether lines behind this one have a time."""


_LANGUAGES = {
    r"\(\?P<": "regex",
    r"%\{[A-Z0-9_]+(?::[^}]*\}|\}(?![A-Za-z^]))": "grok",  # Apache's `%{NAME}e` has a letter behind
    r"%\([A-Za-z]+\)|(?<!\$)\{(?:asctime|time|level|levelname|message)\b": "python",
    r"%-?[0-9.]*d(?:ate)?(?![A-Za-z])": "logback",
    r"\$[A-Za-z_{]": "nginx",
    "%": "apache",
}
"""What is in a format of another program's language -> the module that translates it. The first
that is there counts."""


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


@dataclass(frozen=True)
class _Mixed:
    """Several formats whose lines take turns."""

    descriptions: tuple[Description, ...]
    samples: tuple[str, ...] = ()

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> Format:
        """See `Description`."""
        from flows.parsing.nested import Mixed

        return Mixed([one.make(time_zone, duration_shift) for one in self.descriptions])


def described(text: str, header: str) -> Description:
    """The same, of lines whose columns are named by `header` (empty: by nothing)."""
    form = headed(text) if header else None
    return form.headed(header) if form else describe(text)


@lru_cache(maxsize=256)  # to ask for a protocol is slow
def headed(text: str) -> Headed | None:
    """What `text` means, if a line of the file names the columns. Raises `ValueError`."""
    found = describe(text)
    return found if isinstance(found, Headed) else None


def describe(text: str) -> Description:
    """The format that `LOG_FORMAT` means. Raises `ValueError`, which says why it means none.

    It is the name of one, two names (`cri:json`), several whose lines take turns (`json|app`), or
    what describes lines in another program: a regular expression with named groups, nginx's
    `log_format`, Apache's `LogFormat`, a pattern of Python's logging, of logback or log4j, of grok.
    """
    if text in FORMATS:
        found: Description = import_module(FORMATS[text]).FORMAT
        return found
    outer, colon, inner = text.partition(":")
    if colon and outer in OUTER:
        return _Inner(describe(outer), describe(inner), OUTER[outer])
    names = text.split("|")
    if len(names) > 1 and all(name.partition(":")[0] in FORMATS for name in names):
        return _Mixed(tuple(map(describe, names)))
    for sign, language in _LANGUAGES.items():
        if re.search(sign, text):
            module = import_module(f"flows.parsing.translate.{language}")
            translated: Description = module.translate(text)
            return translated
    others, problems = plugins("logwax.formats", Description)  # type: ignore[type-abstract]
    if text in others:
        return others[text]
    known = ", ".join(sorted({*FORMATS, *others}))
    raise ValueError(" ".join([f"{text!r} is unknown; known are {known}", *problems]))
