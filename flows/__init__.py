"""What runs: each module is one dataflow."""

import argparse
import gc
import os
import sys


def workers() -> int | None:
    """How many workers `bytewax.run` was told to start in this process; None: it is not running."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if getattr(spec, "name", "") != "bytewax.run":
        return None
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    told = os.environ.get("BYTEWAX_WORKERS_PER_PROCESS", "")
    options.add_argument("-w", "--workers-per-process", type=int, default=told or "1")
    count: int = options.parse_known_args()[0].workers_per_process
    return max(1, count)


# The last reference frees a batch, and imports leave next to no garbage.
gc.set_threshold(50_000)
# Nothing here multiplies matrices: OpenBLAS's threads only cost, a tenth of a second a start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Polars would give the memory of a batch back, and fault it in again for the next: a tenth of all
# CPU seconds. From one arena all threads take what others left. Polars reads this at its import;
# glibc is told the like in flows/process.py.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:-1,narenas:1,background_thread:false")
# More threads of Polars than workers make a batch sooner, but cost more: docs/performance.md.
if count := workers():
    os.environ.setdefault("POLARS_MAX_THREADS", str(min(count, os.cpu_count() or 1)))
