"""Loguru into a file that Logwax tails: `python examples/loguru_lines.py app.log`.

A sink hands each message to `logging`, with what was bound as `extra`; `LogwaxHandler` does the
rest. It writes in the thread that logs: `enqueue=True` would lose what waits at a SIGKILL.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from loguru import logger

from logwax_capture.handler import LogwaxHandler

if TYPE_CHECKING:
    from loguru import Message

logging.basicConfig(handlers=[LogwaxHandler(sys.argv[1])], level=logging.DEBUG)


def to_logging(message: Message) -> None:
    """One message of Loguru, as a record of `logging`."""
    record = message.record
    level, exception = record["level"], record["exception"]
    logging.addLevelName(level.no, level.name)  # it has some more: TRACE, SUCCESS
    logging.getLogger(record["name"]).log(
        level.no,
        "%s",
        record["message"],
        exc_info=(exception.type, exception.value, exception.traceback) if exception else None,
        extra=record["extra"],
    )


logger.remove()
logger.add(to_logging, format="{message}")

shop = logger.bind(customer_id="c-7")
shop.bind(path="/orders", status=201, duration_ms=48.31).success("paid")
try:
    raise TimeoutError("the bank does not answer")
except TimeoutError:
    shop.bind(order=7).exception("not paid")
