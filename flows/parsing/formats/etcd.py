"""Format `etcd`: `time level | package: message`, the log of etcd before 3.5.

By github.com/coreos/pkg, capnslog (formatters.go, `PrettyFormatter`). Since, etcd writes JSON, or
the format `zap`.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout
from native.lines import Shape

_LEVELS = {
    "C": "crit",
    "E": "error",
    "W": "warning",
    "N": "notice",
    "I": "info",
    "D": "debug",
    "T": "trace",
}
FORMAT = Layout(
    (
        Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S"),
        " ",
        Field("level", "level", width=1, words=_LEVELS),
        " | ",
        Field("package"),
        ": ",
        Field("message", "message", Shape.WORDS, empty=()),
    ),
    samples=(
        "2026-11-22 20:15:05.123456 I | etcdserver: published {Name:default} to cluster 1",
        "2026-11-22 20:15:05.123456 W | auth: caf\u00e9",
    ),
    reason="not_etcd",
)
