"""Format `api_requests`: one request a line, in fields that are separated by spaces.

`YYYY-MM-DD HH:MM:SS customer_id request_path status_code duration_seconds`: the time is local time
of `LOG_TIMEZONE`, with or without a fraction of a second; a field that is `-` is empty; what
follows the six fields is kept as `attributes.extra`.
"""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.compiled import read_lines
from flows.parsing.fields import dash_is_empty, put_numbers
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import iso, iso_column
from native.lines import Form, Key, Kind

_FIELDS = ("date", "time", "customer_id", "request_path", "status_code", "duration")

_KEYS = [
    Key("timestamp", "timestamp", Kind.TIME),
    Key("customer_id", "customer_id", Kind.TEXT),
    Key("request_path", "request_path", Kind.TEXT),
    Key("status_code", "status_code", Kind.SMALL),
    Key("duration", "duration", Kind.SECONDS),
]
"""What the compiled part reads, in the order of `native/api_requests.c`."""


def make(time_zone: ZoneInfo, duration_shift: int = 0) -> ApiRequests:
    """The parser of this format; times are in `time_zone`, durations always in seconds."""
    return ApiRequests(time_zone)


class ApiRequests:
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo) -> None:
        self._zone = time_zone

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        fields = [field for field in text.split(" ") if field]
        if len(fields) < len(_FIELDS):
            raise MalformedLine(
                "missing_fields", f"{len(fields)} of {len(_FIELDS)} fields: {', '.join(_FIELDS)}"
            )
        date, time, customer_id, request_path, status, duration, *extra = fields
        row: Row = {
            "timestamp": iso(f"{date} {time}", self._zone),
            "customer_id": dash_is_empty(customer_id),
            "request_path": dash_is_empty(request_path),
        }
        attributes = put_numbers(row, {"status_code": status, "duration": duration})
        if attributes and not row.keys() & {"status_code", "duration"}:
            # Any sentence behind a time has six words, too.
            found = f"{status[:32]!r} and {duration[:32]!r} are no status and no duration"
            raise MalformedLine("not_api_requests", found)
        if extra:
            attributes["extra"] = " ".join(extra)
        if attributes:
            row["attributes"] = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))
        return row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return read_lines(Form.API_REQUESTS, lines, _KEYS, self._zone, self._columns)

    def _columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those with an irregular spacing or a `-` are left open."""
        text = lines.series.str.strip_suffix("\n").str.strip_suffix("\r")
        split = text.str.splitn(" ", len(_FIELDS) + 1).struct.unnest()
        split.columns = [*_FIELDS, "extra"]
        time = split.select(pl.concat_str("date", "time", separator=" ")).to_series()
        status, duration = pl.col("status_code"), pl.col("duration").cast(pl.Float64, strict=False)
        sure = (
            pl.col("timestamp").is_not_null()
            & ~pl.col("customer_id").is_in(["", "-"])
            & ~pl.col("request_path").is_in(["", "-"])
            & (status.str.len_bytes() == 3)
            & status.cast(pl.UInt16, strict=False).is_between(100, 599)
            & duration.is_finite()
            & (duration >= 0)
        )
        columns = [
            pl.col("timestamp", "customer_id", "request_path"),
            status.cast(pl.UInt16, strict=False),
            duration,
        ]
        if split["extra"].null_count() < len(split):
            columns.append(pl.struct("extra").struct.json_encode().alias("attributes"))
            # Where some lines have a rest, one that is missing or odd is rare enough to ask.
            sure &= ~pl.col("extra").str.contains("^ |  | $|^$")
        split = split.with_columns(iso_column(time, self._zone).alias("timestamp"))
        return split.select(*columns, sure.fill_null(False).alias(OK))
