"""Format `api_requests`: one request a line, in fields that are separated by spaces.

`YYYY-MM-DD HH:MM:SS customer_id request_path status_code duration_seconds`: the time is local time
of `LOG_TIMEZONE`, with or without a fraction of a second; a field that is `-` is empty; what
follows the six fields is kept as `attributes.extra`.
"""

from __future__ import annotations

from collections.abc import Mapping

from connectors.errors import MalformedLine
from flows.parsing.fields import put_numbers
from flows.parsing.layout import Field, Layout, Maybe
from flows.parsing.parser import Row
from native.lines import Shape


def _check(texts: Mapping[str, str]) -> None:
    """Any sentence behind a time has six words, too."""
    row: Row = {}
    numbers = {name: texts[name] for name in ("status_code", "duration")}
    if put_numbers(row, numbers) and not row.keys() & numbers.keys():
        status, duration = (repr(text[:32]) for text in numbers.values())
        found = f"{status} and {duration} are no status and no duration"
        raise MalformedLine("not_api_requests", found)


FORMAT = Layout(
    (
        Field("timestamp", "timestamp", Shape.TWO_WORDS),
        " ",
        Field("customer_id", "customer_id"),
        " ",
        Field("request_path", "request_path"),
        " ",
        Field("status_code", "status_code"),
        " ",
        Field("duration", "duration"),
        Maybe(" ", Field("extra", shape=Shape.WORDS, empty=())),
    ),
    samples=(
        "2026-11-22 20:15:05 cust_1 /api/v1/products/382161?page=2 200 0.04831",
        "2026-11-22 20:15:05.250 - /caf\u00e9 200 1.2ms eu-west-1 and more",
    ),
    reason="missing_fields",
    check=_check,
    is_spaced=True,
)
