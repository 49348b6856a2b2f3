"""What operators read: sentences, never a traceback; and saying one never fails.

A process calls `prepare` first. With `LOGWAX_DEBUG` set in the environment, tracebacks are shown.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from types import TracebackType
from typing import ParamSpec, TypeVar

from connectors.errors import LogwaxError

DEBUG = "LOGWAX_DEBUG"

_STDOUT, _STDERR = 1, 2
_FREE = 4096  # bytes that a pipe takes at once if it takes any: Linux, pipe(7), PIPE_BUF
_PATIENCE_MS = 1000  # how long a reader may keep us waiting, once

P = ParamSpec("P")
R = TypeVar("R")

_err = _STDERR
_patience_ms = _PATIENCE_MS
_last_words = threading.Lock()


def say(text: str, *, on_stdout: bool = False) -> None:
    """Write a sentence to stderr, or nothing if that is closed, full, or not read by anybody."""
    global _patience_ms
    fd, stream = (_STDOUT, sys.__stdout__) if on_stdout else (_err, sys.__stderr__)
    if stream is None:
        return  # it was closed when the process began, and may be any file by now
    lines = "\n".join(map(shown, text.split("\n")))
    rest = f"{lines}\n".encode()
    with suppress(OSError):
        stream.flush()  # what others have printed comes first
        ready = select.poll()
        ready.register(fd, select.POLLOUT)
        while rest and ready.poll(_patience_ms):
            rest = rest[os.write(fd, rest[:_FREE]) :]
        _patience_ms = 0 if rest else _PATIENCE_MS


def shown(text: object) -> str:
    """A text as a terminal may have it: nothing in it moves the cursor or changes a colour."""
    text = text.decode(errors="backslashreplace") if isinstance(text, bytes) else str(text)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def last_words(error: BaseException) -> str:
    """What there is to say of an error that ends a process, or a request."""
    causes = list(_chain(error))
    for found in causes:
        if isinstance(found, LogwaxError):
            return str(found)
    first = causes[-1]
    if isinstance(first, MemoryError):
        return (
            "There is not enough memory: raise what limits it (`ulimit -v`, that of the "
            "container), or make STREAM_MAX_BYTES smaller."
        )
    where = _place(first.__traceback__)
    if isinstance(first, OSError) and first.errno:
        return f"{os.strerror(first.errno)}{f': {first.filename}' if first.filename else ''}{where}"
    what = f"{type(first).__name__}: {' '.join(str(first).split())}"
    return (
        f"This should not have happened: {what}{where}. Nothing is lost: start again. If it stays, "
        f"report it with what {DEBUG}=1 in the environment shows."
    )


def in_words(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, for Bytewax to call: why it fails is said, once for the process.

    Bytewax then panics, and prints where it is in itself: that is for nobody.
    """

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (StopIteration, GeneratorExit):
            raise
        except BaseException as error:
            _end_with(error)
            raise

    return guarded


def prepare() -> None:
    """Make this process say what it has to say in sentences."""
    _fill_the_gaps()
    # Python's own streams must be able to say anything, whatever their encoding.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logging.lastResort = _Said(logging.WARNING)  # of a library that nobody asked to log
    if os.environ.get(DEBUG):
        return
    sys.excepthook = lambda _, error, __: _end_with(error)
    sys.unraisablehook = lambda found: _overheard(found.exc_value)
    threading.excepthook = lambda found: _overheard(found.exc_value)


def _end_with(error: BaseException) -> None:
    global _err
    if isinstance(error, KeyboardInterrupt) or not _last_words.acquire(blocking=False):
        return
    say(last_words(error))
    if os.environ.get(DEBUG):
        return
    with suppress(OSError):
        _err = os.dup(_STDERR)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)


def _overheard(error: BaseException | None) -> None:
    if error and not (isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ENOSPC)):
        say(last_words(error))


def _fill_the_gaps() -> None:
    """Where stdin, stdout or stderr is closed, the next file that is opened would take its place.

    What anybody prints, an engine in C++, say, would then be written into that file.
    """
    with suppress(OSError):
        while (fd := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            os.set_inheritable(fd, True)
        os.close(fd)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what was meant to be said of what it comes from."""
    found: BaseException | None = error
    while found:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _place(traceback: TracebackType | None) -> str:
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if not traceback:
        return ""
    code = traceback.tb_frame.f_code
    return f" ({os.path.basename(code.co_filename)}, line {traceback.tb_lineno})"


class _Said(logging.Handler):
    """A library's warnings, in a line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        error = record.exc_info[1] if record.exc_info else None
        say(record.getMessage().strip() + (f": {last_words(error)}" if error else ""))
