"""structlog into a file that Logwax tails: `python examples/structlog_lines.py app.log`.

structlog hands each event to `logging` as a message with `extra`; `LogwaxHandler` does the rest.
"""

from __future__ import annotations

import logging
import sys

import structlog

from logwax_capture.handler import LogwaxHandler

logging.basicConfig(handlers=[LogwaxHandler(sys.argv[1])], level=logging.INFO)
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.render_to_log_kwargs,  # no renderer: the fields stay fields
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
)

structlog.contextvars.bind_contextvars(customer_id="c-7")
log = structlog.get_logger("shop")
log.info("paid", path="/orders", status=201, duration_ms=48.31)
try:
    raise TimeoutError("the bank does not answer")
except TimeoutError:
    log.exception("not paid", order=7)
