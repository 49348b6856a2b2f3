"""Format `proxifier`: `[11.22 20:15:05] program - message`, by Loghub's set Proxifier."""

from __future__ import annotations

from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

FORMAT = Variants(
    texts(
        "not_proxifier",
        "[{time}] {program} - {message}",
        time="%m.%d %H:%M:%S",
        samples=("[11.22 20:15:05] curl.exe - www.example.com:443 close, 512 bytes sent",),
    )
)
