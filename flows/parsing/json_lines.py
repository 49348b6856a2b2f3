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
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.fields import MAX_UINT16, MAX_UINT64, number
from flows.parsing.json_keys import accounted
from flows.parsing.lines import CARRIAGE_RETURN, NEWLINE, Flags, Lines, Numbers
from flows.parsing.parser import OK, Row, filled
from flows.parsing.times import epoch, epoch_column, iso, iso_column, local_column
from native.lines import Key, Kind, can_read, read_json


@dataclass(frozen=True)
class Alias:
    """A key in a line and the column it means; of durations, 10^shift of its unit are a second."""

    key: str
    column: str
    shift: int


ALIASES = [
    Alias(key, column, shift)
    for column, shift, keys in (
        ("timestamp", 0, "timestamp ts time @timestamp datetime"),
        ("customer_id", 0, "customer_id customer client_id tenant_id tenant"),
        ("method", 0, "method http_method request_method verb"),
        ("request_path", 0, "request_path path uri url request_uri"),
        ("status_code", 0, "status_code status http_status"),
        ("duration", 0, "duration duration_s duration_seconds request_time"),
        ("duration", 3, "duration_ms latency_ms elapsed_ms response_time_ms"),
        ("duration", 6, "duration_us latency_us elapsed_us"),
        ("duration", 9, "duration_ns latency_ns elapsed_ns"),
        ("client_ip", 0, "client_ip ip remote_addr remote_ip clientip"),
        ("user_agent", 0, "user_agent ua http_user_agent"),
        ("referer", 0, "referer referrer http_referer"),
        ("bytes_sent", 0, "bytes_sent bytes body_bytes_sent response_size"),
        ("level", 0, "level severity loglevel"),
        ("message", 0, "message msg"),
        ("host", 0, "host hostname"),
    )
    for key in keys.split()
]
"""Which keys mean which column. Times are ISO 8601, or numbers since 1970 that tell their unit by
their size. Durations are the nearest to what is written: 48.31 ms are 0.04831 s."""

_BY_KEY = {alias.key: alias for alias in ALIASES}
_RANK = {alias.key: rank for rank, alias in enumerate(ALIASES)}
_WHOLE_NUMBERS = {"status_code": MAX_UINT16, "bytes_sent": MAX_UINT64}
_DTYPES = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), bool: pl.Boolean()}
_KINDS = {
    "timestamp": Kind.TIME,
    "status_code": Kind.SMALL,
    "bytes_sent": Kind.LARGE,
    "duration": Kind.SECONDS,
}
_Seen = dict[str, Counter[type]]
_Schema = dict[str, pl.DataType]
_SAMPLE = 100
_COMMON = 50
_MANY = 1000  # lines: so many are sooner read by Polars than one by one
_DECIMALS = (3, 6)
_MOST_EXACT = 1e15
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
            return float(Decimal(repr(duration)).scaleb(-alias.shift))
        if alias.column in _WHOLE_NUMBERS:
            whole = _number(value)
            if whole is None or not 0 <= whole <= _WHOLE_NUMBERS[alias.column] or whole % 1:
                raise MalformedLine(f"bad_{alias.column}", f"{alias.key} is {_short(value)}")
            return int(whole)
        return value if isinstance(value, str) else _encode(value)

    # Many lines: the compiled part reads flat objects, if it is there

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        seen = _seen(lines)
        keys = _compiled_keys(seen)
        if not can_read(lines.text, keys):
            return self._columns(lines, seen)
        frame = self._compiled(lines, keys)
        open_ = np.flatnonzero(~frame[OK].to_numpy())
        if len(open_) < _MANY:
            return frame
        others = Lines(Lines(lines.text).join(open_))
        return _merged(frame, self._columns(others, _seen(others)), open_)

    def _compiled(self, lines: Lines, keys: list[Key]) -> pl.DataFrame:
        read = read_json(lines.text, lines.starts, keys)
        frame = pl.DataFrame(read.columns).with_columns(pl.Series(OK, read.ok))
        times = pl.when(OK).then("timestamp").cast(pl.Datetime("us"))
        utc = times.dt.replace_time_zone("UTC") if read.zoned else local_column(times, self._zone)
        frame = frame.with_columns(utc.alias("timestamp"))
        return frame.with_columns(pl.col(OK) & pl.col("timestamp").is_not_null())

    # Many lines: Polars reads what is as usual, and every key in the bytes is accounted for

    def _columns(self, lines: Lines, seen: _Seen) -> pl.DataFrame:
        """All lines at once; those that Polars did not read whole are left open.

        Polars refuses all lines for one that is malformed, so those are taken out before.
        """
        for good in _guesses(lines):
            try:
                return self._read(lines, good, _schema(seen))
            except pl.exceptions.PolarsError:
                continue
        return _nothing(lines)

    def _read(self, lines: Lines, good: Flags, schema: _Schema) -> pl.DataFrame:
        """One row for each of the lines, of which Polars reads the good ones."""
        if good.all():
            return self._read_all(lines, schema)
        if not good.any():
            return _nothing(lines)
        frame = self._read_all(Lines(Lines(lines.text).join(np.flatnonzero(good))), schema)
        # Each line gets its row; a line that was not read gets any, which is not `OK`.
        place = np.maximum(np.cumsum(good) - 1, 0)
        return frame.select(pl.all().gather(place)).with_columns(pl.col(OK) & pl.Series(good))

    def _read_all(self, lines: Lines, schema: _Schema) -> pl.DataFrame:
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
            seconds, exact = _shifted(values.fill_null(0.0).to_numpy(), alias.shift)
            return pl.lit(pl.Series(seconds)), pl.lit(pl.Series(exact & (seconds >= 0)))
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


def _seen(lines: Lines) -> _Seen:
    """The keys of the first and last lines that are not rare there, with the types of their values.

    Lines with another key are asked one by one.
    """
    numbers = range(len(lines))
    sample = {*numbers[:_SAMPLE], *numbers[-_SAMPLE:]}
    seen: defaultdict[str, Counter[type]] = defaultdict(Counter)
    for line in sorted(sample):
        try:
            found = _decode(lines.raw(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(found, dict):
            for key, value in found.items():
                seen[key][type(value)] += 1
    # Keys that are rare are not worth a column: there may be any number of them.
    return {key: types for key, types in seen.items() if types.total() * _COMMON >= len(sample)}


def _compiled_keys(seen: _Seen) -> list[Key]:
    """How the compiled part shall read each key; lines with any other one are left open."""
    best: dict[str, str] = {}
    for key in sorted(_BY_KEY.keys() & seen.keys(), key=_RANK.__getitem__):
        best.setdefault(_BY_KEY[key].column, key)
    if "timestamp" not in best:
        return []
    keys = []
    for key in seen:
        alias = _BY_KEY.get(key)
        if _encode(key)[1:-1] != key:
            continue  # what stands between quotes in a line must be the key itself
        if alias is None:
            keys.append(Key(key, "attributes", Kind.ATTRIBUTE))
        elif best[alias.column] == key:
            kind = _KINDS.get(alias.column, Kind.TEXT)
            keys.append(Key(key, alias.column, kind, alias.shift))
    return keys


def _schema(seen: _Seen) -> _Schema:
    """How Polars shall read each key: as most lines have it; others are asked one by one."""
    return {key: dtype for key, types in seen.items() if (dtype := _dtype(key, types))}


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


def _merged(frame: pl.DataFrame, others: pl.DataFrame, numbers: Numbers) -> pl.DataFrame:
    """The frame, with `others` in the place of its rows with these numbers."""
    place = np.arange(len(frame))
    place[numbers] = len(frame) + np.arange(len(numbers))
    return filled(pl.concat([frame, others], how="diagonal")[place])


def _shifted(values: npt.NDArray[np.float64], shift: int) -> tuple[npt.NDArray[np.float64], Flags]:
    """The values divided by 10^shift, and where that is certain to be the nearest.

    It is where a value has up to 15 digits: then those and the power of ten are exact, and no other
    value has the same.
    """
    shifted, exact = values, np.full(len(values), shift == 0)
    for decimals in _DECIMALS:
        if exact.all():
            break
        with np.errstate(over="ignore"):
            digits = np.rint(values * 10.0**decimals)
        fits = ~exact & (digits / 10.0**decimals == values) & (np.abs(digits) < _MOST_EXACT)
        shifted = np.where(fits, digits / 10.0 ** (decimals + shift), shifted)
        exact |= fits
    return shifted, exact


def _number(value: object) -> int | float | None:
    """A number, or a text that is one."""
    if isinstance(value, str):
        return number(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _short(value: object) -> str:
    return _encode(value)[:64]
