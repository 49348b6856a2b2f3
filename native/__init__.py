"""The compiled part: plain C for what columns do not do fast enough; nothing fails without it.

Installing Logwax compiles it where there is a C compiler, as `native/compiled*.so`. Where there is
none, `flows/parsing` reads line by line, and `connectors/sinks` does the same with Polars; the
results are the same: the tests compare both. How much it saves is in docs/performance.md.
"""

from __future__ import annotations

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from zlib import crc32


def load(folder: Path) -> ctypes.CDLL | None:
    """The compiled functions in `folder`; None if there are none, or of other sources than now."""
    for suffix in EXTENSION_SUFFIXES:
        file = folder / f"compiled{suffix}"
        if file.exists():
            found = ctypes.CDLL(str(file))  # which lets other threads run while it is called
            found.logwax_sources.restype = ctypes.c_uint32
            sources = b"".join(each.read_bytes() for each in sorted(folder.glob("*.[ch]")))
            # Called by today's Python, those of yesterday would write where they must not.
            return found if found.logwax_sources() in (0, crc32(sources)) else None
    return None


library = load(Path(__file__).parent)
"""The compiled functions, None without them."""
