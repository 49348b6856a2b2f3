"""What runs: each module is one dataflow."""

import os

# Nothing here multiplies matrices: OpenBLAS's threads only cost, a tenth of a second a start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
