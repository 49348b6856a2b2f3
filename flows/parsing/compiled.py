"""The way of the compiled part through a batch, and columns for what it leaves open."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.parsing.lines import Lines, Numbers
from flows.parsing.parser import OK, filled
from flows.parsing.times import local_column
from native.lines import Form, Key, can_read, read

_MANY = 1000  # lines: so many are sooner read as columns than one by one


def read_lines(
    form: Form,
    lines: Lines,
    keys: list[Key],
    zone: ZoneInfo,
    columns: Callable[[Lines], pl.DataFrame],
) -> pl.DataFrame:
    """The frame that `Format.columns` returns; `columns` makes it where this is not compiled."""
    if not can_read(lines.text, len(lines), keys):
        return columns(lines)
    return completed(_read(form, lines, keys, zone), lines, columns)


def completed(
    frame: pl.DataFrame, lines: Lines, columns: Callable[[Lines], pl.DataFrame]
) -> pl.DataFrame:
    """The frame of these lines; where many of them are open, with what `columns` makes of those."""
    if frame[OK].sum() > len(frame) - _MANY:
        return frame
    open_ = np.flatnonzero(~frame[OK].to_numpy())
    return _merged(frame, columns(Lines(Lines(lines.text).join(open_))), open_)


def _read(form: Form, lines: Lines, keys: list[Key], zone: ZoneInfo) -> pl.DataFrame:
    found = read(form, lines.text, lines.starts, keys)
    frame, ok = found.columns, pl.Series(OK, found.ok)
    if not found.zoned and zone.key != "UTC":
        local = pl.when(ok).then(pl.col("timestamp").dt.replace_time_zone(None))
        frame = frame.with_columns(local_column(local, zone))
        ok = frame["timestamp"].is_not_null().alias(OK)
    return frame.hstack([ok])


def _merged(frame: pl.DataFrame, others: pl.DataFrame, numbers: Numbers) -> pl.DataFrame:
    """The frame, with `others` in the place of its rows with these numbers."""
    place = np.arange(len(frame))
    place[numbers] = len(frame) + np.arange(len(numbers))
    return filled(pl.concat([frame, others], how="diagonal")[place])
