"""What is known of a store before it is opened: one value, which stands with the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from settings import Settings

MEBIBYTE = 1024 * 1024


class NoSettings(BaseModel):
    """Of a store that needs none."""


@dataclass(frozen=True)
class StoreKind:
    """A store's name, its settings, and what it can do; importing it must cost nothing.

    `module` is imported when the store is chosen: it has `open_store(settings, retry) -> Store`,
    and, if the store `is_shared`, `open_reader(settings, retry) -> Reader`. `meaning` is its part
    of what `STORE` means. `settings` are its fields of `Settings`.
    """

    name: str
    meaning: str
    module: str
    settings: type[BaseModel] = NoSettings

    keeps: bool = True
    """Whether what was written can be asked for; else there is no API either."""
    is_shared: bool = False
    """Whether several processes may have it open at a time."""
    kept_in: str = ""
    """What it makes in `DATA_DIR`; empty: it is elsewhere."""
    address: Callable[[Any], object] | None = None
    """Of its settings the address of a server."""
    example: str = ""
    """A question that `logwax query` takes; empty: it takes none."""
    has_protocol: bool = False
    """Whether clients of its own protocol can ask it on `QUERY_PORT`."""
    shows_lines: bool = False
    """Whether stdout is for the lines, and for nothing else."""
    for_events: Callable[[Any], Any] | None = None
    """Its settings when it stores events of an outbox in a table of their own; None: as lines."""
    batch_bytes: int = 12 * MEBIBYTE
    """What `STREAM_MAX_BYTES` is by default."""
    problems: Callable[[Settings], Iterable[str]] = lambda settings: ()
    """A sentence for everything around correct settings that would keep it from opening."""

    @property
    def is_exclusive(self) -> bool:
        """Whether it belongs to one process at a time, and all others ask that one."""
        return self.keeps and not self.is_shared

    def is_there(self, data_dir: Path) -> bool:
        """Whether there is one already, as far as this machine can tell."""
        return not self.kept_in or (data_dir / self.kept_in).exists()

    def place(self, settings: Settings) -> str:
        """Its name, and where it is."""
        if self.kept_in:
            return f"{self.name}, in {settings.data_dir / self.kept_in}"
        return f"{self.name}, at {self.address(settings)}" if self.address else self.name
