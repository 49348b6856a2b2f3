"""What runs: each module is one dataflow."""

import os

# Nothing here multiplies matrices: OpenBLAS's threads only cost, a tenth of a second a start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Polars would give the memory of a batch back, and fault it in again for the next: a tenth of all
# CPU seconds. From one arena all threads take what others left. Polars reads this at its import;
# glibc is told the like in flows/process.py.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:-1,narenas:1")
