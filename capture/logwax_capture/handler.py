"""A handler of `logging` whose file Logwax tails as `json`, and a logger that is cheaper with it.

    logging.basicConfig(handlers=[LogwaxHandler("/var/log/shop.log")], level=logging.INFO)
    logging.info("paid", extra={"customer_id": "c-7", "duration_ms": 48.3})

Each call is one line, and one `write` to a file opened with O_APPEND: threads, forked children and
other processes share the file without a lock, and the line is in the kernel when the call returns.
Nothing here raises into the application, and a call waits for nothing but its own write.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

from logwax_capture.jsontext import encode, quoted, whole

__all__ = ["LONGEST", "LogwaxHandler", "LogwaxLogger"]

LONGEST = 1024 * 1024 - 1
"""Bytes of the longest line: what Logwax takes by default (`LOG_MAX_LINE_BYTES`)."""

_CHECK_EVERY = 250_000  # microseconds from one look for a rotation to the next: it costs 2 us
_MOST = 1_000  # beginnings and shapes remembered: most programs have fewer
_CUTS = (100_000, 1_000, 10)
_LARGE = 10**300  # numbers of more digits are for `encode`
_PIPE = 4096  # bytes that a pipe takes at once if it says that it takes any (PIPE_BUF)
_OWN = {"timestamp", "level", "logger", "message", "process", "thread"}
_OWN |= {"exception", "stack", "trace_id", "span_id"}
_RECORD = {*logging.makeLogRecord({}).__dict__, "message", "asctime"}
_trace = logging.Formatter().formatException


_Found = TypeVar("_Found")
_Shape: TypeAlias = "tuple[tuple[str, str], ...]"


class LogwaxHandler(logging.Handler):
    """Writes one JSON object a line.

    It has `timestamp` (UTC, microseconds), `level`, `logger`, `message`, `process`, `thread`, each
    field of `extra`, and where there is one, `exception` (with its trace), `stack`, and `trace_id`
    and `span_id` of OpenTelemetry, if the program has loaded that. A field of `extra` with one of
    these names is written as `extra_<name>`. Formatters are not asked.

    Rotation is up to others: within a quarter of a second a file that was renamed or removed is
    opened anew. What compresses a renamed file must leave it that long (`delaycompress`).

    If the file cannot be written, because the disk is full, the line goes to stderr, and if it
    would have to wait there, nowhere: `fallen_back` and `lost` count these lines. The texts of a
    line longer than `LONGEST` are cut.

    Raises `OSError` if the file cannot be opened at first.
    """

    def __init__(self, filename: str | os.PathLike[str], level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.path = os.path.abspath(filename)
        self.fallen_back = 0
        self.lost = 0
        self._file = _File(self.path)
        self._sure = False  # that the last line has an end
        self._clock = (-_CHECK_EVERY, 0, "")  # when the file was looked for, and the second

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record if the filters let it pass; unlike others it takes no lock."""
        if self.filters:
            passed: Any = self.filter(record)
            if not passed:
                return False
            if isinstance(passed, logging.LogRecord):  # since 3.12
                record = passed
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            message = record.msg
            if type(message) is not str or type(record) is not logging.LogRecord:
                message = _message(record)
            elif record.args:
                try:
                    message = message % record.args
                except Exception:  # the values do not fit: they stand beside it
                    message = _message(record)
            more = ""
            if record.exc_info or record.exc_text or record.stack_info:
                more = _traces(record)
            head = _HEADS[record.levelname, record.name, record.process, record.threadName]
            fields = record.__dict__
            self._put(record.created, head, message, fields, _SHAPES[tuple(fields)], more)
        except Exception:  # counted, and said as every handler of logging does
            self._count("lost")
            self.handleError(record)

    def close(self) -> None:
        """Close the file. A line that comes later opens it again."""
        super().close()
        self._file, self._sure = _File(None), False

    def _put(
        self,
        now: float,
        head: str,
        message: str,
        fields: Mapping[str, object],
        shape: _Shape,
        more: str = "",
    ) -> None:
        micros = int(now * 1e6 + 0.5)
        checked, second, begin = self._clock
        if not 0 <= micros - checked < _CHECK_EVERY:
            second, begin = self._tick(micros)
        digits = str(micros - second + 1_000_000)[1:]
        text = f"{begin}{digits}{head}{quoted(message)}"
        for key, begin in shape:
            value = fields[key]
            kind = type(value)
            if kind is str:
                text += begin + quoted(value)  # type: ignore[arg-type]
            elif kind is int and -_LARGE < value < _LARGE:  # type: ignore[operator]
                text += f"{begin}{value}"
            else:
                text += begin + encode(value)
        if more:
            text += more
        if "opentelemetry.trace" in sys.modules:
            text += _span()
        try:
            line = f"{text}}}\n".encode()
        except UnicodeEncodeError:
            line = whole(text + "}\n")
        if len(line) > LONGEST:
            line = _shortened(line)
        file = self._file  # it stays open as long as this holds it
        try:
            if self._sure and os.write(file.number, line) == len(line):
                return
        except OSError:
            pass  # it is tried once more
        self._write_anew(line)

    def _tick(self, micros: int) -> tuple[int, str]:
        """Note the time: its second, and how lines of that second begin; look for a rotation."""
        self._follow()
        second = micros // 1_000_000 * 1_000_000
        moment = time.gmtime(second // 1_000_000)
        begin = time.strftime('{"timestamp":"%Y-%m-%dT%H:%M:%S.', moment)
        checked = second + (micros - second) // _CHECK_EVERY * _CHECK_EVERY
        self._clock = checked, second, begin
        return second, begin

    def _follow(self) -> None:
        """Open the file that has the name now, if it is another one."""
        try:
            if not self._file.is_open() or self._file.identity != _identity(os.stat(self.path)):
                self._file = _File(self.path)
        except OSError:
            self._sure = False  # it is looked into before the next line

    def _write_anew(self, line: bytes) -> None:
        """Write behind whatever went wrong: the file may end with half a line."""
        with suppress(OSError):  # a renamed file is better than none
            self._file = _File(self.path)
        file = self._file
        try:
            line = file.beginning() + line
            self._sure = os.write(file.number, line) == len(line)
        except OSError:
            self._sure = False
        if not self._sure:
            self._count("fallen_back" if _to_stderr(line) else "lost")

    def _count(self, name: str) -> None:
        self.acquire()
        setattr(self, name, getattr(self, name) + 1)
        self.release()


class LogwaxLogger(logging.Logger):
    """A logger that writes the same lines for half the price, where nothing else wants a record.

        logging.setLoggerClass(LogwaxLogger)  # before the loggers are made

    If there is another handler, a filter, or a factory of records, all is as in `logging`.
    """

    def _log(
        self,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        handler = None if exc_info or stack_info else self._only_handler()
        if handler is None:
            super()._log(level, msg, args, exc_info, extra, stack_info, stacklevel + 1)
        elif level >= handler.level:
            try:
                message = str(msg)
                if args:
                    if len(args) == 1 and args[0] and isinstance(args[0], Mapping):
                        args = args[0]
                    message = message % args
                thread = threading.current_thread().name
                head = _HEADS[logging.getLevelName(level), self.name, _process, thread]
                shape = _SHAPES[tuple(extra)] if extra else ()
                if len(shape) != len(extra or ()):
                    raise KeyError("a field that records have themselves")
                handler._put(time.time(), head, message, extra or {}, shape)
            except Exception:  # the long way knows what to do
                super()._log(level, msg, args, exc_info, extra, stack_info, stacklevel + 1)

    def _only_handler(self) -> LogwaxHandler | None:
        """The one handler that a record would meet, if that is ours and all is as usual."""
        found = None
        logger: logging.Logger | None = self
        while logger is not None:
            for handler in logger.handlers:
                if found is not None or type(handler) is not LogwaxHandler or handler.filters:
                    return None
                found = handler
            logger = logger.parent if logger.propagate else None
        usual = not self.filters and logging.getLogRecordFactory() is logging.LogRecord
        return found if usual else None


class _File:
    """A file open for appending; closed when nobody holds it. None: one that is not open.

    Raises `OSError`.
    """

    __slots__ = ("identity", "number")

    def __init__(self, path: str | None) -> None:
        self.number = -1
        self.identity = (0, 0)
        if path is not None:
            self.number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            self.identity = _identity(os.fstat(self.number))

    def is_open(self) -> bool:
        """Whether the number still means this file: what becomes a daemon closes all numbers."""
        try:
            return self.identity == _identity(os.fstat(self.number))
        except OSError:
            return False

    def beginning(self) -> bytes:
        """What a line has to begin with: a line's end, if the last line has none."""
        found = os.fstat(self.number)
        if _identity(found) != self.identity or not found.st_nlink:
            raise FileNotFoundError(errno.ENOENT, "the file is gone")
        size = found.st_size
        return b"\n" if size and os.pread(self.number, 1, size - 1) != b"\n" else b""

    def __del__(self) -> None:
        if self.is_open():
            os.close(self.number)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


class _Heads(dict["tuple[str, str, int | None, str | None]", str]):
    """What stands between time and message, by level, logger, process and thread."""

    def __missing__(self, key: tuple[str, str, int | None, str | None]) -> str:
        level, logger, process, thread = map(encode, key)
        text = f'Z","level":{level},"logger":{logger},"process":{process},"thread":{thread}'
        return _remember(self, key, text + ',"message":')


class _Shapes(dict["tuple[str, ...]", "_Shape"]):
    """Which fields an application has put among these, and what stands before their values."""

    def __missing__(self, fields: tuple[str, ...]) -> _Shape:
        return _remember(
            self,
            fields,
            tuple(
                (key, f",{quoted(f'extra_{key}' if key in _OWN else str(key))}:")
                for key in fields
                if key not in _RECORD
            ),
        )


def _remember(known: dict[Any, _Found], key: object, found: _Found) -> _Found:
    if len(known) >= _MOST:
        known.clear()
    known[key] = found
    return found


_HEADS = _Heads()
_SHAPES = _Shapes()


def _message(record: logging.LogRecord) -> str:
    """The record's message, also if its values do not fit into it."""
    try:
        return record.getMessage()
    except Exception:  # the values may be any objects: both are shown
        return f"{encode(record.msg)} % {encode(record.args)}"


def _traces(record: logging.LogRecord) -> str:
    """The fields for an exception and for the stack."""
    more = ""
    if record.exc_info and record.exc_info[0] and not record.exc_text:
        try:
            record.exc_text = _trace(record.exc_info)  # remembered as other handlers do
        except Exception as error:
            record.exc_text = f"{record.exc_info[0].__name__}, no trace: {type(error).__name__}"
    if record.exc_text:
        more += f',"exception":{quoted(record.exc_text)}'
    if record.stack_info:
        more += f',"stack":{quoted(record.stack_info)}'
    return more


def _span() -> str:
    """Ids of the span that this call is within."""
    context = sys.modules["opentelemetry.trace"].get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f',"trace_id":"{context.trace_id:032x}","span_id":"{context.span_id:016x}"'


def _shortened(line: bytes) -> bytes:
    """The line with its texts cut until it fits; at last only what it has of its own."""
    fields = json.loads(line)
    for most in _CUTS:
        short = {key: _cut(value, most) for key, value in fields.items()}
        line = whole(encode(short) + "\n")
        if len(line) <= LONGEST:
            return line
    return whole(encode({key: short[key] for key in short if key in _OWN}) + "\n")


def _cut(value: object, most: int) -> object:
    text = value if isinstance(value, str) else encode(value)
    return value if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def _to_stderr(line: bytes) -> bool:
    """Whether stderr has taken the line without a wait."""
    try:
        number = sys.stderr.fileno()
        ready = select.poll()
        ready.register(number, select.POLLOUT)
        for begin in range(0, len(line), _PIPE):
            part = line[begin : begin + _PIPE]
            if not ready.poll(0) or os.write(number, part) < len(part):
                return False
    except (AttributeError, OSError, ValueError):  # none, closed, or no file
        return False
    return True


_process = os.getpid()


def _forked() -> None:
    global _process
    _process = os.getpid()


os.register_at_fork(after_in_child=_forked)
