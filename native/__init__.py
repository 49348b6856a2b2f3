"""The compiled part: plain C for what columns do not do fast enough; nothing fails without it.

Installing Logwax compiles it where there is a C compiler, as `native/compiled*.so`. Where there is
none, `flows/parsing` and `connectors/sinks` do the same with Polars, and get the same results: the
tests compare both. How much it saves is in docs/performance.md.
"""

from __future__ import annotations

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def _load() -> ctypes.CDLL | None:
    for suffix in EXTENSION_SUFFIXES:
        file = Path(__file__).with_name(f"compiled{suffix}")
        if file.exists():
            return ctypes.CDLL(str(file))  # which lets other threads run while it is called
    return None


library = _load()
"""The compiled functions, None without them."""
