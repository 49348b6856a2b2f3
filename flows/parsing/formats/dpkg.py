"""Format `dpkg`: `time action what`, the log of Debian's package manager.

By dpkg(1), `--log`: a `status` is that of a package and its version, a `startup` that of a run; the
others are done to a package, whose installed and available versions are behind it, or to a
`conffile`. The action is an attribute, the rest is the message.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout, Variants
from native.lines import Shape

_SAMPLES = {
    "status": (
        "2026-11-22 20:15:05 status installed redis-server:amd64 5:7.0.15-1",
        "2026-11-22 20:15:05 status unpacked caf\u00e9:all 1",
    )
}


def _layout(*actions: str) -> Layout:
    parts = (
        Field("time", "timestamp", time="%Y-%m-%d %H:%M:%S"),
        *(" ", Field("action", choices=actions), " "),
        Field("message", "message", Shape.WORDS, empty=()),
    )
    return Layout(parts, _SAMPLES.get(actions[0], ()), "not_dpkg")


FORMAT = Variants(
    (
        _layout("status", "startup"),
        _layout("install", "upgrade"),
        _layout("configure", "trigproc"),
        _layout("remove", "purge"),
        _layout("disappear", "conffile"),
    )
)
