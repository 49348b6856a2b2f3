"""What commands ask of a store line by line, and change in it, beside the tail that writes to it.

A store that can say which lines it has keeps `Accounts`; all others are told so in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.batch import Span
from connectors.errors import StoreError

if TYPE_CHECKING:
    from connectors.store import Store
    from settings import Settings

BUCKET = 4 * 1024 * 1024
"""Bytes of a file that are summed up together."""

FRAGMENTS = ("too_long", "continued")
"""Reasons of dead letters whose bytes are not a whole line."""

Places = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Answer:
    """The names and rows of an answer; `is_whole`: there are no more."""

    names: list[str]
    rows: list[list[Any]]
    is_whole: bool


@dataclass(frozen=True)
class Question:
    """A question in the protocol of a store; `format` is that of an answer if `sql` names none.

    `parameters` are the values of its placeholders, escaped as the protocol has them. Of a longer
    answer about `most` rows are taken, but more than those; 0: a longer one is refused.
    """

    sql: str
    format: str = "TabSeparated"
    database: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    most: int = 0


@dataclass(frozen=True)
class Formatted:
    """An answer in a format of the store's own; what was read for it: 0 where nobody knows."""

    data: bytes
    format: str
    read_rows: int = 0
    read_bytes: int = 0


class RefusedError(StoreError):
    """A question is refused; `code` is that of the store's own errors."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


class Accounts(Protocol):
    """Questions about single lines; raises `StoreError`.

    A line's place is its `file_id` and `offset`. Everything is bounded: figures come in buckets,
    lines and dead letters in pages. Not safe for use by several threads at once, except `cancel`.
    """

    def sums(self) -> pl.DataFrame:
        """For every file and bucket: `lines`, `dead_lines` among them, `total` and `squares`.

        The last two are sums of the offsets and of their squares, modulo 2^64.
        """

    def places(self, file_id: int, first: int, last: int) -> tuple[Places, npt.NDArray[np.bool_]]:
        """The offsets that are stored in [first, last), and whether each is a dead letter."""

    def begins(self) -> dict[int, int]:
        """Where reading began in the files in which it did not begin at 0."""

    def blocks(self, file_id: int) -> pl.DataFrame:
        """`start`, `end` and `proof` of the blocks that the ledger has of a file."""

    def cuts(self, file_id: int) -> npt.NDArray[np.int64]:
        """Where lines of a file begin though no newline is before: blocks, rests of lines."""

    def reasons(self) -> dict[str, int]:
        """How many dead letters there are of each reason, the most frequent first."""

    def samples(self, reason: str, most: int) -> pl.DataFrame:
        """The newest dead letters of a reason: `source`, `offset`, `reason`, `detail`, `raw`."""

    def select(self, sql: str, most: int) -> Answer:
        """The answer to a question of a person's own, which can change nothing: `most` rows."""

    def cancel(self) -> None:
        """Give up the question under way, and do nothing more: the process is about to end."""


@runtime_checkable
class ChangeableAccounts(Accounts, Protocol):
    """Of a store in which commands may change lines, too."""

    def letters(
        self, after: tuple[int, int], reason: str, sources: Sequence[str], lines: int, size: int
    ) -> pl.DataFrame:
        """The next dead letters behind the place `after`, `FRAGMENTS` excepted; see `REJECTED`.

        At most `lines` and, unless the first is longer, `size` bytes. No `reason`, no `sources`:
        all of them.
        """

    def sources(self) -> list[str]:
        """Every path that dead letters came from."""

    def held(self, places: pl.DataFrame) -> pl.DataFrame:
        """Which of these places hold a row: `file_id`, `offset`."""

    def insert(
        self, rows: pl.DataFrame, held: Callable[[], pl.DataFrame]
    ) -> tuple[int, pl.DataFrame]:
        """Insert those rows whose places `held` does not name, each once.

        Returns how many these were, and those that the store has `REFUSED`.
        """

    def insert_dead(self, letters: pl.DataFrame, held: Callable[[], pl.DataFrame]) -> int:
        """Insert dead letters, likewise."""

    def delete_dead(self, places: pl.DataFrame) -> None:
        """Delete the dead letters of these places; return when they are gone."""

    def update_dead(self, letters: pl.DataFrame) -> None:
        """Give dead letters the `reason` and the `detail` of these; return when they have them."""

    def choose_position(self, span: Span) -> None:
        """Record that nothing before the span's end is the tail's to read."""


@runtime_checkable
class FormattedAccounts(Accounts, Protocol):
    """Of a store that can be asked in its own protocol, on `QUERY_PORT`."""

    def formatted(self, question: Question) -> Formatted:
        """The answer to a question that can change nothing; for several threads at once.

        Raises `RefusedError`.
        """

    def give_up(self, question: Question) -> None:
        """Stop a question that nobody waits for any more, if it is under way."""


def accounts_of(store: Store, settings: Settings) -> Accounts:
    """The accounts of an open store. Raises `StoreError` if it keeps none."""
    accounts = store.accounts()
    if accounts is None:
        raise StoreError(f"STORE={settings.store} cannot say which lines it has.")
    return accounts
