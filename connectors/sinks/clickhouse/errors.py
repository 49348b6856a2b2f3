"""What ClickHouse's errors mean: which pass by themselves, and which may be about single lines.

Whatever is not known to pass, or to concern the whole request, may be about some line of an insert:
an expression of somebody's own may fail with any code.
"""

from __future__ import annotations

import re

from clickhouse_connect.driver.exceptions import Error, OperationalError

from connectors.errors import deepest
from connectors.sinks.retry import Trouble

TRANSIENT = {
    3: "UNEXPECTED_END_OF_FILE",  # the connection broke while it read our insert
    23: "CANNOT_READ_FROM_ISTREAM",
    24: "CANNOT_WRITE_TO_OSTREAM",
    95: "CANNOT_READ_FROM_SOCKET",
    96: "CANNOT_WRITE_TO_SOCKET",
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
    364: "RECEIVED_ERROR_TOO_MANY_REQUESTS",
    394: "QUERY_WAS_CANCELLED",  # as all are when a server is stopped
    439: "CANNOT_SCHEDULE_TASK",
    677: "THREAD_WAS_CANCELED",
    733: "TABLE_IS_BEING_RESTARTED",
    735: "QUERY_WAS_CANCELLED_BY_CLIENT",
    745: "SERVER_OVERLOADED",
    749: "TCP_CONNECTION_LIMIT_REACHED",
    762: "HTTP_CONNECTION_LIMIT_REACHED",
    777: "MEMORY_RESERVATION_KILLED",
    778: "MEMORY_RESERVATION_FAILED",
    999: "KEEPER_EXCEPTION",
    1000: "POCO_EXCEPTION",  # the network library's
}
"""Error codes that say nothing about what was sent: the same may succeed later."""

WHOLE_REQUEST = {
    60: "UNKNOWN_TABLE",
    74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    81: "UNKNOWN_DATABASE",
    83: "DIRECTORY_DOESNT_EXIST",
    107: "FILE_DOESNT_EXIST",
    115: "UNKNOWN_SETTING",
    164: "READONLY",
    172: "CANNOT_CREATE_DIRECTORY",
    173: "CANNOT_ALLOCATE_MEMORY",
    192: "UNKNOWN_USER",
    193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD",
    195: "IP_ADDRESS_NOT_ALLOWED",
    204: "CANNOT_FSYNC",
    214: "CANNOT_STATVFS",
    218: "TABLE_IS_DROPPED",
    243: "NOT_ENOUGH_SPACE",
    291: "DATABASE_ACCESS_DENIED",
    294: "CANNOT_WRITE_TO_FILE",
    392: "QUERY_IS_PROHIBITED",
    400: "CANNOT_STAT",
    425: "SYSTEM_ERROR",
    452: "SETTING_CONSTRAINT_VIOLATION",
    472: "READONLY_SETTING",
    495: "ACCESS_STORAGE_READONLY",
    497: "ACCESS_DENIED",
    499: "S3_ERROR",
    500: "AZURE_BLOB_STORAGE_ERROR",
    516: "AUTHENTICATION_FAILED",
    586: "CANNOT_CREATE_FILE",
    660: "HDFS_ERROR",
    662: "FS_METADATA_ERROR",
    720: "USER_EXPIRED",
    774: "TABLE_IS_PERMANENTLY_READ_ONLY",
    1001: "STD_EXCEPTION",  # a full disk, too, in places
    1016: "TABLE_SIZE_LIMIT_EXCEEDED",
}
"""Error codes that would be the same whatever lines are sent: somebody has to help."""

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
"""Error codes of an insert that say for sure that some value in it does not fit the table."""


_STATUS = "HTTP driver received HTTP status"
_TOO_MANY_PARTS, _VIOLATED_CONSTRAINT = 252, 469


def trouble(error: Exception) -> Trouble | None:
    """Why to repeat a request that ClickHouse refused; None if the error is not ClickHouse's.

    What is not known to pass by itself needs help.
    """
    if not isinstance(error, Error):
        return None
    passes = (
        (error.code in TRANSIENT and not is_too_much(error))
        or isinstance(error, OperationalError)  # no or a broken connection; status 429, 503, 504
        # A gateway's own answer has no code of ClickHouse.
        or re.match(rf"{_STATUS} (408|5\d\d)\b", str(error))
    )
    asked = float(getattr(error.__cause__, "retry_after", 0))
    return Trouble(reason(error), asked, needs_help=not passes)


def trouble_with_lines(error: Exception) -> Trouble | None:
    """The same of an insert of lines; None, too, if fewer of them may fit."""
    return None if may_be_lines(error) else trouble(error)


def trouble_with_many(error: Exception) -> Trouble | None:
    """The same of an insert of what always fits; None, too, if it is too much at a time."""
    return None if is_too_much(error) else trouble(error)


def may_be_lines(error: Exception) -> bool:
    """Whether an insert may be refused for some of its lines, or for their number."""
    if not isinstance(error, Error):
        return False
    if not error.code:  # not ClickHouse's words: a wall in between may stop what a line says
        return re.match(rf"{_STATUS} 4(?!01|07|08|29)", str(error)) is not None
    return is_too_much(error) or not (error.code in TRANSIENT or error.code in WHOLE_REQUEST)


def is_too_much(error: Exception) -> bool:
    """Whether an insert is refused for its size: by whatever is in between, or its partitions."""
    if not isinstance(error, Error):
        return False
    if error.code == _TOO_MANY_PARTS:  # a single insert's, or altogether
        return "partitions for single INSERT" in str(error)
    return not error.code and re.match(rf"{_STATUS} 413\b", str(error)) is not None


def violated_row(error: Error) -> int:
    """The number of the first row that violates a constraint, from 0; -1 if it is not said."""
    found = re.search(r" is violated at row (\d+)\. ", str(error))
    return int(found[1]) - 1 if error.code == _VIOLATED_CONSTRAINT and found else -1


def is_of_a_view(error: Exception) -> bool:
    """Whether a materialized view failed: the rows may be in the table all the same."""
    return "while pushing to view" in str(error)


def reason(error: BaseException) -> str:
    """Why, in a line: of a failed connection the operating system's words, not all layers'."""
    if isinstance(error, OperationalError) and error.code is None:
        error = deepest(error)
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return re.sub(r"Code: \d+\. DB::Exception: (?=Code: )|: \(in file/uri [^)]*\)", "", text)
