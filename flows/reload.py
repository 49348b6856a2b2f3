"""SIGHUP: `.env.local` is read again, and what can be different without a restart is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue

from connectors.errors import SettingsError
from connectors.saying import say
from flows.settings import load
from settings import Settings

Apply = Callable[[Settings], None]
"""Takes over what it needs of new settings."""


def reload_at_hangup(settings: Settings, apply: Mapping[str, Apply]) -> None:
    """From now on, read the settings again at each SIGHUP, and say what came of it.

    `apply` has the settings that can change in a running process. Of wrong settings none counts.
    Called from the main thread.
    """
    asked: SimpleQueue[None] = SimpleQueue()  # a handler may put, whatever it has interrupted
    signal.signal(signal.SIGHUP, lambda number, frame: asked.put(None))

    def wait() -> None:
        now = settings
        while True:
            asked.get()
            now = _reload(now, apply)

    threading.Thread(target=wait, name="reload", daemon=True).start()


def _reload(now: Settings, apply: Mapping[str, Apply]) -> Settings:
    """What counts from now on."""
    try:
        new = load()
    except SettingsError as error:
        say(f"Nothing is reloaded:\n{error}")
        return now
    changed = [name for name, value in now if getattr(new, name) != value]
    taken = {name: getattr(new, name) for name in changed if name in apply}
    for function in {apply[name] for name in taken}:
        function(new)
    if taken:
        say(f"Reloaded: {_names(taken)}.")
    if left := [name for name in changed if name not in taken]:
        say(f"Not reloaded, only a restart changes it: {_names(left)}.")
    if not changed:
        say("Nothing is reloaded: no setting has changed.")
    return now.model_copy(update=taken)


def _names(fields: Mapping[str, object] | list[str]) -> str:
    return ", ".join(map(str.upper, fields))
