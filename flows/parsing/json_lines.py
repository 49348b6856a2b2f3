"""Format `json`: one JSON object (RFC 8259) a line.

Keys become columns by `ALIASES`; where a line has several keys for one column, the first in the table
wins. Every other key, nested values too, goes into `attributes`, and so does a known key whose line has
a better alias. A line needs a timestamp; whatever else is missing or null is empty.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.fields import MAX_UINT64
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import epoch, epoch_column, iso, iso_column


@dataclass(frozen=True)
class Alias:
    """A key in a line, the column it means, and how many of its unit make a second (durations only)."""

    key: str
    column: str
    per_second: float = 1


ALIASES = [
    *(Alias(key, "timestamp") for key in ("timestamp", "ts", "time", "@timestamp", "datetime")),
    *(Alias(key, "customer_id") for key in ("customer_id", "customer", "client_id", "tenant_id", "tenant")),
    *(Alias(key, "method") for key in ("method", "http_method", "request_method", "verb")),
    *(Alias(key, "request_path") for key in ("request_path", "path", "uri", "url", "request_uri")),
    *(Alias(key, "status_code") for key in ("status_code", "status", "http_status")),
    *(Alias(key, "duration") for key in ("duration", "duration_s", "duration_seconds", "request_time")),
    *(Alias(key, "duration", 1e3) for key in ("duration_ms", "latency_ms", "elapsed_ms", "response_time_ms")),
    *(Alias(key, "duration", 1e6) for key in ("duration_us", "latency_us", "elapsed_us")),
    *(Alias(key, "duration", 1e9) for key in ("duration_ns", "latency_ns", "elapsed_ns")),
    *(Alias(key, "client_ip") for key in ("client_ip", "ip", "remote_addr", "remote_ip", "clientip")),
    *(Alias(key, "user_agent") for key in ("user_agent", "ua", "http_user_agent")),
    *(Alias(key, "referer") for key in ("referer", "referrer", "http_referer")),
    *(Alias(key, "bytes_sent") for key in ("bytes_sent", "bytes", "body_bytes_sent", "response_size")),
    *(Alias(key, "level") for key in ("level", "severity", "loglevel")),
    *(Alias(key, "message") for key in ("message", "msg")),
    *(Alias(key, "host") for key in ("host", "hostname")),
]
"""Which keys mean which column. Times are ISO 8601, or numbers since 1970 whose size tells their unit."""

_BY_KEY = {alias.key: alias for alias in ALIASES}
_RANK = {alias.key: rank for rank, alias in enumerate(ALIASES)}
_NUMBERS = {"status_code": 2**16 - 1, "bytes_sent": MAX_UINT64}
_SAMPLE = 100
_decode = msgspec.json.Decoder().decode
_skim = msgspec.json.Decoder(msgspec.Raw).decode


def make(time_zone: ZoneInfo) -> JsonLines:
    """The parser of this format; times without a zone are in `time_zone`."""
    return JsonLines(time_zone)


class JsonLines:
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo) -> None:
        self._zone = time_zone

    # One line: the definition

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        try:
            found = _decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise MalformedLine("bad_json", str(error)) from None
        if not isinstance(found, dict):
            raise MalformedLine("not_an_object", f"a JSON {type(found).__name__}, not an object")
        row: Row = {}
        for key in sorted(found.keys() & _BY_KEY.keys(), key=_RANK.__getitem__):
            alias = _BY_KEY[key]
            if alias.column not in row:
                value = found.pop(key)
                if value is not None:
                    row[alias.column] = self._value(alias, value)
        if "timestamp" not in row:
            raise MalformedLine("no_timestamp", "none of the keys that mean a time")
        if found:
            row["attributes"] = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        return row

    def _value(self, alias: Alias, value: object) -> object:
        if alias.column == "timestamp":
            if isinstance(value, str):
                return iso(value, self._zone)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return epoch(value)
            raise MalformedLine("bad_timestamp", f"{alias.key} is {_short(value)}")
        if alias.column == "duration":
            number = _number(value)
            if number is None or not 0 <= number < math.inf:
                raise MalformedLine("bad_duration", f"{alias.key} is {_short(value)}")
            return number / alias.per_second
        if alias.column in _NUMBERS:
            number = _number(value)
            if number is None or number != int(number) or not 0 <= number <= _NUMBERS[alias.column]:
                raise MalformedLine(f"bad_{alias.column}", f"{alias.key} is {_short(value)}")
            return int(number)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    # Many lines: Polars reads what is as usual, and every key in the bytes is accounted for

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that Polars did not read whole are left open.

        The schema comes from the batch's own first and last lines. Polars drops keys that are not in it
        without a word, so the keys in the bytes are counted against the values in the columns.
        """
        try:
            return self._read(lines)
        except pl.exceptions.PolarsError:
            pass  # Polars refuses a batch for one malformed line, so take those out
        masked = Lines(lines.text)
        good = np.array([_is_json(masked.raw(number)) for number in range(len(lines))], np.bool_)
        nothing = pl.DataFrame({OK: np.zeros(len(lines), np.bool_)})
        if not good.any():
            return nothing
        try:
            frame = self._read(Lines(masked.join(np.flatnonzero(good))))
        except pl.exceptions.PolarsError:
            return nothing
        place = np.maximum(np.cumsum(good) - 1, 0)
        return frame[place].with_columns(pl.col(OK) & pl.Series(good))

    def _read(self, lines: Lines) -> pl.DataFrame:
        first, last = lines.starts[min(_SAMPLE, len(lines))], lines.starts[-_SAMPLE - 1 :][0]
        sample = lines.text[:first] + lines.text[max(first, last) :]
        seen = pl.read_ndjson(sample, infer_schema_length=None, ignore_errors=True).schema
        schema = {key: dtype for key, dtype in map(_readable, seen.items()) if dtype is not None}
        frame = pl.read_ndjson(lines.text, schema=schema, ignore_errors=True)
        if len(frame) != len(lines):
            raise pl.exceptions.ComputeError("lines and rows differ in number")
        sure = _accounted(lines, frame)
        return self._rows(frame).with_columns(pl.col(OK) & sure)

    def _rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns of one batch from the keys of its lines."""
        columns: dict[str, pl.Expr] = {}
        sure = pl.lit(True)
        extra: list[str] = []
        for key in sorted(frame.columns, key=lambda key: _RANK.get(key, len(_RANK))):
            alias = _BY_KEY.get(key)
            if alias is None:
                extra.append(key)
            elif alias.column in columns:
                # Which of two aliases wins differs by line: ask where this one is present.
                sure &= pl.col(key).is_null()
            else:
                columns[alias.column], fits = self._column(alias, frame[key])
                sure &= fits
        if "timestamp" not in columns:
            return frame.select(pl.lit(False).alias(OK))
        if extra:
            columns["attributes"] = _attributes(frame, extra)
        made = frame.select(
            *(column.alias(name) for name, column in columns.items()), sure.alias(OK)
        )
        return made.with_columns(pl.col(OK).fill_null(False) & pl.col("timestamp").is_not_null())

    def _column(self, alias: Alias, values: pl.Series) -> tuple[pl.Expr, pl.Expr]:
        """A column of the store from the values of a key, and where it can be trusted."""
        column = pl.col(alias.key)
        if alias.column == "timestamp":
            if values.dtype == pl.String:
                return pl.lit(iso_column(values, self._zone)), pl.lit(True)
            return epoch_column(column), pl.lit(True)
        if alias.column == "duration":
            fits = column.is_null() | (column.is_finite() & (column >= 0))
            return (column / alias.per_second).fill_null(0.0), fits
        if alias.column in _NUMBERS:
            limit = min(_NUMBERS[alias.column], 2**63 - 1)
            dtype = pl.UInt16 if alias.column == "status_code" else pl.UInt64
            fits = column.is_null() | column.is_between(0, limit)
            return column.cast(dtype, strict=False).fill_null(0), fits
        return column.cast(pl.String).fill_null(""), pl.lit(True)


def _readable(field: tuple[str, pl.DataType]) -> tuple[str, pl.DataType | None]:
    """How Polars shall read a key; None: not at all, so that its lines are asked one by one."""
    key, seen = field
    alias = _BY_KEY.get(key)
    if alias is None:
        return key, seen if seen in (pl.String, pl.Int64, pl.Float64, pl.Boolean) else None
    if seen == pl.Null:
        return key, pl.Float64() if alias.column == "duration" else pl.Int64() if alias.column in _NUMBERS else pl.String()
    if alias.column == "timestamp":
        return key, seen if seen in (pl.String, pl.Int64, pl.Float64) else None
    if alias.column == "duration":
        return key, pl.Float64() if seen in (pl.Float64, pl.Int64) else None
    if alias.column in _NUMBERS:
        return key, seen if seen == pl.Int64 else None
    return key, seen if seen in (pl.String, pl.Int64) else None


def _accounted(lines: Lines, frame: pl.DataFrame) -> pl.Series:
    """Where every key of a line is the key of one value in the frame, and every text was quoted.

    A key is a quote, optional space and a colon, at any depth; a text has two quotes more. The count of
    keys can only come out too high (a nested, unknown or repeated key, a `":` within a text), so that a
    line whose counts agree has nothing that is not in the frame. First for the batch as a whole, which
    costs next to nothing; line by line only if that does not come out even.
    """
    text = lines.text
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    keys = sum(len(frame) - frame[name].null_count() for name in frame.columns)
    strings = sum(len(frame) - frame[name].null_count() for name in texts)
    escapes = b"\\" in text
    quotes = int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord('"')))
    if (
        _pairs(text, b'":') == keys
        and not any(_pairs(text, space + b":") for space in (b" ", b"\t", b"\r") if space in text)
        and not (escapes and _pairs(text, b"\\u"))
        and quotes - (_pairs(text, b'\\"') if escapes else 0) == 2 * (keys + strings)
    ):
        return pl.repeat(True, len(frame), dtype=pl.Boolean, eager=True)
    line = pl.col("line")
    present = [pl.col(name).is_not_null().cast(pl.UInt32) for name in frame.columns]
    # A known key that is null is empty; an unknown one is asked about, to keep its null.
    nulls = [
        line.str.count_matches(f'"{name}":null', literal=True)
        for name in frame.columns
        if name in _BY_KEY and frame[name].null_count()
    ]
    named = pl.sum_horizontal(pl.lit(0, pl.UInt32), *present, *nulls)
    quoted = pl.sum_horizontal(pl.lit(0, pl.UInt32), *(pl.col(name).is_not_null() for name in texts))
    marks = line.str.count_matches('"', literal=True)
    sure = (line.str.count_matches(r'"\s*:') == named) & (
        marks - line.str.count_matches('\\"', literal=True) == 2 * (named + quoted)
    )
    if escapes:
        # Polars reads half of a surrogate pair as NUL.
        sure &= ~line.str.contains(r"\\u[dD][89a-fA-F]")
    return frame.with_columns(lines.series.alias("line")).select(sure).to_series()


def _pairs(text: bytes, pair: bytes) -> int:
    """How often two bytes follow one another."""
    (wanted,) = np.frombuffer(pair, np.uint16)
    return sum(
        int(np.count_nonzero(np.frombuffer(text, np.uint16, (len(text) - start) // 2, start) == wanted))
        for start in (0, 1)
    )


def _attributes(frame: pl.DataFrame, keys: list[str]) -> pl.Expr:
    """A JSON object of these keys, less those that a line does not have."""
    if not any(frame[key].null_count() for key in keys):
        return pl.struct(keys).struct.json_encode()
    members = [
        pl.when(pl.col(key).is_not_null()).then(
            pl.struct(key).struct.json_encode().str.head(-1).str.tail(-1)
        )
        for key in keys
    ]
    return pl.concat_str(
        pl.lit("{"), pl.concat_str(members, separator=",", ignore_nulls=True), pl.lit("}")
    )


def _is_json(line: bytes) -> bool:
    try:
        _skim(line)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _number(value: object) -> float | int | None:
    """A number, or a text that is one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:64]
