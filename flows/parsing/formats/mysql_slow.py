"""Format `mysql_slow`: the slow query log of MySQL and MariaDB, an event of several lines.

By MySQL's Reference Manual, "The Slow Query Log", and MariaDB's documentation, "Slow Query Log
Overview". An event begins with its time; with `LOG_MULTILINE=^# Time:` the rest of it, who asked,
how long it took, and the statement, is `message`. MariaDB writes the time only where the second has
changed: what was asked in the same second is in one event.
"""

from __future__ import annotations

from flows.parsing.layout import SPACES, Field, Layout, Variants
from native.lines import Meaning


def _layout(time: Meaning | str, *samples: str) -> Layout:
    return Layout(
        ("# Time:", SPACES, Field("time", "timestamp", time=time)), samples, "not_mysql_slow"
    )


FORMAT = Variants(
    (
        _layout(Meaning.ISO, "# Time: 2026-11-22T20:15:05.123456Z"),
        _layout("%y%m%d %H:%M:%S", "# Time: 261122 20:15:05"),
        _layout("%y%m%d  %H:%M:%S", "# Time: 261122  9:15:05"),
    )
)
