"""What operators read: sentences, never a traceback; and saying one never fails.

A process calls `prepare` first, and `speak` once it knows its settings. With `LOGWAX_DEBUG` set in
the environment, tracebacks are shown.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Literal, ParamSpec, TypeVar

from connectors.errors import LogwaxError

DEBUG = "LOGWAX_DEBUG"

_STDOUT, _STDERR = 1, 2
_FREE = 4096  # bytes that a pipe takes at once if it takes any: Linux, pipe(7), PIPE_BUF
_PATIENCE_MS = 1000  # how long a reader may keep us waiting, once
_SAME, _MINUTE = 20, 60.0  # how often the same sentence is said in so many seconds
_MOST_KNOWN = 1000  # sentences of which that is known

Level = Literal["info", "warning", "error"]

P = ParamSpec("P")
R = TypeVar("R")

_err = _STDERR
_patience_ms = _PATIENCE_MS
_last_words = threading.Lock()


def say(text: str, *, level: Level = "warning", on_stdout: bool = False) -> None:
    """Write a sentence to stderr, or nothing if that is closed, full, or not read by anybody.

    Of the same one there are twenty a minute, and then how many more there were.
    """
    if on_stdout:
        _write(_STDOUT, _printable(text))
        return
    for due in _repeats.due(text, time.monotonic()):
        _write(_err, _in_form(_printable(due), level, _request.get()))


@contextmanager
def about(request: str) -> Iterator[None]:
    """What is said meanwhile is said of this request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def speak(form: Literal["text", "json"]) -> None:
    """From now on, say sentences as they are, or as a JSON object a line."""
    global _in_form
    _in_form = _as_text if form == "text" else _as_json()


def _printable(text: str) -> str:
    return "\n".join(map(shown, text.split("\n")))


def _as_text(text: str, level: Level, request: str) -> str:
    return f"{text} (request {request})" if request else text


def _as_json() -> Callable[[str, Level, str], str]:
    import structlog  # by whom it is asked for only: that takes a tenth of a second

    log = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )

    def as_json(text: str, level: Level, request: str) -> str:
        return str(getattr(log, level)(text, **{"request_id": request} if request else {}))

    return as_json


class _Repeats:
    """Lets the same sentence through so many times a minute, and counts the others."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer in its midst may have something to say, too
        self._said: dict[str, tuple[float, int]] = {}  # since when, how often

    def due(self, text: str, now: float) -> list[str]:
        """What is to be said now that `text` shall be; and what was kept from being said."""
        with self._lock:
            passed = {
                old: count for old, (since, count) in self._said.items() if since <= now - _MINUTE
            }
            for old in passed:
                del self._said[old]
            found = [
                f"{count - _SAME:,} times more: {old}"
                for old, count in passed.items()
                if count > _SAME
            ]
            since, count = self._said.get(text, (now, 0))
            if count or len(self._said) < _MOST_KNOWN:
                self._said[text] = since, count + 1
            return [*found, text] if count < _SAME else found


_repeats = _Repeats()
_request: ContextVar[str] = ContextVar("request", default="")
_in_form: Callable[[str, Level, str], str] = _as_text


def _write(fd: int, text: str) -> None:
    global _patience_ms
    stream = sys.__stdout__ if fd == _STDOUT else sys.__stderr__
    if stream is None:
        return  # it was closed when the process began, and may be any file by now
    rest = f"{text}\n".encode()
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


def is_ending() -> bool:
    """Whether it was said why this process ends."""
    return _last_words.locked()


def _end_with(error: BaseException) -> None:
    global _err
    if isinstance(error, KeyboardInterrupt) or not _last_words.acquire(blocking=False):
        return
    say(last_words(error), level="error")
    if os.environ.get(DEBUG):
        return
    with suppress(OSError):
        _err = os.dup(_STDERR)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)


def _overheard(error: BaseException | None) -> None:
    if error and not (isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ENOSPC)):
        say(last_words(error), level="error")


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
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        text = record.getMessage().strip() + (f": {last_words(error)}" if error else "")
        say(text, level=level)
