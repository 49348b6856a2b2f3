"""Whose turn it is: batches of one file are recorded one after another, whoever stores them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from connectors.errors import StoreError
from connectors.saying import is_ending

_LOOK_SECONDS = 0.1


class Turn:
    """The turn of a batch, behind those of the batches `before` it."""

    def __init__(self, before: Iterable[Turn]) -> None:
        self._is_over = threading.Event()
        self._has_failed = False
        self._before = [turn for turn in before if turn._has_failed or not turn._is_over.is_set()]

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for the turn, and end it. Raises `StoreError` if one before it has failed."""
        try:
            for turn in self._before:
                while not turn._is_over.wait(_LOOK_SECONDS):
                    if is_ending():
                        raise StoreError(_LEFT)
                if turn._has_failed:
                    raise StoreError(_LEFT)
            self._before.clear()
            yield
        except BaseException:
            self._has_failed = True
            raise
        finally:
            self._is_over.set()


_LEFT = "The batch before this one is not stored; the next start reads both again."
