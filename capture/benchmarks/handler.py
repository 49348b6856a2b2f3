"""What one call costs its caller, in us of CPU: four extra fields, beside the stdlib's own text.

python capture/benchmarks/handler.py

Bars: `LogwaxHandler` at most 8, `LogwaxLogger` at most 4.5, where the stdlib's text takes 9. Each
figure is the best of several rounds, in turn within one run.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from logwax_capture.handler import LogwaxHandler, LogwaxLogger

CALLS = 1_000
ROUNDS = 200
EXTRA = {"customer_id": "c-1042", "order": 271828, "duration_ms": 48.31, "paid": True}


def cost(logger: logging.Logger) -> float:
    """Us of CPU a call."""
    begin = time.process_time()
    for number in range(CALLS):
        logger.info("order %s is paid", number, extra=EXTRA)
    return (time.process_time() - begin) / CALLS * 1e6


def main() -> None:
    """Print figures and bars."""
    with tempfile.TemporaryDirectory() as directory:
        text = logging.FileHandler(f"{directory}/text.log")
        text.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        cases: dict[str, tuple[type[logging.Logger], logging.Handler]] = {
            "a handler that does nothing": (logging.Logger, logging.NullHandler()),
            "stdlib, text (9)": (logging.Logger, text),
            "LogwaxHandler (8)": (logging.Logger, LogwaxHandler(f"{directory}/handler.log")),
            "LogwaxLogger (4.5)": (LogwaxLogger, LogwaxHandler(f"{directory}/logger.log")),
        }
        loggers = {}
        for name, (kind, handler) in cases.items():
            loggers[name] = logger = kind("shop.orders", logging.INFO)
            logger.addHandler(handler)
        best = dict.fromkeys(cases, float("inf"))
        for _ in range(ROUNDS):
            for name, logger in loggers.items():
                best[name] = min(best[name], cost(logger))
    for name, figure in best.items():
        print(f"{name:30} {figure:5.2f} us a call")


if __name__ == "__main__":
    main()
