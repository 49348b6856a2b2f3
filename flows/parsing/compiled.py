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
    open_ = np.flatnonzero(~frame[OK].to_numpy())
    if len(open_) < _MANY:
        return frame
    return _merged(frame, columns(Lines(Lines(lines.text).join(open_))), open_)


def _read(form: Form, lines: Lines, keys: list[Key], zone: ZoneInfo) -> pl.DataFrame:
    found = read(form, lines.text, lines.starts, keys)
    columns = found.columns
    times = columns.pop("timestamp")
    if found.zoned or zone.key == "UTC":
        times, ok = times.cast(pl.Datetime("us", "UTC")), pl.Series(found.ok)
    else:
        local = pl.when(pl.Series(found.ok)).then(times.cast(pl.Datetime("us")))
        times = pl.select(local_column(local, zone)).to_series()
        ok = times.is_not_null()
    return pl.DataFrame({"timestamp": times, **columns, OK: ok})


def _merged(frame: pl.DataFrame, others: pl.DataFrame, numbers: Numbers) -> pl.DataFrame:
    """The frame, with `others` in the place of its rows with these numbers."""
    place = np.arange(len(frame))
    place[numbers] = len(frame) + np.arange(len(numbers))
    return filled(pl.concat([frame, others], how="diagonal")[place])
