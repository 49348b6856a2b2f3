"""Which errors of ClickHouse may pass by themselves, and what to say of them."""

from __future__ import annotations

import re

from clickhouse_connect.driver.exceptions import Error, OperationalError

from connectors.sinks.retry import Trouble

TRANSIENT = {
    3: "UNEXPECTED_END_OF_FILE",  # the connection broke while it read our insert
    23: "CANNOT_READ_FROM_ISTREAM",
    24: "CANNOT_WRITE_TO_OSTREAM",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    198: "DNS_ERROR",
    201: "QUOTA_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",  # a replica that has lost its keeper
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED",  # as all are when a server is stopped
    439: "CANNOT_SCHEDULE_TASK",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
    1000: "POCO_EXCEPTION",  # the network library's
}
"""Error codes that say nothing about what was sent: the same may succeed later."""


def trouble(error: Exception) -> Trouble | None:
    """Why the same request may succeed later; None if it will not."""
    if not isinstance(error, Error):
        return None
    passes = (
        error.code in TRANSIENT
        or isinstance(error, OperationalError)  # no or a broken connection; status 429, 503, 504
        # A gateway's own answer has no code of ClickHouse.
        or re.match(r"HTTP driver received HTTP status (408|5\d\d)\b", str(error))
    )
    asked = float(getattr(error.__cause__, "retry_after", 0))
    return Trouble(reason(error), asked) if passes else None


def reason(error: BaseException) -> str:
    """Why, in short: of a failed connection the operating system's words, not all layers' words."""
    if isinstance(error, OperationalError) and error.code is None:
        while deeper := error.__cause__ or (not error.__suppress_context__ and error.__context__):
            error = deeper
    return str(getattr(error, "strerror", None) or error)
