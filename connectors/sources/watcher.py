"""File system events, so that quiet files cost nothing and new ones are seen at once."""

from __future__ import annotations

import os
import threading
import time

from watchdog.events import (
    DirCreatedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

_NAMES = [DirCreatedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent]
# One event a write is fine for quiet files; 20,000 writes a second took three quarters of a core.
_FLOOD, _REST_SECONDS = 1_000, 30.0  # events a second, and how long to do without them


class Watcher(FileSystemEventHandler):
    """Collects which files grew and whether names changed, since it was last asked.

    Events are a hint, never needed: on a file system without them, in a directory that is written
    to thousands of times a second (its growth is then not watched for 30 s), and while a directory
    is missing, `blind` says that files have to be looked at instead.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observer = Observer()
        self._watches: dict[str, tuple[int, ObservedWatch]] = {}
        self._grown: dict[str, float] = {}
        self._renamed = True
        self._missing = False
        self._second, self._events_in_it = 0.0, 0
        self._flooded = False
        self._resting_until = 0.0
        self._observer.start()

    @property
    def blind(self) -> bool:
        """Whether growth may go unseen at the moment."""
        return self._missing or time.monotonic() < self._resting_until

    def watch(self, directories: dict[str, bool]) -> None:
        """Watch these directories from now on; the value tells whether those below them count."""
        now = time.monotonic()
        growth = now >= self._resting_until
        if self._resting_until and growth:
            self._resting_until = 0.0
            self._unwatch()
        for directory, recursive in directories.items():
            try:
                inode = os.stat(directory).st_ino
                known, watch = self._watches.get(directory, (inode, None))
                if known != inode and watch:  # made anew: the old watch sees nothing of it
                    self._observer.unschedule(watch)
                if known != inode or not watch:
                    watch = self._observer.schedule(
                        self,
                        directory,
                        recursive=recursive,
                        event_filter=[*_NAMES, FileModifiedEvent] if growth else _NAMES,
                    )
                    self._watches[directory] = inode, watch
            except OSError:  # missing, or out of inotify watches: looked at instead
                _, watch = self._watches.pop(directory, (0, None))
                if watch:
                    self._observer.unschedule(watch)
        self._missing = len(self._watches) < len(directories)

    def take(self) -> tuple[dict[str, float], bool]:
        """Files that grew, with the time of their first event, and whether names changed."""
        with self._lock:
            grown, self._grown = self._grown, {}
            renamed, self._renamed = self._renamed, False
            flooded, self._flooded = self._flooded, False
        if flooded:
            self._resting_until = time.monotonic() + _REST_SECONDS
            self._unwatch()
            renamed = True
        return grown, renamed

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
        self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by the observer's thread."""
        now = time.monotonic()
        with self._lock:
            if now - self._second > 1.0:
                self._second, self._events_in_it = now, 0
            self._events_in_it += 1
            self._flooded |= self._events_in_it > _FLOOD
            if isinstance(event, FileModifiedEvent):
                self._grown.setdefault(str(event.src_path), now)
            else:
                self._renamed = True

    def _unwatch(self) -> None:
        self._observer.unschedule_all()
        self._watches.clear()
