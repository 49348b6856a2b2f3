"""File system events, so that quiet files cost nothing and new ones are seen at once."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from typing import TypeAlias

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
from watchdog.observers.api import BaseObserver, EventDispatcher, EventEmitter, ObservedWatch
from watchdog.utils import BaseThread

_Events: TypeAlias = list[type[FileSystemEvent]]

_NAMES: _Events = [DirCreatedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent]
_ALL: _Events = [*_NAMES, FileModifiedEvent]
# One event a write is fine for quiet files; 20,000 writes a second took three quarters of a core.
# 1,000 renamings a second did, too: watchdog searches all it has for the other half of each.
_GROWTH_FLOOD, _NAMES_FLOOD = 1_000, 500  # events a second
_REST_SECONDS = 30.0  # how long to do without them

# `trouble` tells what its log says, or the next look at all names shows it.
logging.getLogger("watchdog").setLevel(logging.CRITICAL)


class Watcher(FileSystemEventHandler):
    """Collects which files grew and whether names changed, since it was last asked.

    Events are a hint, never needed: on a file system without them, in a directory that is written
    to thousands of times a second (its growth is then not watched for 30 s, nor are names if those
    are what changes), while a directory is missing, and when the system has no events left, `blind`
    says that files have to be looked at instead. `trouble` says why there are none; empty: there is
    nothing to be done about it.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self._lock = threading.Lock()
        self._observer: BaseObserver | None = None
        self._threads: list[threading.Thread] = []
        self._watches: dict[str, tuple[int, ObservedWatch]] = {}
        self._grown: dict[str, float] = {}
        self._renamed = True
        self._incomplete = False
        self._second, self._growth_in_it, self._names_in_it = 0.0, 0, 0
        self._flood: _Events | None = None
        self._resting_until = 0.0
        self._wanted = _ALL

    @property
    def blind(self) -> bool:
        """Whether growth may go unseen at the moment."""
        return self._incomplete or time.monotonic() < self._resting_until

    def watch(self, directories: dict[str, bool]) -> None:
        """Watch these directories from now on; the value tells whether those below them count."""
        if self._resting_until and time.monotonic() >= self._resting_until:
            self._resting_until, self._wanted = 0.0, _ALL
            self._unwatch()
        self.trouble = "" if self._is_running() else "their thread has ended; a restart helps"
        emitters = self._observer.emitters if self._observer else ()
        dead = {emitter.watch for emitter in emitters if not emitter.is_alive()}
        for directory in self._watches.keys() - directories.keys():
            self._forget(directory)
        for directory, recursive in directories.items() if self._wanted else ():
            try:
                inode = os.stat(directory).st_ino
                known, watch = self._watches.get(directory, (inode, None))
                if known != inode or watch in dead:  # made anew: the old watch sees nothing of it
                    self._forget(directory)
                if directory not in self._watches:
                    os.close(os.open(directory, os.O_RDONLY))  # watchdog says nothing of rights
            except OSError:  # missing, or not to be looked at: that is said by who looks into it
                self._forget(directory)
                continue
            try:
                if directory not in self._watches:
                    self._watches[directory] = inode, self._schedule(directory, recursive)
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
                self._forget(directory)
                if not isinstance(error, FileNotFoundError):
                    self.trouble = str(getattr(error, "strerror", None) or error)
                if getattr(error, "errno", None) in (errno.EMFILE, errno.ENOSPC):
                    self.trouble += "; sysctl fs.inotify has the limits"
        self._incomplete = bool(self.trouble) or len(self._watches) < len(directories)

    def _schedule(self, directory: str, recursive: bool) -> ObservedWatch:
        if not self._observer:
            observer = Observer()
            observer.start()
            self._observer = observer
        watch = self._observer.schedule(
            self,
            os.path.join(directory, "."),  # watchdog follows no link, but a path through one
            recursive=recursive,
            event_filter=self._wanted,
        )
        self._threads = [
            thread
            for thread in threading.enumerate()
            if isinstance(thread, BaseThread) and not isinstance(thread, EventEmitter)
            if thread is self._observer or not isinstance(thread, EventDispatcher)
        ]
        return watch

    def _is_running(self) -> bool:
        """Whether the threads that all watches need are alive."""
        return all(thread.is_alive() for thread in self._threads)

    def _forget(self, directory: str) -> None:
        _, watch = self._watches.pop(directory, (0, None))
        if watch and self._observer:
            self._observer.unschedule(watch)

    def take(self) -> tuple[dict[str, float], bool]:
        """Files that grew, with the time of their first event, and whether names changed."""
        with self._lock:
            grown, self._grown = self._grown, {}
            renamed, self._renamed = self._renamed, False
            flood, self._flood = self._flood, None
        if flood is not None:
            self._wanted = flood
            self._resting_until = time.monotonic() + _REST_SECONDS
            self._unwatch()
            renamed = True
        return grown, renamed

    def close(self) -> None:
        """Stop watching."""
        if self._observer:
            self._observer.stop()
            self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by the observer's thread."""
        now = time.monotonic()
        with self._lock:
            if now - self._second > 1.0:
                self._second, self._growth_in_it, self._names_in_it = now, 0, 0
            if isinstance(event, FileModifiedEvent):
                self._growth_in_it += 1
                if self._growth_in_it > _GROWTH_FLOOD and self._flood is None:
                    self._flood = _NAMES
                path = str(event.src_path).replace("/./", "/", 1)
                self._grown.setdefault(path, now)
            else:
                self._names_in_it += 1
                if self._names_in_it > _NAMES_FLOOD:
                    self._flood = []
                self._renamed = True

    def _unwatch(self) -> None:
        if self._observer:
            self._observer.unschedule_all()
        self._watches.clear()
