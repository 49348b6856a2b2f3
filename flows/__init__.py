"""What runs: each module is one dataflow."""

import os

# Nothing here multiplies matrices: OpenBLAS's threads only cost, a tenth of a second a start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Polars would give the memory of a batch back, and fault it in again for the next: a fifth of all
# CPU seconds. It reads this when it is imported, and glibc is told the same in flows/process.py.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:-1")
