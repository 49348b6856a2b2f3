"""Format `gunicorn`: what gunicorn writes, the error log and the access log, also in one file.

`[time] [pid] [level] message`, by gunicorn's `glogging.py`, `Logger.error_fmt` and `datefmt`. The
access log is `combined` as long as `access_log_format` is the default. hypercorn's error log is the
same.
"""

from __future__ import annotations

from flows.parsing.formats import combined
from flows.parsing.layout import Field, Layout, Variants
from native.lines import Shape

ERROR = Layout(
    (
        "[",
        Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S %z"),
        "] [",
        Field("pid", shape=Shape.DIGITS),
        "] [",
        Field("level", "level"),
        "] ",
        Field("message", "message", Shape.WORDS, empty=()),
    ),
    samples=(
        "[2026-11-22 20:15:05 +0000] [1234] [INFO] Listening at: http://127.0.0.1:8000 (1234)",
        "[2026-11-22 20:15:05 +0200] [1234] [ERROR] Error handling request /caf\u00e9",
    ),
    reason="not_gunicorn",
)
FORMAT = Variants((ERROR, combined.FORMAT))
