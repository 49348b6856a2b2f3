"""A bounded queue that a thread empties in batches: who puts something in never waits."""

from __future__ import annotations

import logging
import os
import queue
import random
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from logwax_capture import ending
from logwax_capture.spill import Entry, Spill

logger = logging.getLogger(__name__)

Send = Callable[[Sequence[Entry], bool], None]
"""Sends a batch, all of it or nothing; True: some of it may have been sent before."""

MOST_AT_EXIT = 5.0
"""Seconds that the end of a process waits for the last batch."""

_LONGEST_PAUSE = 30.0
_MOST_AT_ONCE = 1000


class RefusedError(Exception):
    """The batch will never be taken as it is: an entry of it is at fault."""


class Background:
    """Hands entries to `send`: as soon as there are `size`, and every `interval` seconds.

    A batch is what is there then: at most 1,000 entries, or `size` if that is more.

    `put` takes no lock and makes no system call: the interpreter would go to another thread, which
    may keep it for 5 ms. At most `bound` entries are in memory. Before they are too many, a second
    thread writes the oldest ones to the spill; without a spill they are dropped. A batch that fails
    is kept and tried again, at longer and longer intervals; an entry that is refused is found,
    counted and said.

    At the end of the process, at SIGTERM too unless the application has a handler for it, what is
    left is sent or, after `MOST_AT_EXIT` seconds, spilled. A forked process has a thread and a
    queue of its own; what was put in before the fork is the parent's. What is in memory is lost
    with a process that is killed by SIGKILL.
    """

    def __init__(
        self,
        name: str,
        send: Send,
        *,
        size: int,
        interval: float,
        bound: int,
        spill: Spill | None = None,
    ) -> None:
        self.name = name
        self.sent = self.dropped = self.spilled = self.refused = self.failed = 0
        self._send = send
        self._size, self._interval, self._bound = size, interval, bound
        self._spill = spill
        self._waiting: deque[Entry] = deque()
        self._in_hand: Sequence[Entry] = ()
        self._aside: Sequence[Entry] = ()
        self._is_closed = False
        self._begin_anew()
        _running.add(self)
        _watch_the_end()

    def _begin_anew(self) -> None:
        # Both may be used again by a signal handler that interrupts their use.
        self._lock = threading.RLock()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = self._spiller = _NONE

    def qsize(self) -> int:
        """How many entries are in memory."""
        return len(self._waiting) + len(self._in_hand) + len(self._aside)

    def is_alive(self) -> bool:
        """Whether its thread runs in this process."""
        return self._thread.is_alive()

    def put(self, entry: Entry) -> None:
        """Leave an entry to the thread, which is started where it does not run."""
        if len(self._waiting) >= self._bound:
            if self._spill is not None:  # the other thread cannot keep up
                self._set_aside([entry])
                return
            with suppress(IndexError):  # another thread has made room
                self._waiting.popleft()
                self._count_dropped(1)
        self._waiting.append(entry)
        count = len(self._waiting)
        if count >= self._size and self._wakes.empty():
            self._wakes.put(None)
        if self._is_closed:
            self._set_all_aside()
            return
        if self._spill is not None and count > self._bound * 3 // 4:
            self._start_spilling()
        self.start()

    def start(self) -> None:
        """Have a thread; one that has ended, as in a forked process, is replaced."""
        if self.is_alive():
            return
        with self._lock:
            if not self.is_alive():
                self._thread = _started(self.run, self.name)
        _watch_the_end()

    def run(self) -> None:
        """Send what comes in, until it is closed."""
        while not self._is_closed:
            with suppress(queue.Empty):  # the interval is over
                self._wakes.get(timeout=self._interval)
            self.send_all()

    def send_all(self) -> None:
        """Send what is in memory now, then what was spilled; returns when it is."""
        while batch := self._next():
            if not self._deliver(batch, False):
                return  # it stays in hand, for whoever closes
            self._in_hand = ()
        if self._spill is not None:
            for batch in self._spill.take(max(self._size, _MOST_AT_ONCE)):
                if not self._deliver(batch, True):
                    return

    def flush(self, seconds: float) -> bool:
        """Wait until all that this process took is sent; False: it was not in time."""
        end = time.monotonic() + seconds
        self._wakes.put(None)
        while self._has_some() and self.is_alive() and time.monotonic() < end:
            time.sleep(0.005)
        return not self._has_some()

    def close(self, seconds: float = MOST_AT_EXIT) -> None:
        """Flush, and spill what is left. What is put in later is spilled at once."""
        if self._has_some():
            self.start()
            self.flush(seconds)
        self._is_closed = True
        self._set_all_aside()
        self._wakes.put(None)
        _running.discard(self)

    def _has_some(self) -> bool:
        return bool(self.qsize()) or (self._spill is not None and self._spill.has_own())

    def _next(self) -> Sequence[Entry]:
        with self._lock:
            self._in_hand = self._take(max(self._size, _MOST_AT_ONCE))
        return self._in_hand

    def _take(self, most: int) -> Sequence[Entry]:
        taken: list[Entry] = []
        with suppress(IndexError):  # a caller dropped the last one
            while self._waiting and len(taken) < most:
                taken.append(self._waiting.popleft())
        return taken

    def _deliver(self, batch: Sequence[Entry], is_again: bool) -> bool:
        """Send the batch, however long that takes; False: it was closed before that."""
        pause, was_refused = 0.1, False
        while not self._is_closed:
            try:
                self._send(batch, is_again)
            except RefusedError as error:
                if len(batch) > 1 or was_refused:
                    return self._split(batch, error)
                # Or it is there: an attempt that seemed lost has come to its end.
                was_refused = True
            except Exception as error:  # whatever it is: the thread outlives it
                self.failed += 1
                logger.warning(
                    "%s: %d entries wait for another try in %.1f s: %s",
                    *(self.name, len(batch), pause, error),
                )
            else:
                self.sent += len(batch)
                return True
            is_again = True
            end = time.monotonic() + pause * random.uniform(0.5, 1)
            while not self._is_closed and (rest := end - time.monotonic()) > 0:
                time.sleep(min(rest, 0.1))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return False

    def _split(self, batch: Sequence[Entry], error: RefusedError) -> bool:
        if len(batch) > 1:
            middle = len(batch) // 2
            return self._deliver(batch[:middle], True) and self._deliver(batch[middle:], True)
        self.refused += 1
        logger.error("%s: an entry is refused, and is lost: %s: %r", self.name, error, batch[0])
        return True

    def _start_spilling(self) -> None:
        if self._spiller.is_alive():
            return
        with self._lock:
            if not self._spiller.is_alive():
                self._spiller = _started(self._spill_oldest, f"{self.name} spill")

    def _spill_oldest(self) -> None:
        while not self._is_closed and (most := len(self._waiting) - self._bound // 2) > 0:
            with self._lock:
                self._aside = self._take(min(most, _MOST_AT_ONCE))
            self._set_aside(self._aside)
            self._aside = ()

    def _set_all_aside(self) -> None:
        with self._lock:
            left = [*self._in_hand, *self._aside, *self._take(len(self._waiting))]
            self._in_hand = self._aside = ()
        if left:
            self._set_aside(left)

    def _set_aside(self, entries: Sequence[Entry]) -> None:
        try:
            is_kept = self._spill is not None and self._spill.append(entries)
        except OSError as error:
            is_kept = False
            logger.error("%s: cannot spill: %s", self.name, error)
        if is_kept:
            with self._lock:
                self.spilled += len(entries)
        else:
            self._count_dropped(len(entries))

    def _count_dropped(self, count: int) -> None:
        with self._lock:
            is_first, self.dropped = not self.dropped, self.dropped + count
        if is_first:
            logger.error("%s: there is no room: entries are dropped from now on", self.name)

    def _after_fork(self) -> None:
        self._waiting.clear()
        self._in_hand = self._aside = ()
        self.sent = self.dropped = self.spilled = self.refused = self.failed = 0
        self._begin_anew()
        if self._spill is not None:
            self._spill.forget()


def _started(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


_NONE = threading.Thread()  # one that never runs
_running: weakref.WeakSet[Background] = weakref.WeakSet()


def _close_all() -> None:
    for one in list(_running):
        one.close()


def _watch_the_end() -> None:
    """Have all closed at the end of this process, also at SIGTERM."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _close_at_sigterm)
    ending.watch()


def _close_at_sigterm(number: int, frame: FrameType | None) -> None:
    _close_all()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _lock_all() -> None:
    for one in list(_running):
        one._lock.acquire()


def _unlock_all() -> None:
    for one in list(_running):
        one._lock.release()


def _begin_all_anew() -> None:
    for one in list(_running):
        one._after_fork()


ending.at_end(_close_all)
os.register_at_fork(before=_lock_all, after_in_parent=_unlock_all, after_in_child=_begin_all_anew)
