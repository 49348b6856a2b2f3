"""What ClickHouse's errors mean: which pass by themselves, and which are about single lines."""

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


LINES_AT_FAULT = {
    6: "CANNOT_PARSE_TEXT",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",  # no JSON in a column of that type
    130: "CANNOT_READ_ARRAY_FROM_TEXT",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    376: "CANNOT_PARSE_UUID",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    407: "DECIMAL_OVERFLOW",
    467: "CANNOT_PARSE_BOOL",
    469: "VIOLATED_CONSTRAINT",
    675: "CANNOT_PARSE_IPV4",
    676: "CANNOT_PARSE_IPV6",
    691: "UNKNOWN_ELEMENT_OF_ENUM",
}
"""Error codes of an insert that say that some value in it does not fit the table."""


def trouble(error: Exception) -> Trouble | None:
    """Why to repeat a request that ClickHouse refused; None if the error is not ClickHouse's.

    What is not known to pass by itself needs help.
    """
    if not isinstance(error, Error):
        return None
    passes = (
        error.code in TRANSIENT
        or isinstance(error, OperationalError)  # no or a broken connection; status 429, 503, 504
        # A gateway's own answer has no code of ClickHouse.
        or re.match(r"HTTP driver received HTTP status (408|5\d\d)\b", str(error))
    )
    asked = float(getattr(error.__cause__, "retry_after", 0))
    return Trouble(reason(error), asked, needs_help=not passes)


def trouble_with_lines(error: Exception) -> Trouble | None:
    """The same of an insert of lines; None, too, if it is the lines that are refused."""
    return None if is_about_lines(error) else trouble(error)


def is_about_lines(error: Exception) -> bool:
    """Whether some value of an insert is what is refused."""
    return isinstance(error, Error) and error.code in LINES_AT_FAULT


def is_of_a_view(error: Exception) -> bool:
    """Whether a materialized view failed: the rows may be in the table all the same."""
    return "while pushing to view" in str(error)


def reason(error: BaseException) -> str:
    """Why, in a line: of a failed connection the operating system's words, not all layers'."""
    if isinstance(error, OperationalError) and error.code is None:
        while deeper := error.__cause__ or (not error.__suppress_context__ and error.__context__):
            error = deeper
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return re.sub(r"Code: \d+\. DB::Exception: (?=Code: )|: \(in file/uri [^)]*\)", "", text)
