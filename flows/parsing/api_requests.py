"""Format `api_requests`: `YYYY-MM-DD HH:MM:SS customer_id request_path status_code duration_seconds`.

Fields are separated by spaces; the time is local time of `LOG_TIMEZONE`, with or without a fraction of
a second; `-` is an empty field; what follows the six fields is kept as `attributes.extra`.
"""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.fields import decimal, dash_is_empty, status_code
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import iso, local_column

_FIELDS = ("date", "time", "customer_id", "request_path", "status_code", "duration")


def make(time_zone: ZoneInfo) -> ApiRequests:
    """The parser of this format; times are in `time_zone`."""
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
            "status_code": status_code(status),
            "duration": decimal("duration", duration),
        }
        if extra:
            row["attributes"] = json.dumps({"extra": " ".join(extra)}, ensure_ascii=False)
        return row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those with an irregular spacing, a fraction or a `-` are left open."""
        text = pl.Series("text", lines.series).str.strip_suffix("\n").str.strip_suffix("\r")
        split = text.str.splitn(" ", len(_FIELDS) + 1).struct.unnest()
        split.columns = [*_FIELDS, "extra"]
        time = pl.concat_str("date", pl.lit(" "), "time").str.to_datetime(
            "%Y-%m-%d %H:%M:%S", time_unit="us", strict=False
        )
        has_extra = split["extra"].null_count() < len(split)
        extra = [pl.struct("extra").struct.json_encode().alias("attributes")] if has_extra else []
        frame = split.select(
            local_column(time, self._zone).alias("timestamp"),
            "customer_id",
            "request_path",
            pl.col("status_code").cast(pl.UInt16, strict=False),
            pl.col("duration").cast(pl.Float64, strict=False),
            *extra,
        )
        customer, path = pl.col("customer_id"), pl.col("request_path")
        sure = (
            pl.col("timestamp").is_not_null()
            & ~customer.is_in(["", "-"])
            & ~path.is_in(["", "-"])
            & pl.col("status_code").is_between(100, 599)
            & pl.col("duration").is_finite()
            & (pl.col("duration") >= 0)
        )
        if has_extra:
            # A rest that is missing, empty or has runs of spaces is rare enough to ask.
            sure &= pl.lit(split["extra"].is_not_null()) & ~pl.lit(
                split["extra"].str.contains("^ |  | $|^$").fill_null(True)
            )
        return frame.with_columns(sure.fill_null(False).alias(OK))
