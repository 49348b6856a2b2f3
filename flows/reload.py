"""SIGHUP: `.env.local` is read again, and what can be different without a restart is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection
from queue import SimpleQueue

from connectors.errors import LogwaxError, SettingsError
from connectors.saying import say
from flows.settings import load
from settings import Settings

Apply = Callable[[Settings], None]
"""Takes over what it needs of new settings. May raise `LogwaxError`: then all is as it was."""


class Reloaded:
    """The settings that can change in this process, and who takes them over."""

    def __init__(self) -> None:
        self._apply: list[tuple[Apply, Collection[str]]] = []

    def add(self, apply: Apply, *names: str) -> None:
        """Call `apply` where one of these settings has changed."""
        self._apply.append((apply, names))

    def take(self, new: Settings, changed: Collection[str]) -> list[str]:
        """Have the changed settings taken over; returns those that were."""
        taken = set()
        for apply, names in self._apply:
            if found := set(names).intersection(changed):
                try:
                    apply(new)
                    taken |= found
                except LogwaxError as error:
                    say(str(error))
        return [name for name in changed if name in taken]


def reload_at_hangup(settings: Settings, reloaded: Reloaded) -> None:
    """From now on, read the settings again at each SIGHUP, and say what came of it.

    Of wrong settings none counts. Called from the main thread.
    """
    asked: SimpleQueue[None] = SimpleQueue()  # a handler may put, whatever it has interrupted
    signal.signal(signal.SIGHUP, lambda number, frame: asked.put(None))

    def wait() -> None:
        now = settings
        while True:
            asked.get()
            now = _reload(now, reloaded)

    threading.Thread(target=wait, name="reload", daemon=True).start()


def _reload(now: Settings, reloaded: Reloaded) -> Settings:
    """What counts from now on."""
    try:
        new = load()
    except SettingsError as error:
        say(f"Nothing is reloaded:\n{error}")
        return now
    changed = [name for name, value in now if getattr(new, name) != value]
    taken = reloaded.take(new, changed)
    if taken:
        say(f"Reloaded: {_names(taken)}.")
    if left := [name for name in changed if name not in taken]:
        say(f"Not reloaded, only a restart changes it: {_names(left)}.")
    if not changed:
        say("Nothing is reloaded: no setting has changed.")
    return now.model_copy(update={name: getattr(new, name) for name in taken})


def _names(fields: list[str]) -> str:
    return ", ".join(map(str.upper, fields))
