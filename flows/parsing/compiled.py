"""The way of the compiled part through a batch."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.parsing.lines import Flags, Lines
from flows.parsing.parser import OK
from flows.parsing.times import utc_of_clocks
from native.lines import Form, Key, Keys, Step, can_read, read


def read_lines(
    form: Form,
    lines: Lines,
    keys: Sequence[Key] | Keys,
    zone: ZoneInfo,
    steps: tuple[Step, ...] = (),
) -> pl.DataFrame:
    """The frame that `Format.columns` returns; where nothing is compiled, no line is certain."""
    return read_apart(form, lines, keys, zone, steps)[0]


def read_apart(
    form: Form,
    lines: Lines,
    keys: Sequence[Key] | Keys,
    zone: ZoneInfo,
    steps: tuple[Step, ...] = (),
) -> tuple[pl.DataFrame, Flags]:
    """The same, and which lines are certainly not of the layout of these steps."""
    if not isinstance(keys, Keys):
        keys = Keys(keys, len(keys))
    if not can_read(lines.text, len(lines), keys.all):
        return nothing(lines), np.zeros(len(lines), np.bool_)
    found = read(form, lines.text, lines.starts, keys, steps)
    frame, ok = found.columns, pl.Series(OK, found.ok)
    if not found.zoned and (zone.key != "UTC" or found.zone):
        clocks = frame["timestamp"].to_physical().to_numpy()
        times, is_one = utc_of_clocks(clocks, zone, found.zone)
        frame = frame.with_columns(timestamp=pl.Series(times).cast(frame.schema["timestamp"]))
        ok = pl.Series(OK, found.ok & is_one)
    # Not `hstack`: a frame without columns, of lines in which no key is known, has no height.
    return pl.DataFrame([*frame.get_columns(), ok]), found.others


def nothing(lines: Lines) -> pl.DataFrame:
    """No line is certain."""
    return pl.DataFrame({OK: np.zeros(len(lines), np.bool_)})
