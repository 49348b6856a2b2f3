"""Format `dmesg`: `[Sun Nov 22 20:15:05 2026] message`, as `dmesg --ctime` prints it.

By dmesg(1) of util-linux. Without that option a line has the seconds since the machine was started
only, so nobody knows when that was.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout
from native.lines import Shape

FORMAT = Layout(
    (
        "[",
        Field("time", "timestamp", time="%a %b %e %H:%M:%S %Y"),
        "] ",
        Field("message", "message", Shape.WORDS, empty=()),
    ),
    samples=(
        "[Sun Nov 22 20:15:05 2026] usb 1-1: new high-speed USB device number 2 using xhci_hcd",
        "[Sun Nov  2 20:15:05 2026] caf\u00e9",
    ),
    reason="not_dmesg",
)
