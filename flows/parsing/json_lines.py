"""Format `json`: one JSON object (RFC 8259) a line.

Keys become columns by `ALIASES`; where a line has several keys for one column, the first in the
table wins. Every other key, nested values too, goes into `attributes`, and so does a known key
whose line has a better alias. A known key that is null is as good as missing. A line needs a
timestamp.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.fields import MAX_UINT16, MAX_UINT64, number
from flows.parsing.json_keys import accounted
from flows.parsing.lines import CARRIAGE_RETURN, NEWLINE, Flags, Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import epoch, epoch_column, iso, iso_column


@dataclass(frozen=True)
class Alias:
    """A key in a line, the column it means, and how many of its unit make a second (durations)."""

    key: str
    column: str
    per_second: float


ALIASES = [
    Alias(key, column, per_second)
    for column, per_second, keys in (
        ("timestamp", 1, "timestamp ts time @timestamp datetime"),
        ("customer_id", 1, "customer_id customer client_id tenant_id tenant"),
        ("method", 1, "method http_method request_method verb"),
        ("request_path", 1, "request_path path uri url request_uri"),
        ("status_code", 1, "status_code status http_status"),
        ("duration", 1, "duration duration_s duration_seconds request_time"),
        ("duration", 1e3, "duration_ms latency_ms elapsed_ms response_time_ms"),
        ("duration", 1e6, "duration_us latency_us elapsed_us"),
        ("duration", 1e9, "duration_ns latency_ns elapsed_ns"),
        ("client_ip", 1, "client_ip ip remote_addr remote_ip clientip"),
        ("user_agent", 1, "user_agent ua http_user_agent"),
        ("referer", 1, "referer referrer http_referer"),
        ("bytes_sent", 1, "bytes_sent bytes body_bytes_sent response_size"),
        ("level", 1, "level severity loglevel"),
        ("message", 1, "message msg"),
        ("host", 1, "host hostname"),
    )
    for key in keys.split()
]
"""Which keys mean which column. Times are ISO 8601, or numbers since 1970 that tell their unit by
their size."""

_BY_KEY = {alias.key: alias for alias in ALIASES}
_RANK = {alias.key: rank for rank, alias in enumerate(ALIASES)}
_WHOLE_NUMBERS = {"status_code": MAX_UINT16, "bytes_sent": MAX_UINT64}
_DTYPES = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}
_SAMPLE = 100
_COMMON = 50
_MOST_NESTED = 512
_BRACE, _ENDING_BRACE = b"{}"
_decode = msgspec.json.Decoder().decode
_skim = msgspec.json.Decoder(msgspec.Raw).decode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


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
            if not isinstance(found, dict):
                raise MalformedLine("not_an_object", f"{type(found).__name__}, not an object")
            return self._row(found)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise MalformedLine("bad_json", str(error)) from None

    def _row(self, found: dict[str, object]) -> Row:
        row: Row = {}
        for key in sorted(found.keys() & _BY_KEY.keys(), key=_RANK.__getitem__):
            alias = _BY_KEY[key]
            if found[key] is None:
                del found[key]
            elif alias.column not in row:
                row[alias.column] = self._value(alias, found.pop(key))
        if "timestamp" not in row:
            raise MalformedLine("no_timestamp", "none of the keys that mean a time")
        if found:
            row["attributes"] = _encode(found)
        return row

    def _value(self, alias: Alias, value: object) -> object:
        if alias.column == "timestamp":
            if isinstance(value, str):
                return iso(value, self._zone)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return epoch(value)
            raise MalformedLine("bad_timestamp", f"{alias.key} is {_short(value)}")
        if alias.column == "duration":
            duration = _number(value)
            if duration is None or not 0 <= duration <= sys.float_info.max:
                raise MalformedLine("bad_duration", f"{alias.key} is {_short(value)}")
            return duration / alias.per_second
        if alias.column in _WHOLE_NUMBERS:
            whole = _number(value)
            if whole is None or not 0 <= whole <= _WHOLE_NUMBERS[alias.column] or whole % 1:
                raise MalformedLine(f"bad_{alias.column}", f"{alias.key} is {_short(value)}")
            return int(whole)
        return value if isinstance(value, str) else _encode(value)

    # Many lines: Polars reads what is as usual, and every key in the bytes is accounted for

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that Polars did not read whole are left open.

        Polars refuses all lines for one that is malformed, so those are taken out before.
        """
        for good in _guesses(lines):
            try:
                return self._read(lines, good)
            except pl.exceptions.PolarsError:
                continue
        return _nothing(lines)

    def _read(self, lines: Lines, good: Flags) -> pl.DataFrame:
        """One row for each of the lines, of which Polars reads the good ones."""
        if good.all():
            return self._read_all(lines)
        if not good.any():
            return _nothing(lines)
        frame = self._read_all(Lines(Lines(lines.text).join(np.flatnonzero(good))))
        # Each line gets its row; a line that was not read gets any, which is not `OK`.
        place = np.maximum(np.cumsum(good) - 1, 0)
        return frame.select(pl.all().gather(place)).with_columns(pl.col(OK) & pl.Series(good))

    def _read_all(self, lines: Lines) -> pl.DataFrame:
        schema = _schema(lines)
        if not any(_is_for("timestamp", key) for key in schema):
            return _nothing(lines)
        frame = pl.read_ndjson(lines.text, schema=schema, ignore_errors=True).rechunk()
        if len(frame) != len(lines):
            raise pl.exceptions.ComputeError("a line is no value, or several")
        whole = pl.Series(accounted(lines, frame, _BY_KEY))
        return self._rows(frame).with_columns(pl.col(OK) & whole)

    def _rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns of one batch from the keys of its lines."""
        columns: dict[str, pl.Expr] = {}
        sure = pl.lit(True)
        extra: list[str] = []
        for key in sorted(frame.columns, key=lambda key: _RANK.get(key, len(_RANK))):
            alias = _BY_KEY.get(key)
            if alias is None:
                extra.append(key)
                if frame.schema[key] == pl.Float64:
                    # 1 and 1.0 are both 1.0 now.
                    sure &= (pl.col(key) % 1 != 0).fill_null(True)
            elif alias.column in columns:
                # Which of two aliases wins differs by line: ask where this one is present.
                sure &= pl.col(key).is_null()
            else:
                columns[alias.column], fits = self._column(alias, frame[key])
                sure &= fits
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
            is_text = values.dtype == pl.String
            times = iso_column(values, self._zone) if is_text else epoch_column(values)
            return pl.lit(times), pl.lit(True)
        if alias.column == "duration":
            fits = column.is_null() | (column >= 0)
            # NumPy divides; Polars would multiply by the rounded reciprocal.
            seconds = values.fill_null(0.0).to_numpy() / alias.per_second
            return pl.lit(pl.Series(seconds)), fits
        if alias.column in _WHOLE_NUMBERS:
            limit = min(_WHOLE_NUMBERS[alias.column], 2**63 - 1)
            dtype = pl.UInt16 if alias.column == "status_code" else pl.UInt64
            fits = column.is_null() | column.is_between(0, limit)
            return column.cast(dtype, strict=False).fill_null(0), fits
        return column.cast(pl.String).fill_null(""), pl.lit(True)


def _nothing(lines: Lines) -> pl.DataFrame:
    """No line is certain."""
    return pl.DataFrame({OK: np.zeros(len(lines), np.bool_)})


def _guesses(lines: Lines) -> Iterator[Flags]:
    """Which lines Polars can read: as a look at them tells, and if that fails, as a parser does."""
    text = np.frombuffer(lines.text, np.uint8)
    ends = lines.starts[1:] - 1
    for ending in (NEWLINE, CARRIAGE_RETURN):
        ends = ends - (text.take(ends, mode="clip") == ending)
    good = (text[lines.starts[:-1]] == _BRACE) & (text.take(ends, mode="clip") == _ENDING_BRACE)
    if b"\0" in lines.text:
        # To Polars, a number ends at NUL, whatever follows.
        good &= ~lines.series.str.contains("\0", literal=True).to_numpy()
    for long in np.flatnonzero(np.diff(lines.starts) > _MOST_NESTED).tolist():
        # Polars 2.0 dies of some thousands of levels.
        line = lines.raw(long)
        good[long] &= line.count(b"[") + line.count(b"{") <= _MOST_NESTED
    yield good
    parts = lines.text.split(b"\n")[: len(lines)]
    yield good & np.fromiter(map(_is_json, parts), np.bool_, len(lines))


def _is_json(line: bytes) -> bool:
    try:
        _skim(line)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _schema(lines: Lines) -> dict[str, pl.DataType]:
    """How Polars shall read each key: as most of the first and last lines have it.

    Lines with another key or another type are asked one by one.
    """
    numbers = range(len(lines))
    sample = {*numbers[:_SAMPLE], *numbers[-_SAMPLE:]}
    seen: defaultdict[str, Counter[type]] = defaultdict(Counter)
    for line in sample:
        try:
            found = _decode(lines.raw(line))
        except (msgspec.MsgspecError, RecursionError):
            continue
        if isinstance(found, dict):
            for key, value in found.items():
                seen[key][type(value)] += 1
    return {
        key: dtype
        for key, types in seen.items()
        # Keys that are rare here are not worth a column: there may be any number of them.
        if types.total() * _COMMON >= len(sample) and (dtype := _dtype(key, types))
    }


def _dtype(key: str, types: Counter[type]) -> pl.DataType | None:
    """How Polars shall read a key of these types; None: not at all."""
    if key == "*" or key.startswith("^") or ":" in key:
        return None  # patterns to Polars; and the colons of lines are counted
    if _is_for("duration", key):
        return pl.Float64()
    if any(_is_for(column, key) for column in _WHOLE_NUMBERS):
        return pl.Int64()
    common = max(_DTYPES, key=types.__getitem__)
    alias = _BY_KEY.get(key)
    if alias is None:
        return _DTYPES[common] if types[common] else None
    if common is bool or (common is float and alias.column != "timestamp"):
        return None
    return _DTYPES[common]


def _is_for(column: str, key: str) -> bool:
    return key in _BY_KEY and _BY_KEY[key].column == column


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


def _number(value: object) -> int | float | None:
    """A number, or a text that is one."""
    if isinstance(value, str):
        return number(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _short(value: object) -> str:
    return _encode(value)[:64]
