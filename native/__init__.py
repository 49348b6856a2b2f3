"""The compiled part: plain C for what columns do not do fast enough; nothing fails without it.

Installing Logwax compiles it, as `native/compiled.so`; where there is no C compiler, pip brings one
for that. Without it, `flows/parsing` reads line by line, and `connectors/sinks` does the same with
Polars; the results are the same: the tests compare both. How much it saves is in
docs/performance.md.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from zlib import crc32


def load(folder: Path) -> ctypes.CDLL | None:
    """The compiled functions in `folder`; None if there are none, or of other sources than now."""
    file = folder / "compiled.so"
    if not file.exists():
        return None
    found = ctypes.CDLL(str(file))  # which lets other threads run while it is called
    found.logwax_sources.restype = ctypes.c_uint32
    sources = b"".join(each.read_bytes() for each in sorted(folder.glob("*.[ch]")))
    # Called by today's Python, those of yesterday would write where they must not.
    return found if found.logwax_sources() in (0, crc32(sources)) else None


library = load(Path(__file__).parent)
"""The compiled functions, None without them."""


def problems() -> list[str]:
    """A sentence for operators if nothing is compiled."""
    return [] if library else [_NOT_COMPILED]


_NOT_COMPILED = (
    "The C part of Logwax is not compiled, or not from its present sources: lines are stored as"
    " they should be, but take several times the CPU time. Install Logwax again with pip, which"
    " brings a C compiler where there is none."
)
