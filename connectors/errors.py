"""Every error Logwax raises on purpose.

LogwaxError
├── SettingsError       the configuration is wrong; carries every problem found
├── StoreError          the store refused, or cannot be reached
│   ├── StoreBusyError     another process has the embedded store open
│   └── UnanswerableError  it has no answer to such a question
├── FilterError         a filter that a person wrote means nothing
└── MalformedLine       one line does not fit its format; becomes a dead letter, never a crash

A message says what happened, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def deepest(error: BaseException) -> BaseException:
    """What an error comes from in the end: of a failed connection what the system said."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return error


class LogwaxError(Exception):
    """Base of all errors below; catch this to catch what Logwax itself reports."""


class SettingsError(LogwaxError):
    """The configuration is wrong.

    `problems` holds one sentence per problem: all are found before anything starts.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class StoreError(LogwaxError):
    """The store refused an operation or cannot be reached."""


class StoreBusyError(StoreError):
    """Another process has the embedded store open."""


class FilterError(LogwaxError):
    """A filter means nothing; `place` is the character at which that begins, the first being 1."""

    def __init__(self, reason: str, place: int) -> None:
        self.reason = reason
        self.place = place
        super().__init__(f"The filter is wrong at character {place}: {reason}.")


class UnanswerableError(StoreError):
    """The store has no answer to such a question, however often it is asked."""


Why = tuple[str, str | Callable[[], str]]
"""Why a line is refused: what a `MalformedLine` is made of."""


class MalformedLine(LogwaxError):  # noqa: N818 - an outcome of parsing
    """A line does not fit its format.

    `reason` is a short fixed word to count and filter by (`bad_timestamp`); `detail` says what was
    found. Both are stored beside the line in `dead_letters`. Where it takes long to say, `tell` is
    a function: most lines are refused by formats that are only tried, and nobody asks why.
    """

    def __init__(self, reason: str, tell: str | Callable[[], str]) -> None:
        self.reason = reason
        self.tell = tell
        super().__init__(reason)

    @property
    def why(self) -> Why:
        """What to keep of it. The traceback of the error itself would hold a whole batch."""
        return self.reason, self.tell

    @property
    def detail(self) -> str:
        """What was found."""
        return self.tell if isinstance(self.tell, str) else self.tell()

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
