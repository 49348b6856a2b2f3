"""Keys of lines and what they mean, for all formats that have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.fields import (
    MAX_UINT16,
    MAX_UINT64,
    NO_VALUE,
    encode,
    go_duration,
    number,
    seconds,
)
from flows.parsing.lines import Lines
from flows.parsing.parser import MISFITS, Row
from flows.parsing.times import epoch, iso
from native.lines import Key, Kind


@dataclass(frozen=True)
class Alias:
    """A key in a line and the column it means.

    Of durations, 10^shift of its unit are a second; None: the key does not say.
    """

    key: str
    column: str
    shift: int | None

    def shift_or(self, unsaid: int) -> int:
        """The shift, or what it is where the key does not say."""
        return unsaid if self.shift is None else self.shift


ALIASES = [
    Alias(key, column, shift)
    for column, shift, keys in (
        ("timestamp", 0, "timestamp ts time @timestamp datetime"),
        ("customer_id", 0, "customer_id customer client_id tenant_id tenant visited_by"),
        ("method", 0, "method http_method request_method verb"),
        ("request_path", 0, "request_path path uri url request_uri path_info"),
        ("status_code", 0, "status_code status http_status"),
        ("duration", None, "duration"),
        ("duration", 0, "duration_s duration_seconds request_time"),
        ("duration", 3, "duration_ms latency_ms elapsed_ms response_time_ms"),
        ("duration", 6, "duration_us latency_us elapsed_us"),
        ("duration", 9, "duration_ns latency_ns elapsed_ns"),
        ("client_ip", 0, "client_ip ip remote_addr remote_ip clientip ip_address"),
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
their size. Durations are the nearest to what is written: 48.31 ms are 0.04831 s. nginx's
`request_time` is always in seconds."""

BY_KEY = {alias.key: alias for alias in ALIASES}
"""The keys that mean a column."""

WHOLE_NUMBERS = {"status_code": MAX_UINT16, "bytes_sent": MAX_UINT64}
"""Columns of whole numbers, and the largest of them."""

NUMBERS = {*WHOLE_NUMBERS, "duration"}
"""Columns of numbers, for which some programs write `-` where there is none."""

_RANK = {alias.key: rank for rank, alias in enumerate(ALIASES)}
_KINDS = {
    "timestamp": Kind.TIME,
    "status_code": Kind.SMALL,
    "bytes_sent": Kind.LARGE,
    "duration": Kind.SECONDS,
}
_SAMPLE = 50
_COMMON = 50

COLOURS = r"\x1b\[[0-?]*[ -/]*[@-~]"
"""What terminals take for colours and the like: control sequences (ECMA-48, section 5.4)."""

_COLOURS = re.compile(COLOURS)


def row_of(found: dict[str, object], zone: ZoneInfo, shift: int) -> Row:
    """The row of one line, whose keys and values are these. Raises `MalformedLine`.

    Of durations whose unit nobody names, 10^shift are a second. A value that does not fit its
    column stays under its own key, in the attributes.
    """
    row: Row = {}
    misfits: list[str] = []
    no_time: MalformedLine | None = None
    for key in sorted(found.keys() & BY_KEY.keys(), key=_RANK.__getitem__):
        alias, value = BY_KEY[key], found[key]
        if value is None or (alias.column in NUMBERS and value in NO_VALUE):
            del found[key]
        elif alias.column not in row:
            try:
                meant = _value(alias, value, zone, shift)
            except MalformedLine as refusal:
                meant, no_time = None, no_time or refusal
            if meant is None:
                misfits.append(alias.column)
            else:
                row[alias.column] = meant
                del found[key]
    if "timestamp" not in row:
        raise no_time or MalformedLine("no_timestamp", "none of the keys that mean a time")
    if found:
        row["attributes"] = encode(found)
    if misfits:
        row[MISFITS] = tuple(misfits)
    return row


def _value(alias: Alias, value: object, zone: ZoneInfo, shift: int) -> object:
    """What a value means in its column, None if it does not fit; if no time, `MalformedLine`."""
    if alias.column == "timestamp":
        moment = _number(value)
        if moment is not None:
            return epoch(moment)
        if isinstance(value, str):
            return iso(value, zone)
        raise MalformedLine("bad_timestamp", f"{alias.key} is {encode(value)[:64]}")
    if alias.column == "duration":
        duration = _number(value)
        if duration is None:
            return go_duration(value) if isinstance(value, str) else None
        return seconds(duration, alias.shift_or(shift))
    if alias.column in WHOLE_NUMBERS:
        whole = _number(value)
        if whole is None or not 0 <= whole <= WHOLE_NUMBERS[alias.column] or whole % 1:
            return None
        return int(whole)
    text = value if isinstance(value, str) else encode(value)
    return without_colours(text) if alias.column == "level" else text


def without_colours(text: str) -> str:
    """A text as it would be if it had not been meant for a terminal."""
    return _COLOURS.sub("", text) if "\x1b" in text else text


def with_plain_levels(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame; its levels without colours."""
    if "level" in frame.columns and frame["level"].str.contains("\x1b", literal=True).any():
        return frame.with_columns(pl.col("level").str.replace_all(COLOURS, ""))
    return frame


def _number(value: object) -> int | float | None:
    """A number, or a text that is one."""
    if isinstance(value, str):
        return number(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def column_of(key: str) -> str:
    """The column that a key means, nothing if none."""
    return BY_KEY[key].column if key in BY_KEY else ""


def sample(lines: Lines) -> list[int]:
    """The numbers of the first and last lines."""
    numbers = range(len(lines))
    return sorted({*numbers[:_SAMPLE], *numbers[-_SAMPLE:]})


def keys_in(lines: Lines, members: Callable[[bytes], Iterable[str]]) -> list[str]:
    """The keys of the first and last lines that are not rare there.

    Lines with another key are asked one by one.
    """
    chosen = sample(lines)
    seen = Counter(key for line in chosen for key in members(lines.raw(line)))
    # Keys that are rare are not worth a column: there may be any number of them.
    return [key for key, count in seen.items() if count * _COMMON >= len(chosen)]


def compiled_keys(seen: Sequence[str], shift: int) -> list[Key]:
    """How the compiled part shall read each key; lines with any other one are left open.

    Of durations whose unit nobody names, 10^shift are a second.
    """
    best: dict[str, str] = {}
    for key in sorted(BY_KEY.keys() & seen, key=_RANK.__getitem__):
        best.setdefault(BY_KEY[key].column, key)
    if "timestamp" not in best:
        return []
    keys = []
    for key in seen:
        alias = BY_KEY.get(key)
        if encode(key)[1:-1] != key:
            continue  # what stands in a line must be the key itself
        if alias is None:
            keys.append(Key(key, "attributes", Kind.ATTRIBUTE))
        elif best[alias.column] == key:
            kind = _KINDS.get(alias.column, Kind.TEXT)
            keys.append(Key(key, alias.column, kind, alias.shift_or(shift)))
    return keys
